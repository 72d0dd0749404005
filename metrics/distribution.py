"""How far two sets of pictures or clips are apart, from a frozen network's features: the Frechet distance behind FID and FVD.

FID (Heusel et al. 2017) takes one feature vector per frame, FVD (Unterthiner et al. 2018) one per short clip. The distance is
between the normal distributions with the sets' means and covariances. It is biased: the fewer the samples, the larger it is, so
two systems may be compared only with the same number of samples of the same real video; the number belongs beside the figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MIN_SAMPLES = 2
FOLD_AT = 4096


@dataclass(frozen=True, slots=True)
class Moments:
    """What a set of features leaves behind: n samples, their mean float64 (D,) and covariance float64 (D, D), over n - 1."""

    n: int
    mean: np.ndarray
    covariance: np.ndarray


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)) of two sets of features (N, D) and (M, D), 0 or more, lower is closer.

    A and B are the sample covariances, divided by n - 1 as in pytorch-fid and torchmetrics (cd-fvd divides by n). The trace of
    the root is the sum of the singular values of the product of the two centred sets, so no D x D matrix is formed and no
    imaginary part can arise. ValueError for fewer than 2 samples, other shapes, or values that are not finite.
    """
    a, b = _checked(a), _checked(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features of {a.shape[1]} and of {b.shape[1]} values come from different networks")
    mean_a, mean_b = a.mean(0), b.mean(0)
    x, y = (a - mean_a) / np.sqrt(len(a) - 1), (b - mean_b) / np.sqrt(len(b) - 1)
    if min(len(x), len(y)) > x.shape[1]:  # then the covariances are the smaller matrices
        return frechet_of_moments(moments(a), moments(b))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return _sum(mean_a - mean_b, np.square(x).sum(), np.square(y).sum(), root)


def moments(features: np.ndarray) -> Moments:
    """The moments of a set of features (N, D), N >= 2; ValueError as for `frechet_distance`."""
    features = _checked(features)
    mean = features.mean(0)
    centred = features - mean
    return Moments(len(features), mean, centred.T @ centred / (len(features) - 1))


def merged(parts: list[Moments]) -> Moments:
    """The moments of several sets together, without their features: what shards of one corpus add up to. ValueError for none."""
    if not parts:
        raise ValueError("no moments to merge")
    n = sum(p.n for p in parts)
    mean = sum(p.n * p.mean for p in parts) / n
    scatter = sum((p.n - 1) * p.covariance + p.n * np.outer(p.mean - mean, p.mean - mean) for p in parts)
    return Moments(n, mean, scatter / (n - 1))


def frechet_of_moments(a: Moments, b: Moments) -> float:
    """The Frechet distance of two sets of which only the moments are left. See `frechet_distance`."""
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of {a.mean.shape[0]} and of {b.mean.shape[0]} values come from different networks")
    # (A B)^(1/2) and (A^(1/2) B A^(1/2))^(1/2) have one trace; the second is symmetric, so its roots are real
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ b.covariance @ root)
    return _sum(a.mean - b.mean, np.trace(a.covariance), np.trace(b.covariance), np.sqrt(np.maximum(inner, 0)).sum())


def frechet_of_parts(a: Iterable[np.ndarray], b: Iterable[np.ndarray]) -> float:
    """`frechet_distance` of two sets that come in parts (n_i, D), such as the frames of clip after clip. Beyond FOLD_AT rows a
    set is kept as its moments, so that memory stays flat."""
    one, two = _folded(a), _folded(b)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return frechet_distance(one, two)
    return frechet_of_moments(*(moments(s) if isinstance(s, np.ndarray) else s for s in (one, two)))


def _folded(parts: Iterable[np.ndarray]) -> np.ndarray | Moments:
    held: list[np.ndarray] = []
    known: Moments | None = None
    for part in parts:
        held.append(part)
        if sum(map(len, held)) > FOLD_AT:
            new = moments(np.concatenate(held))
            known, held = new if known is None else merged([known, new]), []
    rest = np.concatenate(held) if held else None
    if known is None:
        return np.zeros((0, 1)) if rest is None else rest
    if rest is None:
        return known
    if len(rest) < MIN_SAMPLES:  # a single row has no covariance of its own: it only moves the mean
        return merged([known, Moments(1, rest[0].astype(np.float64), np.zeros_like(known.covariance))])
    return merged([known, moments(rest)])


def _sum(shift: np.ndarray, trace_a: float, trace_b: float, trace_root: float) -> float:
    # rounding may leave a set's distance from itself a hair below zero
    return max(0.0, float(shift @ shift + trace_a + trace_b - 2 * trace_root))


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < MIN_SAMPLES or not features.shape[1]:
        raise ValueError(f"features must be (at least {MIN_SAMPLES} samples, D), not {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinity")
    return features
