"""The page: the report's document turned into HTML by the templates. Same document, same bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from report import charts, findings, text
from report.funnel import DATA_STAGES, TEST_STAGES, by_language
from report.pictures import across
from report.sets import set_table
from report.tables import file_names

HERE = Path(__file__).parent
STATIC = ("report.css", "report.js")
CONDITIONS = {
    "self": "own sound",
    "shuffled": "shuffled sound",
    "cross-audio": "another clip's sound",
    "cross-language": "sound of another language",
}


def render(document: dict[str, Any], media: dict[str, dict[str, str]]) -> str:
    """The HTML of index.html. media: generated_id -> {video, poster}, addresses relative to the page."""
    return environment().get_template("index.html.j2").render(context(document) | {"media": media})


def environment() -> Any:
    """The templates' environment: strict, escaping, with the filters that print numbers and reasons."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "number": text.number,
        "interval": text.interval,
        "counted": text.counted,
        "p": text.p_text,
        "because": text.reason_text,
        "percent": text.percent,
        "measure": text.measure_text,
        "once": text.sets_reason,
        "slug": slug,
    }
    return made


def slug(value: str) -> str:
    """The text as part of an HTML id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", str(value)).strip("-") or "x"


def language_name(tag: str, twin_of: str | None) -> str:
    """The language's English name; a planted one says whose twin it is."""
    if twin_of:
        return f"planted twin of {twin_of}"
    import langcodes

    tag = tag.rpartition("/")[2]  # without the corpus

    name = langcodes.Language.get(tag).display_name() if langcodes.tag_is_valid(tag) else tag
    return "" if name == tag else name


def context(document: dict[str, Any]) -> dict[str, Any]:
    """All that the templates show, laid out section by section."""
    languages = [{**lang, "name": language_name(lang["tag"], lang["twin_of"])} for lang in document["languages"]]
    document = {**document, "languages": languages}
    systems = [s for s in document["systems"] if not s["control"]]
    series = {s["name"]: i for i, s in enumerate(systems)}
    cells = {(c["system"], c["condition"], c["language"], c["metric"]): c for c in document["cells"]}
    rows = by_language(document["funnel"])
    headline, lags = text.headline_metric(document), lag_charts(document, series)
    return {
        "doc": document,
        "systems": systems,
        "series": series,
        "key": charts.key,
        "headline": headline,
        "conditions": CONDITIONS,
        "languages": languages,
        "metrics": {m["name"]: m for m in document["metrics"]},
        "cells": cells,
        "lse": text.LSE,
        "windows": {lang["tag"]: lang["median_windows"] for lang in languages if lang.get("median_windows")},
        "levels": {(c["system"], c["language"], c["metric"]): c for c in document["levels"]["cells"]},
        "findings": findings.findings(document, rows),
        "matrices": {m["name"]: matrix(document, systems, cells, m["name"]) for m in document["metrics"]},
        "forests": {m["name"]: forest(document, systems, series, cells, m) for m in document["metrics"]},
        "best": best_of(document),
        "lags": lags,
        "lagless": without_curves(document, lags),
        "funnel": funnel_table(rows),
        "curves": [loss_chart(entry) for entry in document["training"]],
        "cards": [card_facts(entry) for entry in document["training"]],
        "splits": split_table(document["splits"]),
        "files": file_names(document),
        "sets": set_table(document.get("sets", [])),
        **across(document, series),
    }


def matrix(document: dict[str, Any], systems: list, cells: dict, metric: str) -> dict[str, Any] | None:
    """One heat map: a row per system, a column per test language, `heat` 0..1 by the size of the gap; None without any gap."""
    rows, gaps = [], []
    for system in systems:
        row = []
        for language in document["languages"]:
            cell = cells.get((system["name"], "self", language["tag"], metric))
            row.append(cell)
            if cell and cell["gap"]:
                gaps.append(cell["gap"]["mean"])
        rows.append(row)
    if not gaps:
        return None
    low, high = min(0.0, *gaps), max(*gaps, 1e-9) if len(gaps) > 1 else max(gaps[0], 1e-9)
    return {
        "rows": [
            [
                None
                if c is None
                else {"cell": c, "heat": round((c["gap"]["mean"] - low) / (high - low), 3) if c["gap"] else None}
                for c in row
            ]
            for row in rows
        ]
    }


