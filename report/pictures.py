"""What the page draws of the figures across languages: scatters over distance, ranks, sounds, and the expert's own bias."""

from __future__ import annotations

from typing import Any

from report import charts, text

DISTANCES = {
    "genealogical": "distance in the family tree",
    "phonemes": "distance of the sounds (1 \u2212 overlap)",
    "visemes": "distance of the mouth shapes (1 \u2212 overlap)",
}
# Mouth shapes as a mouth makes them: pause, lips, tongue, then vowels from open to round.
VISEMES = ("sil", "pp", "ff", "th", "dd", "kk", "ch", "ss", "nn", "rr", "aa", "eh", "ih", "oh", "ou")
NAMED_POINTS = 16


def across(document: dict[str, Any], series: dict[str, int]) -> dict[str, Any]:
    """What the templates of these sections need; nothing in it where there is no system."""
    found = document.get("robustness") or {"spreads": [], "slopes": [], "rankings": [], "families": {}}
    names = [m["name"] for m in document["metrics"]]
    own = {m: [s for s in found["slopes"] if s["metric"] == m] for m in names}
    metrics = {m["name"]: m for m in document["metrics"]}
    return {
        "spreads": {m: [s for s in found["spreads"] if s["metric"] == m] for m in names},
        "slopes_of": {(s["system"], s["metric"], s["kind"]): s for s in found["slopes"]},
        "kinds": DISTANCES,
        "scatters": {m: scatters(own[m], metrics[m], series) for m in names},
        "missing": {m: missing(own[m]) for m in names},
        "rankings": {m: [r for r in found["rankings"] if r["metric"] == m] for m in names},
        "unplaced": sorted(tag for tag, facts in found["families"].items() if facts is None),
        "heats": viseme_heats(document, series),
        "bias": [bias_picture(document)] if document.get("bias") else [],
        "ablation": ablation_picture(document),
        "found": lag_picture(document),
    }


def scatters(slopes: list[dict[str, Any]], metric: dict[str, Any], series: dict[str, int]) -> list[dict[str, Any]]:
    """One scatter per kind of distance that has points: {kind, chart, lines: [(system, sentence)]}."""
    out, d = [], metric["digits"]
    means = [p["gap"]["mean"] for s in slopes for p in s["points"]]
    if not means:
        return []
    spread = max(means + [0.0]) - min(means + [0.0]) or 1.0
    ends = [p["gap"][k] for s in slopes for p in s["points"] for k in ("low", "high") if p["gap"][k] is not None]
    ends = [min(max(e, min(means) - spread / 2), max(means) + spread / 2) for e in ends]
    span = (min([*means, *ends, 0.0]), max([*means, *ends, 0.0]))
    for kind, x_title in DISTANCES.items():
        own = [s for s in slopes if s["kind"] == kind and s["points"]]
        if not own:
            continue
        points = [
            {
                "x": p["distance"], "y": p["gap"]["mean"], "low": p["gap"]["low"], "high": p["gap"]["high"],
                "series": series[s["system"]],
                "name": p["language"],
                "label": f"{s['system']} in {p['language']}, {p['distance']:.2f} from {p['nearest']}: "
                         f"{text.number(p['gap']['mean'], d)} "
                         f"{text.interval(p['gap'], d)}, {text.counted(p['gap']['n_clips'], 'clip')}, "
                         f"{text.counted(p['gap']['n_speakers'], 'speaker')}",
            }
            for s in own for p in s["points"]
        ]  # fmt: skip
        lines = [
            {"series": series[s["system"]], "slope": s["slope"]["mean"], "intercept": s["intercept"], "sure": _sure(s)}
            for s in own if s["slope"] and s["slope"]["mean"] is not None
        ]  # fmt: skip
        chart = charts.scatter(points, lines, title=f"Gap in {metric['label']} against {x_title}", x_title=x_title,
                               y_title=f"gap in {metric['label']}", names=len(points) <= NAMED_POINTS, y_span=span)
        out.append({"kind": kind, "chart": chart, "slopes": own})
    return out


def _sure(slope: dict[str, Any]) -> bool:
    estimate = slope["slope"]
    return estimate["low"] is not None and (estimate["low"] > 0 or estimate["high"] < 0)


def missing(slopes: list[dict[str, Any]]) -> list[str]:
    """Which points a metric's scatters lack, and why, in words."""
    found: dict[tuple[str, str], set[str]] = {}
    for s in slopes:
        for tag, reason in s["missing"].items():
            found.setdefault((s["kind"], reason), set()).add(tag)
    return [f"{DISTANCES[kind]}: {', '.join(sorted(tags))} left out ({text.reason_text(reason)})" for (kind, reason),
            tags in sorted(found.items())]


