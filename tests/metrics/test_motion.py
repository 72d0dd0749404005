"""Blinks, head motion and jitter, on faces whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import motion
from tests.metrics.faces import close_eyes, still_face


def test_the_aspect_ratio_by_hand():
    ratio = motion.eye_aspect_ratio(still_face(3))
    np.testing.assert_allclose(ratio, 0.3)  # lids 9 px apart, corners 30
    np.testing.assert_allclose(motion.eye_aspect_ratio(close_eyes(still_face(3), 1, 2)), [0.3, 0.06, 0.3])


def test_planted_blinks_are_found():
    face = close_eyes(close_eyes(still_face(100), 20, 25), 60, 62)
    found = motion.blinks(face)
    assert found.spans == [(20, 25), (60, 62)] and found.reason is None
    assert found.per_minute == pytest.approx(2 / 4 * 60)  # two in four seconds


@pytest.mark.parametrize(("start", "stop", "share"), [(30, 31, 0.2), (30, 60, 0.2), (30, 35, 0.8)])
def test_a_flicker_a_long_look_down_and_a_squint_are_no_blinks(start, stop, share):
    assert motion.blinks(close_eyes(still_face(100), start, stop, share)).spans == []


def test_blinks_at_the_ends_count():
    assert motion.blinks(close_eyes(close_eyes(still_face(80), 0, 4), 77, 80)).spans == [(0, 4), (77, 80)]


def test_a_short_clip_and_closed_eyes_have_no_rate():
    assert motion.blinks(still_face(49)) == (None, "too_short", [])
    assert motion.blinks(close_eyes(still_face(60), 0, 60, 0.0)) == (None, "eyes_closed", [])


def test_head_motion_is_speed_in_eye_distances():
    face = still_face(26)
    assert motion.head_motion(face) == 0
    face = face + np.arange(26)[:, None, None] * np.array([3.0, 4.0])  # 5 px a frame, eyes 100 px apart
    assert motion.head_motion(face) == pytest.approx(5 * 25 / 100)
    talking = still_face(26)
    talking[:, [13, 14, 0, 17]] += np.random.default_rng(0).normal(0, 9, (26, 4, 2))
    assert motion.head_motion(talking) == 0


def test_jitter_of_noise_in_closed_form_and_of_even_motion():
    face = still_face(400)
    assert motion.jitter(face + np.arange(400)[:, None, None] * np.array([0.4, -0.1])) == pytest.approx(0, abs=1e-12)
    noisy = face + np.random.default_rng(0).normal(0, 2, face.shape)
    assert motion.jitter(noisy) == pytest.approx(np.sqrt(1.5) * np.sqrt(np.pi / 2) * 2 / 100, rel=0.02)


@given(st.floats(-100, 100), st.floats(0.2, 5), st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_place_size_and_turn_of_the_picture_change_nothing(shift, scale, turn):
    face = still_face(60) + np.random.default_rng(1).normal(0, 0.3, (60, 468, 2))
    face = close_eyes(face, 20, 24)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = scale * face @ spin.T + shift
    assert motion.head_motion(moved) == pytest.approx(motion.head_motion(face))
    assert motion.jitter(moved) == pytest.approx(motion.jitter(face))
    assert motion.blinks(moved).spans == motion.blinks(face).spans


def test_too_few_frames_and_broken_faces_are_refused():
    for metric, n in ((motion.head_motion, 1), (motion.jitter, 2)):
        with pytest.raises(ValueError, match="at least"):
            metric(still_face(n))
    with pytest.raises(ValueError, match="coincide"):
        motion.eye_aspect_ratio(np.zeros((3, 468, 2)))
    with pytest.raises(ValueError, match="NaN"):
        motion.jitter(still_face(5) * np.nan)
