"""Unknown speakers told apart by voice or face: who is left alone, what the clusters are called, what is said when it cannot be
done."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import core.weights
from core import media
from core.shards import shard_path, write_table
from core.stage import UserError
from metrics.clusters import purity
from stages.speakers import named_by
from tests.models.test_speaker import voice
from tests.stages.sync_clips import fabricated_track
from tests.stages.test_split import params_for, row


def asking(**changes):
    params = params_for()
    return params.model_copy(update={"split": params.split.model_copy(update=changes)})


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """Four speakers of three recordings each, none of them labelled, and one that is."""
    folder = tmp_path_factory.mktemp("heard")
    rows, clips = [], []
    for s in range(4):
        for k in range(3):
            rows.append(row("en", None, f"s{s}k{k}"))
            clips.append({"clip_id": rows[-1]["clip_id"], "recording_id": rows[-1]["recording_id"],
                          "audio": media.encode_flac(voice(s, k))})
    rows += [row("en", "known", "kn"), row("en", None, "mute"), row("en", None, "film", kind="generated")]
    clips += [{"clip_id": "en-kn-c0", "recording_id": "en-kn", "audio": media.encode_flac(voice(0, 9))},
              {"clip_id": "en-mute-c0", "recording_id": "en-mute", "audio": media.encode_flac(np.zeros(800, np.int16))}]
    for tag in ("en", "fi", "ru", "tr", "zh"):
        write_table(shard_path(folder / "data/segment" / f"toy-{tag}", "clips", 0), clips if tag == "en" else [], "clips")
    return folder, rows


def test_voices_become_clusters(heard):
    folder, rows = heard
    with contextlib.chdir(folder):
        named, weights = named_by(rows, asking(cluster_speakers="voice"))
        again, _ = named_by(rows[::-1], asking(cluster_speakers="voice"))
    assert weights == {} and [r["track_id"] for r in named] == [r["track_id"] for r in rows] and again[::-1] == named
    found = [r["cluster"] for r in named[:12]]
    assert min(purity(found, [k // 3 for k in range(12)])) > 0.9 and set(found) <= {f"alike:{r['recording_id']}" for r in rows}
    assert [r["cluster"] for r in named[12:]] == ["speaker:known", "recording:en-mute", "recording:en-film"]


def test_by_default_everybody_is_left_alone(heard):
    _, rows = heard
    assert named_by(rows, params_for()) == (rows, {})


def test_the_limit_is_a_param(heard):
    folder, rows = heard
    with contextlib.chdir(folder):
        (strict, _), (lax, _) = (named_by(rows, asking(cluster_speakers="voice", speaker_distance=d)) for d in (1e-6, 1e6))
    assert len({r["cluster"] for r in strict[:12]}) == 12 and len({r["cluster"] for r in lax[:12]}) == 1


def test_a_model_that_is_not_there_is_named(heard, monkeypatch, tmp_path):
    folder, rows = heard
    with contextlib.chdir(folder), pytest.raises(UserError, match="split.speaker_model: nowhere.bin: no such pyannote embedding"):
        named_by(rows, asking(cluster_speakers="voice", speaker_model="nowhere.bin"))
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path))

    def none(name, **_):
        raise core.weights.WeightsMissing(core.weights.missing(name))

    monkeypatch.setattr(core.weights, "find", none)
    with contextlib.chdir(folder), pytest.raises(core.weights.WeightsMissing, match="(?s)face_recognition_sface"):
        named_by(rows, asking(cluster_speakers="face"))


def test_faces_become_clusters(tmp_path, monkeypatch):
    """The largest face of each recording, through a stand-in for the network: it embeds the colour of what it is shown."""
    import models.experts.identity as identity

    class Colour:
        def embed(self, frames, points):
            assert points.shape == (1, 5, 2)
            return np.stack([frames[0].reshape(-1, 3).mean(0)]).astype(np.float32)

    monkeypatch.setattr(identity, "open_recognizer", lambda path: Colour())
    rows, tracks, place = [], [], tmp_path / "data/download/toy-en/media"
    place.mkdir(parents=True)
    colours = {"r0": (200, 20, 20), "r1": (20, 200, 20), "r2": (190, 25, 20), "r3": (25, 190, 30)}
    for name, colour in colours.items():
        media.write_video(place / f"en-{name}.mp4", [np.full((64, 64, 3), colour, np.uint8)] * 25)
        r = row("en", None, name) | {"file": f"en-{name}.mp4", "start_frame": 0, "n_frames": 25}
        rows.append(r)
        tracks.append(fabricated_track(r, (8, 8, 56, 56), np.random.default_rng(0)))
    for tag in ("en", "fi", "ru", "tr", "zh"):
        write_table(shard_path(tmp_path / "data/track" / f"toy-{tag}", "tracks", 0), tracks if tag == "en" else [], "tracks")
    model = tmp_path / "face.onnx"
    model.write_bytes(b"model")
    with contextlib.chdir(tmp_path):
        named, weights = named_by(rows, asking(cluster_speakers="face", speaker_model=str(model), speaker_distance=0.2))
    assert [r["cluster"] for r in named] == ["alike:en-r0", "alike:en-r1", "alike:en-r0",
                                             "alike:en-r1"] and len(weights["speaker"]) == 64
