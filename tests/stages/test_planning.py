"""What stages hand to their workers: little, however much lies in the tables; and what comes of it is the same for any number."""

from __future__ import annotations

import shutil
import tracemalloc
from types import SimpleNamespace

import pyarrow as pa
import pytest
import yaml

import stages.crop
import stages.features
import stages.generate
import stages.inspect
import stages.sets
from bench import memory
from core import shards
from core.cells import filled
from stages.judge import sources
from tests.stages.sync_clips import inside, rows_of

FEW, MANY, FRAMES = 40, 240, 24
STAGES = ("inspect", "crop", "features")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """rows -> (a folder with tables of so many tracks, their bytes), in groups of half a megabyte."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "GROUP_BYTES", 1 << 19)
        for n in (FEW, MANY):
            folder = tmp_path_factory.mktemp(f"rows{n}")
            made[n] = folder, memory.made_up(folder, n, FRAMES, n_shards=2)
    return made


def planned(stage, folder, params, monkeypatch):
    """(the tasks, the most bytes that Python and Arrow held while they were planned)."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(f"stages.{stage}.seal", lambda *_, **__: {})  # hashing the code is another matter
    monkeypatch.setattr("stages.inspect.experts", lambda _: ({}, {}))
    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        tasks = memory.plan(stage, params)
        return tasks, tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)


@pytest.mark.parametrize("stage", STAGES)
def test_the_planning_process_holds_places_not_bytes(tables, monkeypatch, stage):
    params = memory.toy_params()
    planned(stage, tables[FEW][0], params, monkeypatch)  # what is imported and compiled once is not counted
    (few, low), (many, high) = (planned(stage, tables[n][0], params, monkeypatch) for n in (FEW, MANY))
    assert (len(few), len(many)) == (FEW, MANY)
    more = tables[MANY][1] - tables[FEW][1]
    assert more > 1e7 and high - low < 0.15 * more, f"{more} bytes more in the tables took {high - low} more"
    track = rows_of(tables[MANY][0], "track", "toy-en", "tracks")[7]
    clip = next(c for c in rows_of(tables[MANY][0], "segment", "toy-en", "clips") if c["clip_id"] == track["clip_id"])
    payload = filled(next(payload for _, _, name, payload in many if name == track["track_id"]))
    if stage == "inspect":
        assert payload == {"track_id": track["track_id"], "tracks": [track], "clip": clip}
    elif stage == "crop":
        assert payload == track
    else:
        assert {k: payload[k] for k in ("track_id", "cluster", "n_samples", "audio")} == {
            "track_id": track["track_id"], **{k: clip[k] for k in ("cluster", "n_samples", "audio")}}


def test_generating_takes_some_tracks_of_each_speaker_and_holds_none_of_their_bytes(tables, monkeypatch):
    params = memory.toy_params()
    planned("generate", tables[FEW][0], params, monkeypatch)
    (few, low), (many, high) = (planned("generate", tables[n][0], params, monkeypatch) for n in (FEW, MANY))
    assert (len(few), len(many)) == (FEW / 5, MANY / 5), "two of ten"
    more = tables[MANY][1] - tables[FEW][1]
    assert high - low < 0.15 * more, f"{more} bytes more in the tables took {high - low} more"
    tracks, clips = ({r[key]: r for r in rows_of(tables[MANY][0], stage, "toy-en", table)}
                     for stage, table, key in (("track", "tracks", "track_id"), ("segment", "clips", "clip_id")))
    payload = filled(many[0][-1])
    track = tracks[payload["track"]["track_id"]]
    assert {k: payload["track"][k] for k in ("boxes", "landmarks", "landmark_unit", "meshed")} == {
        k: track[k] for k in ("boxes", "landmarks", "landmark_unit", "meshed")} and set(payload["sounds"]) == {"self", "shuffled"}
    assert all(s["audio"] == clips[s["clip_id"]]["audio"] and s["feature"] is None for s in payload["sounds"].values())


