"""The content of a report as plain values: everything the page, the summary and the plots show, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metrics.cross_language import correct_gaps
from metrics.planted import found, lag_curves, languages_of, real_leads, test_unseen, twin_comparisons
from metrics.registry import MetricSpec
from metrics.robustness import (
    LEVELS,
    METRICS,
    Row,
    Table,
    group_of,
    metric_label,
    null_reason,
    one_protocol,
    seed_of,
    speaker_of,
    value_of,
)
from metrics.validity import drop_unjudged, expert_validity
from metrics.visemes import viseme_cells
from report.plain import plain
from report.robust import expert_bias, robustness
from report.sets import set_figures

CONTROLS = ("real", "still")


def scores_document(
    rows: Sequence[Row],
    *,
    twins: dict[tuple[str, str], str],
    margin: float,
    pinned: bool,
    seed: int,
    resamples: int,
    alpha: float,
    gallery_per_language: int,
    sounds: Mapping[str, Any] | None = None,
    bias_rows: Mapping[str, Sequence[Row]] | None = None,
    experts: Mapping[str, Sequence[str]] | None = None,
    expert: str = "this report's expert",
    sets: Sequence[Row] = (),
) -> dict[str, Any]:
    """All that the score rows say. Raises metrics.robustness.MixedProtocols for rows of more than one protocol.

    rows: dicts of the `scores` table, each with `source`: the score instance it came from.
    twins: (corpus, planted language) -> its model.
    pinned: whether the expert is the public one whose hash is pinned, so that its figures may be called LSE-D and LSE-C.
    sounds: language -> metrics.languages.sound_counts, where a corpus knows them.
    bias_rows: other expert -> its score rows of real video and its control. experts: expert -> the languages it learnt. expert:
    the name of the one whose scores `rows` have. sets: rows of the `sets` tables.
    """
    protocol = one_protocol(rows)
    bias_rows = {name: label_corpora(some, {}, reference=rows)[0] for name, some in (bias_rows or {}).items()}
    several_corpora = len({r["corpus"] for r in rows}) > 1
    rows, twins = label_corpora(rows, twins)
    validity = expert_validity(rows, margin)
    table = Table(drop_unjudged(rows, validity), seed=seed, resamples=resamples, alpha=alpha)
    cells, levels, asked = table.cells(), table.levels(), _asked(rows)
    test_unseen(table, cells)
    correct_gaps(cells, sorted(twins))
    twin = twin_comparisons(table, twins, real_leads(rows))
    bias = expert_bias(rows, bias_rows, experts or {}, name=expert, pinned=pinned, margin=margin, seed=seed, resamples=resamples,
                       alpha=alpha)
    return plain(
        {
            "protocol": {**protocol, "pinned": pinned},
            "alpha": alpha,
            "resamples": resamples,
            "margin": margin,
            "metrics": [metric_facts(m, pinned) for m in METRICS.values() if any(c.metric == m.name for c in cells)],
            "levels": {"metrics": [metric_facts(m, pinned) for m in LEVELS.values() if any(c.metric == m.name for c in levels)],
                       "cells": levels},
            "n_speakers": len({speaker_of(r) for (s, c, _), own in table.groups.items() if (s, c) == ("real", "self")
                               for r in own}),
            "languages": [{"tag": tag, "twin_of": twins.get(tag), **_real_clips(table, tag)} for tag in languages_of(table)],
            "systems": systems_of(table),
            "validity": [plain(validity[tag]) | {"lags_n_speakers": len(asked.get(tag, ()))} for tag in sorted(validity)],
            "cells": cells,
            "robustness": robustness(table, sorted(twins), sounds or {}),
            "visemes": viseme_cells(table, sorted(twins)),
            "bias": bias,
            "twins": {"languages": sorted(twins), "comparisons": twin, "found": found(twin, alpha)},
            "lag": lag_curves(table),
            "sets": set_figures(sets, validity, several_corpora=several_corpora,
                                n_speakers={key: len({speaker_of(r) for r in own}) for key, own in table.groups.items()}),
            "gallery": gallery(table, gallery_per_language, seed),
        }
    )


def is_pinned(expert_sha256: str | None) -> bool:
    """Whether an expert is the public SyncNet v2 by its hash: only then its figures are LSE-D and LSE-C."""
    from core.weights import known_name

    return known_name(expert_sha256 or "") == "syncnet_v2"


def metric_facts(metric: MetricSpec, pinned: bool) -> dict[str, Any]:
    """What every page says of one metric: name, label (starred where the expert is not pinned), direction, unit, digits, ..."""
    return {
        "name": metric.name,
        "label": metric_label(metric, pinned),
        "higher_is_better": metric.higher_is_better,
        "unit": metric.unit,
        "digits": metric.digits,
        "judged": metric.judged,
        "ideal": metric.ideal,
        "about": metric.about,
    }


def label_corpora(
    rows: Sequence[Row], twins: dict[tuple[str, str], str], reference: Sequence[Row] | None = None
) -> tuple[list[Row], dict[str, str]]:
    """(rows, twins by label): languages become `corpus/language` where there is more than one corpus (in `reference`, if given),
    so that none are mixed."""
    if len({r["corpus"] for r in (rows if reference is None else reference)}) <= 1:
        return list(rows), {tag: model for (_, tag), model in twins.items()}
    of_clip = {r["clip_id"]: r["corpus"] for r in rows}
    out = []
    for r in rows:
        spoken = f"{of_clip.get(r['audio_clip_id'], r['corpus'])}/{r['audio_language']}" if r["audio_language"] else None
        tag = f"{r['corpus']}/{r['language'] or 'und'}"
        # A system that knows a language knows it in every corpus: training sets are named by language.
        trained = [f"{c}/{t}" for c in sorted(set(of_clip.values())) for t in r["training_languages"] or ()]
        out.append({**r, "language": tag, "audio_language": spoken, "training_languages": trained})
    return out, {f"{corpus}/{tag}": f"{corpus}/{model}" for (corpus, tag), model in twins.items()}


def _real_clips(table: Table, language: str) -> dict[str, Any]:
    rows = table.groups.get(("real", "self", language), [])
    windows = [r["n_windows"] for r in rows if r.get("n_windows") is not None]
    return {"n_clips": len(rows), "n_speakers": len({speaker_of(r) for r in rows}),
            "median_windows": float(np.median(windows)) if windows else None}


def _asked(rows: Sequence[Row]) -> dict[str, set[str]]:
    """language -> the speakers of its real clips into which lags were put."""
    out: dict[str, set[str]] = {}
    for row in rows:
        if (row["system"], row["condition"]) == ("real", "self") and row.get("lag_offsets"):
            out.setdefault(group_of(row), set()).add(speaker_of(row))
    return out


def systems_of(table: Table) -> list[dict[str, Any]]:
    """Every system that was scored, controls last: name, training languages, the instance its scores come from."""
    out = {}
    for row in table.rows:
        if row["system"] not in out:
            out[row["system"]] = {
                "name": row["system"],
                "control": row["system"] in CONTROLS,
                "training": row.get("training"),
                "training_languages": sorted({tag.rpartition("/")[2] for tag in row.get("training_languages") or ()}),
                "source": row.get("source"),
            }
    return sorted(out.values(), key=lambda s: (s["control"], CONTROLS.index(s["name"]) if s["control"] else 0, s["name"]))


def gallery(table: Table, per_language: int, seed: int) -> list[dict[str, Any]]:
    """Clips drawn at random per language, other speakers first, each with every video made of it and that video's scores."""
    of_track: dict[str, list[Row]] = {}
    for row in table.rows:
        if row["condition"] in ("self", "shuffled"):
            of_track.setdefault(row["track_id"], []).append(row)
    made = any(r["system"] not in CONTROLS for r in table.rows)
    out = []
    for language in languages_of(table):
        real = [r for r in table.groups.get(("real", "self", language), [])]
        full = [r for r in real if any(o["system"] not in CONTROLS for o in of_track[r["track_id"]])]
        pool = sorted(full if made and full else real, key=lambda r: r["track_id"])
        order = np.random.default_rng(seed_of(seed, "gallery", language)).permutation(len(pool))
        seen: dict[str, int] = {}
        turns = []
        for i in order:  # a speaker's second clip comes after every speaker's first
            turn = seen.get(pool[i]["cluster"], 0)
            seen[pool[i]["cluster"]] = turn + 1
            turns.append((turn, len(turns), pool[i]))
        for _, _, row in sorted(turns, key=lambda t: t[:2])[:per_language]:
            out.append(
                {
                    "language": language,
                    "track_id": row["track_id"],
                    "clip_id": row["clip_id"],
                    "speaker": row.get("speaker"),
                    "videos": [
                        _video(r)
                        for r in sorted(of_track[row["track_id"]], key=_gallery_order)
                        if not (r["system"] not in CONTROLS and r["condition"] == "shuffled") and not r.get("sample")
                    ],
                }
            )
    return out


