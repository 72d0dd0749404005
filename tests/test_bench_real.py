"""What `bench.real` reads off tracks, and that its limits can be missed. tests/stages/test_real.py runs it over real clips."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench import real
from core.tracks import Track
from models.experts.finder import Detection
from stages.track import Face


def followed(rng: np.random.Generator, n_frames: int) -> tuple[Track, set[int]]:
    """A face as the stage follows it: finder boxes at some frames, mesh points at runs of others; and where it was seen."""
    looks = sorted({int(f) for f in rng.choice(n_frames, max(2, n_frames // 6), replace=False)})
    face = Face(looks[0], np.float32(rng.uniform(0, 900, 4)))
    for f in looks[1:]:
        face.found(f, np.float32(rng.uniform(0, 900, 4)))
    for f in looks[::3]:
        for k in range(f, min(f + 4, n_frames)):
            face.meshed(k, np.float32(rng.uniform(0, 900, (468, 2))))
    seen = set(face.boxes)
    face.boxes[n_frames - 1] = face.boxes[max(face.boxes)]  # as `follow` does where the last look saw it
    return face.track(n_frames, 1), seen


@pytest.mark.parametrize("seed", range(20))
def test_a_frame_was_seen_where_the_boxes_bend_or_the_mesh_fitted(seed):
    rng = np.random.default_rng(seed)
    track, seen = followed(rng, int(rng.integers(12, 120)))
    assert set(np.flatnonzero(real.seen(track)).tolist()) == seen


def test_a_still_box_without_a_mesh_is_not_said_to_be_seen():
    still = Track(np.tile(np.float32([10, 10, 60, 60]), (8, 1)), np.zeros((8, 468, 2), np.float32), np.zeros(8, bool))
    assert not real.seen(still).any() and real.longest(~real.seen(still)) == 8
    assert real.longest(np.array([1, 1, 0, 1, 0, 0], bool)) == 2 and real.longest(np.zeros(3, bool)) == 0


def test_only_the_frames_asked_for_are_looked_at_again_and_another_face_does_not_count():
    boxes = np.tile(np.float32([100, 40, 160, 100]), (4, 1))
    track = Track(boxes, np.zeros((4, 468, 2), np.float32), np.zeros(4, bool))
    looked = []

    class Finder:
        def find(self, rgb, long_side=None):
            """A face of 60 pixels where the picture is bright."""
            looked.append(rgb.shape)
            y, x = np.nonzero(rgb[..., 0] > 128)
            box = np.float32([x.min(), y.min(), x.max() + 1, y.max() + 1]) if len(x) else None
            return [] if box is None else [Detection(box, 0.9, np.zeros((5, 2), np.float32))]

    frames = np.zeros((4, 120, 320, 3), np.uint8)
    frames[[0, 1], 40:100, 100:160] = 255
    frames[2, 40:100, 250:310] = 255  # somebody else, far from where the face should be
    found = real.look_again(Finder(), frames, track, np.array([False, True, True, True]), 0.3)
    assert found.tolist() == [False, True, False, False]
    assert looked == [(120, 180, 3)] + [(120, 180, 3), (120, 320, 3)] * 2


def face(**changes) -> dict:
    return {"track_id": "a-c0-t0", "clip_id": "a-c0", "file": "a.mp4", "n_frames": 50, "face_px": 90.0, "counted": 1.0,
            "meshed": 1.0, "seen": 1.0, "found": 1.0, "longest_unseen": 0, "left_px": 3.0, "end": "kept"} | changes


KEPT = {"item": "a-c0-t0", "stage": None, "reason": None, "detail": ""}


@pytest.mark.parametrize(("changes", "says"), [
    ({"n_rows": 2}, "2 rows in the index, 1 files"), ({"files": {"a.mp4": []}}, "nothing became of it"),
    ({"files": {"a.mp4": [KEPT | {"stage": "crop", "reason": "lost", "detail": "neither kept nor rejected"}]}}, "neither"),
    ({"faces": [face(counted=0.97)]}, "counted in 97.0%"), ({"faces": [face(found=0.5)]}, "found in 50.0%"),
    ({"faces": [face(found=float("nan"))]}, "found in nan%"), ({"faces": []}, "no face")])
def test_each_of_its_limits_can_be_missed(changes, says):
    good = {"n_rows": 1, "files": {"a.mp4": [KEPT]}, "faces": [face(seen=0.2)], "sheets": []}
    assert real.judged(good)["passes"]
    result = real.judged(good | changes)
    (problem,) = result["problems"]
    assert says in problem and not result["passes"] and f"MISSED: {problem}" in real.text(result)


def test_a_folder_that_is_no_workspace_is_an_error_of_one_line(tmp_path, capsys):
    assert real.main(["--workspace", str(tmp_path)]) == 2
    assert real.main([str(tmp_path), "--workspace", str(tmp_path / "w")]) == 2  # no index in it
    assert capsys.readouterr().err.count("bench.real: ") == 2
    json.dumps(real.judged({"n_rows": 0, "files": {}, "faces": [], "sheets": []}), allow_nan=False)
