"""Cosine between embeddings of faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.identity import identity_similarity


def test_by_hand():
    real = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert identity_similarity(real, real) == 1
    assert identity_similarity(real, -real) == -1
    assert identity_similarity(real, real[::-1]) == 0
    assert identity_similarity(real[:1], np.array([[3.0, 4.0], [1.0, 0.0]])) == pytest.approx((0.6 + 1) / 2)


def test_equals_scipy():
    distance = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 5)), rng.normal(size=(6, 5))
    assert identity_similarity(a, b) == pytest.approx(np.mean([1 - distance.cosine(x, y) for x, y in zip(a, b)]))


@given(st.integers(0, 100), st.floats(0.01, 100))
def test_length_does_not_count(seed, k):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    assert identity_similarity(k * a, b) == pytest.approx(identity_similarity(a, b))
    assert -1 <= identity_similarity(a, b) <= 1


@pytest.mark.parametrize(("a", "b"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((0, 4), (0, 4)), ((4,), (4,))])
def test_unlike_embeddings_are_refused(a, b):
    with pytest.raises(ValueError, match="must be"):
        identity_similarity(np.ones(a), np.ones(b))


def test_an_embedding_of_nothing_is_refused():
    for bad in (0, np.nan, np.inf):
        with pytest.raises(ValueError, match="says nothing"):
            identity_similarity(np.ones((2, 3)), np.full((2, 3), bad))
