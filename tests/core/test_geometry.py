"""Similarities, boxes and smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import geometry as geo

shift = st.floats(-500, 500)
similarities = st.builds(
    lambda k, a, x, y: np.array([[k * np.cos(a), -k * np.sin(a), x], [k * np.sin(a), k * np.cos(a), y]]),
    st.floats(0.05, 20),
    st.floats(-np.pi, np.pi),
    shift,
    shift,
)
POINTS = np.random.default_rng(3).uniform(-200, 200, (12, 2))


@given(similarities)
def test_a_similarity_is_recovered_from_points(m):
    np.testing.assert_allclose(geo.similarity_from_points(POINTS, geo.apply(m, POINTS)), m, atol=1e-9)


@given(similarities, similarities)
def test_compose_and_invert(a, b):
    np.testing.assert_allclose(geo.apply(geo.compose(b, a), POINTS), geo.apply(b, geo.apply(a, POINTS)), atol=1e-6)
    np.testing.assert_allclose(geo.apply(geo.invert(a), geo.apply(a, POINTS)), POINTS, atol=1e-6)
    np.testing.assert_allclose(geo.compose(a, geo.invert(a)), np.eye(2, 3), atol=1e-6)


@given(similarities, similarities)
def test_scale_multiplies(a, b):
    assert geo.scale_of(geo.compose(b, a)) == pytest.approx(geo.scale_of(a) * geo.scale_of(b))


def test_noisy_points_get_the_least_squares_answer_of_scikit_image():
    transform = pytest.importorskip("skimage.transform")
    rng = np.random.default_rng(0)
    dst = POINTS @ np.array([[0.8, 0.6], [-0.6, 0.8]]) * 1.7 + rng.normal(0, 15, POINTS.shape)
    reference = transform.SimilarityTransform.from_estimate(POINTS, dst)
    np.testing.assert_allclose(geo.similarity_from_points(POINTS, dst), reference.params[:2], atol=1e-8)


def test_a_mirrored_face_is_not_mirrored_back():
    m = geo.similarity_from_points(POINTS, POINTS * [-1, 1])
    assert np.linalg.det(m[:, :2]) > 0


def test_stacks_work_like_single_transforms():
    src = np.stack([POINTS, POINTS * 2 + 5])
    dst = np.broadcast_to(POINTS[::-1], src.shape)
    stack = geo.similarity_from_points(src, dst)
    assert stack.shape == (2, 2, 3)
    for i in range(2):
        np.testing.assert_allclose(stack[i], geo.similarity_from_points(src[i], dst[i]))
        np.testing.assert_allclose(geo.invert(stack)[i], geo.invert(stack[i]))
        np.testing.assert_allclose(geo.apply(stack, src)[i], geo.apply(stack[i], src[i]))
        np.testing.assert_allclose(geo.compose(stack[0], stack)[i], geo.compose(stack[0], stack[i]))
    np.testing.assert_allclose(geo.scale_of(stack)[1], geo.scale_of(stack[1]))


@pytest.mark.parametrize(
    "src, dst, match",
    [
        (np.ones((4, 2)), POINTS[:4], "coincide"),
        (POINTS[:3], POINTS[:4], "both be"),
        (POINTS[:1], POINTS[:1], "n >= 2"),
        (np.full((3, 2), np.nan), POINTS[:3], "finite"),
    ],
)
def test_points_that_define_nothing_are_refused(src, dst, match):
    with pytest.raises(ValueError, match=match):
        geo.similarity_from_points(src, dst)


def test_a_singular_transform_cannot_be_inverted():
    with pytest.raises(ValueError, match="singular"):
        geo.invert(np.zeros((2, 3)))


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 500), st.integers(8, 256))
def test_a_window_s_edges_become_the_view_s_edges(x0, y0, side, size):
    m = geo.from_window(x0, y0, side, size)
    corners = np.array([(x0 - 0.5, y0 - 0.5), (x0 + side - 0.5, y0 + side - 0.5)])
    np.testing.assert_allclose(geo.apply(m, corners), [(-0.5, -0.5), (size - 0.5, size - 0.5)], atol=1e-6)


def test_zoom_keeps_the_edges():
    np.testing.assert_allclose(geo.apply(geo.zoom(4), np.array([(-0.5, 9.5)])), [(-0.5, 39.5)])


def test_iou_of_known_boxes():
    a = [(0, 0, 2, 2), (0, 0, 0, 0)]
    b = [(0, 0, 2, 2), (1, 1, 3, 3), (5, 5, 6, 6), (1, 0, 2, 2)]
    np.testing.assert_allclose(geo.iou(a, b), [[1, 1 / 7, 0, 0.5], [0, 0, 0, 0]])
    assert geo.iou(np.zeros((0, 4)), b).shape == (0, 4)


boxes = st.tuples(shift, shift, st.floats(0.1, 300), st.floats(0.1, 300)).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(boxes, boxes)
def test_iou_is_symmetric_and_between_0_and_1(a, b):
    value = geo.iou([a], [b])[0, 0]
    assert 0 <= value <= 1 + 1e-9 and value == pytest.approx(geo.iou([b], [a])[0, 0])
    assert geo.iou([a], [a])[0, 0] == pytest.approx(1)


def test_boxes_and_their_parts():
    centre, half = geo.box_centre_and_half([(10, 20, 30, 80)])
    assert centre.tolist() == [[20, 50]] and half.tolist() == [30]
    np.testing.assert_array_equal(geo.box_of_points([[3, 9], [1, 4], [2, 20]]), [1, 4, 3, 20])
    assert geo.box_area([(0, 0, 4, 5), (4, 0, 0, 5)]).tolist() == [20, 0]


def test_missing_frames_are_filled_linearly():
    frames, filled = geo.interpolate_boxes([3, 7], [(0, 0, 10, 10), (4, 8, 14, 18)])
    assert frames.tolist() == [3, 4, 5, 6, 7] and filled.dtype == np.float32
    np.testing.assert_allclose(filled[2], (2, 4, 12, 14))
    frames, filled = geo.interpolate_boxes([3, 7], [(0, 0, 10, 10), (4, 8, 14, 18)], n_frames=10)
    assert len(frames) == 10 and (filled[0] == filled[3]).all() and (filled[9] == filled[7]).all()
    for bad in ([], [7, 3], [3, 3]):
        with pytest.raises(ValueError, match="strictly increasing"):
            geo.interpolate_boxes(bad, np.zeros((len(bad), 4)))


@given(st.integers(13, 60), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_median_equals_scipy_s(n, seed):
    medfilt = pytest.importorskip("scipy.signal").medfilt
    series = np.random.default_rng(seed).uniform(0, 100, n)
    np.testing.assert_allclose(geo.smooth_series(series, 13, edge="zero"), medfilt(series, 13))


def test_the_median_removes_a_spike_and_keeps_short_series():
    series = np.full(40, 7.0)
    series[20] = 500
    assert (geo.smooth_series(series) == 7).all()
    assert (geo.smooth_series(np.full((5, 2), 3.0), edge="zero") == 3).all()  # zeros would win here
    assert geo.smooth_series(np.zeros((0, 2))).shape == (0, 2)
    with pytest.raises(ValueError, match="odd"):
        geo.smooth_series(series, 4)


def test_smoothing_points_quiets_noise_without_delay():
    rng = np.random.default_rng(0)
    true = np.cumsum(np.full((60, 3, 2), 0.5), axis=0)
    smooth = geo.smooth_points(true + rng.normal(0, 1, true.shape), 2.0)
    assert smooth.dtype == np.float32
    assert np.abs(smooth - true)[6:-6].std() < 0.5
    lag = [np.abs(smooth[10:-10] - true[10 + k : len(true) - 10 + k]).mean() for k in (-2, 0, 2)]
    assert lag[1] < lag[0] and lag[1] < lag[2]


def test_fast_points_are_smoothed_less():
    step = np.zeros((41, 1, 2), dtype=np.float32)
    step[20:] = 30
    plain, adaptive = (np.abs(geo.smooth_points(step, 2.0, speed) - step).max() for speed in (None, 1.0))
    assert adaptive < plain / 3
    np.testing.assert_array_equal(geo.smooth_points(step, 0), step)
    with pytest.raises(ValueError, match="sigma_frames"):
        geo.smooth_points(step, -1)
