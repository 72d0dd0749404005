"""Two runs against each other, clip by clip: what changed per language and metric, beyond noise, and which clips it was.

Both runs must have been scored under one protocol; otherwise there is nothing to compare and `compare` says what differs. A
change is B minus A in the metric's own unit, so that it has the sign `dvc metrics diff` gives it; `better` says if that is good.
What has no better side (LEVELS: blinks, head motion) moves, and neither regresses nor improves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.records import cluster_of
from metrics.lengths import OTHER_LENGTH, same_length
from metrics.robustness import (
    LEVELS,
    METRICS,
    Row,
    Table,
    group_of,
    null_reason,
    one_protocol,
    seed_of,
    value_of,
    worse_by,
)
from metrics.stats import Estimate, clusters_needed, detectable, holm, mean_interval, sign_flip_test
from metrics.validity import drop_unjudged, expert_validity

EVERYWHERE = "*"  # all languages together
CONTROLS = ("real", "still")
COMPARED = REGRESSED, FIXED, MOVED, UNCHANGED = "regressed", "fixed", "moved", "unchanged"
LOST, GAINED, ONLY_A, ONLY_B = "lost", "gained", "only_a", "only_b"
APART = LOST, GAINED, ONLY_A, ONLY_B, OTHER_LENGTH
KINDS = (*COMPARED, *APART)
WORSE, BETTER, HINT, SAME, OPEN, NO_CLAIM = "worse", "better", "hint", "same", "open", "no_claim"
SPECS = METRICS | LEVELS
NAMED_BY = ("generated_id", "track_id", "clip_id")  # a score row has one of them
NOISE_WIDTHS = 3.0  # a clip stands out when it moved by more than so many standard deviations of the clips' changes
_MAD_TO_SD = 1.4826  # of a normal distribution


class DifferentProtocols(ValueError):
    """Two runs were scored in ways that cannot be compared: the message says what differs."""


@dataclass(slots=True)
class Change:
    """One system, condition, language and metric in both runs.

    mean_a, mean_b, n_a, n_b, gap_a, gap_b: each run by itself, over all its clips, as results/summary.json and `dvc metrics`
    have them; of what has no better side the gap is how far it lies from real video of the same clips, with its sign. nulls_a,
    nulls_b: why clips have no value, and how many. change: the mean of B minus A over the clips that both scored, with its
    interval; None without such clips. p: that it is zero; p_holm: over the languages of this system, condition and metric.
    detectable: the smallest change that this many speakers would have shown four times in five. speakers_needed: where so few
    can never pass Holm's correction, or have no interval at all, how many it takes. threshold: by how much one clip must move to
    be counted as regressed or fixed. offsets_a, offsets_b: of an LSE each run's mean |offset| in frames, and the share of clips
    within one frame; None of other metrics, and where no clip has an offset. verdict: worse or better, or moved where neither is
    better (beyond the interval, after correction), hint (the interval leaves out zero, but not after correction), same (no clip
    changed at all), open (not shown), no_claim (no interval; `change.reason` says why).
    """

    system: str
    condition: str
    language: str
    metric: str
    mean_a: float | None
    mean_b: float | None
    n_a: int
    n_b: int
    gap_a: float | None
    gap_b: float | None
    change: Estimate | None
    p: float | None
    p_holm: float | None
    detectable: float | None
    threshold: float
    clips: dict[str, int]
    verdict: str = NO_CLAIM
    better: bool | None = None
    speakers_needed: int | None = None
    offsets_a: tuple[float, float] | None = None
    offsets_b: tuple[float, float] | None = None
    nulls_a: dict[str, int] = field(default_factory=dict)
    nulls_b: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Clip:
    """One input that both runs, or one of them, scored: values and kinds by metric. worst: its largest move for the worse, in
    thresholds, and the metric of it."""

    system: str
    condition: str
    language: str
    track_id: str
    clip_id: str
    audio_clip_id: str
    speaker: str | None
    a: Row | None
    b: Row | None
    values: dict[str, tuple[float | None, float | None]]
    kinds: dict[str, str]
    worst: float = 0.0
    worst_metric: str = ""


@dataclass(slots=True)
class Comparison:
    """All that two runs say about each other. `changes` has the languages first, then all of them together (`*`)."""

    protocol: dict[str, str | None]
    alpha: float
    changes: list[Change]
    clips: list[Clip]
    pairs: dict[str, str]
    only_a: list[str]
    only_b: list[str]
    invalid: dict[str, list[str]] = field(default_factory=dict)

    @property
    def regressions(self) -> list[Change]:
        """Languages in which a system (or real video) got worse beyond noise, after correction, and all languages together (`*`)
        by their own test. Controls that are meant to be bad (still faces, shuffled sound) never count."""
        return [c for c in self.changes if c.verdict == WORSE and counts(c)]

    @property
    def improvements(self) -> list[Change]:
        """The same for better."""
        return [c for c in self.changes if c.verdict == BETTER and counts(c)]

    @property
    def too_few(self) -> list[Change]:
        """Languages with too few speakers for a verdict of their own, however large the change."""
        return [c for c in self.changes if c.speakers_needed and c.verdict in (HINT, OPEN, NO_CLAIM) and counts(c)]

    def worst(self, n: int, metric: str | None = None) -> list[Clip]:
        """The n clips that got worse by most, in thresholds: of one metric, or by whichever is worst. Regressed ones only."""
        found = [c for c in self.clips if (REGRESSED in c.kinds.values() if metric is None else c.kinds.get(metric) == REGRESSED)]
        size = {id(c): c.worst if metric is None else _excess(c, metric) for c in found}
        return sorted(found, key=lambda c: (-size[id(c)], c.system, c.condition, c.track_id, c.audio_clip_id))[:n]


def counts(change: Change) -> bool:
    """Whether a change can be a regression: those of controls that are meant to be bad cannot."""
    return change.system != "still" and change.condition != "shuffled"


def _excess(clip: Clip, metric: str) -> float:
    a, b = clip.values[metric]
    return worse_by(METRICS[metric], b, a)


def check_protocols(rows_a: Sequence[Row], rows_b: Sequence[Row]) -> dict[str, str | None]:
    """The protocol of both runs. Raises DifferentProtocols, or MixedProtocols where one of them is not of one piece."""
    a, b = one_protocol(rows_a), one_protocol(rows_b)
    if a != b:
        lines = [f"  {name}: {a[name] or 'none'} in A, {b[name] or 'none'} in B" for name in a if a[name] != b[name]]
        raise DifferentProtocols(
            "A and B were scored in different ways, so their scores cannot be compared:\n" + "\n".join(lines) + "\n"
            "Score both with the same expert, protocol and face finder (params: score, track.finder); an expert that was trained "
            "again is another expert."
        )
    return a


def compare(
    rows_a: Sequence[Row],
    rows_b: Sequence[Row],
    *,
    margin_a: float = 0.0,
    margin_b: float = 0.0,
    alpha: float = 0.05,
    seed: int = 0,
    resamples: int = 2000,
    conditions: Collection[str] | None = ("self",),
    metrics: Collection[str] | None = None,
    pairs: Mapping[str, str] | None = None,
) -> Comparison:
    """What changed from A to B. Rows are dicts with the columns of the `scores` table (core.records).

    margin_a, margin_b: score.expert_valid_margin of each run; where the expert proves unable to judge a language its scores are
    left out, as in the run's own report. conditions: which to compare (None: all but shuffled sound). metrics: names of
    metrics.registry (None: all figures of clips). pairs: name of a system in A -> its name in B, where they differ;
    by default, two runs with one system each are compared under whatever names. Raises DifferentProtocols, MixedProtocols, and
    KeyError for a metric there is none of.
    """
    rows_a, rows_b = ([completed(r) for r in rows] for rows in (rows_a, rows_b))
    protocol = check_protocols(rows_a, rows_b)
    names = list(SPECS if metrics is None else metrics)
    unknown = [m for m in names if m not in SPECS]
    if unknown:
        raise KeyError(f"no metric is called {unknown[0]!r}; there are: {', '.join(SPECS)}")
    names = [m for m in names if any(value_of(r, m) is not None for r in (*rows_a, *rows_b))]
    pairs = _pairs(rows_a, rows_b) if pairs is None else dict(pairs)
    rows_a = [{**r, "system": pairs.get(r["system"], r["system"])} for r in rows_a]
    judged_a, invalid_a = _judged(rows_a, margin_a)
    judged_b, invalid_b = _judged(rows_b, margin_b)
    tables = [Table(rows, seed=seed, resamples=resamples, alpha=alpha) for rows in (judged_a, judged_b)]
    groups = sorted({g for t in tables for g in t.groups if (g[1] != "shuffled" if conditions is None else g[1] in conditions)})
    sides = {g: tuple(_inputs(t.groups.get(g, [])) for t in tables) for g in groups}
    clips = [clip for g in groups for clip in _clips(g, *sides[g], names)]
    limits = _thresholds(clips, names)
    _classify(clips, limits)
    changes: list[Change] = []
    for system, condition in sorted({g[:2] for g in groups}):
        own = [g for g in groups if g[:2] == (system, condition)]
        for metric in names:
            some = [c for c in clips if (c.system, c.condition) == (system, condition) and metric in c.kinds]
            if not some:
                continue
            limit = limits[system, condition, metric]
            family = [_change(tables, g, metric, [c for c in some if c.language == g[2]], limit) for g in own]
            family = [c for c in family if c is not None]
            _correct(family, alpha)
            if sum(c.change is not None for c in family) > 1:
                family.append(_verdict(_everywhere(tables, system, condition, metric, own, some, limit), alpha))
            changes += family
    one, two = ({r["system"] for r in rows} for rows in (rows_a, rows_b))
    invalid = {tag: [s for s, found in (("A", invalid_a), ("B", invalid_b)) if tag in found] for tag in {*invalid_a, *invalid_b}}
    return Comparison(protocol, alpha, changes, clips, pairs, sorted(one - two), sorted(two - one), dict(sorted(invalid.items())))


def completed(row: Row) -> Row:
    """The row with the columns that pair it, where a file of scores leaves some out: a video alone is its own clip and track."""
    name = next((row[n] for n in NAMED_BY if row.get(n)), None)
    if not name:
        raise ValueError(f"a score row has none of {', '.join(NAMED_BY)}, so it cannot be paired with anything")
    given = {k: v for k, v in row.items() if v is not None}
    out = {"generated_id": name, "clip_id": row.get("track_id") or name, "track_id": row.get("clip_id") or name,
           "system": "unnamed", "condition": "self", "null_reasons": [], **given}
    out.setdefault("audio_clip_id", out["clip_id"])
    out.setdefault("cluster", cluster_of(out.get("speaker"), out.get("recording_id") or out["clip_id"]))
    return out


def _pairs(rows_a: Sequence[Row], rows_b: Sequence[Row]) -> dict[str, str]:
    """{A's system: B's} where each run has just one, and they are called differently."""
    a, b = ({r["system"] for r in rows} - set(CONTROLS) for rows in (rows_a, rows_b))
    return {next(iter(a)): next(iter(b))} if len(a) == len(b) == 1 and a != b else {}


def _judged(rows: Sequence[Row], margin: float) -> tuple[list[Row], list[str]]:
    """(rows without scores of an expert that cannot judge, the languages of these). Where there are no controls to ask, as in a
    file of scores without real video, the scores stay: nothing says that they are wrong."""
    validity = expert_validity(rows, margin)
    failed = [tag for tag, v in validity.items() if v.failed]
    out = [r for r in rows if group_of(r) not in failed]
    return out + drop_unjudged([r for r in rows if group_of(r) in failed], validity), failed


def _inputs(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of one group by what was put in: several samples of one input belong together."""
    out: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        out.setdefault((row["track_id"], row.get("audio_clip_id") or ""), []).append(row)
    return out


