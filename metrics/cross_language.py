"""What a system's figures say across languages: seen against unseen, the worst language, what is kept, how the gap grows with
linguistic distance, and how firm a ranking is.

Planted languages test the instrument and are left out. Every language counts the same, however many clips it has; a language's
own figure is the mean over its clips. Intervals are over speakers: metrics.strata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrics.languages import KINDS, nearest
from metrics.robustness import METRICS, Cell, Table, seed_of
from metrics.stats import MIN_CLUSTERS, TOO_FEW, Estimate, holm
from metrics.strata import Stratum, jackknife, n_people, permuted_slope, resampled_means, slope, stratum

CONTROLS = ("real", "still")
MIN_LANGUAGES = 4
TOO_FEW_LANGUAGES = "too_few_languages"
# A mouth that has nothing to do with the sound has correlation 0: a still one has none at all.
CORRELATIONS = ("opening_correlation", "truth_opening_correlation", "energy_correlation")

Sample = tuple[np.ndarray, list[str]]


@dataclass(slots=True)
class Spread:
    """One system and metric over its languages. seen, unseen: mean gap over the languages trained on, and the others; difference:
    unseen less seen, above 0 is worse. worst: the language with the largest gap, and in how many of 1 resamplings it is that one.
    skill_seen, retention: see `retention`. reasons: figure -> why it is null."""

    system: str
    metric: str
    seen_languages: list[str]
    unseen_languages: list[str]
    seen: Estimate | None = None
    unseen: Estimate | None = None
    difference: Estimate | None = None
    worst: str | None = None
    worst_gap: Estimate | None = None
    worst_share: float | None = None
    skill_seen: Estimate | None = None
    skill_unseen: Estimate | None = None
    retention: Estimate | None = None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Slope:
    """How much the gap grows from distance 0 to distance 1 from the nearest training language. points: one per language; missing:
    language -> why it has none. p: by exchanging the distances of languages; p_holm: over all slopes of a metric."""

    system: str
    metric: str
    kind: str
    points: list[dict[str, Any]]
    missing: dict[str, str]
    slope: Estimate | None
    intercept: float | None
    p: float | None
    p_holm: float | None
    reason: str | None


@dataclass(slots=True)
class Ranking:
    """How firm the order of systems is, best first, in one language or in all of those in which all were scored (language None).

    first: share of resamplings in which each is the best; ahead: share in which each stays before the next one; kept: share in
    which the whole order stays."""

    metric: str
    language: str | None
    order: list[str]
    gaps: list[float]
    first: list[float | None]
    ahead: list[float | None]
    kept: float | None
    n_languages: int
    n_clips: int
    n_speakers: int
    reason: str | None


def correct_gaps(cells: Sequence[Cell], planted: Sequence[str] = ()) -> None:
    """Sets p_gap_holm of every cell that has a p_gap: Holm over the languages of one system, condition and metric. Planted
    languages are none of them and get none."""
    families: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.p_gap is not None and cell.language not in planted:
            families.setdefault((cell.system, cell.condition, cell.metric), []).append(cell)
    for family in families.values():
        for cell, p in zip(family, holm([c.p_gap for c in family]), strict=True):
            cell.p_gap_holm = p


class Cross:
    """The gaps of every system's own sound, by language, ready to be asked across languages."""

    def __init__(self, table: Table, planted: Sequence[str] = ()):
        self.table = table
        self.systems = sorted({s for s, c, _ in table.groups if c == "self" and s not in CONTROLS})
        self.languages = sorted({tag for _, c, tag in table.groups if c == "self"} - set(planted))
        trained = {s: rows[0].get("training_languages") or [] for (s, c, _), rows in table.groups.items() if c == "self"}
        self.trained: dict[str, list[str]] = {s: sorted(trained.get(s, [])) for s in self.systems}
        self._gaps: dict[tuple[str, str, str], Sample] = {}
        self._strata: dict[tuple[str, str, str], Stratum] = {}

    def gaps(self, system: str, language: str, metric: str) -> Sample:
        key = (system, language, metric)
        if key not in self._gaps:
            self._gaps[key] = self.table.gaps(self.table.groups.get((system, "self", language), []), metric)
        return self._gaps[key]

    def stratum(self, system: str, language: str, metric: str) -> Stratum:
        key = (system, language, metric)
        if key not in self._strata:
            self._strata[key] = stratum(self.gaps(*key))
        return self._strata[key]

    def estimate(self, system: str, language: str, metric: str) -> Estimate:
        return self.table.gap(system, "self", language, metric, self.gaps(system, language, metric))

    def measured(self, system: str, metric: str) -> list[str]:
        """The languages in which a system has a gap."""
        return [tag for tag in self.languages if len(self.gaps(system, tag, metric)[0])]

    def metrics(self) -> list[str]:
        """The metrics in which any system has a gap anywhere."""
        return [m for m in self.table.metrics() if any(self.measured(s, m) for s in self.systems)]

    def _seed(self) -> int:
        return seed_of(self.table.seed, "speakers")

    def _interval(self, strata: Sequence[Stratum], statistic: Any, n_clips: int | None = None) -> Estimate:
        """A statistic of some strata with its interval; the flips are those of the table's own figures."""
        return jackknife(strata, statistic, 1 - self.table.alpha, n_clips, seed=seed_of(self.table.seed, "flips"),
                         n_resamples=self.table.resamples)

    # ---- seen and unseen
    # --------------------------------------------------------------------------------------------------------
    def spread(self, system: str, metric: str) -> Spread:
        """All of `Spread` for one system and metric."""
        found = self.measured(system, metric)
        known = set(self.trained[system])
        out = Spread(system, metric, [t for t in found if t in known], [t for t in found if t not in known])
        if not found:
            out.reasons = dict.fromkeys(("difference", "worst", "retention"), "no_scores")
            return out
        strata = {tag: self.stratum(system, tag, metric) for tag in found}
        for name, tags in (("seen", out.seen_languages), ("unseen", out.unseen_languages)):
            if tags:
                setattr(out, name, self._interval([strata[t] for t in tags], lambda m: m[..., 0].mean(-1)))
        seen = np.array([tag in known for tag in found])
        lacking = {"unknown_training": not known, "no_seen_language": not seen.any(), "no_unseen_language": seen.all()}
        why = next((reason for reason, so in lacking.items() if so), None)
        if why is None:
            out.difference = self._interval([strata[t] for t in found],
                                            lambda m: m[..., ~seen, 0].mean(-1) - m[..., seen, 0].mean(-1))
            self._retention(out, found, seen)
        else:
            out.reasons |= {"difference": why, "retention": why}
        self._worst(out, found, strata)
        return out

    def _worst(self, out: Spread, found: list[str], strata: dict[str, Stratum]) -> None:
        if len(found) < 2:
            out.reasons["worst"] = "one_language"
            return
        means = np.array([strata[t].means[0] for t in found])
        out.worst = found[int(means.argmax())]
        out.worst_gap = self.estimate(out.system, out.worst, out.metric)
        if min(len(s.names) for s in strata.values()) < 2 or n_people(list(strata.values())) < MIN_CLUSTERS:
            out.reasons["worst_share"] = TOO_FEW
            return
        draws = resampled_means([strata[t] for t in found], self._seed(), self.table.resamples)[..., 0]
        out.worst_share = float((draws.argmax(1) == means.argmax()).mean())

    def floor(self, language: str, metric: str) -> Sample:
        """The gaps of what knows nothing: for the expert's figures real video with another clip's sound, for correlations 0, for
        all others the still face."""
        groups, table = self.table.groups, self.table
        real = groups.get(("real", "self", language), [])
        if METRICS[metric].judged:
            return table.gaps(groups.get(("real", "shuffled", language), []), metric)
        if metric in CORRELATIONS:
            ideal = METRICS[metric].ideal
            return table.values(real, metric) if ideal is None else table.collect((row, ideal) for row in real)
        return table.gaps(groups.get(("still", "self", language), []), metric)

    def _retention(self, out: Spread, found: list[str], seen: np.ndarray) -> None:
        """Retention: mean skill over unseen languages over mean skill over seen ones.

        The skill in a language is 1 - gap / the floor's gap there: 1 is as good as real video, 0 is as bad as knowing nothing (a
        skill score: Murphy 1988). A ratio says nothing where the skill in seen languages is not above 0.
        """
        pairs = [(self.gaps(out.system, t, out.metric), self.floor(t, out.metric)) for t in found]
        if not all(len(floor[0]) for _, floor in pairs):
            out.reasons["retention"] = "no_floor"
            return
        strata = [stratum(*pair) for pair in pairs]
        if min(s.means[1] for s in strata) <= 0:
            out.reasons["retention"] = "floor_not_below_real"
            return

        def skill(means: np.ndarray) -> np.ndarray:
            return 1 - means[..., 0] / means[..., 1]

        n_clips = sum(len(gap[0]) for gap, _ in pairs)
        for name, which in (("skill_seen", seen), ("skill_unseen", ~seen)):
            own = [s for s, w in zip(strata, which, strict=True) if w]
            setattr(out, name, self._interval(own, lambda m: skill(m).mean(-1)))
        least = out.skill_seen.low if out.skill_seen.low is not None else out.skill_seen.mean
        if least <= 0:
            out.reasons["retention"] = "no_skill_in_seen_languages"
            return
        out.retention = self._interval(strata, lambda m: skill(m)[..., ~seen].mean(-1) / skill(m)[..., seen].mean(-1), n_clips)

    # ---- distance
    # -----------------------------------------------------------------------------------------------------------------
    def slopes(self, metric: str, sounds: Mapping[str, Any], kinds: Sequence[str] = KINDS) -> list[Slope]:
        """The slope of every system's gap over every kind of distance. sounds: language -> metrics.languages.sound_counts."""
        out = [self._slope(system, metric, kind, sounds) for system in self.systems for kind in kinds]
        tested = [s for s in out if s.p is not None]
        for one, p in zip(tested, holm([s.p for s in tested]), strict=True):
            one.p_holm = p
        return out

    def _slope(self, system: str, metric: str, kind: str, sounds: Mapping[str, Any]) -> Slope:
        trained = sorted({t.rpartition("/")[2] for t in self.trained[system]})
        points, missing, strata = [], {}, []
        for tag in self.measured(system, metric):
            x, near, reason = nearest(kind, tag.rpartition("/")[2], trained, sounds)
            if reason is not None:
                missing[tag] = reason
                continue
            gap = self.estimate(system, tag, metric)
            strata.append(self.stratum(system, tag, metric))
            points.append({"language": tag, "nearest": near, "distance": x, "seen": tag in self.trained[system], "gap": gap})
        out = Slope(system, metric, kind, points, missing, None, None, None, None, None)
        xs = np.array([p["distance"] for p in points])
        if len(points) < MIN_LANGUAGES:
            # Where languages are missing, why they are says more than how many are left.
            out.reason = sorted(missing.values())[0] if missing and not points else TOO_FEW_LANGUAGES
        elif np.ptp(xs) <= 0:
            out.reason = "no_spread_of_distances"
        else:
            ys = np.array([p["gap"].mean for p in points])
            out.slope = self._interval(strata, lambda m: slope(xs, m[..., 0]))
            out.intercept = float(ys.mean() - out.slope.mean * xs.mean())
            out.p = permuted_slope(xs, ys, seed_of(self.table.seed, "orders"))
        return out

    # ---- ranking
    # ------------------------------------------------------------------------------------------------------------------
    def rankings(self, metric: str) -> list[Ranking]:
        """The order of the systems in every language in which two or more were scored, and in all in which all were."""
        out, whole = [], []
        systems = [s for s in self.systems if self.measured(s, metric)]
        for tag in self.languages:
            own = [s for s in systems if len(self.gaps(s, tag, metric)[0])]
            if len(own) < 2:
                continue
            one = stratum(*(self.gaps(s, tag, metric) for s in own))
            out.append(self._ranking(metric, tag, own, [one]))
            if own == systems:
                whole.append(one)
        if len(whole) > 1:
            out.insert(0, self._ranking(metric, None, systems, whole))
        return out

    def _ranking(self, metric: str, language: str | None, systems: list[str], strata: list[Stratum]) -> Ranking:
        means = np.stack([s.means for s in strata]).mean(0)
        order = sorted(range(len(systems)), key=lambda k: (means[k], systems[k]))
        n_speakers = n_people(strata)
        out = Ranking(metric, language, [systems[k] for k in order], [float(means[k]) for k in order], [None] * len(order),
                      [None] * len(order), None, len(strata), int(sum(s.counts.max(1).sum() for s in strata)), n_speakers, None)
        if n_speakers < MIN_CLUSTERS or min(len(s.names) for s in strata) < 2:
            out.reason = TOO_FEW
            return out
        draws = resampled_means(strata, self._seed(), self.table.resamples).mean(1)[:, order]
        draws = draws[np.isfinite(draws).all(1)]
        best = draws == draws.min(1, keepdims=True)
        out.first = (best / best.sum(1, keepdims=True)).mean(0).tolist()
        before = draws[:, :-1] < draws[:, 1:]
        out.ahead = [*before.mean(0).tolist(), None]
        out.kept = float(before.all(1).mean())
        return out
