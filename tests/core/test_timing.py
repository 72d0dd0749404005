"""One law between seconds, samples, frames, mel frames and MFCC rows: exact, monotone, without drift."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import timing as tm

frames = st.integers(0, 25 * 3600 * 100)  # a hundred hours
counts = st.integers(0, 16_000 * 3600 * 10)


def test_the_constants_agree_with_one_another():
    assert tm.SAMPLES_PER_FRAME * tm.FPS == tm.SAMPLE_RATE
    assert tm.MEL_HOP * tm.MEL_PER_SECOND == tm.SAMPLE_RATE
    assert tm.MFCC_STEP * tm.MFCC_PER_FRAME == tm.SAMPLES_PER_FRAME


@given(frames)
def test_a_frame_s_time_leads_back_to_the_frame_and_to_its_first_sample(f):
    assert tm.frame_at(tm.frame_time_s(f)) == f
    assert tm.sample_at(tm.frame_time_s(f)) == tm.sample_range(f)[0]


@given(frames)
def test_a_frame_owns_exactly_its_640_samples(f):
    start, stop = tm.sample_range(f)
    assert stop - start == 640 and stop == tm.sample_range(f + 1)[0]
    assert tm.frame_of_sample(start) == tm.frame_of_sample(stop - 1) == f
    assert tm.frame_of_sample(stop) == f + 1
    assert tm.n_frames_for_samples(stop) == f + 1 and tm.n_frames_for_samples(stop - 1) == f
    assert tm.n_frames_for_samples(tm.n_samples_for_frames(f)) == f


@given(counts)
def test_sample_times_round_trip(n):
    assert tm.sample_at(tm.sample_time_s(n)) == n


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_seconds_to_samples_is_monotone_and_nearest(a, b):
    low, high = sorted((a, b))
    assert tm.sample_at(low) <= tm.sample_at(high)
    assert abs(Fraction(tm.sample_at(a)) - Fraction(a) * 16_000) <= Fraction(1, 2) + Fraction(1, 10**6)


@pytest.mark.parametrize("time_s", [-0.01, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(time_s):
    with pytest.raises(ValueError, match="time_s"):
        tm.sample_at(time_s)


@pytest.mark.parametrize("f", [1, 3, 7, 29, 57, 58, 115, 1_000_003])
def test_times_written_in_decimals_do_not_fall_into_the_frame_before(f):
    assert tm.frame_at(round(f * 0.04, 2)) == f  # int(0.28 * 25) is 7, int(0.58 * 100) is 57


@given(frames)
def test_mel_index_is_wav2lip_s(f):
    assert tm.mel_of_frame(f) == int(f * (80.0 / 25))  # the expression in its inference, in floating point
    lead = f * 640 - tm.mel_of_frame(f) * 200
    assert 0 <= lead <= 160


@given(frames)
def test_the_mel_frames_of_all_frames_are_a_partition(f):
    inside = tm.mels_inside_frame(f)
    assert len(inside) in (3, 4) and inside.stop == tm.mels_inside_frame(f + 1).start
    assert all(tm.frame_of_mel(m) == f for m in inside)
    assert tm.mel_of_frame(f) in (inside.start, inside.start - 1)


def test_mel_frames_do_not_drift():
    hour = 25 * 3600
    assert tm.mel_of_frame(10 * hour) == 80 * 3600 * 10
    assert sum(len(tm.mels_inside_frame(f)) for f in range(1000)) == 3200


@given(st.integers(1, 10**7))
def test_mfcc_rows_of_whole_frames(n):
    assert tm.n_mfcc_rows(tm.n_samples_for_frames(n)) == tm.n_mfcc_rows_for_frames(n) == 4 * n - 1
    assert tm.n_mfcc_rows(tm.n_samples_for_frames(n), pad=False) == 4 * n - 2


@given(counts)
def test_mfcc_rows_grow_by_at_most_one_a_sample(n):
    for pad in (True, False):
        assert tm.n_mfcc_rows(n + 1, pad) - tm.n_mfcc_rows(n, pad) in (0, 1)
    assert tm.n_mfcc_rows(n) - tm.n_mfcc_rows(n, pad=False) in (0, 1)


@pytest.mark.parametrize(
    "n, padded, whole", [(0, 1, 0), (1, 1, 0), (399, 1, 0), (400, 1, 1), (401, 2, 1), (560, 2, 2), (561, 3, 2)]
)
def test_mfcc_rows_at_the_boundaries(n, padded, whole):
    assert (tm.n_mfcc_rows(n), tm.n_mfcc_rows(n, pad=False)) == (padded, whole)


@given(frames)
def test_window_starts_are_the_published_ones(f):
    start = {name: w.start(f) for name, w in tm.WINDOWS.items()}
    assert start == {"syncnet": 4 * f, "speech2vid": 4 * f - 16, "davs": 4 * f - 8, "stochastic": 4 * f, "wav2lip": 16 * f // 5}


def test_windows_lie_on_their_frames():
    # the middle of the window minus the middle of its frame(s), in ms, computed by hand from the published settings
    off_ms = {"syncnet": 7.5, "speech2vid": 2.5, "davs": 7.5, "stochastic": 4.6875}
    for name, expected in off_ms.items():
        w = tm.WINDOWS[name]
        middle_s = (100 + w.n_video_frames / 2) / 25
        assert 1000 * (w.centre_s(100) - middle_s) == pytest.approx(expected, abs=1e-9), name


@given(st.integers(1, 60), st.integers(1, 300), st.sampled_from(sorted(tm.WINDOWS)))
def test_window_rows_stay_inside_and_follow_the_start(n_frames, n_rows, name):
    w = tm.WINDOWS[name]
    rows = w.rows(n_frames, n_rows)
    assert rows.shape == (n_frames, w.length) and rows.min() >= 0 and rows.max() < n_rows
    for f in range(n_frames):
        np.testing.assert_array_equal(rows[f], [min(max(w.start(f) + i, 0), n_rows - 1) for i in range(w.length)])


def test_shifted_windows_stay_whole():
    w = tm.WINDOWS["wav2lip"]
    rows = w.rows(10, 30, tail="shift")
    assert (np.diff(rows, axis=1) == 1).all() and rows[-1, -1] == 29 and rows[0, 0] == 0
    with pytest.raises(ValueError, match="15 feature rows"):
        w.rows(1, 15, tail="shift")
    with pytest.raises(ValueError, match="0 feature rows"):
        w.rows(1, 0)


@given(st.integers(6, 100_000), st.integers(0, 639))
def test_every_syncnet_window_has_its_rows(n_frames, extra):
    n = tm.n_syncnet_windows(n_frames, 640 * n_frames + extra)
    assert n == n_frames - 5
    last = tm.WINDOWS["syncnet"].start(n - 1)
    assert last + 20 <= tm.n_mfcc_rows_for_frames(n_frames)


def test_syncnet_windows_of_known_clips():
    assert tm.n_syncnet_windows(317, 202_880) == 312
    assert tm.n_syncnet_windows(106, 68_608) == 101
    assert tm.n_syncnet_windows(200, 640 * 50) == 45
    assert tm.n_syncnet_windows(3, 10**6) == 0


@pytest.mark.parametrize("call", [tm.n_frames_for_samples, tm.n_samples_for_frames, tm.n_mel_frames, tm.n_mfcc_rows])
def test_negative_counts_are_refused(call):
    with pytest.raises(ValueError, match=">= 0"):
        call(-1)
