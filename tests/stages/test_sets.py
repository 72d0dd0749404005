"""Figures of sets: from what scoring leaves beside the scores, and from pictures through small seeded networks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import stages.score
import stages.sets
import stages.set_figures as sets
from core import media, shards
from core.results import write_result
from metrics.distribution import frechet_distance
from metrics.retrieval import in_parts, retrieval
from tests.stages.sync_clips import inside, rows_of

NONE = {"fid": "none", "fvd": "none"}


class TinyFrames:
    """A seeded stand-in for Inception: a frame as 8 projections of a small copy of it."""

    def embed(self, frames):
        import cv2

        small = np.stack([cv2.resize(f, (8, 8), interpolation=cv2.INTER_AREA).ravel() for f in frames]).astype(np.float32)
        return small @ np.random.default_rng(0).standard_normal((192, 8)).astype(np.float32)


class TinyClips(TinyFrames):
    n_frames = 16

    def embed(self, clips):
        return np.stack([super(TinyClips, self).embed(c).std(0) for c in clips])


NETWORKS = sets.Networks


def tiny(config, names):
    nets = NETWORKS(config, names)
    nets.__dict__ |= {"fid": TinyFrames(), "fvd": TinyClips()}
    return nets


def member(k, *, sample=0, audio="", system="s", noise=0.3, lips=None, seen=None, n=100):
    rng = np.random.default_rng(k)
    video = rng.normal(size=(40, 6)).repeat(2, 0)
    heard = video + noise * rng.normal(size=video.shape)
    kept = {"video": shards.pack(in_parts(video)), "audio": shards.pack(in_parts(heard)), "no_sync": None, "lips": lips}
    row = {"generated_id": f"t{k}.{system}.self.{sample}", "track_id": f"t{k}", "system": system, "condition": "self",
           "corpus": "c", "language": "en",
           "audio_language": "en", "audio_clip_id": audio or f"c{k}", "n_frames": n, "sample": sample, "training": None,
           "training_languages": []}
    return sets.Member(row, kept, seen or dict.fromkeys(sets.PICTURES, "no_weights"))


def figures(members, recall=(1, 2)):
    rows = sets.set_rows(("s", "self", "c", "en"), members, sets.Networks({"fid": None, "fvd": None, "every": 5}, NONE),
                         "small:0", recall)
    assert all((r["value"] is None) == (r["reason"] is not None) for r in rows)
    assert all(set(r) == set(rows[0]) for r in rows) and {r["set_id"] for r in rows} == {"s.self.c.en"}
    return {(r["metric"], r["k"], r["direction"]): r for r in rows}


def test_recall_is_that_of_the_parts_with_chance_beside_it():
    members = [member(k, noise=8) for k in range(12)]
    row = figures(members)["retrieval_recall", 1, "audio_to_video"]
    parts = [np.stack([shards.unpack(m.kept[name], np.float32, (-1,)) for m in members]) for name in ("audio", "video")]
    assert row["value"] == retrieval(*parts, (1,), "l2").audio_to_video[1] and 0 < row["value"] < 1
    assert (row["n"], row["unit"], row["chance"], row["network"], row["region"],
            row["n_frames"]) == (12, "clips", 1 / 12, "small:0", "sync view", 1200)
    assert figures([member(k) for k in range(12)])["retrieval_recall", 2, "video_to_audio"]["value"] == 1


def test_two_videos_with_one_sound_are_one_candidate_and_further_samples_none():
    members = [*(member(k) for k in range(4)), member(9, audio="c0"), member(1, sample=1)]
    assert {r["n"] for (name, *_), r in figures(members).items() if name == "retrieval_recall"} == {4}


def test_too_few_says_how_many_it_takes():
    found = figures([member(k) for k in range(3)])
    assert found["retrieval_recall", 1, "audio_to_video"]["value"] == 1
    few = found["retrieval_recall", 2, "audio_to_video"]
    assert (few["value"], few["reason"], few["n"], few["n_needed"]) == (None, "too_few", 3, 4)
    seen = {"fid": (np.ones((60, 3)),) * 2, "fvd": (np.ones((3, 3)),) * 2}
    rows = figures([member(0, seen=seen)])
    assert (rows["fid", None, None]["reason"], rows["fid", None, None]["n"],
            rows["fid", None, None]["n_needed"]) == ("too_few", 60, 100)
    assert (rows["fvd", None, None]["reason"], rows["fvd", None, None]["n"],
            rows["fvd", None, None]["n_needed"]) == ("too_few", 3, 16)


def test_a_set_that_the_expert_did_not_judge_says_why():
    members = [member(k) for k in range(3)]
    for m, reason in zip(members, ("silent_sound", "too_short", "too_short"), strict=True):
        m.kept |= {"video": None, "audio": None, "no_sync": reason}
    row = figures(members)["retrieval_recall", 1, "audio_to_video"]
    assert (row["reason"], row["n"]) == ("too_short", 0)


def test_diversity_needs_several_samples_of_one_input():
    one = figures([member(k) for k in range(3)])["lip_diversity", None, None]
    assert (one["value"], one["reason"], one["n"]) == (None, "one_sample", 0)
    rng = np.random.default_rng(0)
    points = np.tile(rng.normal(50, 9, (22, 2)), (4, 30, 1, 1)).astype(np.float32)
    points[1, :, :10] += 2
    points[3] = points[2]
    packed = [shards.pack(p) for p in points]
    members = [member(k, sample=s, lips=packed[2 * k + s]) for k in (0, 1) for s in (0, 1)]
    row = figures(members)["lip_diversity", None, None]
    from metrics.diversity import diversity_of_points

    assert row["value"] == pytest.approx(diversity_of_points(points[:2]) / 2) and (row["n"], row["unit"]) == (2, "inputs")


def test_frechet_is_between_the_pictures_of_the_same_clips():
    rng = np.random.default_rng(1)
    pairs = [(rng.normal(size=(40, 5)), rng.normal(1, 1, size=(40, 5))) for _ in range(3)]
    members = [member(k, seen={"fid": p, "fvd": "no_weights"}) for k, p in enumerate(pairs)]
    members.append(member(0, sample=1, seen={"fid": "no_weights", "fvd": "no_weights"}))
    row = figures(members)["fid", None, None]
    assert row["value"] == pytest.approx(frechet_distance(*(np.concatenate(side) for side in zip(*pairs, strict=True))))
    assert (row["n"], row["n_clips"], row["n_frames"], row["region"]) == (120, 3, 300, "face")
    same = figures([member(k, seen={"fid": (p[0], p[0]), "fvd": "no_weights"}) for k, p in enumerate(pairs)])
    assert same["fid", None, None]["value"] == pytest.approx(0, abs=1e-6)


def test_sets_go_by_the_language_and_corpus_of_the_sound():
    row = member(0).row | {"audio_clip_id": "x", "audio_language": "tr"}
    assert sets.set_of(row, {"x": "other"}) == ("s", "self", "other",
                                                "tr") and sets.set_of(member(0).row, {}) == ("s", "self", "c", "en")


def test_what_scoring_leaves_says_why_there_is_nothing():
    from stages.figures import Take

    take = Take(frames=[], n_frames=0, samples=None, face=None)
    row = {"generated_id": "x", "null_reasons": [{"metric": "cpbd", "reason": "no_face"},
                                                 {"metric": "lse_c", "reason": "silent_sound"}]}
    assert sets.remains(row, take, lips=True) == {"generated_id": "x", "video": None, "audio": None, "no_sync": "silent_sound",
                                                  "lips": None}
    take.embedded = np.ones((2, 15, 4), np.float32)
    assert sets.remains(row | {"null_reasons": []}, take, lips=False)["no_sync"] == "too_short", "fewer windows than parts"
    take.embedded = np.ones((2, 16, 4), np.float32)
    assert len(sets.remains(row, take, lips=False)["video"]) == 16 * 4 * 4


@pytest.fixture(scope="module")
def place(controls, tmp_path_factory):
    """Controls, and a system whose two samples of one input are the source coded again and its mirror image."""
    folder = tmp_path_factory.mktemp("sets") / "work"
    shutil.copytree(controls, folder, symlinks=True)
    with inside(folder) as params:
        real = [r for r in rows_of(folder, "generate", "controls", "generated")
                if (r["system"], r["condition"]) == ("real", "self")]
        tracks = {t["track_id"]: t for t in rows_of(folder, "track", "synthetic-en", "tracks")}
        made = []
        for row in real:
            track = tracks[row["track_id"]]
            frames = list(media.read_frames(folder / "data/download/synthetic-en/media" / track["file"],
                                            start=track["start_frame"], stop=track["start_frame"] + row["n_frames"]))
            for sample, shown in enumerate((frames, frames[::-1])):
                made.append(row | {"generated_id": f"{row['track_id']}.echo.self.{sample}", "system": "echo", "sample": sample,
                                   "video": media.encode_video(shown, crf=12)})
        for shard in range(params.shards):
            rows = [r for r in made if shards.shard_of(r["track_id"], params.shards) == shard]
            shards.write_table(shards.shard_path(folder / "data/generate/echo", "generated", shard), rows, "generated")
        stages.score.main("echo", params)
    return folder


class Here:
    """Runs the mapper in this process, where the stand-in networks are."""

    def __init__(self, mapper, config, **_):
        self._mapper = stages.sets.Mapper(config)

    def map(self, tasks):
        for index, path, _, payload in tasks:
            write_result(Path(path), self._mapper(payload), None)
            yield index, None


def test_without_weights_it_says_so_and_reads_no_picture(place):
    with inside(place) as params:
        stats = {name: stages.sets.main(name, params) for name in ("controls", "echo")}
    rows = [r for name in stats for r in rows_of(place, "sets", name, "sets")]
    assert stats["echo"]["kept"] == 1 and stats["controls"]["kept"] == 3
    of = {(r["system"], r["condition"], r["metric"], r["k"], r["direction"]): r for r in rows}
    assert of["echo", "self", "fid", None, None]["reason"] == "no_weights"
    assert of["real", "self", "fid", None, None]["reason"] == "is_the_reference"
    recall = of["echo", "self", "retrieval_recall", 1, "audio_to_video"]
    assert recall["n"] == 2 and recall["value"] in (0, 0.5, 1)
    assert recall["chance"] == 0.5 and recall["network"].startswith("small:")
    assert of["real", "shuffled", "retrieval_recall", 5, "audio_to_video"]["reason"] == "too_few"
    lips = of["echo", "self", "lip_diversity", None, None]
    assert lips["value"] > 0.005 and lips["n"] == 2, "a mouth that runs backwards is another one"
    assert of["still", "self", "lip_diversity", None, None]["reason"] == "one_sample"
    kept = rows_of(place, "score", "controls", "embeddings")
    assert {r["generated_id"] for r in kept} == {r["generated_id"] for r in rows_of(place, "score", "controls", "scores")}
    assert all(r["lips"] is None and len(r["video"]) == len(r["audio"]) == 16 * 128 * 4 for r in kept)


def test_with_networks_the_pictures_of_all_systems_are_compared(place, monkeypatch):
    monkeypatch.setattr(sets, "find_networks", lambda i3d: ({"fid": ("tiny", "-"), "fvd": ("tiny", "-")},
                                                            {"fid": "tiny:01234567", "fvd": "tiny:98"}))
    monkeypatch.setattr(sets, "Networks", tiny)
    monkeypatch.setattr(sets, "MIN_FRAMES", 20)
    monkeypatch.setattr(sets, "MIN_WINDOWS", 4)
    monkeypatch.setattr("core.executor.WorkerPool", Here)
    with inside(place) as params:
        for name in ("controls", "echo"):
            stages.sets.main(name, params)
    rows = {(r["system"], r["condition"], r["metric"]): r for name in ("controls", "echo")
            for r in rows_of(place, "sets", name, "sets")
            if r["metric"] in sets.PICTURES}
    echo, still = (rows[s, "self", "fid"] for s in ("echo", "still"))
    assert echo["network"] == "tiny:01234567" and echo["n"] == still["n"] and echo["region"] == "face" and echo["n_clips"] == 2
    assert 0 < echo["value"] < still["value"] / 3, "the source coded again is nearer than a still face"
    assert rows["echo", "self", "fvd"]["value"] < rows["still", "self", "fvd"]["value"]
    assert rows["real", "shuffled", "fid"]["reason"] == "is_the_reference"