def _gallery_order(row: Row) -> tuple[int, str]:
    rank = {("real", "self"): 0, ("still", "self"): 2, ("real", "shuffled"): 3}
    return rank.get((row["system"], row["condition"]), 1), row["system"]


def _video(row: Row) -> dict[str, Any]:
    values = {m: value_of(row, m) for m in (*METRICS, *LEVELS)}
    return {
        "system": row["system"],
        "condition": row["condition"],
        "generated_id": row["generated_id"],
        "source": row.get("source"),
        "audio_clip_id": row["audio_clip_id"],
        "language": group_of(row),
        "n_frames": row["n_frames"],
        "scores": {m: v for m, v in values.items() if v is not None},
        "nulls": {m: null_reason(row, m) for m, v in values.items() if v is None},
    }


def summary(document: dict[str, Any]) -> dict[str, Any]:
    """What `dvc metrics` shows: system -> language -> metric -> {mean, gap, n (clips), n_speakers} of the own sound, and the
    planted check."""
    out: dict[str, Any] = {}
    for cell in document["cells"]:
        name = {"self": cell["system"], "shuffled": f"{cell['system']}-shuffled"}.get(cell["condition"])
        if name is None or (cell["condition"] == "shuffled" and cell["system"] != "real"):
            continue
        leaf = {"mean": cell["value"]["mean"], "n": cell["value"]["n_clips"], "n_speakers": cell["value"]["n_speakers"]}
        if cell["gap"] is not None:
            leaf["gap"] = cell["gap"]["mean"]
        out.setdefault(name, {}).setdefault(cell["language"], {})[cell["metric"]] = leaf
    out["planted"] = {tag: {"found": int(tag in document["twins"]["found"])} for tag in document["twins"]["languages"]}
    return out
