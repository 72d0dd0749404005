"""Turns: every moment of speech goes to one face, short turns to their neighbours, and the share that is right is counted in
time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.turns import find_turns, right_share, smoothed


def test_smoothing_is_the_mean_of_what_exists():
    x = np.random.default_rng(0).normal(size=(2, 40))
    for n in (1, 2, 5, 25):
        want = [[row[max(0, t - (n - 1) // 2):t + n // 2 + 1].mean() for t in range(40)] for row in x]
        assert np.allclose(smoothed(x, n), want)
    assert np.allclose(smoothed(x, 1), x)


def test_each_moment_goes_to_the_face_that_scores_higher():
    scores = np.full((2, 250), -1.0)
    scores[0, :100], scores[1, 100:] = 2.0, 3.0
    assert find_turns(scores, [(0.5, 3.0), (3.5, 9.0)], smooth_frames=1) == [(0.5, 3.0, 0), (3.5, 4.0, 0), (4.0, 9.0, 1)]
    assert find_turns(scores, [(1.0, 12.0)], smooth_frames=1) == [(1.0, 4.0, 0), (4.0, 10.0, 1)], "beyond the last frame is nobody's"
    assert find_turns(scores[:1], [(0.0, 1.0)]) == [(0.0, 1.0, 0)]
    assert find_turns(scores, []) == [] and find_turns(scores, [(11.0, 12.0)]) == []


def test_a_short_turn_goes_to_its_neighbour():
    scores = np.zeros((2, 200))
    scores[0, :], scores[1, 100:105], scores[1, 0:5] = 1.0, 2.0, 2.0
    assert find_turns(scores, [(0.0, 8.0)], smooth_frames=1) == [(0.0, 8.0, 0)]
    assert find_turns(scores, [(0.0, 8.0)], smooth_frames=1,
                      min_turn_s=0.1) == [(0.0, 0.2, 1), (0.2, 4.0, 0), (4.0, 4.2, 1), (4.2, 8.0, 0)]


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_turns_cover_the_speech_and_never_overlap(seed, faces, smooth):
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.uniform(0, 8, 6))
    speech = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
    turns = find_turns(rng.normal(size=(faces, 200)), speech, smooth)
    assert sum(b - a for a, b, _ in turns) == pytest.approx(sum(b - a for a, b in speech))
    assert all(b > a for a, b, _ in turns) and all(x[1] <= y[0] + 1e-9 for x, y in zip(turns, turns[1:], strict=False))
    assert all(any(a >= c - 1e-9 and b <= d + 1e-9 for c, d in speech) for a, b, _ in turns)


def test_the_right_share_counts_time():
    truth = [(0.0, 2.0, 0), (3.0, 5.0, 1)]
    assert right_share(truth, truth) == 1
    assert right_share([(0.0, 1.0, 0), (3.0, 5.0, 0)], truth) == 0.25
    assert right_share([], truth) == 0 and right_share(truth, []) is None
    with pytest.raises(ValueError, match="faces"):
        find_turns(np.zeros(5), [])
