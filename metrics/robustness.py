"""Statistics over score rows: their means and intervals, and their gaps to real video.

A row is a dict with the columns of the `scores` table (core.records). Three kinds of row matter:
real video (system `real`), its controls (`real` with condition `shuffled`, and `still`), and the systems.

A gap says how much worse than real video of the same language something is: 0 is as good as real, larger is worse, whatever
the direction of the metric. It is taken clip by clip and then averaged, so that hard clips do not count as bad systems.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from metrics import registry
from metrics.lengths import OTHER_LENGTH, lengths_match
from metrics.protocols import LENGTHS_DIFFER, is_padded, lengths_differ
from metrics.registry import MetricSpec
from metrics.stats import Estimate, by_cluster, mean_interval, sign_flip_test

Row = dict[str, Any]
NOT_VALID = "expert_not_valid_here"
CROSS = ("cross-audio", "cross-language")


class MixedProtocols(ValueError):
    """Score rows of different protocols were brought together: the message names both."""


# A signed offset has no better side: its size has.
METRICS: dict[str, MetricSpec] = {name: m for name, m in registry.METRICS.items() if m.higher_is_better is not None}
# What is read beside real video: it has no gap, only a level.
LEVELS: dict[str, MetricSpec] = {name: m for name, m in registry.METRICS.items()
                                 if m.higher_is_better is None and m.per == "clip"}


def metric_label(metric: MetricSpec, pinned: bool) -> str:
    """The name a figure may carry: LSE-D and LSE-C belong to the public SyncNet v2 weights, any other expert's get a star."""
    return metric.label + "*" if metric.label.startswith("LSE") and not pinned else metric.label


def value_of(row: Row, metric: str) -> float | None:
    """The row's value of a metric, or None. `abs_offset` is the size of `offset_frames`, `offset_within_one` whether that is at
    most 1."""
    value = row.get(registry.METRICS[metric].column)
    if value is None or not np.isfinite(value):
        return None
    if metric == "offset_within_one":
        return float(abs(value) <= 1)
    return abs(float(value)) if metric == "abs_offset" else float(value)


def worse_by(metric: MetricSpec, value: Any, reference: Any) -> Any:
    """How much worse `value` is than `reference`, in the metric's unit; negative where it is better. Floats or arrays."""
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
    """The cluster of a row, unique across corpora. Who speaks two languages is one person in both, not two independent ones."""
    return f"{row.get('corpus')}|{row.get('cluster')}"


def null_reason(row: Row, metric: str) -> str:
    """Why a row has no value of a metric."""
    column = registry.METRICS[metric].column
    found = [n["reason"] for n in row.get("null_reasons") or () if n["metric"] in (column, metric)]
    return found[0] if found else "not_measured"


@dataclass(slots=True)
class Cell:
    """One system, condition, language and metric: the mean, the gap to real video and the lead over its own shuffled sound.

    detectable: the smallest true gap that so many speakers would have shown four times in five; None without an interval.
    p_gap: that the gap is zero, None without an interval; p_gap_holm: metrics.cross_language.correct_gaps.
    gap_nulls, lead_nulls: pairs that have both values and are left out of the gap or of the lead, by reason."""

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
    detectable: float | None = None
    p_gap: float | None = None
    p_gap_holm: float | None = None
    gap_nulls: dict[str, int] = field(default_factory=dict)
    lead_nulls: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Level:
    """One system's own sound in one language by a metric that has no better side: the mean, and how far it lies from real video
    of the same clips, with its sign (None for real video itself)."""

    system: str
    language: str
    metric: str
    value: Estimate
    from_real: Estimate | None
    nulls: dict[str, int]


