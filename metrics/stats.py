"""Means, intervals and tests that respect speakers: clips of one speaker are not independent, so whole speakers are
flipped, exchanged or counted.

Every function takes values and one cluster id per value (the speaker; for an unknown speaker the recording, see
core.records.cluster_of). The result depends on the numbers and the seed alone, not on the order of the rows. A value of None or
NaN is missing: it is left out and counted, never taken for zero. Conventions: two-sided tests; every clip has weight 1.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise

import numpy as np

MIN_CLUSTERS = 6  # below it there is no interval: with 5, no sign-flip test can be significant at 5 %
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
    names, counts, order, ends = _layout_of(clusters)
    numbers = np.array(values, dtype=np.float64)  # None becomes nan
    if np.isinf(numbers).any():
        wrong = next(c for v, c in zip(numbers, clusters) if math.isinf(v))
        raise ValueError(f"a value of cluster {wrong!r} is infinite")
    missing = np.isnan(numbers)
    n_missing = int(missing.sum())
    if n_missing:
        names, counts, order, ends = _layout_of([c for c, gone in zip(clusters, missing.tolist()) if not gone])
        numbers = numbers[~missing]
    ordered = numbers[order].tolist()
    # fsum rounds once, so the order of the rows cannot change a bit
    sums = [math.fsum(ordered[begin:end]) for begin, end in ends]
    return Clusters(names, counts, np.array(sums, np.float64), n_missing)


Layout = tuple[tuple[str, ...], np.ndarray, np.ndarray, list[tuple[int, int]]]
_MOST_KEPT = 5000  # values of one sample whose layout is kept: many figures are of the same clips, and few samples are larger


def _layout_of(clusters: Sequence[Hashable]) -> Layout:
    return (_layout if len(clusters) <= _MOST_KEPT else _layout.__wrapped__)(tuple(clusters))


@lru_cache(maxsize=128)
def _layout(clusters: tuple[Hashable, ...]) -> Layout:
    """The names in order, how many values each has, int (n,) the places that bring values into that order, and where each
    begins and ends in it."""
    given = dict.fromkeys(clusters)
    if None in given:
        raise ValueError("a cluster id is None: give an unknown speaker the id of its recording")
    name_of = {c: str(c) for c in given}
    names = tuple(sorted(set(name_of.values())))
    place = {name: k for k, name in enumerate(names)}
    code_of = {c: place[name] for c, name in name_of.items()}
    which = np.fromiter(map(code_of.__getitem__, clusters), np.int64, len(clusters))
    sizes = np.bincount(which, minlength=len(names))
    ends = np.cumsum(sizes).tolist()
    counts = sizes.astype(np.float64)
    counts.setflags(write=False)
    return names, counts, np.argsort(which, kind="stable"), list(pairwise([0, *ends]))


def mean_interval(
    values: Values, clusters: Sequence[Hashable], seed: int = 0, n_resamples: int = 2000, level: float = 0.95
) -> Estimate:
    """The mean of values with the interval of all means that the sign-flip test over clusters does not reject.

    It assumes that a cluster's deviation from the mean is as likely up as down, and nothing else: neither equal numbers of clips
    nor equal spread. Source: Hartigan 1969, whose typical values these are; Canay, Romano & Shaikh 2017 for clusters. A level
    between two that are attained is interpolated (as Hettmansperger & Sheather 1986 do for the sign test), since with 6 clusters
    the exact test can only have 3.1 or 6.2 %. Chosen by simulation (bench/stats.py) over the bootstraps, which are wrong too
    often where speakers have unequal numbers of clips. n_resamples: flips that are drawn where there are too many to try all.
    Below MIN_CLUSTERS clusters there is no interval (reason too_few_speakers), with no clips no mean either (no_clips).
    """
    if not 0 < level < 1 or n_resamples < 100:
        raise ValueError(f"need 0 < level < 1 and n_resamples >= 100, not {level} and {n_resamples}")
    c = by_cluster(values, clusters)
    n_groups, n_clips = len(c.names), int(c.counts.sum())
    if not n_groups:
        return Estimate(None, None, None, 0, 0, NO_CLIPS, c.n_missing)
    mean = math.fsum(c.sums) / n_clips
    flips = flip_choices(n_groups, seed, n_resamples)
    if n_groups < MIN_CLUSTERS or (1 - level) * (len(flips) + 1) < 1:
        return Estimate(mean, None, None, n_clips, n_groups, TOO_FEW, c.n_missing)
    # sums of deviations from the mean keep what follows free of cancellation
    low, high = flip_interval(*turning_points((c.sums - mean * c.counts)[None], c.counts, flips, ordered=False), 1 - level)
    return Estimate(mean, mean + float(low[0]), mean + float(high[0]), n_clips, n_groups, None, c.n_missing)


def paired_interval(a: Values, b: Values, clusters: Sequence[Hashable], seed: int = 0, **options: float) -> Estimate:
    """The mean of a - b, clip by clip, with the interval of `mean_interval`; a pair with a missing side is missing."""
    return mean_interval(differences(a, b), clusters, seed, **options)


def sign_flip_test(differences: Values, clusters: Sequence[Hashable], seed: int = 0, n_resamples: int = 9999) -> float | None:
    """Two-sided p-value that paired differences have mean zero, flipping the signs of whole clusters; None when there are none.

    It agrees with `mean_interval` of the same seed and n_resamples: p <= alpha where the interval at 1 - alpha leaves out zero.
    So it lies between two attainable values of the exact test, at most one step (2 / 2^G with G clusters) below the exact p, and
    like that one never under 2 / 2^G. All patterns are tried while there are at most 2^14, else n_resamples seeded draws, with
    the observed one counted in.
    """
    c = by_cluster(differences, clusters)
    n_groups, n_clips = len(c.names), c.counts.sum()
    if not n_groups:
        return None
    mean = math.fsum(c.sums) / n_clips
    if abs(mean) <= _RELATIVE * float(np.abs(c.sums / c.counts).max()):
        return 1.0
    points = turning_points((c.sums - mean * c.counts)[None], c.counts, flip_choices(n_groups, seed, n_resamples))
    return float(flip_p(*points, np.array([mean]))[0])


def smallest_p(n_clusters: int) -> float:
    """The smallest p-value that `sign_flip_test` can give for so many clusters while it tries all patterns."""
    return 2.0 ** (1 - n_clusters) if n_clusters else 1.0


def clusters_needed(n_tests: int, alpha: float = 0.05) -> int:
    """The clusters one of n_tests needs so that it can stand at `alpha` after Holm's correction, if all others do not."""
    return max(MIN_CLUSTERS, math.ceil(1 + math.log2(max(n_tests, 1) / alpha) - 1e-12))


