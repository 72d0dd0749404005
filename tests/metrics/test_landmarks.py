"""Lip distance, opening and correlation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import landmarks as lm


def face(n: int = 30, seed: int = 0) -> np.ndarray:
    """A mesh of n frames with the eye corners 100 px apart and a mouth that opens and closes: float64 (n, 478, 2)."""
    rng = np.random.default_rng(seed)
    mesh = np.repeat(rng.uniform(0, 200, (1, 478, 2)), n, 0)
    mesh[:, 33], mesh[:, 263] = (50, 60), (150, 60)
    opening = 10 + 10 * np.sin(np.arange(n) / 3 + seed)
    mesh[:, 13], mesh[:, 14] = (100, 140), np.stack([np.full(n, 100), 140 + opening], axis=1)
    return mesh


def test_the_same_lips_have_distance_zero():
    for variant in ("normalised", "published", "script"):
        assert lm.landmark_distance(face(), face(), variant) == 0


def test_one_point_moved_by_hand():
    moved = face()
    moved[:, 61] += (20, 0)  # its centroid moves by 1 with it: 19 for the point, 1 for each of the other 19
    assert lm.landmark_distance(face(), moved, "script") == pytest.approx(38)
    assert lm.landmark_distance(face(), moved, "published") == pytest.approx(38 / 20)
    assert lm.landmark_distance(face(), moved) == pytest.approx(38 / 20 / 100)


@given(st.floats(-200, 200), st.floats(-200, 200), st.floats(0.1, 10))
def test_moving_the_head_and_scaling_the_picture_change_nothing(x, y, k):
    real, made = face(10, 0), face(10, 1)
    expected = lm.landmark_distance(real, made)
    assert expected > 0
    assert lm.landmark_distance(real, made + np.array([x, y])) == pytest.approx(expected)
    assert lm.landmark_distance(real * k, made * k) == pytest.approx(expected)
    published = lm.landmark_distance(real, made, "published")
    assert lm.landmark_distance(real * k, made * k, "published") == pytest.approx(k * published)


def test_the_real_face_gives_the_unit():
    made = face(10, 1)
    made[:, 263] = (350, 60)  # the generated face's eyes are three times as far apart
    assert lm.landmark_distance(face(10, 0), made) == pytest.approx(lm.landmark_distance(face(10, 0), face(10, 1)))


def test_points_outside_the_mouth_do_not_count():
    made = face()
    others = np.setdiff1d(np.arange(478), lm.MOUTH)
    made[:, others] += 50
    assert lm.landmark_distance(face(), made) == 0
    assert len(set(lm.MOUTH.tolist())) == 20 and lm.MOUTH.max() < 468


def test_the_opening_is_the_inner_gap_over_the_eyes():
    np.testing.assert_allclose(lm.mouth_opening(face()), (10 + 10 * np.sin(np.arange(30) / 3)) / 100)
    closed = face()
    closed[:, 14] = closed[:, 13]
    assert (lm.mouth_opening(closed) == 0).all()


def test_the_mouth_of_a_real_face_lies_below_its_nose(shared):
    """The index table, checked on MediaPipe's own mesh of a real face where the model is there."""
    pytest.importorskip("mediapipe")
    bundle = shared / "models" / "face_landmarker_v2_with_blendshapes.task"
    if not bundle.is_file():
        pytest.skip("no face landmarker bundle")
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions, vision

    from core import media

    frame = next(iter(media.read_frames(shared / "real" / "clips" / "hdtf_katiehill.mp4", stop=1)))
    with vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(bundle)))
    ) as landmarker:
        face_points = landmarker.detect(Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(frame))).face_landmarks[0]
    mesh = np.array([(p.x * frame.shape[1], p.y * frame.shape[0]) for p in face_points])[None]
    eyes, mouth = lm.eye_distance(mesh)[0], mesh[0, lm.MOUTH]
    assert mesh[0, 33, 0] < mesh[0, 263, 0]
    assert mouth[:, 1].min() > mesh[0, 2, 1]  # all below the underside of the nose
    assert 0.3 < np.ptp(mouth[:, 0]) / eyes < 0.9 and np.ptp(mouth[:, 1]) / eyes < 0.6
    assert mouth[0, 0] == mouth[:, 0].min() and mouth[6, 0] == mouth[:, 0].max()  # 61 and 291 are the corners
    assert 0 <= lm.mouth_opening(mesh)[0] < 0.5


def test_correlation_equals_numpy_s():
    rng = np.random.default_rng(0)
    a = rng.normal(size=50)
    b = 0.4 * a + rng.normal(size=50)
    assert lm.opening_correlation(a, b).value == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert lm.opening_correlation(a, 3 * a + 7) == (pytest.approx(1), None)
    assert lm.opening_correlation(a, -a).value == pytest.approx(-1)


@pytest.mark.parametrize("constant", [np.zeros(20), np.full(20, 0.1), 0.1 + 1e-13 * np.arange(20)])
def test_a_still_mouth_has_no_correlation(constant):
    moving = np.sin(np.arange(20))
    assert lm.opening_correlation(constant, moving) == (None, "constant_series")
    assert lm.opening_correlation(moving, constant) == (None, "constant_series")


def test_two_frames_have_no_correlation():
    assert lm.opening_correlation(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == (None, "too_short")
    assert lm.opening_correlation(np.array([]), np.array([])) == (None, "too_short")


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30), st.lists(st.floats(-1, 1), min_size=30, max_size=30))
def test_correlation_stays_in_range_or_says_why(a, b):
    value, reason = lm.opening_correlation(np.array(a), np.array(b[: len(a)]))
    assert (value is None) == (reason is not None)
    assert value is None or -1 <= value <= 1


def test_unusable_landmarks_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        lm.landmark_distance(face(3), face(4))
    with pytest.raises(ValueError, match="at least one frame"):
        lm.mouth_opening(face()[:0])
    with pytest.raises(ValueError, match="468"):
        lm.mouth_opening(face()[:, :68])
    with pytest.raises(ValueError, match="NaN"):
        lm.mouth_opening(face() * np.nan)
    with pytest.raises(ValueError, match="coincide"):
        lm.mouth_opening(np.ones((2, 478, 2)))
    with pytest.raises(ValueError, match="variant"):
        lm.landmark_distance(face(), face(), "sum")
    with pytest.raises(ValueError, match="one length"):
        lm.opening_correlation(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="NaN"):
        lm.opening_correlation(np.array([1, 2, np.nan]), np.ones(3))
