"""Who is who where no label says it: vectors that lie near each other become one cluster."""

from __future__ import annotations

import numpy as np

MOST = 20_000
"""Vectors that are clustered at once: the distances between all of them must fit into memory (1.6 GB here)."""


def agglomerate(vectors: np.ndarray, limit: float, metric: str = "cosine") -> np.ndarray:
    """int64 (n,): the cluster of each vector, numbered by the first of its vectors. vectors: (n, d); metric: "cosine",
    "euclidean".

    Agglomerative with average linkage (Sokal & Michener 1958): two clusters are joined while the mean distance between their
    members is at most `limit`. Raises ValueError for another shape, values that are not finite, or more than MOST vectors. """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"expected finite vectors (n, d), got shape {vectors.shape}")
    if len(vectors) > MOST:
        raise ValueError(f"{len(vectors)} vectors at once; at most {MOST} are clustered")
    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int64)
    distances = pdist(vectors, metric)
    labels = fcluster(linkage(np.maximum(distances, 0), "average"), limit, "distance")
    first: dict[int, int] = {}
    return np.array([first.setdefault(int(label), len(first)) for label in labels], np.int64)


def purity(found: list, true: list) -> tuple[float, float]:
    """(share of items whose cluster mostly is of their class, share of items whose class mostly is in their cluster).

    The first falls where two speakers are taken for one, the second where one is taken for several, who may then be split up.
    """
    if len(found) != len(true) or not found:
        raise ValueError(f"{len(found)} clusters of items and {len(true)} classes: each item needs one of both")

    def share(a: list, b: list) -> float:
        inside: dict = {}
        for x, y in zip(a, b, strict=True):
            cell = inside.setdefault(x, {})
            cell[y] = cell.get(y, 0) + 1
        return sum(max(cell.values()) for cell in inside.values()) / len(a)

    return share(found, true), share(true, found)
