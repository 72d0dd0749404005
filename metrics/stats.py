"""Means, intervals and tests that respect speakers: clips of one speaker are not independent, so whole speakers are resampled.

Every function takes values and one cluster id per value (the speaker; for an unknown speaker the recording, see
core.records.cluster_of). The result depends on the numbers and the seed alone, not on the order of the rows. A value of None or
NaN is missing: it is left out and counted, never taken for zero. Conventions: two-sided tests; every clip has weight 1.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

MIN_CLUSTERS = 6  # below it there is no interval: bootstrap intervals of a handful of clusters are far too narrow
TOO_FEW = "too_few_speakers"
NO_CLIPS = "no_clips"
MAX_EXACT = 2**14  # rearrangements that are enumerated; more of them are drawn at random
_RELATIVE = 1e-10  # two statistics this close are equal: rounding must not decide a p-value

Values = Sequence[float | None] | np.ndarray


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over clips with its interval. `low` and `high` are None with a `reason` where no interval may be given.

    `mean` is None only when there are no clips. n_missing counts values that were None or NaN.
    """

    mean: float | None
    low: float | None
    high: float | None
    n_clips: int
    n_speakers: int
    reason: str | None = None
    n_missing: int = 0


@dataclass(frozen=True, slots=True)
class Clusters:
    """Per cluster, in the order of their names: number of clips and exactly rounded sum of values, float64 (G,) each."""

    names: tuple[str, ...]
    counts: np.ndarray
    sums: np.ndarray
    n_missing: int


