"""Track: following faces with finders and meshes of known behaviour, and real ones on real frames."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from core import media
from core.choose import FINDERS, MESHES
from core.params import Track as TrackParams
from core.records import Reject
from core.tracks import N_LANDMARKS, load_track
from stages.track import KEEP_SCORE, MAX_GAP, Face, Mapper, crop_box, follow
from tests.stages.sync_clips import rows_of

SHAPE = (240, 320, 3)
RNG = np.random.default_rng(5)
TEMPLATE = RNG.uniform(-0.4, 0.4, (N_LANDMARKS, 2)).astype(np.float32)
TEMPLATE -= (TEMPLATE.min(0) + TEMPLATE.max(0)) / 2


def frames(n, shape=SHAPE):
    """Each pixel carries its frame's number and its own place, so that a fake model knows what it sees, also of a part."""
    for f in range(n):
        frame = np.zeros(shape, np.uint8)
        x = np.arange(shape[1])
        frame[:, :, 0], frame[:, :, 1], frame[:, :, 2] = 2 * f + x % 2, np.arange(shape[0])[:, None], x // 2
        yield frame


def number(frame):
    return int(frame[0, 0, 0]) // 2


@dataclass
class Seen:
    box: np.ndarray
    score: float

    def moved(self, x, y):
        return Seen(self.box + np.float32([x, y, x, y]), self.score)


class World:
    """Faces with a box for every frame; both models look them up. A look at part of a frame (a closer one) sees what `close`
    says, and without it what a look at the whole frame sees."""

    def __init__(self, *faces, score=lambda k, f: 0.9, meshed=lambda k, f: True, close=None):
        self.faces, self.score, self.is_meshed, self.close, self.looks, self.close_looks = faces, score, meshed, close or score, [], []

    def find(self, frame, long_side=None):
        f = number(frame)
        if frame.shape != SHAPE:
            self.close_looks.append(f)
            corner = np.float32([2 * int(frame[0, 0, 2]) + frame[0, 0, 0] % 2, frame[0, 0, 1]] * 2)
            return [Seen(np.float32(face(f)) - corner, self.close(k, f)) for k, face in enumerate(self.faces)
                    if face(f) is not None and self.close(k, f) >= KEEP_SCORE]
        self.looks.append(f)
        return [Seen(np.float32(face(f)), self.score(k, f)) for k, face in enumerate(self.faces)
                if face(f) is not None and self.score(k, f) >= KEEP_SCORE]

    def points(self, frame, box, near=None):
        f, centre = number(frame), (np.asarray(box[:2]) + box[2:]) / 2
        for k, face in enumerate(self.faces):
            true = face(f)
            if true is not None and self.is_meshed(k, f) and np.all(np.abs(centre - middle(true)) < side(true) / 2):
                return shape_in(true), 0.9
        return None, 0.0


def middle(box):
    return (np.float32(box[:2]) + np.float32(box[2:])) / 2


def side(box):
    return box[2] - box[0]


def shape_in(box):
    """The mesh of a face: not centred on the finder's box, as in life."""
    return (TEMPLATE * side(box) + middle(box) + (0, 0.1 * side(box))).astype(np.float32)


def mover(x, y, size, dx=0.0, dy=0.0, only=None):
    return lambda f: None if only is not None and not only(f) else (x + dx * f, y + dy * f, x + dx * f + size, y + dy * f + size)


def run(world, n, **more):
    return follow(frames(n), world, world, **{"every": 5, "iou_least": 0.3, "start_score": 0.6} | more)


def test_one_moving_face_is_followed_on_every_frame():
    face = mover(60, 50, 80, dx=1.5, dy=0.7)
    world = World(face)
    (found,), n = run(world, 60)
    assert n == 60 and sorted(found.boxes) == list(range(60)) and sorted(found.points) == list(range(60))
    track = found.track(60, 1)
    assert np.abs(track.boxes - np.float32([face(f) for f in range(60)])).max() < 0.01, "between two looks the box moves with the mesh"
    assert np.abs(track.landmarks - np.stack([shape_in(face(f)) for f in range(60)])).max() < 0.01 and track.meshed.all()
    assert world.looks == [0, 5, 30], "the whole frame at first, and then at every sixth look, for who is new"
    assert world.close_looks == [15, 45], "the face alone at every third one, as long as its mesh fits"


