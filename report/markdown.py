"""The report as Markdown: findings first, then the tables behind them, for whoever reads in a terminal or a review."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from report.findings import findings
from report.funnel import by_language
from report.sets import set_table
from report.text import LSE, beside, counted, headline_metric, interval, number, p_text, percent, reason_text

LEVELS = {"claim": "shown", "fact": "fact", "warning": "attention"}


def markdown(document: dict[str, Any]) -> str:
    """The text of report.md. Same document, same bytes."""
    protocol = document["protocol"]
    rows = by_language(document["funnel"])
    parts = ["# Talking faces across languages\n",
             f"Protocol {protocol['protocol'] or 'none'}, expert {protocol['expert'] or 'none'}, "
             f"face finder {protocol['finder'] or 'none'}. Every figure of this page, with its interval and what it was computed "
             "from, is in `tables/`; a gap is how much worse than real video of the same language something is, and larger is "
             "worse. Intervals are over speakers; behind a figure stand its clips / speakers.\n",
             "## Findings\n"]
    found = findings(document, rows)
    parts.append("\n".join(f"- **{LEVELS[f['level']]}**: {f['text']}" for f in found if f["level"] != "no-claim") + "\n")
    if any(f["level"] == "no-claim" for f in found):
        parts += ["## What these data cannot tell\n",
                  "\n".join(f"- {f['text']}" for f in found if f["level"] == "no-claim") + "\n"]
    first = headline_metric(document)
    for metric in sorted(document["metrics"], key=lambda m: m["name"] != first):
        parts += _metric(document, metric)
    parts += _levels(document)
    parts += _sets(document)
    parts += _expert(document)
    parts += _provenance(document)
    return "\n".join(p for p in parts if p)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in line) + " |"
                     for line in lines) + "\n"


def _estimate(estimate: dict[str, Any] | None, digits: int) -> str:
    if estimate is None or estimate["mean"] is None:
        return "\u2013"
    return (f"{number(estimate['mean'], digits)} {interval(estimate, digits) or '(' + (estimate['reason'] or '') + ')'} "
            f"{estimate['n_clips']} / {estimate['n_speakers']}")


def _values(document: dict[str, Any], metric: dict[str, Any]) -> list[str]:
    """What everything scores by itself, and beside an LSE the size of the offset and the share of clips within one frame."""
    tags, d = [lang["tag"] for lang in document["languages"]], metric["digits"]
    at = {(c["system"], c["condition"], c["language"], c["metric"]): c for c in document["cells"]}
    kinds = [("real", "self", "real video"), *((s["name"], "self", s["name"]) for s in document["systems"] if not s["control"]),
             ("still", "self", "still face"), ("real", "shuffled", "real video, shuffled sound")]
    lse = metric["name"] in LSE

    def line(system: str, condition: str, tag: str) -> str:
        cell = at.get((system, condition, tag, metric["name"]))
        if cell is None or cell["value"]["mean"] is None:
            return "\u2013"
        value = cell["value"]
        more = beside({m: at.get((system, condition, tag, m)) for m in ("abs_offset", "offset_within_one")}) if lse else ""
        return f"{number(value['mean'], d)} {value['n_clips']} / {value['n_speakers']}" + (f"; {more}" if lse else "")

    rows = [[title, *(line(system, condition, tag) for tag in tags)] for system, condition, title in kinds
            if any((system, condition, tag, metric["name"]) in at for tag in tags)]
    note = "; then mean |offset| in frames, and the share of clips within 1 frame" if lse else ""
    windows = _windows(document) if metric["name"] == "lse_c" else {}
    note += "; in the head windows of real clips at the median, fewer raise it: compare gaps and leads" if windows else ""
    return [f"Values{note}:\n", table(["", *(tag + windows.get(tag, "") for tag in tags)], rows)]


def _windows(document: dict[str, Any]) -> dict[str, str]:
    """language -> how long its real clips are, in brackets."""
    return {lang["tag"]: f" ({counted(lang['median_windows'], 'window')})" for lang in document["languages"]
            if lang.get("median_windows")}


def _levels(document: dict[str, Any]) -> list[str]:
    found, tags = document["levels"], [lang["tag"] for lang in document["languages"]]
    at = {(c["system"], c["language"], c["metric"]): c for c in found["cells"]}
    out = ["## Beside real video\n", "Neither more nor less of these is better: right is what real video of the same clips does. "
           "In brackets: how far from it.\n"] if found["metrics"] else []
    for metric in found["metrics"]:
        def line(name: str, tag: str, metric: dict[str, Any] = metric) -> str:
            cell, d = at.get((name, tag, metric["name"])), metric["digits"]
            if cell is None or cell["value"]["mean"] is None:
                return "\u2013"
            value, apart = cell["value"], cell["from_real"]
            more = f" ({number(apart['mean'], d, sign=True)} {interval(apart, d)}".rstrip() + ")" if apart else ""
            return f"{number(value['mean'], d)} {value['n_clips']} / {value['n_speakers']}{more}"

        unit = f", {metric['unit']}" if metric["unit"] else ""
        names = ["real", *(s["name"] for s in document["systems"] if s["name"] != "real")]
        out += [f"{metric['label']}{unit}: {metric['about']}\n",
                table(["system", *tags], [[name, *(line(name, tag) for tag in tags)] for name in names])]
    return out


def _metric(document: dict[str, Any], metric: dict[str, Any]) -> list[str]:
    systems = [s["name"] for s in document["systems"] if not s["control"]]
    tags, d = [lang["tag"] for lang in document["languages"]], metric["digits"]
    cells = {(c["system"], c["language"]): c for c in document["cells"] if c["metric"] == metric["name"]
             and c["condition"] == "self"}
    gaps = [[f"{name}", *(_estimate(cells[name, tag]["gap"], d) + _holm(cells[name, tag])
                          + (" seen" if cells[name, tag]["seen"] else "")
                          + "".join(f"; {reason_text(r)}: {n} left out" for r, n in cells[name, tag]["gap_nulls"].items())
                          if (name, tag) in cells else "\u2013"
                          for tag in tags)] for name in systems]
    if not any(c["gap"] for (name, _), c in cells.items() if name in systems):
        return []
    better = "higher" if metric["higher_is_better"] else "lower"
    out = [f"## {metric['label']}\n", f"{metric['about'].capitalize()}; {better} is better.\n",
           "Gap to real video; p after Holm over the languages of a system:\n",
           table(["system", *tags], gaps), *_detectable(document, metric), *_values(document, metric)]
    found = document.get("robustness") or {"spreads": [], "slopes": [], "rankings": []}
    spreads = [s for s in found["spreads"] if s["metric"] == metric["name"]]
    if spreads:
        out += ["Seen and unseen languages:\n", table(
            ["system", "seen", "unseen", "difference", "skill kept", "worst", "stays worst"],
            [[s["system"], _estimate(s["seen"], d), _estimate(s["unseen"], d),
              _estimate(s["difference"], d) if s["difference"] else reason_text(s["reasons"].get("difference")),
              _estimate(s["retention"], 2) if s["retention"] else reason_text(s["reasons"].get("retention")), s["worst"]
              or "\u2013",
              percent(s["worst_share"])] for s in spreads])]  # fmt: skip
    slopes = [s for s in found["slopes"] if s["metric"] == metric["name"]]
    if slopes:
        out += ["Slope of the gap over distance from the nearest training language:\n", table(
            ["system", "distance", "slope", "p (Holm)", "languages", "speakers"],
            [[s["system"], s["kind"], _estimate(s["slope"], d) if s["slope"] else reason_text(s["reason"]), p_text(s["p_holm"]),
              len(s["points"]),
              s["slope"]["n_speakers"] if s["slope"] else "\u2013"] for s in slopes])]  # fmt: skip
    ranks = [r for r in found["rankings"] if r["metric"] == metric["name"]]
    if ranks:
        out += ["Ranks under resampling of the speakers:\n", table(
            ["language", "order", "first stays first", "order kept", "clips", "speakers"],
            [[r["language"] or "all together", ", ".join(r["order"]), percent(r["first"][0]), percent(r["kept"]), r["n_clips"],
              r["n_speakers"]]
             for r in ranks])]  # fmt: skip
    return out


def _holm(cell: dict[str, Any]) -> str:
    return "" if cell["p_gap_holm"] is None else f", p {p_text(cell['p_gap_holm'])}"


def _detectable(document: dict[str, Any], metric: dict[str, Any]) -> list[str]:
    tags, d = [lang["tag"] for lang in document["languages"]], metric["digits"]
    at = {(c["system"], c["language"]): c["detectable"] for c in document["cells"]
          if c["metric"] == metric["name"] and c["condition"] == "self" and c["detectable"] is not None}
    names = [s["name"] for s in document["systems"] if not s["control"] and any((s["name"], tag) in at for tag in tags)]
    if not names:
        return []
    return ["The smallest true gap that so many speakers would have shown four times in five:\n",
            table(["system", *tags], [[name, *(number(at.get((name, tag)), d) for tag in tags)] for name in names])]


def _sets(document: dict[str, Any]) -> list[str]:
    if not document.get("sets"):
        return []
    found = set_table(document["sets"])

    def cell(row: dict[str, Any] | None, digits: int) -> str:
        if row is None or row["value"] is None:
            return "\u2013"
        chance = f", chance {number(row['chance'], 2)}" if row["chance"] is not None else ""
        return f"{number(row['value'], digits)} ({counted(row['n'], row['unit'][:-1])}{chance})"

    out = ["## Figures of sets\n", "One figure for all clips of a row; in brackets what it was computed from. FID and FVD are "
           "too large where that is little: compare only equal numbers.\n"]
    if found["rows"]:
        out.append(table(["system", "sound", "language", "clips / speakers", *(name for name, _, _ in found["columns"])],
                         [[r["system"], r["condition"], r["language"],
                           f"{r['n_clips']} / {number(r['n_speakers'], 0)}",
                           *(cell(c, d) for c, (_, d, _) in zip(r["cells"], found["columns"], strict=True))]
                          for r in found["rows"]]))
    if found["absent"]:
        said = [f"{a['name']} of {counted(a['n'], 'set')}, {reason_text(a['reason'])}"
                + (f" ({a['needed']} needed)" if a["needed"] else "") for a in found["absent"]]
        out.append("Not given: " + "; ".join(said) + ".\n")
    return out


def _expert(document: dict[str, Any]) -> list[str]:
    out, windows = ["## The expert\n"], _windows(document)
    for one in document.get("bias", []):
        learnt = ", ".join(one["languages"]) or "unknown languages"
        out += [f"{one['name']}, trained on {learnt}: {one['label']} of real video.\n", table(
            ["language", "real", "shuffled", "ranked right", "may judge"],
            [[r["language"] + windows.get(r["language"], "") + (" (trained)" if r["trained"] else ""), _estimate(r["real"], 3),
              _estimate(r["shuffled"], 3), percent(r["share_right"]),
              "yes" if r["valid"] else reason_text(r["reason"])] for r in one["rows"]])]  # fmt: skip
    asked = [v for v in document["validity"] if v["lags"]["n_clips"]]
    if asked:
        out += ["Lags put into real video and found within one frame; a tenth is guessing:\n", table(
            ["language", "found", "found beside shuffled sound", "clips with most found", "speakers", "p", "has a say"],
            [[v["language"], percent(v["lags"]["share"]), percent(v["lags_shuffled"]["share"]),
              f"{v['lags']['n_found']} of {v['lags']['n_clips']}", v["lags_n_speakers"], p_text(v["lags"]["chance"]),
              reason_text(v["no_lags"]) if v["no_lags"] else "yes"] for v in asked])]  # fmt: skip
    visemes = [c for c in document.get("visemes", []) if c["p_holm"] is not None and c["p_holm"] <= document["alpha"]
               and c["gain"]["mean"] < 0]
    if visemes:
        out += ["## Sounds for which a still face is nearer to the real lips\n", table(
            ["system", "language", "viseme", "error", "still face", "p (Holm)", "speakers"],
            [[c["system"], c["language"], c["viseme"], _estimate(c["error"], 4), number(c["still"], 4), p_text(c["p_holm"]),
              c["error"]["n_speakers"]]
             for c in visemes])]  # fmt: skip
    return out


def _provenance(document: dict[str, Any]) -> list[str]:
    clips = ", ".join(f"{lang['tag']} {counted(lang['n_clips'], 'clip')} of {counted(lang['n_speakers'], 'speaker')}"
                      for lang in document["languages"])
    known = document["provenance"]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(known["packages"].items()))
    return ["## Provenance\n", f"Real test clips: {clips}.\n",
            f"Expert weights, sha256: {document['protocol']['expert_sha256'] or 'none'}.\n",
            f"Python {known['python']}; {packages}.\n"]
