"""Download as a user meets it: which recordings arrive, what the ledger says of them, what each refusal names."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

import stages.download
from core import executor, media, shards
from core.records import Box, Item, Source
from tests.core.mappers import InHere
from tests.core.media_clips import mux
from tests.stages.sync_clips import SHORT, hum, index, inside, rejects_of, rows_of, workspace


def test_files_arrive_as_they_are_with_their_hash(odd):
    rows = {r["recording_id"]: r for r in rows_of(odd, "download", "odd-en", "recordings")}
    assert sorted(rows) == ["brief", "cuts", "good", "late", "quiet", "torn"]
    for row in rows.values():
        arrived = odd / "data" / "download" / "odd-en" / "media" / row["file"]
        data = arrived.read_bytes()
        assert data == (odd / "source" / row["source"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    media_folder = odd / "data" / "download" / "odd-en" / "media"
    assert sorted(p.name for p in media_folder.iterdir()) == sorted(r["file"] for r in rows.values())
    assert (rows["good"]["kind"], rows["good"]["speaker"], rows["good"]["cluster"]) == ("generated", "made", "speaker:made")
    assert (rows["brief"]["kind"], rows["brief"]["speaker"], rows["brief"]["cluster"]) == ("real", None, "recording:brief")


@pytest.mark.parametrize("name, reason", [("mute", "no_audio"), ("heard", "no_video"), ("junk", "decode_error")])
def test_what_cannot_be_used_is_refused_by_name(odd, name, reason):
    got, detail = rejects_of(odd, "download", "odd-en")[name]
    assert got == reason and f"{name}.mp4" in detail


def test_a_file_that_is_not_there_is_refused_with_its_line(odd):
    early = shards.read_shard(odd / "data" / "download" / "odd-en" / "rejects_early.parquet").to_pylist()
    assert [(r["item_id"], r["reason"], r["stage"], r["language"]) for r in early] == [("gone", "missing_file", "download", "en")]
    assert "gone.mp4" in early[0]["detail"] and "line 11" in early[0]["detail"]


def test_every_line_of_the_index_is_accounted_for(odd):
    stats = json.loads((odd / "data" / "download" / "odd-en" / "stats.json").read_text())
    assert (stats["items_in"], stats["kept"], stats["rejected"]) == (10, 6, 4)
    assert stats["by_language"]["en"]["rejected"] == {"decode_error": 1, "missing_file": 1, "no_audio": 1, "no_video": 1}


def test_outputs_name_no_place_of_this_machine(odd):
    for path in (odd / "data").rglob("*"):
        if path.is_file() and path.suffix in (".json", ".parquet") and "media" not in path.parts:
            table = json.dumps(shards.read_shard(path).to_pylist(),
                               default=str) if path.suffix == ".parquet" else path.read_text()
            assert str(odd.parent) not in table, path.relative_to(odd)


def test_the_digest_of_an_item_is_the_one_that_finished_downloads_hold(tmp_path):
    item = Item("a", "own", "tr", "Ana", source=Source("page", "https://x.org/v", 1.5, 3.0), extra={"mood": "ü"}, video="v",
                start_s=1.5, end_s=3.0, box=Box(0.1, 0.0, 0.5, 1.0))
    (work,) = stages.download.plan([item], {"path": str(tmp_path)}, "own", "tr", height=720)
    said = ('["a", "Ana", "real", ["page", "https://x.org/v", 1.5, 3.0, null, 720], {"box": [0.1, 0.0, 0.5, 1.0], '
            '"box_unit": "share", "end_s": 3.0, "mood": "ü", "start_s": 1.5, "video": "v"}, null]')
    assert work.digest == hashlib.sha256(said.encode()).hexdigest() and work.payload == item


def test_a_changed_file_is_fetched_again_and_only_that(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    times = [i / 25 for i in range(50)]
    for k in range(3):
        mux(source / f"r{k}.mp4", times_s=times, tracks=[{"codec": "aac", "samples": hum(SHORT)[:32000] * (1 - k / 10)}])
    index(source, [{"file": f"r{k}.mp4", "language": "en"} for k in range(3)])
    workspace(tmp_path, {"own": {"adapter": "folder", "path": str(source), "languages": {"en": {}}}}, shards=3)
    with inside(tmp_path) as params:
        stages.download.main("own-en", params)
        log = tmp_path / ".babelface" / "logs" / "download-own-en.log"
        before = {r["recording_id"]: r["sha256"] for r in rows_of(tmp_path, "download", "own-en", "recordings")}
        (source / "r1.mp4").unlink()
        mux(source / "r1.mp4", times_s=times[:40], tracks=[{"codec": "aac", "samples": hum(SHORT)[:25600]}])
        stages.download.main("own-en", params)
    after = {r["recording_id"]: r["sha256"] for r in rows_of(tmp_path, "download", "own-en", "recordings")}
    assert {k for k in after if after[k] != before[k]} == {"r1"}
    assert "total=3 already_done=2" in log.read_text()


def test_the_truth_of_a_corpus_travels_with_its_recordings(talkers):
    recordings = {r["recording_id"]: r for r in rows_of(talkers, "download", "synthetic-en", "recordings")}
    truth = rows_of(talkers, "download", "synthetic-en", "truth")
    assert sorted(t["recording_id"] for t in truth) == sorted(recordings) and len(truth) == 2
    for row in truth:
        n = media.frame_count(talkers / "data" / "download" / "synthetic-en" / "media" / recordings[row["recording_id"]]["file"])
        gap = shards.unpack(row["gap"], np.float32, (-1,))
        points = shards.unpack(row["points"], np.float32, (n, len(row["point_indices"]), 2))
        assert len(gap) == n and gap.min() >= 0 and np.isfinite(points).all() and row["phonemes"] and row["speech"]


def test_stretches_of_one_file_become_recordings_of_one_cluster_with_what_the_index_says(tmp_path):
    mux(tmp_path / "talk.mp4", times_s=[i / 25 for i in range(75)], tracks=[{"codec": "aac", "samples": hum(SHORT)}])
    (tmp_path / "t.csv").write_text("id,file,start_s,end_s,x0,y0,x1,y1,language\n"
                                    "a,talk.mp4,0,1,,,,,en\nb,talk.mp4,1,2.4,0,0,0.5,1,en\nc,talk.mp4,2,1,,,,,en\n")
    workspace(tmp_path, {"cut": {"adapter": "csv", "path": str(tmp_path / "t.csv"), "languages": {"en": {}}}})
    with inside(tmp_path) as params:
        stats = stages.download.main("cut-en", params)
    rows = {r["recording_id"]: r for r in rows_of(tmp_path, "download", "cut-en", "recordings")}
    assert (stats["items_in"], stats["kept"], stats["rejected"]) == (3, 2, 1)
    assert {r["cluster"] for r in rows.values()} == {"recording:talk.mp4"}
    assert json.loads(rows["b"]["extra"]) == {"box": [0.0, 0.0, 0.5, 1.0], "box_unit": "share", "end_s": 2.4, "start_s": 1.0,
                                              "video": "talk.mp4"}
    folder = tmp_path / "data" / "download" / "cut-en" / "media"
    assert [media.frame_count(folder / rows[i]["file"]) for i in "ab"] == [25, 35] and not list(folder.glob("*.mp4"))


def test_a_rebuild_names_local_files_that_vanished_and_entries_that_left_the_index(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(executor, "WorkerPool", InHere)
    (tmp_path / "in").mkdir()
    for name in "abc":
        mux(tmp_path / "in" / f"{name}.mp4", times_s=[0.0, 0.04, 0.08], tracks=[{"codec": "aac", "samples": hum(SHORT)}])
    table = tmp_path / "in" / "t.csv"
    table.write_text("id,file,language\na,a.mp4,en\nb,b.mp4,en\nc,c.mp4,en\n")
    workspace(tmp_path, {"own": {"adapter": "csv", "path": "in/t.csv", "languages": {"en": {}}}})
    with inside(tmp_path) as params:
        assert stages.download.main("own-en", params)["kept"] == 3 and "last version" not in capsys.readouterr().err
        (tmp_path / "in" / "b.mp4").unlink()
        table.write_text(table.read_text().replace("c,c.mp4,en\n", ""))
        assert stages.download.main("own-en", params)["kept"] == 1
    told = [line for line in capsys.readouterr().err.splitlines() if "last version" in line]
    assert len(told) == 2 and "own-en: b was in the last version and is missing_file: " in told[0] and "b.mp4" in told[0]
    assert told[1].endswith("own-en: c was in the last version and is no longer in the index")
