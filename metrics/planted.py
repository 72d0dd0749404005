"""Which languages stand apart: planted twins against their models, and unseen languages against seen ones.

Every comparison is a two-sample permutation test that moves whole speakers, two-sided, corrected over its family by Holm's
method. People who speak on both sides are compared with themselves, or left out of the second. A language is said to differ only
with at least `MIN_CLUSTERS` speakers on both sides; below that there is a reason instead of a p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics.robustness import METRICS, Cell, Row, Table, seed_of, speaker_of
from metrics.stats import MIN_CLUSTERS, TOO_FEW, cluster_permutation, holm, sign_flip_test
from metrics.validity import real_and_shuffled

# What a wrong language must show in: real video that is out of step, and systems that move the lips wrongly there.
REAL_METRICS = ("abs_offset", "lse_d")
# LSE-C itself depends on the clips' lengths, which differ between languages: its lead over another clip's sound stands for it.
LEAD = "lead"  # of real video's own sound over another clip's, in LSE-C: what says whether an expert is valid at all
TRAINED_ON_MODEL = "trained_on_the_model"
SYSTEM_METRICS = ("opening_correlation", "landmark_distance")


@dataclass(slots=True)
class Comparison:
    """One language against another on one metric of one system. `worse_by`: the first mean minus the second, larger is worse."""

    language: str
    against: str
    system: str
    metric: str
    worse_by: float | None
    n_clips: int
    n_speakers: int
    n_clips_against: int
    n_speakers_against: int
    p: float | None
    p_holm: float | None
    reason: str | None

    def differs(self, alpha: float) -> bool:
        """Whether the difference stands after correction."""
        return self.p_holm is not None and self.p_holm <= alpha


def compare(
    table: Table, one: tuple[np.ndarray, list[str]], two: tuple[np.ndarray, list[str]]
) -> tuple[float | None, str | None]:
    """(p, reason) of a two-sided test that two samples of (values, clusters) have one mean; exactly one of them is None.

    Samples that share speakers are not independent. Where those in both are as many as would be left to exchange, each of them is
    compared with themselves (flipping the signs of the differences of their means); else they count in the first sample only.
    """
    if len(one[0]) == 0 or len(two[0]) == 0:
        return None, "no_scores"
    both = set(one[1]) & set(two[1])
    if both:
        if len(both) >= min(len(set(one[1])), len(set(two[1]) - both)):
            apart = [a - b for a, b in zip(*(_means(side, both) for side in (one, two)), strict=True)]
            if len(both) < MIN_CLUSTERS:
                return None, TOO_FEW
            return sign_flip_test(apart, sorted(both), seed_of(table.seed, "flips"), table.resamples), None
        rest = [i for i, who in enumerate(two[1]) if who not in both]
        two = two[0][rest], [two[1][i] for i in rest]
    if min(len(set(one[1])), len(set(two[1]))) < MIN_CLUSTERS:
        return None, TOO_FEW
    # One seed for all figures: those with equal numbers of clusters then share the draws, which cost more than the test.
    return cluster_permutation(one[0], one[1], two[0], two[1], seed_of(table.seed, "exchanges")), None


def _means(sample: tuple[np.ndarray, list[str]], names: set[str]) -> list[float]:
    """The mean of each of these clusters, in the order of their names."""
    clusters = np.array(sample[1])
    return [float(np.mean(np.sort(sample[0][clusters == name]))) for name in sorted(names)]


def real_leads(rows: Sequence[Row]) -> dict[str, tuple[np.ndarray, list[str]]]:
    """language -> (how much higher LSE-C of real video is with its own sound than with another clip's, the clip's speaker)."""
    return {tag: (np.array([own - other for _, own, other in pairs]), [who for who, _, _ in pairs])
            for tag, pairs in real_and_shuffled(rows)[0].items() if pairs}


def twin_comparisons(table: Table, twins: dict[str, str],
                     leads: dict[str, tuple[np.ndarray, list[str]]] | None = None) -> list[Comparison]:
    """Each planted language against the language it is a twin of: real video's own scores, and every system's gaps to real video.

    twins: planted language -> its model. leads: of `real_leads` over all rows. Where an expert is not valid its scores are null,
    and that it hears nothing in a language, but does in the twin, is just what must be noticed: so the lead is compared also
    there. Holm's correction spans all comparisons returned.
    """
    systems = sorted({s for s, c, _ in table.groups if c == "self" and s not in ("real", "still")})
    wanted = [("real", m) for m in REAL_METRICS] + [(s, m) for s in systems for m in SYSTEM_METRICS]
    out = []
    for planted, model in sorted(twins.items()):
        for system, metric in wanted:
            sides = []
            for language in (planted, model):
                rows = table.groups.get((system, "self", language), [])
                if system == "real":
                    # Real video has no gap to itself: its score, turned so that larger is worse.
                    values, clusters = table.values(rows, metric)
                    sides.append((-values if METRICS[metric].higher_is_better else values, clusters))
                else:
                    sides.append(table.gaps(rows, metric))
            if not len(sides[0][0]) and not len(sides[1][0]):
                continue
            found = _comparison(table, planted, model, system, metric, *sides)
            trained = next((r.get("training_languages") or [] for r in table.groups.get((system, "self", model), [])), [])
            if model in trained:  # a right twin is unseen where its model is seen: it may well be worse
                found.p, found.reason = None, TRAINED_ON_MODEL
            out.append(found)
        if leads and planted in leads and model in leads:
            out.append(_comparison(table, planted, model, "real", LEAD,
                                   *((-values, who) for values, who in (leads[planted], leads[model]))))
    return corrected(out)


def _comparison(table: Table, language: str, against: str, system: str, metric: str, one: Any, two: Any) -> Comparison:
    p, reason = compare(table, one, two)
    difference = float(one[0].mean() - two[0].mean()) if len(one[0]) and len(two[0]) else None
    return Comparison(
        language,
        against,
        system,
        metric,
        difference,
        len(one[0]),
        len(set(one[1])),
        len(two[0]),
        len(set(two[1])),
        p,
        None,
        reason,
    )


def corrected(comparisons: list[Comparison]) -> list[Comparison]:
    """The same comparisons with Holm-adjusted p-values over those that have a p."""
    tested = [c for c in comparisons if c.p is not None]
    for one, p in zip(tested, holm([c.p for c in tested]), strict=True):
        one.p_holm = float(p)
    return comparisons


def found(comparisons: list[Comparison], alpha: float) -> list[str]:
    """The languages in which at least one comparison shows them to be worse, after correction."""
    return sorted({c.language for c in comparisons if c.differs(alpha) and (c.worse_by or 0) > 0})


def test_unseen(table: Table, cells: list[Cell]) -> None:
    """Sets p_unseen and p_unseen_holm (or unseen_reason) of every cell of a trained system in a language it did not train on.

    The gaps of its clips in that language are compared with its gaps in all languages it did train on; Holm over the languages of
    one system, condition and metric.
    """
    families: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.seen is not None and cell.condition == "self":
            families.setdefault((cell.system, cell.condition, cell.metric), []).append(cell)
    for (system, condition, metric), family in sorted(families.items()):
        seen = [r for c in family if c.seen for r in table.groups[system, condition, c.language]]
        base, tested = table.gaps(seen, metric), []
        for cell in family:
            if cell.seen:
                continue
            own = table.gaps(table.groups[system, condition, cell.language], metric)
            cell.p_unseen, cell.unseen_reason = compare(table, own, base)
            if cell.p_unseen is not None:
                tested.append(cell)
        for cell, p in zip(tested, holm([c.p_unseen for c in tested]), strict=True):
            cell.p_unseen_holm = float(p)


def lag_curves(table: Table) -> list[dict[str, Any]]:
    """Mean distance against lag per system, condition and language, for rows whose curve is stored; lags centred on 0 frames."""
    out = []
    for (system, condition, language), rows in sorted(table.groups.items()):
        curves = [r["mean_dist"] for r in rows if r.get("mean_dist")]
        if not curves or len({len(c) for c in curves}) != 1:
            continue
        half = len(curves[0]) // 2
        out.append(
            {
                "system": system,
                "condition": condition,
                "language": language,
                "n_clips": len(curves),
                "n_speakers": len({speaker_of(r) for r in rows if r.get("mean_dist")}),
                "lags_frames": list(range(-half, half + 1)),
                "distance": np.mean(np.array(curves, float), axis=0).tolist(),
            }
        )
    return out


def languages_of(table: Table) -> list[str]:
    """Every language that was tested, sorted."""
    return sorted({language for _, _, language in table.groups})
