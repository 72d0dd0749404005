"""Where picture metrics look."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.landmarks import MOUTH
from metrics.regions import FACE_SCALE, MOUTH_SCALE, cut, region_boxes
from tests.metrics.faces import still_face

FRAME = (240, 320)


def test_the_whole_frame_is_the_whole_frame():
    np.testing.assert_array_equal(region_boxes("frame", FRAME, np.zeros((3, 4))), [[0, 0, 320, 240]] * 3)


def test_the_face_is_a_square_around_its_box():
    boxes = np.array([[100, 80, 139, 129], [102, 80, 141, 129.0]])  # 49 high: the square has 1.3 of it
    found = region_boxes("face", FRAME, boxes)
    side = round(FACE_SCALE * 49)
    assert (found[:, 2:] - found[:, :2] == side).all()
    centre = (found[:, :2] + found[:, 2:] - 1) / 2
    assert np.abs(centre - [[119.5, 104.5], [121.5, 104.5]]).max() <= 0.5


def test_the_mouth_is_a_square_around_the_lips():
    face = still_face(2)
    face[:, MOUTH] = (100, 150) + np.random.default_rng(0).uniform(-15, 15, (20, 2))
    face[:, MOUTH[0]], face[:, MOUTH[1]] = (80, 150), (120, 150)
    found = region_boxes("mouth", FRAME, np.zeros((2, 4)), face)
    assert (found[:, 2:] - found[:, :2] == round(MOUTH_SCALE * 40)).all()
    assert np.abs((found[:, :2] + found[:, 2:] - 1) / 2 - (100, 150)).max() < 1.1


@given(st.lists(st.tuples(st.floats(-50, 350), st.floats(-50, 350), st.floats(1, 300)), min_size=1, max_size=5))
def test_one_size_always_inside_the_picture(faces):
    boxes = np.array([[x, y, x + s, y + s] for x, y, s in faces])
    found = region_boxes("face", FRAME, boxes)
    assert (found[:, :2] >= 0).all() and (found[:, 2:] <= (320, 240)).all()
    assert len(np.unique(found[:, 2:] - found[:, :2], axis=0)) == 1 and (found[:, 2:] > found[:, :2]).all()


def test_the_same_pixels_are_cut_from_every_video():
    frames = np.random.default_rng(0).integers(0, 256, (2, *FRAME, 3), dtype=np.uint8)
    boxes = region_boxes("face", FRAME, np.array([[10, 20, 50, 60], [200, 20, 240, 60.0]]))
    cuts = cut(list(frames), boxes)
    assert cuts.shape == (2, 52, 52, 3)
    x0, y0, x1, y1 = boxes[1]
    np.testing.assert_array_equal(cuts[1], frames[1, y0:y1, x0:x1])
    with pytest.raises(ValueError, match="one size"):
        cut(list(frames[:, :50]), boxes)
    with pytest.raises(ValueError, match="2 frames but 1"):
        cut(list(frames), boxes[:1])


def test_unusable_tracks_are_refused():
    with pytest.raises(ValueError, match="boxes must"):
        region_boxes("face", FRAME, np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="needs the landmarks"):
        region_boxes("mouth", FRAME, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="2 boxes but"):
        region_boxes("mouth", FRAME, np.zeros((2, 4)), still_face(3))
    with pytest.raises(ValueError, match="no region"):
        region_boxes("nose", FRAME, np.zeros((2, 4)))