class Table:
    """Score rows of one protocol, ready to be asked for values and gaps. Build it with rows that went through `drop_unjudged`.

    Rows are grouped once; a metric's values, gaps and leads are worked out once for all rows, as arrays with nan where there are
    none.
    """

    def __init__(self, rows: Sequence[Row], *, seed: int = 0, resamples: int = 2000, alpha: float = 0.05):
        self.rows = sorted(rows, key=lambda r: r["generated_id"])
        self.seed, self.resamples, self.alpha = seed, resamples, alpha
        self._mixed = lengths_differ(self.rows)  # then LSE-C is compared within clips only, never averaged
        self._known: dict[tuple[str, str], np.ndarray] = {}
        self._numbers: dict[str, np.ndarray] = {}
        self._gaps: dict[tuple[str, str, str, str], Estimate] = {}
        self.groups: dict[tuple[str, str, str], list[Row]] = {}
        index: dict[tuple[str, str, str], list[int]] = {}
        real: dict[str, int] = {}
        real_clip: dict[str, int] = {}
        shuffled: dict[tuple[str, str], int] = {}
        for i, row in enumerate(self.rows):
            key = (row["system"], row["condition"], group_of(row))
            self.groups.setdefault(key, []).append(row)
            index.setdefault(key, []).append(i)
            if key[:2] == ("real", "self"):
                real[row["track_id"]] = i
                real_clip.setdefault(row["clip_id"], i)  # of several faces in one clip the first track speaks for it
            elif key[1] == "shuffled":
                shuffled[row["system"], row["track_id"]] = i
        self._index = {key: np.array(found) for key, found in index.items()}
        self._places = {id(self.groups[key]): found for key, found in self._index.items()}
        self._at = {id(row): i for i, row in enumerate(self.rows)}
        self._reference = np.array(
            [real_clip.get(r["audio_clip_id"], -1) if r["condition"] in CROSS else real.get(r["track_id"], -1)
             for r in self.rows], int
        )
        self._below = np.array([shuffled.get((r["system"], r["track_id"]), -1) for r in self.rows], int)
        self._is_real = np.array([(r["system"], r["condition"]) == ("real", "self") for r in self.rows], bool)
        self._n_windows = np.array([r.get("n_windows") for r in self.rows], float)  # None becomes nan
        self._padded = np.array([is_padded(r.get("protocol")) for r in self.rows], bool)
        self._inputs, _ = _codes((r["track_id"], r["audio_clip_id"] or "") for r in self.rows)
        faces = [speaker_of(r) for r in self.rows]
        voice_of = {clip: faces[i] for clip, i in real_clip.items()}
        voices = [voice_of.get(r["audio_clip_id"]) or f"clip|{r['audio_clip_id']}" for r in self.rows]
        self._faces, self._face_names = _codes(faces)
        self._voices, self._voice_names = _codes(voices)
        self._two_people = np.array([v != f for v, f in zip(voices, faces, strict=True)], bool)
        self._sampled = any(len(np.unique(self._inputs[found])) < len(found) for found in self._index.values())
        # metric or column -> (places, number of the reason) of the rows that say why they have none; most rows say the same
        said: dict[tuple[tuple[str, str], ...], list[int]] = {}
        for i, row in enumerate(self.rows):
            if row.get("null_reasons"):
                said.setdefault(tuple([(n["metric"], n["reason"]) for n in row["null_reasons"]]), []).append(i)
        numbers = {"not_measured": 0}
        self._why: dict[str, list[tuple[np.ndarray, int]]] = {}
        for notes, places in said.items():
            at = np.array(places)
            for name, reason in notes:
                self._why.setdefault(name, []).append((at, numbers.setdefault(reason, len(numbers))))
        self._reason_names = list(numbers)

    def _all(self, kind: str, metric: str) -> np.ndarray:
        """float64 (rows,): every row's value, gap or lead of a metric, nan where it has none."""
        if (kind, metric) not in self._known:
            self._known[kind, metric] = getattr(self, f"_{kind}")(metric)
        return self._known[kind, metric]

    def _value(self, metric: str) -> np.ndarray:
        if not self._numbers:  # of all metrics at once: going through the rows takes longer than looking into one
            names = list(dict.fromkeys(m.column for m in registry.METRICS.values()))
            found = np.array([[row.get(name) for name in names] for row in self.rows], np.float64)  # None becomes nan
            found[~np.isfinite(found)] = np.nan
            self._numbers = dict(zip(names, np.ascontiguousarray(found.reshape(-1, len(names)).T), strict=True))
        values = self._numbers[registry.METRICS[metric].column]
        if metric == "offset_within_one":
            return np.where(np.isnan(values), np.nan, np.abs(values) <= 1)
        return np.abs(values) if metric == "abs_offset" else values

    def _gap(self, metric: str) -> np.ndarray:
        spec, values = METRICS[metric], self._all("value", metric)
        other = np.full(len(values), spec.ideal) if spec.ideal is not None else self._of_others(metric, self._reference)
        return np.where(self._is_real, np.nan, worse_by(spec, values, other))

    def _from_real(self, metric: str) -> np.ndarray:
        return np.where(self._is_real, np.nan, self._all("value", metric) - self._of_others(metric, self._reference))

    def _lead(self, metric: str) -> np.ndarray:
        return worse_by(METRICS[metric], self._of_others(metric, self._below), self._all("value", metric))

    def _of_others(self, metric: str, others: np.ndarray) -> np.ndarray:
        """The values of the rows that each row is measured against; nan where there is none, or none of a length to compare."""
        values = np.where(others < 0, np.nan, self._all("value", metric)[others])
        if metric == "lse_c":  # as `same_length` says
            values[self._unlike(slice(None), others)] = np.nan
        return values

    def _unlike(self, index: Any, others: np.ndarray) -> np.ndarray:
        """bool: which of the rows at `index` are of another length than the rows that they are measured against."""
        return ~lengths_match(self._n_windows[index], self._n_windows[others], self._padded[index])

    def where(self, rows: Iterable[Row]) -> np.ndarray:
        """The places of some of this table's rows in `rows`."""
        known = self._places.get(id(rows))  # a whole group
        return known if known is not None else np.array([self._at[id(row)] for row in rows], int)

    def values(self, rows: Iterable[Row], metric: str) -> tuple[np.ndarray, list[str]]:
        """(values, clusters) of rows that have one; several samples of one input count as one clip, with their mean. None at all
        for LSE-C where zero padding makes it depend on lengths that differ."""
        return self._figure(self.where(rows) if metric != "lse_c" or not self._mixed else np.array([], int), "value", metric)

    def gaps(self, rows: Iterable[Row], metric: str) -> tuple[np.ndarray, list[str]]:
        """(gaps to real video, clusters), clip by clip; clips with no value on either side are left out. A row is measured
        against the real video of its own clip, or of the clip its sound comes from. Of LEVELS: how far from it, with the sign."""
        return self._figure(self.where(rows), "gap" if metric in METRICS else "from_real", metric)

    def leads(self, rows: Iterable[Row], metric: str) -> tuple[np.ndarray, list[str]]:
        """(how much better than the same video with shuffled sound, clusters), clip by clip."""
        return self._figure(self.where(rows), "lead", metric)

    def _figure(self, index: np.ndarray, kind: str, metric: str) -> tuple[np.ndarray, list[str]]:
        values = self._all(kind, metric)[index]
        return self.gather(index[~np.isnan(values)], values[~np.isnan(values)])

    def gather(self, index: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """(values, clusters), one per input, of values of the rows at `index` of one group. Where face and voice are two people,
        the clusters are those of the fewer: ten faces that all speak with one voice are not ten independent trials, nor are ten
        voices on one face."""
        if self._sampled:
            inputs, first, which = np.unique(self._inputs[index], return_index=True, return_inverse=True)
            if len(inputs) < len(index):
                values, index = np.bincount(which, values) / np.bincount(which), index[first]
        names, codes = self._face_names, self._faces[index]
        if self._two_people[index].any() and len(np.unique(self._voices[index])) < len(np.unique(codes)):
            names, codes = self._voice_names, self._voices[index]
        return values, [names[k] for k in codes.tolist()]

    def collect(self, pairs: Iterable[tuple[Row, float | None]]) -> tuple[np.ndarray, list[str]]:
        """Values and clusters, one per input, of (row of this table, value), as the figures above have them."""
        known = [(row, value) for row, value in pairs if value is not None]
        return self.gather(self.where(row for row, _ in known), np.array([value for _, value in known], float))

    def estimate(self, values: np.ndarray, clusters: list[str]) -> Estimate:
        """Mean and clustered interval of some values. All figures with one number of clusters flip the same draws."""
        return mean_interval(values, clusters, seed_of(self.seed, "flips"), n_resamples=self.resamples, level=1 - self.alpha)

    def gap(self, system: str, condition: str, language: str, metric: str, sample: tuple[np.ndarray, list[str]]) -> Estimate:
        """The mean gap of one group with its interval, worked out once. sample: the group's `gaps`."""
        key = system, condition, language, metric
        if key not in self._gaps:
            self._gaps[key] = self.estimate(*sample)
        return self._gaps[key]

    def cell(self, system: str, condition: str, language: str, metric: str) -> Cell:
        """One figure with all that must stand beside it."""
        index = self._index[system, condition, language]
        apart = metric == "lse_c" and self._mixed
        value = self._figure(index[:0] if apart else index, "value", metric)
        gap = self._figure(index, "gap", metric)
        lead = self._figure(index if condition == "self" else index[:0], "lead", metric)
        trained = self.groups[system, condition, language][0].get("training_languages") or []
        estimate = self.gap(system, condition, language, metric, gap) if len(gap[0]) else None
        sure = estimate is not None and estimate.low is not None
        return Cell(
            system, condition, language, metric,
            (language in trained) if trained else None,
            self.estimate(*value),
            estimate,
            self.estimate(*lead) if len(lead[0]) else None,
            self.nulls(index, metric),
            detectable=_detectable(estimate, *gap) if sure else None,
            # by the flips of the interval: at most alpha where that leaves out zero
            p_gap=sign_flip_test(*gap, seed_of(self.seed, "flips"), self.resamples) if sure else None,
            gap_nulls=self._left_out(index, self._reference, metric) if not self._is_real[index[0]] else {},
            lead_nulls=self._left_out(index, self._below, metric) if condition == "self" else {},
        )

    def _left_out(self, index: np.ndarray, others: np.ndarray, metric: str) -> dict[str, int]:
        """Why rows at `index` that have a value, as the rows that they are measured against have, are not, and how many."""
        if metric != "lse_c":
            return {}
        values, others = self._all("value", metric), others[index]
        index, others = index[others >= 0], others[others >= 0]
        n = int((self._unlike(index, others) & ~np.isnan(values[index]) & ~np.isnan(values[others])).sum())
        return {OTHER_LENGTH: n} if n else {}

    def nulls(self, index: np.ndarray, metric: str) -> dict[str, int]:
        """Why the rows at `index` have no value to be averaged, and how many: sorted by reason."""
        missing = index[np.isnan(self._all("value", metric)[index])]
        codes, counts = np.unique(self._all("reason", metric)[missing].astype(int), return_counts=True)
        out = {self._reason_names[k]: n for k, n in zip(codes.tolist(), counts.tolist(), strict=True)}
        if metric == "lse_c" and self._mixed and len(missing) < len(index):
            out[LENGTHS_DIFFER] = out.get(LENGTHS_DIFFER, 0) + len(index) - len(missing)
        return dict(sorted(out.items()))

    def levels(self) -> list[Level]:
        """Own sound by the metrics that have no better side, sorted by system, language, metric; those no row ever has are left
        out."""
        names = [m for m in LEVELS if not np.isnan(self._all("value", m)).all()]
        out = []
        for key in sorted(k for k in self.groups if k[1] == "self"):
            for metric in names:
                index = self._index[key]
                apart = self._figure(index, "from_real", metric)
                out.append(Level(key[0], key[2], metric, self.estimate(*self._figure(index, "value", metric)),
                                 self.estimate(*apart) if len(apart[0]) else None,
                                 self.nulls(index, metric)))
        return out

    def _reason(self, metric: str) -> np.ndarray:
        """float64 (rows,): the number in `_reason_names` of why each row has no value, as `null_reason` says."""
        out = np.zeros(len(self.rows))
        for name in dict.fromkeys((metric, registry.METRICS[metric].column)):
            for places, reason in self._why.get(name, ())[::-1]:  # of several the first counts
                out[places] = reason
        return out

    def cells(self) -> list[Cell]:
        """Every figure there is, sorted by system, condition, language, metric; metrics no row ever has are left out."""
        names = self.metrics()
        return [self.cell(*key, metric) for key in sorted(self.groups) for metric in names]

    def metrics(self) -> list[str]:
        """The metrics that some row has, or would have if the expert were valid there."""

        def unjudged(metric: str) -> bool:
            said = self._why.get(METRICS[metric].column, ())
            return METRICS[metric].judged and NOT_VALID in {self._reason_names[k] for _, k in said}

        return [m for m in METRICS if not np.isnan(self._all("value", m)).all() or unjudged(m)]


def _detectable(estimate: Estimate, values: np.ndarray, clusters: list[str]) -> float:
    """metrics.stats.detectable from the interval at hand: flipping again for thousands of figures would take as long again."""
    c = by_cluster(values, clusters)
    total = c.counts.sum()
    residuals = c.sums - estimate.mean * c.counts
    se = float(np.sqrt((residuals**2 / (1 - c.counts / total)).sum())) / total
    return (estimate.high - estimate.low) / 2 + _power(len(c.counts) - 1) * se


@lru_cache(maxsize=256)
def _power(freedom: int) -> float:
    """Student's t below which 80 % of it lie."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.8))


def _codes(keys: Iterable[Any]) -> tuple[np.ndarray, list[Any]]:
    """(a number for each key, the keys by number)."""
    numbers: dict[Any, int] = {}
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys], int)
    return codes, list(numbers)
