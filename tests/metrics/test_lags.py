"""Lags put in on purpose: found by one who hears, guessed by one who does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.lags import LAGS, injected_offsets, lag_verdict, offsets_at, shares_found


def clip(seed: int, n: int = 60, late: int = 0, deaf: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    video = rng.standard_normal((n, 12))
    return video, rng.standard_normal((n, 12)) if deaf else np.roll(video, late, 0) + 0.1 * rng.standard_normal((n, 12))


def test_every_lag_is_found_with_its_sign():
    assert injected_offsets(*clip(0)) == list(LAGS)
    assert injected_offsets(*clip(1, late=-2)) == [lag + 2 for lag in LAGS], "sound that comes two frames early is that much earlier"


def test_the_ends_are_left_out_and_short_clips_have_no_answer():
    assert injected_offsets(*clip(2, n=2 * max(LAGS) + 16)) == list(LAGS)
    assert injected_offsets(*clip(2, n=2 * max(LAGS) + 15)) is None
    with pytest.raises(ValueError, match="leave a clip of 60"):
        offsets_at(*clip(0), LAGS, 7, 7, 44)


def test_one_who_hears_is_told_from_one_who_guesses():
    heard = lag_verdict([injected_offsets(*clip(k)) for k in range(8)])
    deaf = lag_verdict([injected_offsets(*clip(k, deaf=True)) for k in range(8)])
    assert (heard.n_clips, heard.n_found, heard.share, heard.heard) == (8, 8, 1.0, True) and heard.chance < 1e-6
    assert deaf.heard is False and deaf.share < 0.4


def test_guessing_passes_about_as_often_as_the_level_says():
    rng = np.random.default_rng(3)
    passed = [lag_verdict([(np.array(LAGS) + rng.integers(-15, 16)).tolist() for _ in range(10)]).heard for _ in range(1000)]
    assert np.mean(passed) < 0.1  # clips whose wrong match moves along with the lag: the worst case there is


def test_below_six_clips_nothing_is_said():
    found = [list(LAGS)] * 6
    assert lag_verdict(found[:5]).heard is None and lag_verdict(found).heard is True
    none = lag_verdict([])
    assert (none.n_clips, none.share, none.chance, none.heard) == (0, None, None, None)


def test_no_clip_votes_for_itself():
    alone = [[lag + 9 for lag in LAGS], list(LAGS), list(LAGS), list(LAGS)]
    assert shares_found(alone) == [0, 1, 1, 1] and shares_found([[lag + 1 for lag in LAGS]]) == [1.0]


@given(st.integers(-7, 7), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_constant_delay_of_all_clips_changes_nothing(late, seed):
    rng = np.random.default_rng(seed)
    offsets = [(np.array(LAGS) + rng.integers(-2, 3)).tolist() for _ in range(7)]
    assert shares_found([[o + late for o in row] for row in offsets]) == shares_found(offsets)
