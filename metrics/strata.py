"""Figures that lie across languages, with intervals over speakers: what changes when one of them is left out.

A stratum is a language; its clusters are its speakers. A statistic is any smooth function of the strata's means. A name that
stands in several strata is one person who speaks several languages: left out, drawn and counted once, in all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from metrics.stats import MIN_CLUSTERS, TOO_FEW, Estimate, flip_choices, flip_interval, turning_points

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
    strata: Sequence[Stratum], statistic: Callable[[np.ndarray], np.ndarray], level: float = 0.95, n_clips: int | None = None,
    *, seed: int = 0, n_resamples: int = 2000
) -> Estimate:  # fmt: skip
    """A statistic of the strata's means with its interval over people, from the values that remain when each is left out.

    statistic: float64 (..., S, K) of means -> float64 (...). A cluster in several strata is one person and is left out of all at
    once. Where people belong to one stratum each: estimate +- t standard errors; the variance is the sum over strata of
    (G - 1) / G times the squared deviations of the leave-one-out values (the stratified delete-one jackknife: Shao & Tu 1995,
    section 6.2), its degrees of freedom Satterthwaite's over the strata, each with its effective number of clusters less one, which
    is G - 1 where they have equally many clips (Carter, Schnepel & Steigerwald 2017); two such strata make it Welch's. Where
    somebody speaks in several strata, or there is one alone, t would be wrong twice as often as announced (bench/stats.py): there
    the interval is that of metrics.stats.mean_interval, which flips the signs of whole people, each with what their absence
    changes. One stratum's mean has exactly that interval. n_clips: what `n_clips` shall say; the values of the first kind if
    None. seed, n_resamples: of flips where there are too many to try all. No interval (too_few_speakers) where a stratum has
    fewer than 2 clusters or all have fewer than 6; mean None (not_defined) where the statistic is not finite.
    """
    n_clips = int(sum(s.counts[:, 0].sum() for s in strata)) if n_clips is None else n_clips
    n_groups = n_people(strata)
    means = np.stack([s.means for s in strata])
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = float(statistic(means))
    if not np.isfinite(whole):
        return Estimate(None, None, None, n_clips, n_groups, UNDEFINED)
    ends = None
    if n_groups >= MIN_CLUSTERS and min(len(s.names) for s in strata) >= MIN_PER_STRATUM:
        places = _people(tuple(one.names for one in strata))
        left = np.repeat(means[None], n_groups, axis=0)
        for i, one in enumerate(strata):
            left[places[i], i] = one.without_one()
        with np.errstate(invalid="ignore", divide="ignore"):
            moves = whole - np.asarray(statistic(left), np.float64)  # by how much each person moves the statistic
        if np.isfinite(moves).all():
            apart = len(strata) > 1 and sum(len(at) for at in places) == n_groups
            ends = _t(moves, strata, places, level) if apart else _flipped(moves, strata, places, 1 - level, seed, n_resamples)
    if ends is None:
        return Estimate(whole, None, None, n_clips, n_groups, TOO_FEW)
    return Estimate(whole, whole + ends[0], whole + ends[1], n_clips, n_groups)


def _t(moves: np.ndarray, strata: Sequence[Stratum], places: Sequence[np.ndarray], level: float) -> tuple[float, float]:
    """Both ends relative to the estimate, where nobody is in two strata."""
    from scipy.special import stdtrit

    sizes = np.array([len(at) for at in places], float)
    spread = np.array([((moves[at] - moves[at].mean()) ** 2).sum() for at in places])
    parts = (sizes - 1) / sizes * spread
    variance = float(parts.sum())
    if variance <= 0:
        return 0.0, 0.0
    # The effective number of clusters less one; G - 1 where all have as many clips, and never below 1, where t still has a meaning.
    freedom = np.array([max(1.0, 1 / float((_shares(one) ** 2).sum()) - 1) for one in strata])
    df = variance**2 / float((parts**2 / freedom).sum())
    half = float(stdtrit(df, (1 + level) / 2)) * variance**0.5
    return -half, half


def _flipped(moves: np.ndarray, strata: Sequence[Stratum], places: Sequence[np.ndarray], alpha: float, seed: int,
             n_resamples: int) -> tuple[float, float] | None:
    """Both ends relative to the estimate by flipping the signs of people; None where so few have no such interval. A person
    weighs the mean of their shares of the strata's clips."""
    weights = np.zeros(len(moves))
    for one, at in zip(strata, places, strict=True):
        weights[at] += _shares(one) / len(strata)
    flips = flip_choices(len(moves), seed, n_resamples)
    if alpha * (len(flips) + 1) < 1:
        return None
    residuals = moves * (1 - weights)  # leaving out a share h of a mean moves it by h / (1 - h) deviations
    points = turning_points((residuals - residuals.sum() * weights)[None], weights, flips, ordered=False)
    low, high = flip_interval(*points, alpha)
    return float(low[0]), float(high[0])


def _shares(one: Stratum) -> np.ndarray:
    """Each cluster's share of its language's clips, the mean over the kinds of value: float64 (G,)."""
    totals = one.counts.sum(0)
    return (one.counts[:, totals > 0] / totals[totals > 0]).mean(1)


def n_people(strata: Sequence[Stratum]) -> int:
    """The clusters of all strata, each counted once."""
    return len({name for one in strata for name in one.names})


@lru_cache(maxsize=64)
def _people(strata: tuple[tuple[str, ...], ...]) -> list[np.ndarray]:
    """For each stratum the numbers of its people, who are numbered by name over all strata: int (G,) each. strata: the names of
    each."""
    numbers = {name: k for k, name in enumerate(sorted({name for one in strata for name in one}))}
    return [np.array([numbers[name] for name in one], int) for one in strata]


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
