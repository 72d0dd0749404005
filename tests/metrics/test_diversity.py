"""Diversity over samples, by hand and by brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from metrics import diversity
from metrics.landmarks import MOUTH, landmark_distance
from tests.metrics.faces import still_face


def test_the_same_sample_again_is_not_diverse():
    sample = np.random.default_rng(0).normal(size=(5, 3))
    assert diversity.sample_diversity(np.stack([sample] * 4)) == 0


def test_by_hand():
    a, b = np.zeros((2, 2)), np.tile([3.0, 4.0], (2, 1))
    assert diversity.sample_diversity(np.stack([a, b])) == 5
    assert diversity.sample_diversity(np.stack([a, b, b])) == pytest.approx(10 / 3)  # two of three pairs are 5 apart


def test_order_does_not_count_and_distance_scales():
    samples = np.random.default_rng(1).normal(size=(4, 6, 3))
    value = diversity.sample_diversity(samples)
    assert diversity.sample_diversity(samples[::-1]) == pytest.approx(value) and value > 0
    assert diversity.sample_diversity(3 * samples + 1) == pytest.approx(3 * value)


def test_lips_are_compared_as_the_lip_distance_does():
    rng = np.random.default_rng(2)
    samples = np.stack([still_face(8)] * 3)
    samples[:, :, MOUTH] += rng.normal(0, 3, (3, 8, 20, 2))
    expected = np.mean([landmark_distance(a, b) for a, b in combinations(samples, 2)])
    assert diversity.lip_diversity(samples) == pytest.approx(expected)
    moved = samples + rng.normal(0, 20, (3, 8, 1, 2))  # heads elsewhere, lips the same
    assert diversity.lip_diversity(moved) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [np.zeros((1, 3, 2)), np.zeros((3, 2)), np.full((2, 3, 2), np.nan), np.zeros((2, 0, 3))])
def test_unusable_samples_are_refused(bad):
    with pytest.raises(ValueError, match="samples"):
        diversity.sample_diversity(bad)
    with pytest.raises(ValueError, match="samples"):
        diversity.lip_diversity(bad)


def test_the_points_that_are_kept_are_enough():
    rng = np.random.default_rng(3)
    samples = np.stack([still_face(8)] * 2) + rng.normal(0, 2, (2, 8, 1, 2))
    samples[:, :, MOUTH] += rng.normal(0, 3, (2, 8, 20, 2))
    kept = np.stack([diversity.mouth_and_eyes(s) for s in samples])
    assert kept.shape == (2, 8, 22, 2) and diversity.diversity_of_points(kept) == diversity.lip_diversity(samples)
    with pytest.raises(ValueError, match="22"):
        diversity.diversity_of_points(samples)
    with pytest.raises(ValueError, match="coincide"):
        diversity.diversity_of_points(np.zeros((2, 8, 22, 2)))
