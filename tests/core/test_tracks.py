from __future__ import annotations

import numpy as np
import pytest

from core.tracks import N_LANDMARKS, Track, load_track, pack_track, smooth_points


def made(n=20, side=200.0, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 800, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.9, 1, (n, 2)) * side], axis=1).astype(np.float32)
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return Track(boxes, (centre + rng.uniform(-1, 1, (n, N_LANDMARKS, 2)) * side).astype(np.float32), rng.random(n) < 0.8)


@pytest.mark.parametrize("side", [20.0, 200.0, 900.0])
def test_a_track_comes_back_to_a_fraction_of_a_pixel(side):
    track = made(side=side)
    back = load_track(pack_track(track))
    assert np.array_equal(back.boxes, track.boxes) and np.array_equal(back.meshed, track.meshed)
    unit = (track.boxes[:, 2:] - track.boxes[:, :2]).max() / 8192
    assert np.abs(back.landmarks - track.landmarks).max() <= unit / 2 + 1e-4
    assert back.landmarks.shape == (20, N_LANDMARKS, 2) and back.landmarks.dtype == np.float32


def test_the_same_track_packs_to_the_same_bytes_and_again():
    once = pack_track(made())
    assert pack_track(made()) == once
    again = pack_track(load_track(once))
    assert again["landmarks"] == once["landmarks"] and again["landmark_unit"] == once["landmark_unit"]


def test_points_beyond_reach_stay_at_its_edge():
    track = made()
    track.landmarks[0, 0] = 1e6
    got = load_track(pack_track(track)).landmarks[0, 0]
    centre = (track.boxes[0, :2] + track.boxes[0, 2:]) / 2
    assert np.all(np.isfinite(got)) and np.all(got > centre + 3.5 * 190)


def test_only_the_first_468_points_are_kept():
    track = made()
    wider = Track(track.boxes, np.concatenate([track.landmarks, np.zeros((20, 10, 2), np.float32)], axis=1), track.meshed)
    assert pack_track(wider) == pack_track(track)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7])
def test_smoothing_keeps_length_constants_and_for_odd_lengths_lines(frames):
    still = np.full((9, 3, 2), 4.25)
    assert np.allclose(smooth_points(still, frames), still)
    line = np.arange(30.0)[:, None, None] * np.ones((1, 3, 2))
    out = smooth_points(line, frames)
    assert out.shape == line.shape
    if frames % 2:
        assert np.allclose(out[5:-5], line[5:-5])
    impulse = np.zeros((21, 1, 1))
    impulse[10] = 1
    assert np.count_nonzero(smooth_points(impulse, frames)) == frames and smooth_points(impulse, frames).sum() == pytest.approx(1)


def test_smoothing_three_frames_weighs_one_two_one():
    impulse = np.zeros((5, 1, 1))
    impulse[2] = 4
    assert smooth_points(impulse, 3)[:, 0, 0].tolist() == [0, 1, 2, 1, 0]
