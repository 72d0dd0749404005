from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from core import media, shards
from core.records import schema


def feature_rows(n, start=0):
    return [{"track_id": f"t{k:02d}", "clip_id": f"c{k}", "language": "en", "n_frames": k, "mel": bytes([k]) * 5}
            for k in range(start, start + n)]


def test_shards_fill_evenly_and_are_the_same_on_every_machine():
    counts = np.bincount([shards.shard_of(f"en-s{k:04d}-c0", 4) for k in range(2000)], minlength=4)
    assert len(counts) == 4 and counts.min() > 420
    assert [shards.shard_of(i, 1000) for i in ("en-s00-c00", "zh-s01-c01", "ü")] == [376, 19, 335]


@pytest.mark.parametrize("table, name", [("features", "shard-000.parquet"), ("views", "shard-000.arrow")])
def test_a_table_comes_back_and_its_bytes_repeat(table, name, tmp_path):
    rows = feature_rows(5) if table == "features" else [
        {"track_id": f"t{k}", "view": "mouth", "n_frames": 2, "height": 4, "width": 4, "frames": [b"a" * k, b"b"],
         "transforms": b""} for k in range(3)]
    paths = [shards.shard_path(tmp_path / str(k), table, 0) for k in range(2)]
    for path in paths:
        shards.write_table(path, rows, table)
    assert paths[0].name == name and paths[0].read_bytes() == paths[1].read_bytes()
    back = shards.read_rows(tmp_path / "0", table)
    assert [{k: r[k] for k in rows[0]} for r in back] == rows and back[0]["cluster"] is None
    assert shards.read_table(tmp_path / "0", table).schema.equals(schema(table))


def test_shards_are_read_in_order_and_by_column(tmp_path):
    for shard in (2, 0, 1):
        shards.write_table(shards.shard_path(tmp_path, "features", shard), feature_rows(2, start=10 * shard), "features")
    assert [r["track_id"] for r in shards.read_rows(tmp_path, "features")] == ["t00", "t01", "t10", "t11", "t20", "t21"]
    assert shards.read_rows(tmp_path, "features", ["n_frames"])[0] == {"n_frames": 0}


def test_a_column_the_schema_does_not_know_is_not_written(tmp_path):
    path = shards.shard_path(tmp_path, "features", 0)
    shards.write_table(path, [feature_rows(1)[0] | {"nonsense": 1}], "features")
    assert "nonsense" not in shards.read_rows(tmp_path, "features")[0]
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        shards.write_table(path, [feature_rows(1)[0] | {"n_frames": "many"}], "features")
    assert shards.read_rows(tmp_path, "features")[0]["n_frames"] == 0, "a failed write leaves the old file"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "and nothing beside it"


def test_missing_and_damaged_tables_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no table 'features' here; build it first"):
        shards.read_rows(tmp_path / "nowhere", "features")
    for table in ("features", "views"):
        path = shards.shard_path(tmp_path, table, 0)
        path.parent.mkdir()
        path.write_bytes(b"not a table at all, but long enough to look like one")
        with pytest.raises(ValueError, match=f"{path.name}.*run the stage again"):
            shards.read_rows(tmp_path, table)


def test_json_is_sorted_finite_and_whole(tmp_path):
    path = tmp_path / "deep" / "a.json"
    shards.write_json(path, {"b": 1.5, "a": ["ü", None]})
    assert path.read_text() == json.dumps({"a": ["ü", None], "b": 1.5}, indent=1, ensure_ascii=False) + "\n"
    assert shards.read_json(path) == {"a": ["ü", None], "b": 1.5} and path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(ValueError):
        shards.write_json(path, {"a": float("nan")})
    assert shards.read_json(path)["b"] == 1.5
    path.write_text('{"a": ')
    with pytest.raises(ValueError, match="a.json: damaged JSON"):
        shards.read_json(path)


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.bin"
    shards.write_bytes(path, b"old")

    def fail(temp):
        temp.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.atomic_write(path, fail)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8, ">f4", ">i2"])
def test_arrays_travel_little_endian_in_c_order(dtype):
    array = (np.random.default_rng(0).normal(0, 50, (4, 3)).round() % 100).astype(dtype).T
    data = shards.pack(array)
    assert data == np.ascontiguousarray(array).astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    assert np.array_equal(shards.unpack(data, dtype, (-1, 4)), array) and len(data) == array.nbytes
    assert len(shards.unpack(shards.pack(array[:0]), dtype, (-1, 4))) == 0


