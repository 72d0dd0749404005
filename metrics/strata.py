"""Figures that lie across languages, with intervals over speakers: the jackknife that leaves out one speaker of one language.

A stratum is a language; its clusters are its speakers. A statistic is any smooth function of the strata's means. Nobody speaks in
two strata: clusters of different strata are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from metrics.stats import MIN_CLUSTERS, TOO_FEW, Estimate

MIN_PER_STRATUM = 2  # one speaker says nothing about how speakers differ
UNDEFINED = "not_defined"


@dataclass(frozen=True, slots=True)
class Stratum:
    """Per cluster of one language, in the order of their names, the number of values and their sum for K kinds of value:
    float64 (G, K) each."""

    names: tuple[str, ...]
    counts: np.ndarray
    sums: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """float64 (K,): means over clips; nan where there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums.sum(0) / self.counts.sum(0)

    def without_one(self) -> np.ndarray:
        """float64 (G, K): the means that remain when each cluster in turn is left out; nan where nothing remains."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.sums.sum(0) - self.sums) / (self.counts.sum(0) - self.counts)


def stratum(*kinds: tuple[np.ndarray, Sequence[Hashable]]) -> Stratum:
    """One language from (values, cluster of each value), one pair for every kind of value. Clusters are those of any kind."""
    names = tuple(sorted({str(c) for _, clusters in kinds for c in clusters}))
    at = {name: i for i, name in enumerate(names)}
    counts, sums = np.zeros((len(names), len(kinds))), np.zeros((len(names), len(kinds)))
    for k, (values, clusters) in enumerate(kinds):
        values = np.asarray(values, np.float64)
        where = np.array([at[str(c)] for c in clusters], int)
        order = np.lexsort((values, where))  # sums must not depend on the order of the rows
        np.add.at(counts[:, k], where, 1)
        np.add.at(sums[:, k], where[order], values[order])
    return Stratum(names, counts, sums)


def jackknife(
    strata: Sequence[Stratum], statistic: Callable[[np.ndarray], np.ndarray], level: float = 0.95, n_clips: int | None = None
) -> Estimate:
    """A statistic of the strata's means with its interval: estimate +- t standard errors.

    statistic: float64 (..., S, K) of means -> float64 (...). Its variance is the sum over strata of (G - 1) / G times the squared
    deviations of the leave-one-cluster-out values (the stratified delete-one jackknife: Shao & Tu 1995, section 6.2; CR3 for
    statistics that are linear), its degrees of freedom Satterthwaite's over the strata. n_clips: what `n_clips` shall say; the
    values of the first kind if None. No interval (too_few_speakers) where a stratum has fewer than 2 clusters or all have fewer
    than 6; mean None (not_defined) where the statistic is not finite.
    """
    from scipy.stats import t

    n_clips = int(sum(s.counts[:, 0].sum() for s in strata)) if n_clips is None else n_clips
    n_groups = sum(len(s.names) for s in strata)
    means = np.stack([s.means for s in strata])
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = float(statistic(means))
    if not np.isfinite(whole):
        return Estimate(None, None, None, n_clips, n_groups, UNDEFINED)
    if n_groups < MIN_CLUSTERS or min(len(s.names) for s in strata) < MIN_PER_STRATUM:
        return Estimate(whole, None, None, n_clips, n_groups, TOO_FEW)
    parts, freedom = [], []
    for i, one in enumerate(strata):
        left = np.repeat(means[None], len(one.names), axis=0)
        left[:, i] = one.without_one()
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.asarray(statistic(left), np.float64)
        if not np.isfinite(found).all():
            return Estimate(whole, None, None, n_clips, n_groups, TOO_FEW)
        size = len(found)
        parts.append((size - 1) / size * float(((found - found.mean()) ** 2).sum()))
        freedom.append(size - 1)
    variance = sum(parts)
    if variance <= 0:
        return Estimate(whole, whole, whole, n_clips, n_groups)
    df = variance**2 / sum(p**2 / f for p, f in zip(parts, freedom, strict=True))
    half = float(t.ppf((1 + level) / 2, df)) * variance**0.5
    return Estimate(whole, whole - half, whole + half, n_clips, n_groups)


def slope(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Least squares of y on x over languages, each with weight 1: float64 (...), from x (S,) and means (..., S)."""
    centred = x - x.mean()
    return (means * centred).sum(-1) / (centred**2).sum()


def permuted_slope(x: np.ndarray, y: np.ndarray, seed: int, n_resamples: int = 9999) -> float | None:
    """Two-sided p-value that x says nothing about y, float64 (S,) each, by exchanging the languages' distances: all orders while
    there are at most 5,040, else seeded draws with the observed order counted in. None where all x, or all y, are equal."""
    from itertools import permutations

    if np.ptp(x) <= 0 or np.ptp(y) <= 0:
        return None
    centred, rest = x - x.mean(), y - y.mean()
    limit = abs(float(centred @ rest)) * (1 - 1e-10)
    if len(x) <= 7:
        orders = np.array(list(permutations(range(len(x)))))
        return float((np.abs(centred[orders] @ rest) >= limit).mean())
    orders = _orders(len(x), seed, n_resamples)
    return float(((np.abs(centred[orders] @ rest) >= limit).sum() + 1) / (n_resamples + 1))


def resampled_means(strata: Sequence[Stratum], seed: int, n_resamples: int) -> np.ndarray:
    """Means of every stratum with its clusters drawn again with replacement: float64 (B, S, K), the same draw for all K kinds.

    The cluster bootstrap (Field & Welsh 2007). nan where a draw has no value of a kind.
    """
    out = []
    for i, one in enumerate(strata):
        weight = _weights(len(one.names), (seed, i), n_resamples)
        with np.errstate(invalid="ignore", divide="ignore"):
            out.append((weight @ one.sums) / (weight @ one.counts))
    return np.stack(out, axis=1)


@lru_cache(maxsize=64)
def _weights(size: int, seed: tuple[int, int], n_resamples: int) -> np.ndarray:
    """How often each of `size` clusters is drawn, float64 (B, size): the same for all figures over as many clusters."""
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=n_resamples).astype(np.float64)


@lru_cache(maxsize=8)
def _orders(size: int, seed: int, n_resamples: int) -> np.ndarray:
    return np.argsort(np.random.default_rng(seed).random((n_resamples, size)), axis=1)
