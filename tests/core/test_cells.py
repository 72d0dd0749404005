"""Light rows: what is small of a table here, the bytes where they lie until somebody asks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from core import cells, executor, shards
from core.cells import Cell, filled, light_rows, places
from core.digest import digest_of


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A folder of two shards with three groups of rows in each."""
    monkeypatch.setattr(shards, "GROUP_ROWS", 8)
    monkeypatch.setattr(cells, "READ_ROWS", 3)
    monkeypatch.setattr(cells, "_COLUMNS", {})
    rng = np.random.default_rng(0)
    for shard in (1, 0):
        rows = [{"track_id": f"t{shard}{k:02d}", "clip_id": "c", "language": "en", "n_frames": k, "mel": rng.bytes(100 + k),
                 "mfcc_syncnet": None if k == 5 else b"" if k == 6 else rng.bytes(9)} for k in range(20)]
        shards.write_table(shards.shard_path(tmp_path, "features", shard), rows, "features")
    return tmp_path


def test_light_rows_are_the_rows_with_cells_for_bytes_and_the_same_digest(table):
    whole, light = shards.read_rows(table, "features"), list(light_rows(table, "features"))
    assert [digest_of(r) for r in light] == [digest_of(r) for r in whole], "planned as with bytes"
    assert not any(isinstance(v, bytes) for r in light for v in r.values()) and light[5]["mfcc_syncnet"] is None
    assert filled(pickle.loads(pickle.dumps(light))) == whole  # noqa: S301  as it goes to a worker
    assert filled({"a": [light[3], 7], "b": "text"}) == {"a": [whole[3], 7], "b": "text"}


def test_columns_and_rows_can_be_chosen(table):
    found = list(light_rows(table, "features", ["track_id", "mel"], ("track_id", {"t003", "t119"})))
    assert [(r["track_id"], list(r)) for r in found] == [("t003", ["track_id", "mel"]), ("t119", ["track_id", "mel"])]
    assert (found[1]["mel"].group, found[1]["mel"].row) == (2, 3)
    assert filled(found[1]["mel"]) == shards.read_rows(table, "features")[-1]["mel"]
    with pytest.raises(FileNotFoundError, match="no table 'clips' here"):
        list(light_rows(table, "clips"))
    shards.shard_path(table, "features", 0).write_bytes(b"not a table at all, but long enough to look like one")
    with pytest.raises(ValueError, match=r"shard-000.parquet: not a readable shard"):
        list(light_rows(table, "features"))


@pytest.mark.parametrize("how", ["other bytes", "fewer rows", "gone"])
def test_a_table_that_was_written_again_is_noticed(table, monkeypatch, how):
    monkeypatch.setattr(cells, "LATE_S", 0.0)
    path = shards.shard_path(table, "features", 1)
    cell = next(r["mel"] for r in light_rows(table, "features", where=("track_id", ("t112",))))
    path.unlink()
    if how != "gone":
        rows = [{"track_id": f"t1{k:02d}", "mel": b"new"} for k in range(20 if how == "other bytes" else 2)]
        shards.write_table(path, rows, "features")
    with pytest.raises(RuntimeError, match=r"shard-001.parquet: row 4 of group 1, mel, is not what it was.*command again"):
        cell.read()


def test_items_come_in_the_order_of_the_table_and_each_group_is_read_once(table, monkeypatch):
    import pyarrow.parquet as pq

    light, read = {r["track_id"]: r for r in light_rows(table, "features", ["track_id", "mel"])}, []
    plain = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *a, **k: read.append(a[1]) or plain(*a, **k))
    monkeypatch.setattr(cells, "KEPT_BYTES", 1000)  # less than two groups
    shuffled = np.random.default_rng(1).permutation(sorted(light))
    work = [executor.Work(str(t), "d", {"n": k, "row": light[t]}) for k, t in enumerate(shuffled)]
    tasks = []

    class Pool:
        def map(self, given):
            tasks.extend(given)
            raise KeyboardInterrupt
            yield

    monkeypatch.setattr(executor, "_pool", lambda *_: Pool())
    monkeypatch.chdir(table)
    with pytest.raises(KeyboardInterrupt):
        executor.run_stage("features", "toy-en", work, "none:None", config={}, tables=("features",), fingerprint={})
    assert [t[2] for t in tasks] == sorted(light), "places first, then ids"
    whole = {r["track_id"]: r["mel"] for r in shards.read_rows(table, "features")}
    assert all(filled(t[3])["row"]["mel"] == whole[t[2]] for t in tasks) and len(read) == 6
    assert sum(c.nbytes for c in cells._COLUMNS.values()) < 2000


def test_places_are_those_of_all_cells_each_once():
    a, b, c = (Cell("0" * 64, path, group, 0, "mel") for path, group in (("x", 1), ("y", 0), ("x", 1)))
    assert places({"clip": {"audio": a}, "tracks": [{"boxes": b, "landmarks": c, "n": 3}], "id": "i"}) == (("x", 1), ("y", 0))
    assert places({"id": "i", "n": [1, None]}) == ()