def test_views_are_read_frame_by_frame(tmp_path):
    rng = np.random.default_rng(4)
    made = {}
    for shard, track in ((0, "b"), (0, "a"), (2, "c")):
        frames = [media.encode_jpeg(np.full((8, 12, 3), v, np.uint8), 95) for v in rng.integers(0, 256, 6)]
        made[track] = (shard, {"track_id": track, "clip_id": track, "language": "en", "cluster": "x", "view": "mouth",
                               "height": 8, "width": 12,
                               "n_frames": 6, "transforms": shards.pack(rng.normal(size=(6, 2, 3)).astype(np.float32)),
                               "frames": frames})
    for shard in (0, 2):
        shards.write_table(shards.shard_path(tmp_path, "views", shard), [row for s, row in made.values() if s == shard], "views")
    store = shards.ViewStore(tmp_path)
    assert store.ids("mouth") == ["a", "b", "c"] and store.ids("other") == []
    for track, (_, row) in made.items():
        whole = np.stack([media.decode_jpeg(f) for f in row["frames"]])
        assert np.array_equal(store.frames(track, "mouth", 0, 6),
                              whole) and np.array_equal(store.frames(track, "mouth", 4, 5), whole[4:5])
        assert store.transforms(track, "mouth").tobytes() == row["transforms"]
        assert store.row(track, "mouth")["width"] == 12
    with pytest.raises(KeyError, match="no view 'other' of track 'a'"):
        store.frames("a", "other", 0, 1)
    with pytest.raises(IndexError, match="5:7 of 6"):
        store.frames("a", "mouth", 5, 7)
    with pytest.raises(FileNotFoundError, match="run the crop stage first"):
        shards.ViewStore(tmp_path / "nowhere")


def test_groups_are_sorted_and_keep_their_order():
    rows = [{"k": 2, "n": 0}, {"k": 1, "n": 1}, {"k": 2, "n": 2}]
    assert list(shards.grouped(rows, "k")) == [(1, [rows[1]]), (2, [rows[0], rows[2]])]


@pytest.mark.parametrize("table", ["features", "views"])
def test_rows_give_the_same_bytes_in_one_table_or_in_many(tmp_path, monkeypatch, table):
    monkeypatch.setattr(shards, "GROUP_ROWS", 8)
    monkeypatch.setattr(shards, "GROUP_BYTES", 500)
    blob = {"features": "mel", "views": "transforms"}[table]
    rows = [{"track_id": f"t{k:02d}", "clip_id": "c", blob: None if k == 3 else b"x" * (k * 40 % 400)} for k in range(41)]
    whole = pa.Table.from_pylist(rows, schema=schema(table))
    seen = set()
    for n in (41, 1, 3, 17):
        path = tmp_path / shards.shard_path(tmp_path, table, n).name
        shards.write_table(path, (whole.slice(a, n) for a in range(0, 41, n)), table)
        seen.add(path.read_bytes())
        assert shards.read_shard(path).to_pylist() == whole.to_pylist()
        parts = shards.Rows(path)
        assert [r for a in range(0, 41, 4) for r in parts.slice(a, min(4, 41 - a)).to_pylist()] == whole.to_pylist()
    assert len(seen) == 1
    if table == "features":
        import pyarrow.parquet as pq

        meta = pq.ParquetFile(path).metadata
        sizes = [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]
        assert sum(sizes) == 41 and max(sizes) <= 8 and min(sizes[:-1]) < 8, "cut by rows, and by bytes"


def test_no_rows_are_a_readable_table(tmp_path):
    for many in ([], iter([])):
        shards.write_table(tmp_path / "shard-000.parquet", many, "features")
        assert shards.read_shard(tmp_path / "shard-000.parquet").num_rows == 0


def test_a_stages_process_makes_tables_without_pandas_which_can_still_be_imported():
    code = ("import sys; from core.shards import without_pandas; without_pandas(); import pyarrow as pa; "
            "table = pa.Table.from_pylist([{'a': 1, 'b': [{'c': 0.5}], 'd': None}]); print('pandas' in sys.modules, table.to_pylist()); "
            "import pandas; print(pandas.DataFrame({'a': [1]}).shape)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.stdout.split("\n")[:2] == ["False [{'a': 1, 'b': [{'c': 0.5}], 'd': None}]", "(1, 1)"], done.stderr
