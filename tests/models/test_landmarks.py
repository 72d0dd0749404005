"""Landmarks on real faces: both networks against MediaPipe's own FaceLandmarker, the finder's points, and moved pictures."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from core import media, weights
from models.experts.finder import open_finder
from models.experts.landmarks import LEFT_EYE, RIGHT_EYE, open_landmarker

CLIPS = ("av2av_1.webm", "av2av_5.webm", "av2av_7.webm", "fps30_4.mp4", "grid_bbaf2n.mpg", "grid_lbbc2a.mpg",
         "hdtf_katiehill.mp4", "noaudio_face.mp4", "portrait_hevc_1080x1920.mp4", "syncnet_example.avi",
         "vfr_1.mp4", "vox_00010.mp4", "vox_00373.mp4")
FRONTAL = "hdtf_katiehill.mp4"


@lru_cache(maxsize=60)
def frame(path: Path, index: int) -> np.ndarray:
    return next(iter(media.read_frames(path, start=index, stop=index + 1)))


@pytest.fixture(scope="module")
def bundle(shared):
    return open_landmarker(shared / "models" / "face_landmarker_v2_with_blendshapes.task", "mediapipe")


@pytest.fixture(scope="module")
def official(shared):
    """A function from a frame and a box to the points of MediaPipe's own FaceLandmarker in a crop of 1.8 boxes, or None."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    net = vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(shared / "models" / "face_landmarker_v2_with_blendshapes.task"))))

    def points(rgb, box):
        side = round(1.8 * float(max(box[2:] - box[:2])))
        left, top = (round(float(c) - side / 2) for c in (box[:2] + box[2:]) / 2)
        wide = np.pad(rgb, ((side, side), (side, side), (0, 0)))[top + side:top + 2 * side, left + side:left + 2 * side]
        faces = net.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB,
                                           data=np.ascontiguousarray(wide))).face_landmarks
        return np.array([(p.x, p.y) for p in faces[0]]) * side - 0.5 + (left, top) if faces else None

    yield points
    net.close()


@pytest.fixture(scope="module")
def mesh_file() -> Path:
    try:
        return weights.find("mesh").path
    except weights.WeightsMissing as error:
        pytest.skip(f"the face mesh is not on this machine and cannot be fetched: {error}")


@pytest.fixture(scope="module")
def mesh(mesh_file):
    return open_landmarker(mesh_file, "facemesh")


@pytest.fixture(scope="module")
def faces(shared):
    """(frame, box, YuNet's five points) for two frames of every clip."""
    finder = open_finder(shared / "models" / "yunet_n_dynamic.onnx")
    found = {}
    for clip in CLIPS:
        for index in (0, 20):
            rgb = frame(shared / "real" / "clips" / clip, index)
            face = finder.find(rgb)[0]
            found[clip, index] = rgb, face.box, face.points
    return found


