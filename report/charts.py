"""Charts as inline SVG: text and colours come from the page's style sheet, so they follow light and dark.

Strips take their horizontal positions in per cent and need no view box: they stretch with the page, marks and text do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

SHAPES = ("circle", "square", "diamond", "triangle")


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers that span low..high, about `wanted` of them, 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough - 1e-12)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A tick's label, without needless zeros."""
    return f"{value:g}".replace("-", "\u2212")


def mark(shape: str, x: str, y: float, size: float, css: str) -> str:
    """One data point. x: a length with its unit (`42.5%`), or a number of user units."""
    half = size / 2
    if shape == "circle":
        body = f'<circle r="{half:g}"/>'
    elif shape == "square":
        body = f'<rect x="{-half * 0.88:.3g}" y="{-half * 0.88:.3g}" width="{size * 0.88:.3g}" height="{size * 0.88:.3g}"/>'
    elif shape == "diamond":
        body = f'<path d="M0 {-half * 1.2:.3g}L{half * 1.2:.3g} 0L0 {half * 1.2:.3g}L{-half * 1.2:.3g} 0Z"/>'
    else:
        body = f'<path d="M0 {-half * 1.15:.3g}L{half * 1.1:.3g} {half * 0.85:.3g}L{-half * 1.1:.3g} {half * 0.85:.3g}Z"/>'
    # A nested svg carries the percentage; its content is drawn around its own origin.
    return f'<svg x="{x}" y="{y:g}" overflow="visible" class="{css}">{body}</svg>'


def key(series: int) -> Markup:
    """The legend's mark of one series."""
    shape = SHAPES[series % len(SHAPES)]
    return Markup(
        f'<svg class="key" width="14" height="14" aria-hidden="true">{mark(shape, "7", 7, 9, f"mark s{series % 6}")}</svg>'
    )


class Scale:
    """A linear scale from values to per cent of a strip's width, with room at both ends."""

    def __init__(self, values: Sequence[float], include: Sequence[float] = (0.0,)):
        known = [v for v in (*values, *include) if v is not None]
        self.ticks = nice_ticks(min(known, default=0.0), max(known, default=1.0))
        self.low, self.high = self.ticks[0], self.ticks[-1]

    def at(self, value: float) -> float:
        """Per cent from the left, 3..97."""
        return 3 + 94 * (value - self.low) / (self.high - self.low)


def forest_strip(scale: Scale, points: Sequence[tuple[int, dict[str, Any]]], label: str) -> Markup:
    """One language's row of a forest plot: for each (series, estimate) a mark, and its interval where there is one."""
    height = 16 * max(len(points), 1) + 4
    parts = [
        f'<line class="grid" x1="{scale.at(t):.2f}%" x2="{scale.at(t):.2f}%" y1="0" y2="{height}"/>'
        for t in scale.ticks
        if t != 0
    ]
    parts.append(f'<line class="zero" x1="{scale.at(0):.2f}%" x2="{scale.at(0):.2f}%" y1="0" y2="{height}"/>')
    for i, (series, estimate) in enumerate(points):
        y = 10 + 16 * i
        css = f"s{series % 6}"
        if estimate["low"] is not None and estimate["high"] is not None:
            # An interval may reach far beyond the marks: it is cut at the strip's end, the table has its numbers.
            low, high = (min(max(scale.at(estimate[k]), 0.5), 99.5) for k in ("low", "high"))
            parts.append(f'<line class="whisker {css}" x1="{low:.2f}%" x2="{high:.2f}%" y1="{y}" y2="{y}"/>')
        hollow = " hollow" if estimate["low"] is None else ""
        parts.append(mark(SHAPES[series % len(SHAPES)], f"{scale.at(estimate['mean']):.2f}%", y, 9, f"mark {css}{hollow}"))
    return Markup(
        f'<svg class="strip" width="100%" height="{height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def axis_strip(scale: Scale, title: str) -> Markup:
    """The axis under a forest plot."""
    parts = [f'<text x="{scale.at(t):.2f}%" y="12" text-anchor="middle">{tick_text(t)}</text>' for t in scale.ticks]
    parts.append(f'<text class="axis-title" x="50%" y="29" text-anchor="middle">{escape(title)}</text>')
    return Markup(f'<svg class="strip axis" width="100%" height="34" aria-hidden="true">{"".join(parts)}</svg>')


def line_chart(
    lines: Sequence[dict[str, Any]],
    *,
    title: str,
    x_title: str,
    width: int = 260,
    height: int = 150,
    span: tuple[float, float] | None = None,
    zero: bool = False,
    log: bool = False,
) -> Markup:
    """A small line chart. lines: {x, y, css, label}; span: the y range to share between charts; zero: a rule at x = 0."""
    left, right, top, bottom = 40, 8, 8, 32
    xs = [x for line in lines for x in line["x"]]
    ys = [_log(y, log) for line in lines for y in line["y"]]
    if not xs:
        return Markup("")
    x0, x1 = min(xs), max(max(xs), min(xs) + 1e-9)
    ticks = nice_ticks(*(span or (min(ys), max(ys))), 3)
    y0, y1 = ticks[0], ticks[-1]

    def px(x: float) -> float:
        return left + (width - left - right) * (x - x0) / (x1 - x0)

    def py(y: float) -> float:
        return height - bottom - (height - top - bottom) * (y - y0) / (y1 - y0)

    parts = []
    for t in ticks:
        name = f"{10**t:.2g}" if log else tick_text(t)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
            f'<text x="{left - 5}" y="{py(t) + 3.5:.1f}" text-anchor="end">{name}</text>'
        )
    if zero and x0 <= 0 <= x1:
        parts.append(f'<line class="zero" x1="{px(0):.1f}" x2="{px(0):.1f}" y1="{top}" y2="{height - bottom}"/>')
    for t in [t for t in nice_ticks(x0, x1, 4) if x0 <= t <= x1]:
        parts.append(f'<text x="{px(t):.1f}" y="{height - bottom + 13}" text-anchor="middle">{tick_text(t)}</text>')
    parts.append(
        f'<text class="axis-title" x="{(left + width - right) / 2:.1f}" y="{height - 4}" '
        f'text-anchor="middle">{escape(x_title)}</text>'
    )
    for line in lines:
        path = "M" + "L".join(f"{px(x):.1f} {py(_log(y, log)):.1f}" for x, y in zip(line["x"], line["y"], strict=True))
        parts.append(f'<path class="line {line["css"]}" d="{path}"><title>{escape(line["label"])}</title></path>')
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _log(y: float, log: bool) -> float:
    return math.log10(max(y, 1e-12)) if log else y