def test_who_has_no_mesh_is_looked_for_every_fifth_frame():
    world = World(mover(20, 60, 70), mover(200, 60, 80), meshed=lambda k, f: k == 0)
    found, _ = run(world, 40)
    assert len(found) == 2 and set(range(0, 40, 5)) <= {*world.looks, *world.close_looks}


def test_two_faces_keep_to_themselves():
    left, right = mover(20, 60, 70, dx=0.8), mover(200, 60, 80, dx=-0.8)
    found, _ = run(World(left, right), 60)
    assert len(found) == 2
    for face, true in zip(sorted(found, key=lambda x: x.boxes[0][0]), (left, right), strict=True):
        assert np.abs(face.track(60, 1).boxes - np.float32([true(f) for f in range(60)])).max() < 0.01


def test_a_face_that_leaves_is_not_made_up():
    stays, goes = mover(20, 60, 70), mover(200, 60, 80, only=lambda f: f < 30)
    found, n = run(World(stays, goes), 90)
    shares = sorted(len(x.covered()) / n for x in found)
    assert len(found) == 2 and shares == [pytest.approx(30 / 90), 1.0]


def test_a_face_that_comes_back_late_is_another_track():
    face = mover(60, 60, 80, only=lambda f: f < 20 or f >= 20 + MAX_GAP + 10)
    found, _ = run(World(face), 100)
    assert [min(x.boxes) for x in found] == [0, 55] and max(found[0].boxes) == 19


def test_weak_detections_only_carry_on_a_face():
    def never_meshed(k, f):
        return False

    face = mover(60, 60, 80)
    weak_later, _ = run(World(face, score=lambda k, f: 0.9 if f < 10 else 0.4, meshed=never_meshed), 50)
    assert len(weak_later) == 1 and len(weak_later[0].covered()) == 50
    weak_always, _ = run(World(face, score=lambda k, f: 0.4), 50)
    assert weak_always == []


def test_a_closer_look_carries_a_face_on_but_begins_none():
    far = mover(120, 80, 40)  # the wide look misses it from frame 10 on
    world = World(far, score=lambda k, f: 0.9 if f < 10 else 0.1, meshed=lambda k, f: False, close=lambda k, f: 0.9)
    (found,), _ = run(world, 51)
    assert len(found.covered()) == 51 and np.abs(found.track(51, 1).boxes - np.float32(far(0))).max() <= 2
    assert run(World(far, score=lambda k, f: 0.1, close=lambda k, f: 0.9), 51)[0] == []


@pytest.mark.parametrize("n", range(50, 56))
def test_a_face_without_a_mesh_is_seen_until_the_end_between_two_looks(n):
    (found,), _ = run(World(mover(60, 60, 80), meshed=lambda k, f: False), n)
    assert len(found.covered()) == n
    (gone,), _ = run(World(mover(60, 60, 80, only=lambda f: f < 45), meshed=lambda k, f: False), n)
    assert len(gone.covered()) == 41


def test_a_short_gap_is_filled_along_a_line():
    gone = range(12, 30)  # 18 frames, less than MAX_GAP
    face = mover(40, 50, 80, dx=1.0, only=lambda f: f not in gone)
    found, _ = run(World(face), 60)
    assert len(found) == 1 and len(found[0].covered()) == 60
    track, whole = found[0].track(60, 1), mover(40, 50, 80, dx=1.0)
    assert np.abs(track.boxes - np.float32([whole(f) for f in range(60)])).max() < 0.01
    assert np.abs(track.landmarks - np.stack([shape_in(whole(f)) for f in range(60)])).max() < 0.01
    assert not track.meshed[12:30].any() and track.meshed[:12].all() and track.meshed[30:].all()


