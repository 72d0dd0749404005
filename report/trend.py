"""The trend over nights as one page: per metric and language a line for each system, with intervals; which nights were not good.

Made of the nights' records (flows/nights.py). One file: style and script are inside. Same records, same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from markupsafe import Markup, escape

from metrics.comparison import EVERYWHERE
from report import charts, text
from report.comparison_text import place
from report.page import HERE, environment, language_name

STATIC = ("report.css", "trend.css", "report.js")
WORDS = {"good": "good", "regressed": "got worse", "failed": "failed"}
WIDTH, HEIGHT = 320, 178
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 30
OFFSETS = "|offset| and within 1 frame:"

Night = dict[str, Any]


def render(nights: Sequence[Night]) -> str:
    """The HTML of the page. nights: records, oldest first."""
    shown = next((n for n in reversed(nights) if n["metrics"]), None)
    metrics = shown["metrics"] if shown else []
    systems = _ordered({f["system"] for n in nights for f in n["figures"]})
    languages = list(dict.fromkeys(tag for n in reversed(nights) for tag in n["languages"]))
    beside = offsets(nights)
    panels = {m["name"]: [_panel(nights, m, tag, systems, beside) for tag in languages] for m in metrics}
    static = {name: Markup((HERE / "static" / name).read_text(encoding="utf-8")) for name in STATIC}
    return environment().get_template("trend.html.j2").render({
        "nights": nights, "last": nights[-1] if nights else None, "doc": {"metrics": metrics},
        "headline": shown["headline"] if shown else "",
        "panels": {name: [p for p in found if p] for name, found in panels.items()}, "words": WORDS, "lede": lede(nights),
        "series": {s: i for i, s in enumerate(s for s in systems if s != "real")}, "systems": systems, "key": charts.key,
        "lse": text.LSE, "static": static, "labels": {m["name"]: m for m in metrics}, "reasons": reasons})


def _ordered(systems: set[str]) -> list[str]:
    return sorted(systems, key=lambda s: (s == "real", s))


def lede(nights: Sequence[Night]) -> str:
    """What the page says on top: how the last night was, and how the nights before were."""
    if not nights:
        return "No night has been recorded yet."
    last, n = nights[-1], len(nights)
    good = sum(night["status"] == "good" for night in nights)
    who = "a language" if any(c["language"] != EVERYWHERE for c in last["regressions"]) else place(EVERYWHERE)
    said = {"good": "was good", "regressed": f"{who} got worse", "failed": "failed"}[last["status"]]
    first = f"Last night {said} ({last['name']})."
    return first if n == 1 else f"{first} Of the {n} nights shown {good} {'was' if good == 1 else 'were'} good."


def reasons(night: Night) -> str:
    """Why a night is not good, or what it notes, in a few words."""
    if night["regressions"]:
        metrics = {m["name"]: m for m in night["metrics"]}
        said = []
        for c in night["regressions"]:
            m = metrics.get(c["metric"], {"digits": 3, "label": c["metric"]})
            beside = text.offsets_then_now(c)
            said.append(f"{place(c['language'])}: {c['system']} {m['label']} "
                        f"{text.number(c['change']['mean'], m['digits'], sign=True)} {text.interval(c['change'], m['digits'])}"
                        + (f", {OFFSETS} {beside}" if beside else ""))
        return "; ".join(said) + (f" ({night['note']})" if night["note"] else "")
    if night["failures"]:
        return "; ".join(f"{f['name']}: {f['why']}" for f in night["failures"])
    return " ".join(s for s in (night["note"].partition("\n")[0], night.get("too_few")) if s)


def _panel(nights: Sequence[Night], metric: dict[str, Any], language: str, systems: Sequence[str],
           beside: dict[tuple[int, str, str], str]) -> dict[str, Any] | None:
    """One language's chart of one metric; None where no night has a value."""
    at = {(k, f["system"]): f for k, n in enumerate(nights) for f in n["figures"]
          if f["metric"] == metric["name"] and f["language"] == language}
    if not at:
        return None
    if metric["name"] in text.LSE:
        at = {(k, s): f | {"beside": beside[k, s, language]} for (k, s), f in at.items()}
    bad = {(k, c["system"]) for k, n in enumerate(nights) for c in n["regressions"]
           if c["metric"] == metric["name"] and c["language"] == language}
    twin = language.startswith("x-")
    return {"language": language, "name": "" if twin else language_name(language, None), "bad": bool(bad),
            "beside": _last_two(at, systems), "chart": chart(nights, metric, language, systems, at, bad)}


def offsets(nights: Sequence[Night]) -> dict[tuple[int, str, str], str]:
    """(place of the night, system, language) -> what must stand beside an LSE."""
    cells: dict[tuple[int, str, str], dict[str, Any]] = {}
    for k, night in enumerate(nights):
        for f in night["figures"]:
            if f["metric"] in (*text.LSE, "abs_offset", "offset_within_one"):
                cells.setdefault((k, f["system"], f["language"]), {})[f["metric"]] = {"value": f}
    return {key: text.beside(some) for key, some in cells.items()}