def forest(document: dict[str, Any], systems: list, series: dict, cells: dict, metric: dict) -> dict[str, Any] | None:
    """One forest plot: a strip per language with every system's gap to real video, on one scale; None without any gap."""
    lines = []
    for language in document["languages"]:
        found = [(s["name"], cells.get((s["name"], "self", language["tag"], metric["name"]))) for s in systems]
        lines.append(
            (language, [(name, c) for name, c in found if c and c["gap"]], [(name, c) for name, c in found if c and not c["gap"]])
        )
    gaps = [c["gap"] for _, have, _ in lines for _, c in have]
    if not gaps:
        return None
    means = [g["mean"] for g in gaps]
    spread = max(means + [0.0]) - min(means + [0.0]) or 1.0
    # Far ends of wide intervals must not squeeze the marks: the scale follows them for one spread at most.
    ends = [min(max(e, min(means) - spread), max(means) + spread) for g in gaps for e in (g["low"], g["high"]) if e is not None]
    scale = charts.Scale([*means, *ends])
    d = metric["digits"]
    out = []
    for language, have, lacking in lines:
        points = [(series[name], c["gap"]) for name, c in have]
        label = f"{language['tag']}: " + "; ".join(
            f"{name} {text.number(c['gap']['mean'], d)} {text.interval(c['gap'], d)}".strip() for name, c in have
        )
        notes = sorted({text.reason_text(r) for _, c in lacking for r in {**c["nulls"], **c["gap_nulls"]}})
        out.append(
            {
                "language": language,
                "strip": charts.forest_strip(scale, points, label) if points else None,
                "have": have,
                "notes": notes,
            }
        )
    return {
        "rows": out,
        "axis": charts.axis_strip(
            scale, f"{metric['label']}: how much worse than real video" + (f" ({metric['unit']})" if metric["unit"] else "")
        ),
    }