def test_a_lost_mesh_is_asked_for_at_once_and_found_again():
    face = mover(60, 60, 80, dx=0.5)
    world = World(face, meshed=lambda k, f: not 17 <= f < 33)
    (found,), _ = run(world, 60)
    assert 17 in world.close_looks, "the finder is asked in the frame where the mesh is lost"
    track = found.track(60, 1)
    assert len(found.covered()) == 60 and track.meshed[:17].all() and not track.meshed[17:33].any() and track.meshed[35:].all()
    assert np.abs(track.boxes - np.float32([face(f) for f in range(60)])).max() < 0.01


def test_a_mesh_that_comes_late_is_still_found():
    (found,), _ = run(World(mover(60, 60, 80), meshed=lambda k, f: f >= 60), 120)
    assert 60 <= min(found.points) <= 75 and sorted(found.points) == list(range(min(found.points), 120))


def test_a_face_that_never_fits_the_mesh_has_boxes_all_the_same():
    face = mover(60, 60, 80, dx=0.5)
    (found,), _ = run(World(face, meshed=lambda k, f: False), 51)
    track = found.track(51, 3)
    assert not track.meshed.any() and np.isfinite(track.landmarks).all()
    assert np.abs(track.boxes - np.float32([face(f) for f in range(51)])).max() < 0.01


def test_smoothing_halves_noise_and_keeps_a_line():
    noisy = Face(0, np.float32([0, 0, 80, 80]))
    rng = np.random.default_rng(2)
    for f in range(200):
        noisy.boxes[f] = np.float32([f, 0, f + 80, 80])
        noisy.points[f] = TEMPLATE * 80 + (f, 0) + rng.normal(0, 1, (N_LANDMARKS, 2))
    true = np.stack([TEMPLATE * 80 + (f, 0) for f in range(200)])
    raw, smooth = noisy.track(200, 1).landmarks - true, noisy.track(200, 3).landmarks - true
    assert smooth[1:-1].std() == pytest.approx(raw.std() * np.sqrt(3 / 8), rel=0.05)  # weights 1 2 1
    assert abs(smooth[1:-1].mean()) < 0.02


# ---- the stage's own verdicts -------------------------------------------------------------------------------------------------
@pytest.fixture
def mapper(monkeypatch):
    """A mapper with fake models, by which frames that went through a codec are known: they get their numbers and places back."""
    real = media.read_lazy_frames
    monkeypatch.setattr(media, "read_lazy_frames", lambda *a, **k: (f for f, _ in zip(frames(128), real(*a, **k), strict=False)))

    def make(world, tmp_path, n=50, **changes):
        media.write_video(tmp_path / "a.mp4", [np.full(SHAPE, 90, np.uint8)] * n)
        made = Mapper.__new__(Mapper)
        made._c = TrackParams().model_dump() | {"media": str(tmp_path), "threads": 1, "finder": ("yunet", ""), "mesh": ("mediapipe", ""),
                                                "names": {"finder": "fake:1", "landmarker": "fake:2"}} | changes
        world.is_meshed = lambda k, f: False
        made._finder = made._mesh = world
        return made

    return make


def row(n=50):
    return {"clip_id": "a-c0", "recording_id": "a", "corpus": "c", "language": "en", "speaker": None, "cluster": "recording:a",
            "kind": "real", "file": "a.mp4", "start_frame": 0, "n_frames": n}


@pytest.mark.parametrize("face, reason, says", [
    (mover(0, 0, 80, only=lambda f: False), "no_face", "50 frames"),
    (mover(60, 60, 30), "face_too_small", "30 pixels"),
    (mover(60, 60, 80, only=lambda f: f < 20), "face_lost", "16 of 50 frames"),
])
def test_a_clip_without_a_steady_face_is_refused_with_figures(face, reason, says, mapper, tmp_path):
    with pytest.raises(Reject) as caught:
        mapper(World(face), tmp_path)(row())
    assert caught.value.reason == reason and says in caught.value.detail and "a-c0" in caught.value.detail


def test_tracks_of_a_clip_go_from_left_to_right(mapper, tmp_path):
    # The finder names the right one first.
    made = mapper(World(mover(200, 60, 80), mover(20, 60, 70)), tmp_path, n=51)(row(51))["tracks"]
    assert [(t["track_id"], t["track_index"]) for t in made] == [("a-c0-t0", 0), ("a-c0-t1", 1)]
    assert [load_track(t).boxes[0, 0] for t in made] == [20, 200]
    assert all(t["face_share"] == 1 and t["mesh_share"] == 0 and t["finder"] == "fake:1" for t in made)


