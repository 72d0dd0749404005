"""Figures that lie across languages, with intervals over speakers: the jackknife that leaves out one speaker.

A stratum is a language; its clusters are its speakers. A statistic is any smooth function of the strata's means. A name that
stands in several strata is one person who speaks several languages: left out, drawn and counted once, in all of them together.
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
    statistics that are linear), its degrees of freedom Satterthwaite's over the strata. A cluster in several strata is left out
    of all at once and counts in the smallest of them; strata that share one deviate from one mean. With every cluster in both of
    two strata that is the paired t interval, with none Welch's. n_clips: what `n_clips` shall say; the values of the first kind
    if None. No interval (too_few_speakers) where a stratum has fewer than 2 clusters or all have fewer than 6; mean None
    (not_defined) where the statistic is not finite.
    """
    from scipy.stats import t

    n_clips = int(sum(s.counts[:, 0].sum() for s in strata)) if n_clips is None else n_clips
    n_groups = n_people(strata)
    means = np.stack([s.means for s in strata])
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = float(statistic(means))
    if not np.isfinite(whole):
        return Estimate(None, None, None, n_clips, n_groups, UNDEFINED)
    if n_groups < MIN_CLUSTERS or min(len(s.names) for s in strata) < MIN_PER_STRATUM:
        return Estimate(whole, None, None, n_clips, n_groups, TOO_FEW)
    without, sizes = [s.without_one() for s in strata], [len(s.names) for s in strata]
    found = []  # (strata, values with one person left out each) of the people who speak in just these
    for places, rows in _by_places(tuple(one.names for one in strata)).items():
        left = np.repeat(means[None], len(rows), axis=0)
        for k, i in enumerate(places):
            left[:, i] = without[i][rows[:, k]]
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((places, np.asarray(statistic(left), np.float64)))
        if not np.isfinite(found[-1][1]).all():
            return Estimate(whole, None, None, n_clips, n_groups, TOO_FEW)
    joined = _joined([places for places, _ in found], len(strata))
    parts = np.zeros(len(strata))
    for group in sorted(set(joined)):
        own = [(places, values) for places, values in found if joined[places[0]] == group]
        centre = np.concatenate([values for _, values in own]).mean()
        for places, values in own:
            home = min(places, key=lambda i: (sizes[i], i))
            parts[home] += (sizes[home] - 1) / sizes[home] * float(((values - centre) ** 2).sum())
    variance = float(parts.sum())
    if variance <= 0:
        return Estimate(whole, whole, whole, n_clips, n_groups)
    df = variance**2 / float((parts**2 / (np.array(sizes) - 1)).sum())
    half = float(t.ppf((1 + level) / 2, df)) * variance**0.5
    return Estimate(whole, whole - half, whole + half, n_clips, n_groups)


def n_people(strata: Sequence[Stratum]) -> int:
    """The clusters of all strata, each counted once."""
    return len({name for one in strata for name in one.names})


@lru_cache(maxsize=64)
def _by_places(strata: tuple[tuple[str, ...], ...]) -> dict[tuple[int, ...], np.ndarray]:
    """Strata that people share -> int (people, strata): the place of each of these people in each of these strata. strata: the
    names of each."""
    of: dict[str, list[tuple[int, int]]] = {}
    for i, names in enumerate(strata):
        for row, name in enumerate(names):
            of.setdefault(name, []).append((i, row))
    out: dict[tuple[int, ...], list[list[int]]] = {}
    for where in of.values():
        out.setdefault(tuple(i for i, _ in where), []).append([row for _, row in where])
    return {places: np.array(rows) for places, rows in out.items()}


def _joined(shared: Sequence[tuple[int, ...]], n_strata: int) -> list[int]:
    """A number per stratum, the same for all that are tied together by people, directly or by way of others."""
    out = list(range(n_strata))
    for places in shared:
        tied = {out[i] for i in places}
        out = [min(tied) if number in tied else number for number in out]
    return out


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

    The cluster bootstrap (Field & Welsh 2007). nan where a draw has no value of a kind. Where somebody speaks in several strata,
    people are not drawn but weighed, all by the exponential distribution and alike in all strata (the Bayesian bootstrap, Rubin
    1981): drawn together they would leave some strata empty.
    """
    out = []
    shared = n_people(strata) < sum(len(one.names) for one in strata)
    if shared:
        people = {name: k for k, name in enumerate(sorted({name for one in strata for name in one.names}))}
        weights = _weighed(len(people), seed, n_resamples)
    for i, one in enumerate(strata):
        weight = weights[:, [people[n] for n in one.names]] if shared else _weights(len(one.names), (seed, i), n_resamples)
        with np.errstate(invalid="ignore", divide="ignore"):
            out.append((weight @ one.sums) / (weight @ one.counts))
    return np.stack(out, axis=1)


@lru_cache(maxsize=64)
def _weights(size: int, seed: tuple[int, int], n_resamples: int) -> np.ndarray:
    """How often each of `size` clusters is drawn, float64 (B, size): the same for all figures over as many clusters."""
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=n_resamples).astype(np.float64)


@lru_cache(maxsize=8)
def _weighed(size: int, seed: int, n_resamples: int) -> np.ndarray:
    """What each of `size` clusters weighs, float64 (B, size), exponential with mean 1."""
    return np.random.default_rng(seed).standard_exponential((n_resamples, size))


@lru_cache(maxsize=8)
def _orders(size: int, seed: int, n_resamples: int) -> np.ndarray:
    return np.argsort(np.random.default_rng(seed).random((n_resamples, size)), axis=1)