def eye_distance(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[LEFT_EYE] - points[RIGHT_EYE]))


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of the shared 468 points over the eye distance of the first."""
    return float(np.linalg.norm(a[:468] - b[:468], axis=1).mean()) / eye_distance(a)


def both(request) -> list:
    return [request.getfixturevalue("bundle"), request.getfixturevalue("mesh")]


def test_every_face_is_meshed_where_the_finder_saw_it(request, faces):
    for landmarker in both(request):
        for rgb, box, five in faces.values():
            points, score = landmarker.points(rgb, box)
            assert points.shape == (landmarker.n_points, 2) and points.dtype == np.float32 and 0.5 <= score <= 1
            middle = (points.min(axis=0) + points.max(axis=0)) / 2
            assert (middle > box[:2]).all() and (middle < box[2:]).all()
            # Nose tip and mouth corners in the mesh's order, against YuNet's nose and mouth corners.
            assert np.abs(points[[1, 61, 291]] - five[2:]).max() < 0.2 * (box[3] - box[1])


@pytest.mark.parametrize(("kind", "near", "far"), [("bundle", 0.02, 0.06), ("mesh", 0.03, 0.06)])
def test_both_agree_with_mediapipes_own_landmarker(request, official, faces, kind, near, far):
    landmarker = request.getfixturevalue(kind)
    gaps = [gap(official(rgb, box), landmarker.points(rgb, box)[0]) for rgb, box, _ in faces.values()]
    assert len(gaps) == 26 and np.median(gaps) < near and np.mean(gaps) < near and max(gaps) < far


@pytest.mark.parametrize("kind", ["bundle", "mesh"])
def test_it_goes_on_from_the_frame_before_in_one_pass(request, kind, faces, monkeypatch):
    mesh, passes = request.getfixturevalue(kind), []
    run = type(mesh)._run
    monkeypatch.setattr(type(mesh), "_run", lambda self, *args: passes.append(1) or run(self, *args))
    for (clip, index), (rgb, box, _) in faces.items():
        whole, _ = mesh.points(rgb, box)
        passes.clear()
        going_on, score = mesh.points(rgb, box, near=whole)
        assert len(passes) == 1 and score >= 0.5, (clip, index)
        assert gap(whole, going_on) < 0.03, (clip, index)
        passes.clear()
        lost, _ = mesh.points(rgb, box, near=whole + 10 * eye_distance(whole))
        assert len(passes) == 3 and gap(whole, lost) < 1e-6, "points of another place: the box is searched after all"


def test_points_move_with_the_picture(request, faces):
    rgb, box, _ = faces[FRONTAL, 0]
    for landmarker in both(request):
        before, _ = landmarker.points(rgb, box)
        moved, _ = landmarker.points(np.pad(rgb, ((40, 0), (70, 0), (0, 0))), box + np.float32([70, 40, 70, 40]))
        assert gap(before, moved - (70, 40)) < 0.005
        shrunk, _ = landmarker.points(rgb[::2, ::2], (box - 0.5) / 2)
        assert gap(before, shrunk * 2) < 0.03
        # The person's right is the mirrored picture's left.
        far = rgb.shape[1] - 1
        mirrored, _ = landmarker.points(rgb[:, ::-1].copy(), np.float32([far - box[2], box[1], far - box[0], box[3]]))
        assert mirrored[RIGHT_EYE, 0] < mirrored[LEFT_EYE, 0]


def test_a_turned_head_is_followed(request, faces):
    import cv2

    rgb, box, _ = faces[FRONTAL, 0]
    height, width = rgb.shape[:2]
    turn = cv2.getRotationMatrix2D((float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2), 25, 1.0)
    for landmarker in both(request):
        before, _ = landmarker.points(rgb, box)
        after, _ = landmarker.points(cv2.warpAffine(rgb, turn, (width, height)), box)
        assert gap(before @ turn[:, :2].T + turn[:, 2], after) < 0.04


def test_the_box_may_be_loose_or_hang_over_the_edge(request, faces):
    rgb, box, _ = faces[FRONTAL, 0]
    side = float(box[2] - box[0])
    for landmarker in both(request):
        before, _ = landmarker.points(rgb, box)
        for grow, shift in ((0.1, 0.0), (-0.08, 0.0), (0.0, 0.08)):
            other = box + np.float32([shift - grow, -grow, shift + grow, grow]) * side
            assert gap(before, landmarker.points(rgb, other)[0]) < 0.03
        x0, y0 = int(box[0] + 0.1 * side), int(box[1])
        cut, _ = landmarker.points(np.ascontiguousarray(rgb[y0:, x0:]), box - np.float32([x0, y0, x0, y0]))
        assert cut is not None and gap(before, cut + (x0, y0)) < 0.08


def test_nothing_is_meshed_where_no_face_is(request, shared):
    slides = frame(shared / "real" / "clips" / "noface_slides.mp4", 300)
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for landmarker in both(request):
        for rgb, box in ((slides, [400, 300, 700, 650]), (noise, [80, 80, 220, 240]), (noise * 0, [0, 0, 90, 90]),
                         (noise, [-900, -900, -700, -700])):
            points, score = landmarker.points(rgb, np.float32(box))
            assert points is None and score < 0.5


def test_a_neighbour_is_not_taken_for_the_face_in_the_box(bundle, faces):
    rgb, box, _ = faces[FRONTAL, 0]
    for share in (0.5, 0.75, 1.1):
        assert bundle.points(rgb, box + np.float32([share, 0, share, 0]) * (box[2] - box[0]))[0] is None


def test_the_same_bytes_every_time(request, shared, mesh_file, faces):
    rgb, box, _ = faces["vox_00010.mp4", 0]
    other, its_box, _ = faces["grid_bbaf2n.mpg", 0]
    for landmarker in both(request):
        before = landmarker.points(rgb, box)[0].tobytes()
        landmarker.points(other, its_box)
        assert landmarker.points(rgb, box)[0].tobytes() == before
    assert open_landmarker(mesh_file, "facemesh").points(rgb, box)[0].tobytes() == before


def test_a_model_is_not_taken_for_another(shared, mesh_file, tmp_path):
    """A mesh given as the bundle, a bundle or another network given as the mesh, and plain mistakes."""
    with pytest.raises(ValueError, match="face_landmark.tflite: cannot be read as the model of landmarker 'mediapipe'"):
        open_landmarker(mesh_file, "mediapipe")
    for file in ("face_landmarker_v2_with_blendshapes.task", "blaze_face_short_range.tflite"):
        with pytest.raises(ValueError, match=f"{file}: cannot be read as the model of landmarker 'facemesh'"):
            open_landmarker(shared / "models" / file, "facemesh")
    with pytest.raises(ValueError, match="'dlib'.*facemesh, mediapipe"):
        open_landmarker(mesh_file, "dlib")
    with pytest.raises(ValueError, match="no such model file"):
        open_landmarker(tmp_path / "nothing", "facemesh")


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [9, 9, 5, 5], [0, 0, np.nan, 5]])
def test_a_box_without_area_is_an_error(request, box):
    for landmarker in both(request):
        with pytest.raises(ValueError, match="expected a box x0 y0 x1 y1"):
            landmarker.points(np.zeros((50, 50, 3), np.uint8), np.float32(box))
