"""The page of a comparison: its document turned into HTML by the template. Same document, same bytes."""

from __future__ import annotations

from typing import Any

from metrics.comparison import EVERYWHERE, KINDS
from report import charts
from report.comparison import key_of
from report.comparison_text import CAUSES, VERDICTS, describe
from report.page import environment
from report.set_comparison import remark, shown
from report.text import LSE, offsets, offsets_then_now

STATIC = ("report.css", "report.js", "comparison.css")
KIND_WORDS = {
    "regressed": "regressed",
    "fixed": "fixed",
    "moved": "moved; of this metric neither way is better",
    "unchanged": "unchanged",
    "lost": "lost: no score in B",
    "gained": "gained: no score in A",
    "only_a": "only in A",
    "only_b": "only in B",
    "other_length": "of another length in B, where this metric cannot be compared",
}


def render(doc: dict[str, Any], media: dict[str, list[dict[str, Any]]]) -> str:
    """The HTML of index.html. media: report.comparison.key_of(clip) -> its videos, each {title, side, video, poster, n_frames};
    addresses are relative to the page."""
    metrics = {m["name"]: m for m in doc["metrics"]}
    return environment().get_template("comparison.html.j2").render(
        {
            "doc": doc,
            "metrics": metrics,
            "headline": doc["headline"],
            "verdicts": VERDICTS,
            "everywhere": EVERYWHERE,
            "kinds": KINDS,
            "kind_words": KIND_WORDS,
            "cause_names": CAUSES,
            "series": {s: i for i, s in enumerate(doc["systems"])},
            "key": charts.key,
            "key_of": key_of,
            "describe": describe,
            "lse": offsets_then_now,
            "lse_names": LSE,
            "offsets": offsets,
            "media": media,
            "sets": shown(doc["sets"]) if doc["sets"] else None,
            "remark": remark,
            "several_sets": len({r["condition"] for r in (doc["sets"] or {}).get("rows", [])}) > 1,
            "forests": {name: forest(doc, m) for name, m in metrics.items()},
            "several": len({c["condition"] for c in doc["changes"]}) > 1,
        }
    )


def forest(doc: dict[str, Any], metric: dict[str, Any]) -> dict[str, Any] | None:
    """One forest plot: a strip per language with every system's change, better to the right; None without any change."""
    rows = [c for c in doc["changes"] if c["metric"] == metric["name"] and c["change"] and c["system"] != "still"]
    rows = [c for c in rows if c["condition"] == "self"]
    if not rows:
        return None
    sign = -1 if metric["higher_is_better"] is False else 1
    means = [sign * c["change"]["mean"] for c in rows]
    spread = max(means + [0.0]) - min(means + [0.0]) or 10.0 ** -metric["digits"]
    # Far ends of wide intervals must not squeeze the marks: the scale follows them for one spread at most.
    ends = [sign * c["change"][k] for c in rows for k in ("low", "high") if c["change"][k] is not None]
    scale = charts.Scale([*means, *(min(max(e, min(means) - spread), max(means) + spread) for e in ends)])
    lines = []
    for language in [*doc["languages"], EVERYWHERE]:
        own = sorted((c for c in rows if c["language"] == language), key=lambda c: doc["systems"].index(c["system"]))
        if own:
            points = [(doc["systems"].index(c["system"]), turned(c["change"], sign)) for c in own]
            label = "; ".join(describe(c, metric) for c in own)
            lines.append({"language": language, "strip": charts.forest_strip(scale, points, label), "have": own})
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    title = f"{metric['label']}{unit}, B minus A" if sign > 0 else f"{metric['label']}{unit}, A minus B"
    better = "neither way is better" if metric["higher_is_better"] is None else "right of zero is better"
    return {"rows": lines, "axis": charts.axis_strip(scale, f"{title}: {better}")}


def turned(estimate: dict[str, Any], sign: int) -> dict[str, Any]:
    """The estimate, or its mirror image, so that better is to the right."""
    low, high = (None if estimate[k] is None else sign * estimate[k] for k in ("low", "high")[::sign])
    return {"mean": sign * estimate["mean"], "low": low, "high": high}
