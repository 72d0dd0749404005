"""The picture of a face: blur lowers sharpness, light is measured in shares, and a turned head is turned by as much."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from metrics.picture import _HEAD, PATCH, POSE_POINTS, light, pose, sharpness


def noise(n: int = 3) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(0).uniform(0, 255, (n, PATCH, PATCH)), (0, 1, 1)).astype(np.uint8)


def turned(yaw: float, pitch: float, roll: float, scale: float = 0.2) -> np.ndarray:
    """Landmarks (1, 468, 2) of the generic head, turned: first its own pitch, then yaw, then roll in the image."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points = np.zeros((1, 468, 2))
    points[0, POSE_POINTS] = (scale * (_HEAD @ (about_z @ about_y @ about_x).T))[:, :2] + (300, 200)
    return points


def test_a_blurred_face_is_less_sharp_and_the_value_is_the_variance():
    from scipy.ndimage import laplace

    x = noise()
    want = np.median([laplace(p.astype(float))[1:-1, 1:-1].var() for p in x])
    assert sharpness(x) == pytest.approx(want)
    softer = [sharpness(np.stack([gaussian_filter(p, s) for p in x])) for s in (1, 2, 4)]
    assert sharpness(x) > softer[0] > softer[1] > softer[2]
    assert sharpness(np.full((1, PATCH, PATCH), 90, np.uint8)) == 0


def test_light_is_in_shares_of_full_scale():
    x = np.zeros((2, PATCH, PATCH), np.uint8)
    x[:, :, : PATCH // 2] = 255
    assert light(x) == {"brightness": 0.5, "contrast": 0.5, "clipped_share": 1.0}
    assert light(np.full((1, PATCH, PATCH), 102, np.uint8)) == {"brightness": pytest.approx(0.4), "contrast": 0.0, "clipped_share": 0.0}


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (-45, 0, 0), (0, 20, 0), (0, -25, 0), (0, 0, 15), (20, 10, -30)])
def test_the_pose_is_that_of_the_turned_head(angles):
    assert np.allclose(pose(turned(*angles))[0], angles, atol=1e-6)
    assert np.allclose(pose(turned(*angles, scale=3.0)), pose(turned(*angles)))


def test_turning_left_and_right_are_told_apart_in_real_space():
    right = turned(30, 0, 0)[0]
    assert right[1, 0] > (right[33, 0] + right[263, 0]) / 2, "the nose moves to where the face turns"
    up = turned(0, 20, 0)[0]
    assert up[1, 1] - up[33, 1] < turned(0, 0, 0)[0, 1, 1] - turned(0, 0, 0)[0, 33, 1], "the nose rises towards the eyes"


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="grey pictures"):
        sharpness(np.zeros((1, 64, 64), np.uint8))
    with pytest.raises(ValueError, match="grey pictures"):
        light(np.zeros((0, PATCH, PATCH), np.uint8))
    with pytest.raises(ValueError, match="landmarks"):
        pose(np.zeros((3, 68, 2)))
