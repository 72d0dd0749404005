"""Statistics over score rows: which figures may stand, their means and intervals, and their gaps to real video.

A row is a dict with the columns of the `scores` table (core.records). Three kinds of row matter:
real video (system `real`), its controls (`real` with condition `shuffled`, and `still`), and the systems.

A gap says how much worse than real video of the same language something is: 0 is as good as real, larger is worse, whatever
the direction of the metric. It is taken clip by clip and then averaged, so that hard clips do not count as bad systems.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics import registry
from metrics.protocols import LENGTHS_DIFFER, is_padded, lengths_differ
from metrics.registry import MetricSpec
from metrics.stats import Estimate, mean_interval

Row = dict[str, Any]
MIN_SHARE_RIGHT = 0.75
NOT_VALID = "expert_not_valid_here"
CROSS = ("cross-audio", "cross-language")


class MixedProtocols(ValueError):
    """Score rows of different protocols were brought together: the message names both."""


# A signed offset has no better side: its size has.
METRICS: dict[str, MetricSpec] = {name: m for name, m in registry.METRICS.items() if m.higher_is_better is not None}


def metric_label(metric: MetricSpec, pinned: bool) -> str:
    """The name a figure may carry: LSE-D and LSE-C belong to the public SyncNet v2 weights, any other expert's get a star."""
    return metric.label + "*" if metric.label.startswith("LSE") and not pinned else metric.label


def value_of(row: Row, metric: str) -> float | None:
    """The row's value of a metric, or None. `abs_offset` is the size of `offset_frames`, `offset_within_one` whether that is at most 1."""
    value = row.get(METRICS[metric].column)
    if value is None or not np.isfinite(value):
        return None
    if metric == "offset_within_one":
        return float(abs(value) <= 1)
    return abs(float(value)) if metric == "abs_offset" else float(value)


def same_length(a: Row, b: Row, metric: str) -> bool:
    """Whether two rows' values of a metric may be compared as far as their lengths go: padded LSE-C needs as many windows."""
    return metric != "lse_c" or not is_padded(a.get("protocol")) or a.get("n_windows") == b.get("n_windows")


def worse_by(metric: MetricSpec, value: float, reference: float) -> float:
    """How much worse `value` is than `reference`, in the metric's unit; negative where it is better."""
    return reference - value if metric.higher_is_better else value - reference


def seed_of(seed: int, *names: str) -> int:
    """A seed for one figure, from its name alone: adding a language or a system changes no other figure."""
    return (seed * 1_000_003 + zlib.crc32("/".join(names).encode())) % 2**31


def one_protocol(rows: Iterable[Row]) -> dict[str, str | None]:
    """The protocol of all rows: {protocol, expert, expert_sha256, finder}. MixedProtocols names two that differ."""
    names = ("protocol", "expert", "expert_sha256", "finder")
    first: tuple[tuple, Row] | None = None
    for row in rows:
        key = tuple(row.get(name) for name in names)
        if first is None:
            first = (key, row)
        elif key != first[0]:
            one, two = ("; ".join(f"{n} {v}" for n, v in zip(names, k, strict=True)) for k in (first[0], key))
            raise MixedProtocols(
                f"scores of two protocols cannot be averaged or compared.\n  {_who(first[1])}: {one}\n  {_who(row)}: {two}\n"
                "Score all of them with the same expert, protocol and face finder (params: score, track.finder), then run again."
            )
    if first is None:
        raise ValueError("no score rows: run the score stages first")
    return dict(zip(names, first[0], strict=True))


def _who(row: Row) -> str:
    return f"{row.get('system')} {row.get('language')} {row.get('generated_id')}"


def group_of(row: Row, spoken: bool = True) -> str:
    """The test language of a row: that of its sound (spoken) or of its face."""
    return (row.get("audio_language") if spoken else None) or row.get("language") or "und"