def thinned(xs: Sequence[float], ys: Sequence[float], most: int = 160) -> tuple[list[float], list[float]]:
    """At most about `most` points: means over equal stretches, so that a long loss curve stays small and calm."""
    if len(xs) <= most:
        return list(xs), list(ys)
    size = math.ceil(len(xs) / most)
    cut = [(xs[i : i + size], ys[i : i + size]) for i in range(0, len(xs), size)]
    return [sum(x) / len(x) for x, _ in cut], [sum(y) / len(y) for _, y in cut]


def scatter(
    points: Sequence[dict[str, Any]],
    lines: Sequence[dict[str, Any]],
    *,
    title: str,
    x_title: str,
    y_title: str,
    names: bool,
    width: int = 340,
    height: int = 250,
    y_span: tuple[float, float] | None = None,
) -> Markup:
    """A scatter over distances from 0 on. points: {x, y, low, high, series, name, label}; lines: {slope, intercept, series,
    sure}.

    Points of one place are set side by side, so that ten languages of other families stay ten marks. names: print each point's
    name.
    """
    left, right, top, bottom = 46, 16, 10, 36
    far = nice_ticks(0.0, max([p["x"] for p in points] + [0.1]), 4)
    known = [p["y"] for p in points]
    ticks = nice_ticks(*(y_span or (min(known + [0.0]), max(known + [0.0]))), 6)
    inner = width - left - right - 24

    def px(x: float) -> float:
        return left + 12 + inner * x / far[-1]

    def py(y: float) -> float:
        return height - bottom - (height - top - bottom) * (min(max(y, ticks[0]), ticks[-1]) - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
        f'<text x="{left - 6}" y="{py(t) + 3.5:.1f}" text-anchor="end">{tick_text(t)}</text>'
        for t in ticks
    ]
    parts.append(f'<line class="zero" x1="{left}" x2="{width - right}" y1="{py(0):.1f}" y2="{py(0):.1f}"/>')
    parts += [f'<text x="{px(t):.1f}" y="{height - bottom + 15}" text-anchor="middle">{tick_text(t)}</text>' for t in far]
    parts.append(
        f'<text class="axis-title" x="{(left + width - right) / 2:.1f}" y="{height - 4}" '
        f'text-anchor="middle">{escape(x_title)}</text>'
        f'<text class="axis-title" transform="translate(11 {(height - bottom + top) / 2:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>"
    )
    end = max([p["x"] for p in points] + [0.0])
    for line in lines:
        css = f"s{line['series'] % 6}{'' if line['sure'] else ' unsure'}"
        parts.append(
            f'<path class="line {css}" d="M{px(0):.1f} {py(line["intercept"]):.1f}L{px(end):.1f} '
            f'{py(line["intercept"] + line["slope"] * end):.1f}"/>'
        )
    here: dict[int, list[dict[str, Any]]] = {}
    for p in points:
        here.setdefault(round(px(p["x"]) / 6), []).append(p)
    for crowd in here.values():
        crowd.sort(key=lambda p: (p["name"], p["series"]))
        step = min(8.0, 84 / len(crowd))
        half = (len(crowd) - 1) / 2 * step
        middle = min(max(px(crowd[0]["x"]), left + 6 + half), width - 6 - half)
        for k, p in enumerate(crowd):
            x = middle - half + k * step
            css = f"s{p['series'] % 6}"
            whole = p["low"] is not None and p["high"] is not None
            whisker = ""
            if whole:
                low, high = py(p["low"]), py(p["high"])
                whisker = f'<line class="whisker {css}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            shape, y = SHAPES[p["series"] % len(SHAPES)], py(p["y"])
            dot = mark(shape, f"{x:.1f}", y, 7.5, f"mark {css}{'' if whole else ' hollow'}")
            name = f'<text class="tiny" x="{x + 6:.1f}" y="{y - 5:.1f}">{escape(p["name"])}</text>' if names else ""
            parts.append(f"<g><title>{escape(p['label'])}</title>{whisker}{dot}{name}</g>")
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