def _last_two(at: dict[tuple[int, str], dict[str, Any]], systems: Sequence[str]) -> str:
    """What stands beside an LSE on the last two nights that have it, of every system; empty of any other metric."""
    last = {s: [at[key]["beside"] for key in sorted(at) if key[1] == s and "beside" in at[key]][-2:] for s in systems}
    return "; ".join(f"{s} " + " \u2192 ".join(some) for s, some in last.items() if some)


def chart(nights: Sequence[Night], metric: dict[str, Any], language: str, systems: Sequence[str],
          at: dict[tuple[int, str], dict[str, Any]], bad: set[tuple[int, str]]) -> Markup:
    """The SVG: a line per system over the nights, broken where a night has no value; whiskers are intervals, rings nights on
    which the system got worse, crosses on the axis nights that failed."""
    ends = [f[k] for f in at.values() for k in ("mean", "low", "high") if f[k] is not None]
    pad = 0.0 if max(ends) > min(ends) else (abs(max(ends)) or 1.0) * 0.05
    ticks = charts.nice_ticks(min(ends) - pad, max(ends) + pad, 3)
    step = (WIDTH - LEFT - RIGHT - 16) / max(len(nights) - 1, 1)

    def px(k: int) -> float:
        return LEFT + 8 + (step * k if len(nights) > 1 else (WIDTH - LEFT - RIGHT - 16) / 2)

    def py(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
             f'<text x="{LEFT - 6}" y="{py(t) + 3.5:.1f}" text-anchor="end">{charts.tick_text(t)}</text>' for t in ticks]
    for k in sorted({0, len(nights) - 1, *([(len(nights) - 1) // 2] if len(nights) > 4 else [])}):
        anchor = "middle" if len(nights) == 1 or 0 < k < len(nights) - 1 else "start" if k == 0 else "end"
        parts.append(f'<text x="{px(k):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="{anchor}">{_day(nights[k]["date"])}</text>')
    base = HEIGHT - BOTTOM + 5
    for k, night in enumerate(nights):
        if night["status"] == "failed":
            said = f"<title>{escape(night['name'])} failed</title>"
            parts.append(f'<path class="failed" d="M{px(k) - 3:.1f} {base - 3}l6 6m0 -6l-6 6">{said}</path>')
    made = [s for s in systems if s != "real"]
    for system in reversed(systems):
        css = "real" if system == "real" else f"s{made.index(system) % 6}"
        apart = 0.0 if system == "real" else made.index(system) - (len(made) - 1) / 2
        shift = apart * min(4.0, step / (len(made) + 1))
        parts += _series(nights, metric, system, css, at, bad, lambda k, by=shift: px(k) + by, py)
    label = f"{metric['label']} of {language} over {text.counted(len(nights), 'night')}"
    opening = f'<svg class="chart trend" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
    return Markup(f"{opening}{''.join(parts)}</svg>")


def _series(nights: Sequence[Night], metric: dict[str, Any], system: str, css: str, at: dict[tuple[int, str], dict[str, Any]],
            bad: set[tuple[int, str]], px: Any, py: Any) -> list[str]:
    """Line, whiskers and marks of one system."""
    known = [k for k in range(len(nights)) if (k, system) in at]
    runs: list[list[int]] = []
    for k in known:
        if runs and runs[-1][-1] == k - 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    paths = ("L".join(f"{px(k):.1f} {py(at[k, system]['mean']):.1f}" for k in run) for run in runs if len(run) > 1)
    parts = [f'<path class="line {css}" d="M{path}"/>' for path in paths]
    shape = charts.SHAPES[int(css[1:]) % len(charts.SHAPES)] if css != "real" else "circle"
    for k in known:
        f, d = at[k, system], metric["digits"]
        low = f["low"] is not None and f["high"] is not None
        if low:
            ends = f'y1="{py(f["low"]):.1f}" y2="{py(f["high"]):.1f}"'
            parts.append(f'<line class="whisker {css}" x1="{px(k):.1f}" x2="{px(k):.1f}" {ends}/>')
        y = py(f["mean"])
        if (k, system) in bad:
            parts.append(f'<circle class="ring" cx="{px(k):.1f}" cy="{y:.1f}" r="8"/>')
        hollow = "" if low else " hollow"
        around = text.interval(f, d) or text.reason_text(f.get("reason"))
        said = (f"{nights[k]['date']}, {system}: {text.number(f['mean'], d)} {around}, "
                f"{text.counted(f['n_clips'], 'clip')}, {text.counted(f['n_speakers'], 'speaker')}")
        said += f"; {OFFSETS} {f['beside']}" if "beside" in f else ""
        parts.append(f"<g><title>{escape(said)}</title>{charts.mark(shape, f'{px(k):.1f}', y, 6, f'mark {css}{hollow}')}</g>")
    return parts


def _day(iso: str) -> str:
    day = date.fromisoformat(iso)
    return f"{day.day} {('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')[day.month - 1]}"