def speaker_of(row: Row) -> str:
    """The cluster of a row, unique across corpora and languages."""
    return f"{row.get('corpus')}|{row.get('language')}|{row.get('cluster')}"


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether the expert may judge a language, and the evidence."""

    language: str
    valid: bool
    n_clips: int
    n_speakers: int
    n_right: int
    share_right: float | None
    mean_real: float | None
    mean_shuffled: float | None
    mean_difference: float | None
    chance: float | None
    reason: str | None


def expert_validity(rows: Sequence[Row], margin: float) -> dict[str, Validity]:
    """Validity per language of all rows, from real video against the same video with another clip's sound.

    The rule: over clips with both scores, LSE-C of the real sound is higher than that of the shuffled sound in at least 75 % of
    them, and the mean difference exceeds `margin`. An expert that hears nothing ranks half of them right; `chance` is the
    probability of that many or more by tossing a coin (binomial, clips as independent), so that a small n is seen for what it is.
    """
    from scipy.stats import binom

    shuffled = _by_track(r for r in rows if r["system"] == "real" and r["condition"] == "shuffled")
    pairs: dict[str, list[tuple[str, float, float]]] = {}
    for row in rows:
        pairs.setdefault(group_of(row), [])
        if row["system"] == "real" and row["condition"] == "self" and row["track_id"] in shuffled:
            real, other = value_of(row, "lse_c"), value_of(shuffled[row["track_id"]], "lse_c")
            if real is not None and other is not None and same_length(row, shuffled[row["track_id"]], "lse_c"):
                pairs[group_of(row)].append((speaker_of(row), real, other))
    out = {}
    for language, found in sorted(pairs.items()):
        if not found:
            out[language] = Validity(language, False, 0, 0, 0, None, None, None, None, None, "no_real_and_shuffled_pairs")
            continue
        real, other = np.array([p[1] for p in found]), np.array([p[2] for p in found])
        right, n = int((real > other).sum()), len(found)
        difference = float((real - other).mean())
        valid = right >= MIN_SHARE_RIGHT * n and difference > margin
        out[language] = Validity(
            language,
            valid,
            n,
            len({p[0] for p in found}),
            right,
            right / n,
            float(real.mean()),
            float(other.mean()),
            difference,
            float(binom.sf(right - 1, n, 0.5)),
            None if valid else NOT_VALID,
        )
    return out


def _by_track(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["track_id"]: row for row in rows}


def drop_unjudged(rows: Sequence[Row], validity: dict[str, Validity]) -> list[Row]:
    """Copies of the rows in which the expert's scores are null, with the reason, for languages it may not judge."""
    columns = sorted({m.column for m in METRICS.values() if m.judged})
    out = []
    for row in rows:
        verdict = validity.get(group_of(row))
        if verdict is not None and verdict.valid:
            out.append(row)
            continue
        # A score that was null already keeps its own reason.
        gone = [c for c in columns if row.get(c) is not None]
        notes = [*(row.get("null_reasons") or ()), *({"metric": c, "reason": NOT_VALID} for c in gone)]
        out.append({**row, **dict.fromkeys(gone), "mean_dist": None, "null_reasons": notes})
    return out


def null_reason(row: Row, metric: str) -> str:
    """Why a row has no value of a metric."""
    column = METRICS[metric].column
    found = [n["reason"] for n in row.get("null_reasons") or () if n["metric"] in (column, metric)]
    return found[0] if found else "not_measured"


@dataclass(slots=True)
class Cell:
    """One system, condition, language and metric: the mean, the gap to real video and the lead over its own shuffled sound."""

    system: str
    condition: str
    language: str
    metric: str
    seen: bool | None
    value: Estimate
    gap: Estimate | None
    over_shuffled: Estimate | None
    nulls: dict[str, int]
    p_unseen: float | None = None
    p_unseen_holm: float | None = None
    unseen_reason: str | None = None


