"""The content of a report as plain values: everything the page, the summary and the plots show, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metrics.planted import found, lag_curves, languages_of, real_leads, test_unseen, twin_comparisons
from metrics.robustness import (
    METRICS,
    Cell,
    Row,
    Table,
    drop_unjudged,
    expert_validity,
    group_of,
    metric_label,
    null_reason,
    one_protocol,
    seed_of,
    speaker_of,
    value_of,
)
from report.plain import plain

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
) -> dict[str, Any]:
    """All that the score rows say. Raises metrics.robustness.MixedProtocols for rows of more than one protocol.

    rows: dicts of the `scores` table, each with `source`: the score instance it came from.
    twins: (corpus, planted language) -> its model.
    pinned: whether the expert is the public one whose hash is pinned, so that its figures may be called LSE-D and LSE-C.
    """
    protocol = one_protocol(rows)
    rows, twins = label_corpora(rows, twins)
    validity = expert_validity(rows, margin)
    table = Table(drop_unjudged(rows, validity), seed=seed, resamples=resamples, alpha=alpha)
    cells = table.cells()
    test_unseen(table, cells)
    twin = twin_comparisons(table, twins, real_leads(rows))
    return plain(
        {
            "protocol": {**protocol, "pinned": pinned},
            "alpha": alpha,
            "margin": margin,
            "metrics": [
                {
                    "name": m.name,
                    "label": metric_label(m, pinned),
                    "higher_is_better": m.higher_is_better,
                    "unit": m.unit,
                    "digits": m.digits,
                    "judged": m.judged,
                    "ideal": m.ideal,
                    "about": m.about,
                }
                for m in METRICS.values()
                if any(c.metric == m.name for c in cells)
            ],
            "languages": [{"tag": tag, "twin_of": twins.get(tag), **_real_clips(table, tag)} for tag in languages_of(table)],
            "systems": systems_of(table),
            "validity": [validity[tag] for tag in sorted(validity)],
            "cells": cells,
            "twins": {"languages": sorted(twins), "comparisons": twin, "found": found(twin, alpha)},
            "lag": lag_curves(table),
            "gallery": gallery(table, gallery_per_language, seed),
        }
    )


def label_corpora(rows: Sequence[Row], twins: dict[tuple[str, str], str]) -> tuple[list[Row], dict[str, str]]:
    """(rows, twins by label): languages become `corpus/language` where there is more than one corpus, so that none are mixed."""
    if len({r["corpus"] for r in rows}) <= 1:
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


def _real_clips(table: Table, language: str) -> dict[str, int]:
    rows = table.groups.get(("real", "self", language), [])
    return {"n_clips": len(rows), "n_speakers": len({speaker_of(r) for r in rows})}


def systems_of(table: Table) -> list[dict[str, Any]]:
    """Every system that was scored, controls last: name, training languages, the instance its scores come from."""
    out = {}
    for row in table.rows:
        out.setdefault(
            row["system"],
            {
                "name": row["system"],
                "control": row["system"] in CONTROLS,
                "training": row.get("training"),
                "training_languages": sorted({tag.rpartition("/")[2] for tag in row.get("training_languages") or ()}),
                "source": row.get("source"),
            },
        )
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
    values = {m: value_of(row, m) for m in METRICS}
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
    """What `dvc metrics` shows: system -> language -> metric -> {mean, gap, n} of the own sound, and the planted check."""
    out: dict[str, Any] = {}
    for cell in document["cells"]:
        name = {"self": cell["system"], "shuffled": f"{cell['system']}-shuffled"}.get(cell["condition"])
        if name is None or (cell["condition"] == "shuffled" and cell["system"] != "real"):
            continue
        leaf = {"mean": cell["value"]["mean"], "n": cell["value"]["n_clips"]}
        if cell["gap"] is not None:
            leaf["gap"] = cell["gap"]["mean"]
        out.setdefault(name, {}).setdefault(cell["language"], {})[cell["metric"]] = leaf
    out["planted"] = {tag: {"found": int(tag in document["twins"]["found"])} for tag in document["twins"]["languages"]}
    return out


def gap_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of gap.csv: one per system, condition, language and metric that has a gap to real video."""
    return [
        {
            "system": c["system"],
            "condition": c["condition"],
            "language": c["language"],
            "metric": c["metric"],
            "gap": c["gap"]["mean"],
            **{k: c["gap"][k] for k in ("low", "high", "n_clips", "n_speakers", "reason")},
        }
        for c in document["cells"]
        if c["gap"] is not None
    ]


def matrix_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of matrix.csv: what a system trained on, what it was tested on, and how large its gap is there."""
    trained = {s["name"]: "+".join(s["training_languages"]) for s in document["systems"] if not s["control"]}
    return [
        {
            "system": c["system"],
            "trained_on": trained[c["system"]],
            "tested_on": c["language"],
            "metric": c["metric"],
            "gap": c["gap"]["mean"],
            "n_clips": c["gap"]["n_clips"],
            "n_speakers": c["gap"]["n_speakers"],
        }
        for c in document["cells"]
        if c["system"] in trained and c["condition"] == "self" and c["gap"] is not None
    ]


def lag_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of lag.csv: mean distance between sound and mouth at every lag."""
    return [
        {"system": c["system"], "condition": c["condition"], "language": c["language"], "lag_frames": lag, "distance": d}
        for c in document["lag"]
        for lag, d in zip(c["lags_frames"], c["distance"], strict=True)
    ]


def named(cells: list[dict[str, Any]] | list[Cell]) -> dict[tuple[str, str, str, str], Any]:
    """Cells by (system, condition, language, metric)."""
    return {(c["system"], c["condition"], c["language"], c["metric"]): c for c in cells}