def best_of(document: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    """(system, condition, language, metric) of the best trained system, where there are two to compare."""
    controls = {s["name"] for s in document["systems"] if s["control"]}
    better = {m["name"]: m["higher_is_better"] for m in document["metrics"]}
    rivals: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for c in document["cells"]:
        if c["system"] not in controls and c["condition"] != "shuffled" and c["value"]["mean"] is not None:
            rivals.setdefault((c["condition"], c["language"], c["metric"]), []).append(c)
    out = set()
    for (condition, language, metric), found in rivals.items():
        if len(found) > 1:
            top = (max if better[metric] else min)(c["value"]["mean"] for c in found)
            out |= {(c["system"], condition, language, metric) for c in found if c["value"]["mean"] == top}
    return out


def lag_charts(document: dict[str, Any], series: dict[str, int]) -> list[dict[str, Any]]:
    """One small chart per language: mean distance against lag for real video, the controls and every system."""
    shown = [c for c in document["lag"] if c["condition"] == "self" or (c["system"], c["condition"]) == ("real", "shuffled")]
    if not shown:
        return []
    span = (min(min(c["distance"]) for c in shown), max(max(c["distance"]) for c in shown))
    out = []
    for language in sorted({c["language"] for c in shown}):
        own = [c for c in shown if c["language"] == language]
        lines = [
            {
                "x": c["lags_frames"],
                "y": c["distance"],
                "css": _line_css(c, series),
                "label": f"{c['system']}, {CONDITIONS[c['condition']]}",
            }
            for c in own
        ]
        chart = charts.line_chart(
            lines, title=f"Distance between sound and mouth against lag, {language}", x_title="lag (frames)", span=span, zero=True
        )
        out.append({"language": language, "chart": chart, **{k: max(c[f"n_{name}"] for c in own)
                                                               for k, name in (("n", "clips"), ("n_speakers", "speakers"))}})
    return out


def without_curves(document: dict[str, Any], lags: list[dict[str, Any]]) -> list[str]:
    """Languages for which there is nothing to draw, with the reason."""
    shown = {entry["language"] for entry in lags}
    why = {v["language"]: v["reason"] for v in document["validity"]}
    return [
        f"{lang['tag']}: {text.reason_text(why.get(lang['tag']) or 'not_measured')}"
        for lang in document["languages"]
        if lang["tag"] not in shown
    ]


def _line_css(curve: dict[str, Any], series: dict[str, int]) -> str:
    if curve["system"] in series:
        return f"s{series[curve['system']] % 6}"
    return {("real", "self"): "real", ("real", "shuffled"): "shuffled"}.get((curve["system"], curve["condition"]), "still")


def funnel_table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """{stages, languages, totals, reasons}: counts per language and stage, and every reason with its count."""
    stages = [s for s in (*DATA_STAGES, *TEST_STAGES) if any(r["stage"] == s for r in rows)]
    languages = sorted({r["language"] for r in rows})
    at = {(r["language"], r["stage"]): r for r in rows}
    reasons = [
        {"language": r["language"], "stage": r["stage"], "reason": reason, "n": n, "of": r["in"]}
        for r in rows
        for reason, n in r["rejected"].items()
    ]
    totals = {s: {k: sum(r[k] for r in rows if r["stage"] == s) for k in ("in", "kept", "unaccounted")} for s in stages}
    units = {s: (DATA_STAGES[s][0] if s in DATA_STAGES else TEST_STAGES[s]) for s in stages}
    return {
        "stages": stages,
        "languages": languages,
        "at": at,
        "totals": totals,
        "units": units,
        "reasons": sorted(reasons, key=lambda r: (-r["n"], r["language"], r["stage"], r["reason"])),
    }


def loss_chart(entry: dict[str, Any]) -> Any:
    """The loss curves of one model."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in entry["losses"]:
        if "loss" in row["curve"] or row["curve"] == "total":
            xs, ys = curves.setdefault(row["curve"], ([], []))
            xs.append(row["step"])
            ys.append(row["value"])
    lines = []
    for i, (name, (xs, ys)) in enumerate(sorted(curves.items())):
        x, y = charts.thinned(xs, ys)
        lines.append({"x": x, "y": y, "css": f"s{i % 6}", "label": name})
    low = min((min(line["y"]) for line in lines), default=1)
    chart = charts.line_chart(
        lines, title=f"Training loss of {entry['name']}", x_title="step", width=330, height=180, log=low > 0
    )
    return {"name": entry["name"], "chart": chart, "curves": [(line["label"], line["css"]) for line in lines]}


def card_facts(entry: dict[str, Any]) -> dict[str, Any]:
    """What a model's card says: {name, facts: (name, text) pairs, held_out}; digests cut, nested values left out."""
    card, facts = entry["card"], []
    for name, value in sorted(card.items()):
        if isinstance(value, list):
            value = (", ".join(map(str, value)) or "none") if len(value) <= 12 else text.counted(len(value), "entry", "entries")
        if value is None or isinstance(value, dict) or name == "name":
            continue
        shown = f"{value:,}".replace(",", "\u202f") if isinstance(value, int) and not isinstance(value, bool) else str(value)
        facts.append((name.replace("_", " "), shown[:12] if re.fullmatch(r"[0-9a-f]{40,}", shown) else shown))
    exam = {tag: found for tag, found in (card.get("held_out") or {}).items() if isinstance(found, dict)}
    names = sorted(
        {k for found in exam.values() for k, v in found.items() if isinstance(v, int | float)}, key=lambda k: (k == "n", k)
    )
    rows = [(tag, [found.get(k) for k in names]) for tag, found in exam.items()]
    return {"name": entry["name"], "facts": facts, "held_out": {"names": names, "rows": rows}}


def split_table(splits: list[dict[str, Any]]) -> dict[str, Any]:
    """{parts, rows}: tracks and speakers per language and split."""
    order = ["train", "validation", "expert_train", "expert_validation", "test"]
    parts = sorted({s["split"] for s in splits}, key=lambda p: (order.index(p) if p in order else 99, p))
    at = {(s["language"], s["split"]): s for s in splits}
    return {"parts": parts, "rows": [(tag, [at.get((tag, p)) for p in parts]) for tag in sorted({s["language"] for s in splits})]}
