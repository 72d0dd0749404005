"""Clusters of vectors against sklearn's, and how good they are."""

from __future__ import annotations

import numpy as np
import pytest

from metrics import clusters
from metrics.clusters import agglomerate, purity


def test_the_same_as_sklearn():
    sklearn = pytest.importorskip("sklearn.cluster")
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(c, 0.6, (12, 5)) for c in rng.normal(0, 2, (5, 5))])
    for metric, limit in (("euclidean", 2.0), ("cosine", 0.3)):
        theirs = sklearn.AgglomerativeClustering(None, metric=metric, linkage="average",
                                                 distance_threshold=limit).fit_predict(vectors)
        ours = agglomerate(vectors, limit, metric)
        assert len(set(ours)) == len(set(theirs)) == len(set(zip(ours, theirs, strict=True))) > 2


def test_numbers_follow_the_first_of_each():
    vectors = np.array([[5.0], [0.0], [5.1], [0.1], [9.0]])
    assert agglomerate(vectors, 1.0, "euclidean").tolist() == [0, 1, 0, 1, 2]
    assert agglomerate(vectors[:1], 1.0).tolist() == [0] and agglomerate(np.zeros((0, 3)), 1.0).tolist() == []


def test_what_cannot_be_clustered(monkeypatch):
    with pytest.raises(ValueError, match="finite vectors"):
        agglomerate(np.array([[np.nan]]), 1.0)
    monkeypatch.setattr(clusters, "MOST", 3)
    with pytest.raises(ValueError, match="4 vectors at once; at most 3"):
        agglomerate(np.zeros((4, 2)), 1.0)


def test_purity():
    assert purity([1, 1, 2, 2], list("aabb")) == (1.0, 1.0)
    assert purity([1, 1, 1, 1], list("aabb")) == (0.5, 1.0)
    assert purity([1, 2, 3, 4], list("aabb")) == (1.0, 0.5)
    with pytest.raises(ValueError, match="each item needs one of both"):
        purity([1], [])