def viseme_heats(document: dict[str, Any], series: dict[str, int]) -> list[dict[str, Any]]:
    """One heat map per system: rows are languages, columns visemes, `heat` 0..1 by the size of the error."""
    cells = [c for c in document.get("visemes", []) if c["system"] in series]
    if not cells:
        return []
    top = max(c["error"]["mean"] for c in cells) or 1.0
    columns = [v for v in VISEMES if any(c["viseme"] == v for c in cells)]
    columns += sorted({c["viseme"] for c in cells} - set(columns))
    at = {(c["system"], c["language"], c["viseme"]): c for c in cells}
    out = []
    for system in series:
        languages = sorted({c["language"] for c in cells if c["system"] == system}, key=lambda tag: (tag is not None, tag or ""))
        rows = [(tag or "all together", [_heat(at.get((system, tag, v)), top, document["alpha"]) for v in columns])
                for tag in languages]
        if rows:
            out.append({"system": system, "columns": columns, "rows": rows})
    return out


def _heat(cell: dict[str, Any] | None, top: float, alpha: float) -> dict[str, Any] | None:
    if cell is None:
        return None
    shown = cell["p_holm"] is not None and cell["p_holm"] <= alpha
    verdict = ("helps" if cell["gain"]["mean"] > 0 else "fails") if shown else "open"
    return {"cell": cell, "heat": round(cell["error"]["mean"] / top, 3), "verdict": verdict, "way": "too far open"
            if cell["signed"] > 0 else "too far closed"}


def bias_picture(document: dict[str, Any]) -> dict[str, Any] | None:
    """Real video and its shuffled control as the report's own expert scores them, a strip per language."""
    main = next((e for e in document["bias"] if e["main"]), None)
    if main is None:
        return None
    rows = [r for r in main["rows"] if r["real"]["mean"] is not None or r["shuffled"]["mean"] is not None]
    points = {r["language"]: [(k, r[name]) for k, name in enumerate(("real", "shuffled")) if r[name]["mean"] is not None]
              for r in rows}
    if not any(points.values()):
        return None  # an expert that could judge nothing here
    return _strips(rows, points, 3, f"{main['label']} of real video", "real and shuffled", main)


def lag_picture(document: dict[str, Any]) -> dict[str, Any] | None:
    """The share of lags that were put into real video and found, beside that of the shuffled control; None where nobody asked."""
    rows = [v for v in document["validity"] if v["lags"]["n_clips"]]
    points = {v["language"]: [(k, {"mean": v[name]["share"], "low": None, "high": None, "n_clips": v[name]["n_clips"]})
                              for k, name in enumerate(("lags", "lags_shuffled")) if v[name]["share"] is not None] for v in rows}
    if not any(points.values()):
        return None
    return _strips(rows, points, 2, "share of lags found within one frame", "", None, include=(0.0, 1.0))


def ablation_picture(document: dict[str, Any]) -> dict[str, Any] | None:
    """The lead of real over shuffled sound by every expert, in units of its own mean lead; None without a second expert."""
    experts = document.get("bias") or []
    if len(experts) < 2:
        return None
    tags = sorted({r["language"] for e in experts for r in e["rows"]})
    at = {(e["name"], r["language"]): r for e in experts for r in e["rows"]}
    rows, points = [], {}
    for tag in tags:
        own = [(k, at[e["name"], tag]) for k, e in enumerate(experts) if (e["name"], tag) in at]
        found = [(k, r["relative"]) for k, r in own if r["relative"] is not None and r["relative"]["mean"] is not None]
        rows.append({"language": tag,
                     "shares": [(experts[k]["name"], r["share_right"], r["trained"], r["valid"]) for k, r in own]})
        points[tag] = found
    if not any(points.values()):
        return None
    drawn = _strips(rows, points, 2, "lead, in each expert's mean lead", "", None)
    return drawn | {"experts": [{"name": e["name"], "languages": e["languages"], "main": e["main"]} for e in experts]}


def _strips(rows: list[dict[str, Any]], points: dict[str, list], digits: int, title: str, label: str, expert: Any,
            include: tuple[float, ...] = (0.0,)) -> dict[str, Any]:
    means = [e["mean"] for found in points.values() for _, e in found]
    spread = max(means) - min(means) or 1.0
    ends = [min(max(e[k], min(means) - spread), max(means) + spread) for found in points.values() for _, e in found
            for k in ("low", "high")
            if e[k] is not None]
    scale = charts.Scale([*means, *ends], include)
    out = []
    for row in rows:
        found = points[row["language"]]
        said = "; ".join(f"{text.number(e['mean'], digits)} {text.interval(e, digits)}".strip() for _, e in found)
        strip = charts.forest_strip(scale, found, f"{row['language']}: {said}") if found else None
        out.append({"row": row, "strip": strip, "points": found})
    return {"rows": out, "axis": charts.axis_strip(scale, title), "digits": digits, "expert": expert}
