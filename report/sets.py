"""The part of a report's document that is about sets of clips: FID, FVD, retrieval and diversity, and why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metrics.registry import METRICS
from metrics.robustness import NOT_VALID, MixedProtocols, Row
from metrics.validity import Validity

NAMES = {"fid": "FID", "fvd": "FVD", "retrieval_recall": "R@", "lip_diversity": "lip diversity"}
WAYS = {"audio_to_video": "sound to picture", "video_to_audio": "picture to sound"}


def set_figures(rows: Sequence[Row], validity: Mapping[str, Validity], *, several_corpora: bool,
                n_speakers: Mapping[tuple[str, str, str], int] | None = None) -> list[dict[str, Any]]:
    """The rows of the `sets` tables as the report has them, sorted: languages called as everywhere in it, and figures of the sync
    expert null where it may not judge. n_speakers: of (system, condition, language), where it is known. Raises MixedProtocols for
    figures of one metric by two networks."""
    by_metric: dict[str, dict[str, str]] = {}
    out = []
    for row in rows:
        language = f"{row['corpus']}/{row['language']}" if several_corpora else row["language"]
        row = {**row, "language": language, "n_speakers": (n_speakers or {}).get((row["system"], row["condition"], language))}
        if row["value"] is not None and row["network"] is not None:
            others = by_metric.setdefault(row["metric"], {row["network"]: row["set_id"]})
            if row["network"] not in others:
                (network, set_id), = others.items()
                raise MixedProtocols(
                    f"{row['metric']} of two networks cannot be compared: {network} for {set_id}, {row['network']} for "
                    f"{row['set_id']}. Run the sets stages of all systems again with the same weights."
                )
        verdict = validity.get(language)
        if METRICS[row["metric"]].judged and row["value"] is not None and (verdict is None or verdict.failed):
            row |= {"value": None, "reason": NOT_VALID}
        out.append(row)
    order = {name: k for k, name in enumerate(NAMES)}
    controls = ("still", "real")

    def place(r: Mapping[str, Any]) -> tuple:
        control = controls.index(r["system"]) + 1 if r["system"] in controls else 0
        return (control, r["system"], r["condition"] != "self", r["condition"], r["language"], order[r["metric"]], r["k"] or 0,
                r["direction"] or "")

    return sorted(out, key=place)


def heading(row: Mapping[str, Any]) -> str:
    """What a figure's column is called."""
    if row["metric"] == "retrieval_recall":
        return f"R@{row['k']} {WAYS[row['direction']]}"
    return NAMES[row["metric"]]


def set_table(sets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{columns, rows, absent}: columns: (heading, digits, metric) of figures that some set has. rows: {system, condition,
    language, source, n_clips, n_speakers, cells: one per column, or None} of sets that have one. absent: {name, reason, needed,
    n sets} of all that is null."""
    columns = list(dict.fromkeys((heading(r), METRICS[r["metric"]].digits, r["metric"]) for r in
                                 sorted(sets, key=lambda r: (list(NAMES).index(r["metric"]), r["k"] or 0, r["direction"] or ""))
                                 if r["value"] is not None))
    of: dict[tuple[str, str, str], dict[str, Any]] = {}
    why: dict[tuple[str, str, int | None], int] = {}
    for r in sets:
        one = of.setdefault((r["system"], r["condition"], r["language"]), {k: r.get(k) for k in ("source", "n_speakers")})
        one[heading(r)], one["n_clips"] = r, max(one.get("n_clips", 0), r["n_clips"])
        if r["value"] is None:
            name = NAMES[r["metric"]] + ("K" if r["metric"] == "retrieval_recall" else "")
            key = (name, r["reason"], r["n_needed"] if r["reason"] == "too_few" else None)
            why[key] = why.get(key, 0) + (r["direction"] != "video_to_audio")  # both ways fail together
    rows = [
        {"system": s, "condition": c, "language": tag, "source": found["source"], "n_clips": found["n_clips"],
         "n_speakers": found["n_speakers"], "cells": [found.get(n) for n, _, _ in columns]}
        for (s, c, tag), found in of.items()
        if any((found.get(n) or {}).get("value") is not None for n, _, _ in columns)
    ]
    units = {"FID": "frames", "FVD": "windows", "R@K": "clips", "lip diversity": "inputs"}
    absent = [
        {"name": name, "reason": reason, "needed": f"{needed} {units[name]}" if needed else "", "n": n}
        for (name, reason, needed), n in why.items()
        if n
    ]
    absent.sort(key=lambda a: (a["name"], -a["n"], a["reason"], a["needed"]))
    return {"columns": columns, "rows": rows, "absent": absent}


def csv_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of sets.csv: every figure of a set, with its reason where there is none."""
    names = ("system", "condition", "language", "metric", "k", "direction", "value", "chance", "n", "unit", "n_needed", "n_clips",
             "n_speakers", "n_frames", "region", "network", "reason")
    return [{name: row.get(name) for name in names} for row in document.get("sets", [])]