def _mean(rows: Sequence[Row], metric: str) -> float | None:
    values = [v for v in (value_of(r, metric) for r in rows) if v is not None]
    return values[0] if len(values) == 1 else float(np.mean(values)) if values else None


def _clips(group: tuple[str, str, str], a: dict, b: dict, names: Sequence[str]) -> list[Clip]:
    out = []
    for key in sorted({*a, *b}):
        rows_a, rows_b = a.get(key, []), b.get(key, [])
        values = {m: (_mean(rows_a, m), _mean(rows_b, m)) for m in names}
        values = {m: v for m, v in values.items() if v != (None, None)}
        one, two = (rows_a or [None])[0], (rows_b or [None])[0]
        who = two or one
        # LSE-C depends on the length: two lengths are not compared.
        kinds = {m: OTHER_LENGTH for m, v in values.items() if None not in v and not same_length(one, two, m)}
        out.append(Clip(*group, key[0], who["clip_id"], key[1], who.get("speaker"), one, two, values, kinds))
    return out


def _thresholds(clips: Sequence[Clip], names: Sequence[str]) -> dict[tuple[str, str, str], float]:
    """(system, condition, metric) -> how much a clip must move to stand out.

    Three robust standard deviations of all clips' changes about their median (1.4826 times the median absolute deviation), in all
    languages together; at least half of the last digit that tables show. A system that gives the same output twice has no noise,
    and any visible change counts; one that was trained again moves every clip a little, and only what moved more counts.
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    for clip in clips:
        for metric, (a, b) in clip.values.items():
            if a is not None and b is not None and metric not in clip.kinds:
                found.setdefault((clip.system, clip.condition, metric), []).append(b - a)
    out = {}
    for system, condition in sorted({(c.system, c.condition) for c in clips}):
        for metric in names:
            moves = np.array(found.get((system, condition, metric), [0.0]))
            noise = NOISE_WIDTHS * _MAD_TO_SD * float(np.median(np.abs(moves - np.median(moves))))
            out[system, condition, metric] = max(noise, 0.5 * 10.0 ** -SPECS[metric].digits)
    return out


def _classify(clips: Sequence[Clip], limits: Mapping[tuple[str, str, str], float]) -> None:
    for clip in clips:
        for metric, (a, b) in clip.values.items():
            limit = limits[clip.system, clip.condition, metric]
            if metric in clip.kinds:
                continue
            if a is None or b is None:
                clip.kinds[metric] = (ONLY_B if clip.a is None else GAINED) if a is None else (ONLY_A if clip.b is None else LOST)
                continue
            if metric in LEVELS:
                clip.kinds[metric] = MOVED if abs(b - a) > limit else UNCHANGED
                continue
            moved = worse_by(METRICS[metric], b, a) / limit
            clip.kinds[metric] = REGRESSED if moved > 1 else FIXED if moved < -1 else UNCHANGED
            if moved > clip.worst:
                clip.worst, clip.worst_metric = moved, metric


def _change(tables: Sequence[Table], group: tuple[str, str, str], metric: str, clips: Sequence[Clip],
            limit: float) -> Change | None:
    """One language's change; None where neither run has a value."""
    if not clips:
        return None
    return _filled(tables, group, metric, clips, limit, [group])