def by_cluster(values: Values, clusters: Sequence[Hashable]) -> Clusters:
    """Values gathered by cluster; raises ValueError for other lengths, an infinite value, or a cluster id of None."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} cluster ids")
    groups: dict[str, list[float]] = {}
    n_missing = 0
    for value, cluster in zip(values, clusters):
        if cluster is None:
            raise ValueError("a cluster id is None: give an unknown speaker the id of its recording")
        if value is None or math.isnan(value):
            n_missing += 1
        elif math.isinf(value):
            raise ValueError(f"a value of cluster {cluster!r} is infinite")
        else:
            groups.setdefault(str(cluster), []).append(float(value))
    names = tuple(sorted(groups))
    # fsum rounds once, so the order of the rows cannot change a bit
    return Clusters(
        names,
        np.array([len(groups[n]) for n in names], dtype=np.float64),
        np.array([math.fsum(groups[n]) for n in names], dtype=np.float64),
        n_missing,
    )


def mean_interval(
    values: Values, clusters: Sequence[Hashable], seed: int = 0, n_resamples: int = 2000, level: float = 0.95
) -> Estimate:
    """The mean of values with a bootstrap-t interval that resamples whole clusters.

    Each resample draws G clusters with replacement and gives t = (mean* - mean) / se*, with the cluster-robust standard error of
    a mean; the interval is mean - quantile(t) * se at both ends. Source: Efron & Tibshirani 1993, chapter 12; cluster-robust
    errors: Cameron & Miller 2015. Chosen over the percentile interval, which misses 14 % of the time with 6 clusters where it
    should miss 5 %. Below MIN_CLUSTERS clusters there is no interval (reason too_few_speakers), with no clips no mean either
    (no_clips).
    """
    if not 0 < level < 1 or n_resamples < 100:
        raise ValueError(f"need 0 < level < 1 and n_resamples >= 100, not {level} and {n_resamples}")
    c = by_cluster(values, clusters)
    n_groups, n_clips = len(c.names), int(c.counts.sum())
    if not n_groups:
        return Estimate(None, None, None, 0, 0, NO_CLIPS, c.n_missing)
    mean = math.fsum(c.sums) / n_clips
    if n_groups < MIN_CLUSTERS:
        return Estimate(mean, None, None, n_clips, n_groups, TOO_FEW, c.n_missing)
    residuals = c.sums - mean * c.counts  # sums of deviations from the mean: keeps the products below free of cancellation
    se = _standard_error(np.ones((1, n_groups)), c.counts, residuals, np.zeros(1))[0]
    if se <= _RELATIVE * max(abs(mean), float(np.abs(c.sums / c.counts).max())):
        return Estimate(mean, mean, mean, n_clips, n_groups, None, c.n_missing)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples).astype(np.float64)
    shift = drawn @ residuals / (drawn @ c.counts)  # mean* - mean
    spread = _standard_error(drawn, c.counts, residuals, shift)
    usable = spread > _RELATIVE * se  # a resample of one cluster only has no spread
    t = shift[usable] / spread[usable]
    tail = (1 - level) / 2
    t_low, t_high = np.quantile(t, [tail, 1 - tail])
    return Estimate(mean, float(mean - t_high * se), float(mean - t_low * se), n_clips, n_groups, None, c.n_missing)


def paired_interval(a: Values, b: Values, clusters: Sequence[Hashable], seed: int = 0, **options: float) -> Estimate:
    """The mean of a - b, clip by clip, with the interval of `mean_interval`; a pair with a missing side is missing."""
    return mean_interval(_differences(a, b), clusters, seed, **options)


def sign_flip_test(differences: Values, clusters: Sequence[Hashable], seed: int = 0, n_resamples: int = 9999) -> float | None:
    """Two-sided p-value that paired differences have mean zero, flipping the signs of whole clusters; None when there are none.

    Exact over all 2^G sign patterns while there are at most 2^14 of them, else n_resamples seeded draws with the observed pattern
    counted in. With G clusters p cannot go below 2 / 2^G. Source: Fisher's randomisation test; Canay, Romano & Shaikh 2017 for
    clusters.
    """
    sums = by_cluster(differences, clusters).sums
    n_groups = len(sums)
    if not n_groups:
        return None
    if 2**n_groups <= MAX_EXACT:
        patterns = (np.arange(2**n_groups)[:, None] >> np.arange(n_groups)) & 1
        return _share_as_extreme((1.0 - 2.0 * patterns) @ sums, math.fsum(sums), float(np.abs(sums).sum()), observed_drawn=True)
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(n_resamples, n_groups)) * 2.0 - 1.0
    return _share_as_extreme(signs @ sums, math.fsum(sums), float(np.abs(sums).sum()), observed_drawn=False)


def cluster_permutation(
    values_a: Values,
    clusters_a: Sequence[Hashable],
    values_b: Values,
    clusters_b: Sequence[Hashable],
    seed: int = 0,
    n_resamples: int = 9999,
) -> float | None:
    """Two-sided p-value that two samples have one mean, exchanging whole clusters between them; None when a sample is empty.

    The statistic is the difference of the means over clips. Exact over all divisions of the clusters while there are at most
    2^14, else n_resamples seeded draws with the observed division counted in. Raises ValueError when a cluster is in both
    samples: such data are paired, see `sign_flip_test`.
    """
    a, b = by_cluster(values_a, clusters_a), by_cluster(values_b, clusters_b)
    both = sorted(set(a.names) & set(b.names))
    if both:
        raise ValueError(
            f"{len(both)} clusters are in both samples, the first is {both[0]!r}: compare their paired differences instead"
        )
    if not a.names or not b.names:
        return None
    order = np.argsort(np.array(a.names + b.names))  # by name, not by sample: exchanging the samples then gives the same p
    counts, sums = (np.concatenate(pair)[order] for pair in ((a.counts, b.counts), (a.sums, b.sums)))
    in_a = (np.arange(len(order)) < len(a.names))[order]
    grand = math.fsum(sums) / counts.sum()
    deviations = sums - grand * counts  # a common shift changes no difference of means, and rounding less

    def statistic(chosen: np.ndarray) -> np.ndarray:
        n_chosen, total = chosen @ counts, chosen @ deviations
        return total / n_chosen - (deviations.sum() - total) / (counts.sum() - n_chosen)

    size, n_all = min(in_a.sum(), (~in_a).sum()), len(order)
    smaller = in_a if in_a.sum() == size else ~in_a  # the sign of the statistic does not matter
    exact = math.comb(n_all, int(size)) <= MAX_EXACT
    if exact:
        picks = np.array(list(combinations(range(n_all), int(size))))
    else:
        rng = np.random.default_rng(seed)
        picks = np.argsort(rng.random((n_resamples, n_all)), axis=1)[:, :size]
    chosen = np.zeros((len(picks), n_all))
    np.put_along_axis(chosen, picks, 1.0, axis=1)
    observed = float(statistic(smaller[None].astype(np.float64))[0])
    scale = float(np.abs(deviations / counts).max())
    return _share_as_extreme(statistic(chosen), observed, scale, observed_drawn=exact)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values, in the order given; a p of None (no test) stays None and does not count in the family.

    Source: Holm 1979. The k-th smallest of m is multiplied by m - k + 1, made monotone, capped at 1.
    """
    tested = [i for i, p in enumerate(p_values) if p is not None]
    for i in tested:
        if not 0 <= p_values[i] <= 1:
            raise ValueError(f"a p-value lies in [0, 1], not {p_values[i]!r}")
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(tested, key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(tested) - rank) * float(p_values[i])))
        adjusted[i] = running
    return adjusted


def _standard_error(drawn: np.ndarray, counts: np.ndarray, residuals: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Cluster-robust standard errors of the means of resamples, given as multiplicities (B, G): float64 (B,).

    `shift` is each mean minus the overall one. The usual factor G / (G - 1) is left out: all resamples have G clusters, so it
    cancels in bootstrap-t.
    """
    squares = drawn @ residuals**2 - 2 * shift * (drawn @ (residuals * counts)) + shift**2 * (drawn @ counts**2)
    return np.sqrt(np.maximum(squares, 0)) / (drawn @ counts)


def _share_as_extreme(statistics: np.ndarray, observed: float, scale: float, observed_drawn: bool) -> float:
    n_extreme = int((np.abs(statistics) >= abs(observed) - _RELATIVE * scale).sum())
    return n_extreme / len(statistics) if observed_drawn else (n_extreme + 1) / (len(statistics) + 1)


def _differences(a: Values, b: Values) -> list[float | None]:
    if len(a) != len(b):
        raise ValueError(f"paired values differ in number: {len(a)} and {len(b)}")
    return [None if x is None or y is None else float(x) - float(y) for x, y in zip(a, b)]