def detectable(
    values: Values, clusters: Sequence[Hashable], seed: int = 0, n_resamples: int = 2000, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The smallest true difference that so many clusters with so much spread show with probability `power`; None where there is
    no interval.

    Half the width of `mean_interval` plus t(power) standard errors, with one degree of freedom less than clusters. Source: Bloom
    1995, with this interval in place of the normal one; the cluster-robust standard error weighs each cluster by its share of the
    clips (CR2: Bell & McCaffrey 2002). An estimate from the spread at hand: bench/stats.py says how far it scatters.
    """
    c = by_cluster(values, clusters)
    flips = flip_choices(len(c.names), seed, n_resamples) if c.names else np.zeros((0, 0))
    if len(c.names) < MIN_CLUSTERS or alpha * (len(flips) + 1) < 1:
        return None
    residuals = c.sums - math.fsum(c.sums) / c.counts.sum() * c.counts
    return float(detectable_of(residuals[None], c.counts, flips, alpha, power)[0])


def detectable_of(residuals: np.ndarray, counts: np.ndarray, flips: np.ndarray, alpha: float, power: float) -> np.ndarray:
    """`detectable` of many samples at once, float64 (S,). residuals: float64 (S, G), deviations from each mean, by cluster."""
    from scipy.special import stdtrit

    n_groups, total = len(counts), counts.sum()
    low, high = flip_interval(*turning_points(residuals, counts, flips), alpha)
    se = np.sqrt((residuals**2 / (1 - counts / total)).sum(1)) / total
    return (high - low) / 2 + stdtrit(n_groups - 1, power) * se


def flip_choices(n_groups: int, seed: int, n_resamples: int) -> np.ndarray:
    """Which clusters are flipped, float64 (B, G) of 0 and 1: one of every two complementary choices but for the one that flips
    none, while 2^G is at most 2^14; else n_resamples draws. The same G and seed give the same choices."""
    if 2**n_groups <= MAX_EXACT:
        return _all_flips(n_groups)
    return _drawn_flips(n_groups, seed, n_resamples)


@lru_cache(maxsize=32)
def _drawn_flips(n_groups: int, seed: int, n_resamples: int) -> np.ndarray:
    chosen = np.random.default_rng(seed).integers(0, 2, size=(n_resamples, n_groups)).astype(np.float64)
    chosen.setflags(write=False)
    return chosen


@lru_cache(maxsize=16)
def _all_flips(n_groups: int) -> np.ndarray:
    # The last cluster is never flipped: flipping it and leaving all others is the complement of flipping all others.
    chosen = ((np.arange(1, 2 ** (n_groups - 1))[:, None] >> np.arange(n_groups)) & 1).astype(np.float64)
    chosen.setflags(write=False)
    return chosen


def turning_points(
    residuals: np.ndarray, counts: np.ndarray, flips: np.ndarray, *, ordered: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Where each flip begins to be as extreme as the observed signs: (below, above) the mean, float64 (S, B) each, ascending
    unless not `ordered`, which is enough for an interval.

    residuals: float64 (S, G), sums of deviations from each sample's mean. For a hypothetical mean below the observed one the flip
    of a set is as extreme exactly when the mean over the set, or over its complement, lies at or below it.
    """
    inside, total = flips @ counts, counts.sum()
    sums = residuals @ flips.T
    up, down = np.maximum(sums, 0), np.minimum(sums, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.minimum(down / inside, -up / (total - inside))
        above = np.maximum(up / inside, -down / (total - inside))
    # Only among draws: flipping none or all is always as extreme. Counts may be shares, whose sums are rounded.
    nobody = (inside <= _RELATIVE * total) | (inside >= (1 - _RELATIVE) * total)
    below[:, nobody], above[:, nobody] = -np.inf, np.inf
    return (np.sort(below, axis=1), np.sort(above, axis=1)) if ordered else (below, above)


def flip_interval(below: np.ndarray, above: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the interval relative to the mean, float64 (S,) each, from `turning_points`; needs alpha * (B + 1) >= 1."""
    rank = alpha * (below.shape[1] + 1) + 1e-9
    k = int(rank)
    share = max(0.0, rank - k - 1e-9)
    below = np.partition(below, [k - 1, min(k, below.shape[1] - 1)], axis=1)
    above = np.partition(above, [-k, max(-k - 1, -above.shape[1])], axis=1)
    low = below[:, k - 1] + (share * (below[:, k] - below[:, k - 1]) if share else 0.0)
    high = above[:, -k] + (share * (above[:, -k - 1] - above[:, -k]) if share else 0.0)
    return low, high


def flip_p(below: np.ndarray, above: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Interpolated two-sided p-values, float64 (S,), that the true means are zero, from `turning_points` and observed means."""
    points = np.where((means > 0)[:, None], below, -above[:, ::-1])  # mirrored where the mean is negative
    size = np.abs(means)[:, None]
    points = np.concatenate([points, np.zeros((len(points), 1))], axis=1) + size
    passed = points <= _RELATIVE * size
    k = passed.sum(1)  # turning points at or below zero
    rows = np.arange(len(points))
    before, after = points[rows, np.maximum(k - 1, 0)], points[rows, np.minimum(k, points.shape[1] - 1)]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(np.isfinite(before) & (after > before), -before / (after - before), 0.0)
    return np.minimum(np.where(k == 0, 1.0, k + np.clip(share, 0, 1)) / points.shape[1], 1.0)


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

    chosen, exact = exchange_choices(len(order), int(min(in_a.sum(), (~in_a).sum())), seed, n_resamples)
    return float(exchange_p(deviations[None], counts, in_a, chosen, exact)[0])


@lru_cache(maxsize=8)
def exchange_choices(n_all: int, size: int, seed: int, n_resamples: int) -> tuple[np.ndarray, bool]:
    """(choices of `size` of n_all clusters, float64 (B, n_all) of 0 and 1; whether they are all that exist, else drawn)."""
    exact = math.comb(n_all, size) <= MAX_EXACT
    if exact:
        picks = np.array(list(combinations(range(n_all), size)))
    else:
        picks = np.argsort(np.random.default_rng(seed).random((n_resamples, n_all)), axis=1)[:, :size]
    chosen = np.zeros((len(picks), n_all))
    np.put_along_axis(chosen, picks, 1.0, axis=1)
    chosen.setflags(write=False)
    return chosen, exact


def exchange_p(deviations: np.ndarray, counts: np.ndarray, in_a: np.ndarray, chosen: np.ndarray, exact: bool) -> np.ndarray:
    """p-values, float64 (S,), of the division `in_a`, bool (G,), among the divisions `chosen`. deviations: float64 (S, G),
    deviations from each sample's grand mean, summed by cluster."""
    smaller = in_a if 2 * in_a.sum() <= len(in_a) else ~in_a  # the sign of the statistic does not matter

    def statistic(some: np.ndarray) -> np.ndarray:
        n_some, total = some @ counts, deviations @ some.T
        return np.abs(total / n_some - (deviations.sum(1, keepdims=True) - total) / (counts.sum() - n_some))

    limit = statistic(smaller[None].astype(np.float64)) - _RELATIVE * np.abs(deviations / counts).max(1, keepdims=True)
    n_extreme = (statistic(chosen) >= limit).sum(1)
    return n_extreme / len(chosen) if exact else (n_extreme + 1) / (len(chosen) + 1)


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


def differences(a: Values, b: Values) -> list[float | None]:
    """a - b clip by clip; None where a side is missing. ValueError for other lengths."""
    if len(a) != len(b):
        raise ValueError(f"paired values differ in number: {len(a)} and {len(b)}")
    return [None if x is None or y is None else float(x) - float(y) for x, y in zip(a, b)]