def _everywhere(tables: Sequence[Table], system: str, condition: str, metric: str, groups: Sequence, clips: Sequence[Clip],
                limit: float) -> Change:
    """The change of all languages together, every clip counting once."""
    return _filled(tables, (system, condition, EVERYWHERE), metric, clips, limit, groups)


def _filled(tables: Sequence[Table], group: tuple[str, str, str], metric: str, clips: Sequence[Clip], limit: float,
            groups: Sequence[tuple[str, str, str]]) -> Change:
    table = tables[1]
    rows = [[t.groups.get(g, []) for g in groups] for t in tables]
    sides, gaps = ([np.concatenate([of(own, metric)[0] for own in some]) for of, some in zip(figures, rows, strict=True)]
                   for figures in ([t.values for t in tables], [t.gaps for t in tables]))
    nulls = [t.nulls(t.where(r for own in some for r in own), metric) for t, some in zip(tables, rows, strict=True)]
    both = [(c.b, c.values[metric][1] - c.values[metric][0]) for c in clips if c.kinds[metric] in COMPARED]
    moves, clusters = table.collect(both)
    seed = seed_of(table.seed, "change", *group, metric)
    estimate = mean_interval(moves, clusters, seed, n_resamples=table.resamples, level=1 - table.alpha) if both else None
    sure = estimate is not None and estimate.low is not None
    kinds = [c.kinds[metric] for c in clips]
    offsets = [_offsets(t, [r for own in some for r in own]) if SPECS[metric].label.startswith("LSE") else None
               for t, some in zip(tables, rows, strict=True)]

    def mean(values: np.ndarray) -> float | None:
        return float(values.mean()) if len(values) else None

    out = Change(*group, metric, mean(sides[0]), mean(sides[1]), len(sides[0]), len(sides[1]), mean(gaps[0]), mean(gaps[1]),
                 estimate, sign_flip_test(moves, clusters, seed, table.resamples) if sure else None, None,
                 detectable(moves, clusters, seed, table.resamples, table.alpha) if sure else None, limit,
                 {kind: kinds.count(kind) for kind in KINDS}, nulls_a=nulls[0], nulls_b=nulls[1],
                 offsets_a=offsets[0], offsets_b=offsets[1])
    if both:
        sided = metric in METRICS and moves.mean() != 0
        out.better = bool((moves.mean() > 0) == METRICS[metric].higher_is_better) if sided else None
        out.verdict = SAME if not np.any(moves) else OPEN if sure else NO_CLAIM
    return out