def test_a_set_of_all_clips_is_one_item_that_holds_none_of_their_bytes(tables, monkeypatch):
    params = memory.toy_params()
    planned("sets", tables[FEW][0], params, monkeypatch)
    (few, low), (many, high) = (planned("sets", tables[n][0], params, monkeypatch) for n in (FEW, MANY))
    assert [len(tasks[0][-1]["members"]) for tasks in (few, many)] == [FEW, MANY]
    more = tables[MANY][1] - tables[FEW][1]
    assert high - low < 0.2 * more, f"{more} bytes more in the tables took {high - low} more"
    kept = {r["generated_id"]: r for r in rows_of(tables[MANY][0], "score", "controls", "embeddings")}
    member = filled(many[0][-1]["members"][7])
    assert member["kept"] == kept[member["row"]["generated_id"]]
    assert len(member["track"]["landmarks"]) == FRAMES * 468 * 4 and member["track"]["media"] == "data/download/toy-en/media"


def test_scoring_looks_at_no_other_tracks_and_sounds_than_it_scores(tables, monkeypatch):
    monkeypatch.chdir(tables[FEW][0])
    params = SimpleNamespace(instances=lambda: [SimpleNamespace(name="toy-en")])
    rows = [{"track_id": "r000003-c0-t0", "audio_clip_id": clip} for clip in ("r000005-c0", "r000003-c0")]
    tracks, sounds = sources(params, rows)
    assert (list(tracks), sorted(sounds)) == (["r000003-c0-t0"], ["r000003-c0", "r000005-c0"])
    assert tracks["r000003-c0-t0"]["sha256"] == f"{3:064d}" and tracks["r000003-c0-t0"]["media"] == "data/download/toy-en/media"
    clips = {c["clip_id"]: c["audio"] for c in rows_of(tables[FEW][0], "segment", "toy-en", "clips")}
    assert filled(sounds) == {c: clips[c] for c in sounds}


def test_two_workers_leave_the_bytes_of_one_and_of_whole_rows(talkers, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(talkers, copy, symlinks=True, ignore=shutil.ignore_patterns(*STAGES, "split", ".babelface"))
    raw = yaml.safe_load((copy / "params.yaml").read_text())
    (copy / "params.yaml").write_text(yaml.safe_dump(raw | {"executor": raw["executor"] | {"workers": 2}}))
    with inside(copy) as params:
        assert params.executor.workers == 2
        for stage in (stages.inspect, stages.crop, stages.features):
            stage.main("synthetic-en", params)
    for stage in STAGES:
        one, two = ({p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
                    for place in (f / "data" / stage / "synthetic-en" for f in (talkers, copy)))
        assert one == two and len(one) > 5, f"{stage}: {sorted(k for k in one if one[k] != two.get(k))}"
    track = rows_of(copy, "track", "synthetic-en", "tracks")[0]
    clip = next(c for c in rows_of(copy, "segment", "synthetic-en", "clips") if c["clip_id"] == track["clip_id"])
    common = {"media": str(copy / "data/download/synthetic-en/media"), "threads": 1,
              "min_mesh_share": params.track.min_mesh_share}
    views = {n: params.crop.views[n].model_dump() for n in params.crop.store}
    whole = {
        "inspected": stages.inspect.Mapper(common | params.inspect.model_dump())(
            {"track_id": track["track_id"], "tracks": [track], "clip": clip}),
        "views": stages.crop.Mapper(common | {"views": views, "jpeg_quality": params.crop.jpeg_quality})(track)}
    for stage, name in zip(STAGES, whole, strict=False):  # features: test_features.py
        stored = [r for r in rows_of(copy, stage, "synthetic-en", name) if r["track_id"] == track["track_id"]]
        assert [{k: v for k, v in r.items() if v is not None} for r in whole[name][name]] == [
            {k: v for k, v in r.items() if v is not None} for r in stored], stage