class Table:
    """Score rows of one protocol, ready to be asked for values and gaps. Build it with rows that went through `drop_unjudged`."""

    def __init__(self, rows: Sequence[Row], *, seed: int = 0, resamples: int = 2000, alpha: float = 0.05):
        self.rows = sorted(rows, key=lambda r: r["generated_id"])
        self.seed, self.resamples, self.alpha = seed, resamples, alpha
        self._mixed = lengths_differ(self.rows)  # then LSE-C is compared within clips only, never averaged
        self._real = _by_track(r for r in self.rows if r["system"] == "real" and r["condition"] == "self")
        # Reversed, so that of several faces in one clip the first track speaks for it.
        self._real_clip = {r["clip_id"]: r for r in reversed(self.rows) if r["system"] == "real" and r["condition"] == "self"}
        self._shuffled = {(r["system"], r["track_id"]): r for r in self.rows if r["condition"] == "shuffled"}
        self.groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            self.groups.setdefault((row["system"], row["condition"], group_of(row)), []).append(row)

    def reference(self, row: Row) -> Row | None:
        """The real video that a row is measured against: of its own clip, or of the clip its sound comes from."""
        if row["condition"] in CROSS:
            return self._real_clip.get(row["audio_clip_id"])
        return self._real.get(row["track_id"])

    def values(self, rows: Iterable[Row], metric: str) -> tuple[np.ndarray, list[str]]:
        """(values, clusters) of rows that have one; several samples of one input count as one clip, with their mean. None at all for
        LSE-C where zero padding makes it depend on lengths that differ."""
        if metric == "lse_c" and self._mixed:
            return self.collect(())
        return self.collect((row, value_of(row, metric)) for row in rows)

    def gaps(self, rows: Iterable[Row], metric: str) -> tuple[np.ndarray, list[str]]:
        """(gaps to real video, clusters), clip by clip; clips with no value on either side are left out."""
        spec = METRICS[metric]

        def gap(row: Row) -> float | None:
            value = value_of(row, metric)
            if value is None or (row["system"] == "real" and row["condition"] == "self"):
                return None
            if spec.ideal is not None:
                return worse_by(spec, value, spec.ideal)
            reference = self.reference(row)
            real = None if reference is None else value_of(reference, metric)
            return None if real is None or not same_length(row, reference, metric) else worse_by(spec, value, real)

        return self.collect((row, gap(row)) for row in rows)

    def leads(self, rows: Iterable[Row], metric: str) -> tuple[np.ndarray, list[str]]:
        """(how much better than the same video with shuffled sound, clusters), clip by clip."""

        def lead(row: Row) -> float | None:
            other = self._shuffled.get((row["system"], row["track_id"]))
            value, below = value_of(row, metric), None if other is None else value_of(other, metric)
            apart = value is None or below is None or not same_length(row, other, metric)
            return None if apart else worse_by(METRICS[metric], below, value)

        return self.collect((row, lead(row)) for row in rows)

    def collect(self, pairs: Iterable[tuple[Row, float | None]]) -> tuple[np.ndarray, list[str]]:
        """Values and clusters, one per input. Where face and voice are two people, the clusters are those of the fewer: ten faces
        that all speak with one voice are not ten independent trials, nor are ten voices on one face."""
        inputs: dict[tuple[str, str], tuple[list[float], Row]] = {}
        for row, value in pairs:
            if value is not None:
                inputs.setdefault((row["track_id"], row["audio_clip_id"] or ""), ([], row))[0].append(value)
        faces = [speaker_of(row) for _, row in inputs.values()]
        voices = [self._voice_of(row) for _, row in inputs.values()]
        means = np.array([v[0] if len(v) == 1 else float(np.mean(v)) for v, _ in inputs.values()])
        return means, voices if len(set(voices)) < len(set(faces)) else faces

    def _voice_of(self, row: Row) -> str:
        real = self._real_clip.get(row["audio_clip_id"])
        return speaker_of(real) if real is not None else f"clip|{row['audio_clip_id']}"

    def estimate(self, values: np.ndarray, clusters: list[str], *names: str) -> Estimate:
        """Mean and clustered interval of some values; the resampling is seeded by the figure's name."""
        return mean_interval(values, clusters, seed_of(self.seed, *names), n_resamples=self.resamples, level=1 - self.alpha)

    def cell(self, system: str, condition: str, language: str, metric: str) -> Cell:
        """One figure with all that must stand beside it."""
        rows = self.groups[system, condition, language]
        name = (system, condition, language, metric)
        nulls: dict[str, int] = {}
        for row in rows:
            apart = metric == "lse_c" and self._mixed
            if value_of(row, metric) is None or apart:
                reason = null_reason(row, metric) if value_of(row, metric) is None else LENGTHS_DIFFER
                nulls[reason] = nulls.get(reason, 0) + 1
        gap = self.gaps(rows, metric)
        lead = self.leads(rows, metric) if condition == "self" else (np.array([]), [])
        trained = rows[0].get("training_languages") or []
        return Cell(
            system,
            condition,
            language,
            metric,
            (language in trained) if trained else None,
            self.estimate(*self.values(rows, metric), "value", *name),
            self.estimate(*gap, "gap", *name) if len(gap[0]) else None,
            self.estimate(*lead, "lead", *name) if len(lead[0]) else None,
            dict(sorted(nulls.items())),
        )

    def cells(self) -> list[Cell]:
        """Every figure there is, sorted by system, condition, language, metric; metrics no row ever has are left out."""
        names = [m for m in METRICS if any(value_of(r, m) is not None or _judged_null(r, m) for r in self.rows)]
        return [self.cell(*key, metric) for key in sorted(self.groups) for metric in names]


def _judged_null(row: Row, metric: str) -> bool:
    return METRICS[metric].judged and null_reason(row, metric) == NOT_VALID