def _offsets(table: Table, rows: Sequence[Row]) -> tuple[float, float] | None:
    size, near = (table.values(rows, name)[0] for name in ("abs_offset", "offset_within_one"))
    return (float(size.mean()), float(near.mean())) if len(size) else None


def _correct(family: Sequence[Change], alpha: float) -> None:
    tested, compared = ([c for c in family if c.p is not None], [c for c in family if c.change is not None])
    for change, p in zip(tested, holm([c.p for c in tested]), strict=True):
        change.p_holm = p
        _verdict(change, alpha)
    for change in compared:  # one without an interval would be one test more
        needed = clusters_needed(len(tested if change.p is not None else compared), alpha)
        change.speakers_needed = needed if change.change.n_speakers < needed else None


def _verdict(change: Change, alpha: float) -> Change:
    """Sets the verdict of a change that has an interval; that of all languages together is a test of its own."""
    if change.p is not None and change.verdict == OPEN and change.p <= alpha:
        stands = change.p if change.language == EVERYWHERE else change.p_holm
        told = MOVED if change.metric in LEVELS else BETTER if change.better else WORSE
        change.verdict = told if stands <= alpha else HINT
    return change


def lost_reason(clip: Clip, metric: str) -> str:
    """Why the run that has no value of a metric has none."""
    row = clip.b if clip.values[metric][1] is None else clip.a
    return null_reason(row, metric) if row is not None else "not_scored"