@pytest.mark.parametrize(("box", "left"), [
    ({"box": [0.5, 0.0, 1.0, 1.0], "box_unit": "share"}, [200]),
    ({"box": [0, 0, 480, 720], "box_unit": "px", "box_frame_height": 720}, [20]),  # thrice the size of what came
    ({"box": [0, 0, 150, 240], "box_unit": "px"}, [20]),
    ({"box": [0, 0, 1000, 1000], "box_unit": "px"}, [20, 200]),  # of another, unknown size
    ({}, [20, 200])], ids=["share", "known height", "pixels", "unknown height", "none"])
def test_only_faces_in_the_box_of_the_index_are_tracked(box, left, mapper, tmp_path):
    made = mapper(World(mover(200, 60, 80), mover(20, 60, 70)), tmp_path, n=51)(row(51) | box)["tracks"]
    assert [load_track(t).boxes[0, 0] for t in made] == left


def test_a_box_without_a_face_in_it_is_a_reject_that_says_so(mapper, tmp_path):
    with pytest.raises(Reject, match="no_face: a-c0: 1 found, none in the box 0 0 160 48 that the index gives"):
        mapper(World(mover(60, 100, 80)), tmp_path)(row() | {"box": [0, 0, 0.5, 0.2], "box_unit": "share"})


def test_the_box_comes_from_what_the_index_said_of_the_recording():
    assert crop_box(json.dumps({"box": [0, 0, 1, 1], "box_unit": "share",
                                "video": "v"})) == {"box": [0, 0, 1, 1], "box_unit": "share"}
    assert crop_box(None) == crop_box("{}") == {}


def test_a_clip_whose_frames_do_not_come_is_refused(mapper, tmp_path):
    with pytest.raises(Reject) as caught:
        mapper(World(mover(60, 60, 80)), tmp_path, n=40)(row(51))
    assert caught.value.reason == "decode_error" and "40 of 51" in caught.value.detail and "a.mp4" in caught.value.detail


# ---- real models --------------------------------------------------------------------------------------------------------------
def test_tracks_of_synthetic_faces_lie_on_their_truth(talkers):
    from core.shards import unpack

    truth = {t["recording_id"]: t for t in rows_of(talkers, "download", "synthetic-en", "truth")}
    tracks = rows_of(talkers, "track", "synthetic-en", "tracks")
    assert sorted(t["recording_id"] for t in tracks) == sorted(truth)
    for one in tracks:
        assert one["face_share"] == 1 and one["mesh_share"] >= 0.9
        assert one["finder"].split(":")[0] in FINDERS and one["landmarker"].split(":")[0] in MESHES
        known = truth[one["recording_id"]]
        points = unpack(known["points"], np.float32, (one["n_frames"], -1, 2))
        got = load_track(one).landmarks[:, known["point_indices"]]
        assert np.median(np.linalg.norm(got - points, axis=-1)) < 0.08 * one["face_px"]


def test_two_people_in_one_shot_are_two_tracks(shared):
    config = TrackParams().model_dump() | {"media": str(shared / "real" / "clips"), "threads": 1,
                                           "names": {"finder": "f", "landmarker": "m"},
                                           "finder": ("yunet", str(shared / "models" / "yunet_n_dynamic.onnx")),
                                           "mesh": ("mediapipe",
                                                    str(shared / "models" / "face_landmarker_v2_with_blendshapes.task"))}
    n = media.frame_count(shared / "real" / "clips" / "two_speakers.mp4")
    left, right = Mapper(config)(row() | {"file": "two_speakers.mp4", "n_frames": n})["tracks"]
    assert left["n_frames"] == right["n_frames"] == 272 and min(left["face_share"], right["face_share"]) >= 0.98
    assert load_track(left).boxes[:, 2].max() < load_track(right).boxes[:, 0].min()
    assert left["mesh_share"] > 0.98 and right["mesh_share"] < 0.2, "the man on the right wears a mask"
