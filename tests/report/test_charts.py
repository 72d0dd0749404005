"""SVG charts: where marks lie, and that what they draw is well formed."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report import charts


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_round_even_and_span_the_range(low, size):
    ticks = charts.nice_ticks(low, low + size)
    assert ticks[0] <= low + 1e-6 * size and ticks[-1] >= low + size - 1e-6 * size and 2 <= len(ticks) <= 8
    steps = {round((b - a) / (ticks[1] - ticks[0]), 6) for a, b in zip(ticks, ticks[1:], strict=False)}
    assert steps == {1.0}


def test_the_scale_holds_zero_and_puts_values_in_order():
    scale = charts.Scale([0.3, 0.8])
    assert scale.at(0) == pytest.approx(3) and scale.at(0.3) < scale.at(0.8) <= 97


def test_a_forest_strip_marks_means_and_cuts_long_whiskers():
    scale = charts.Scale([0.2, 1.0])
    points = [(0, {"mean": 0.5, "low": 0.2, "high": 50.0}), (1, {"mean": 0.7, "low": None, "high": None})]
    svg = charts.forest_strip(scale, points, "a < b")
    ElementTree.fromstring(svg)
    ends = [float(v) for v in re.findall(r'x[12]="([\d.]+)%"', svg)]
    assert max(ends) <= 99.5 and svg.count("whisker") == 1 and svg.count("hollow") == 1
    assert f'x="{scale.at(0.5):.2f}%"' in svg and "a &lt; b" in svg


def test_a_line_chart_is_well_formed_and_maps_the_range():
    lines = [{"x": [-2, 0, 2], "y": [9.0, 7.0, 9.0], "css": "real", "label": "real"}]
    svg = charts.line_chart(lines, title="t", x_title="lag", span=(7, 9), zero=True)
    root = ElementTree.fromstring(svg)
    path = next(e.get("d") for e in root.iter() if e.tag == "path")
    points = [tuple(map(float, p.split())) for p in path[1:].split("L")]
    assert points[0][1] == points[2][1] < points[1][1] and points[0][0] < points[1][0] < points[2][0]
    assert charts.line_chart([], title="t", x_title="x") == ""


def test_thinning_keeps_the_mean_and_the_length_small():
    xs, ys = charts.thinned(list(range(1000)), [float(i % 2) for i in range(1000)], 100)
    assert len(xs) == len(ys) == 100 and set(ys) == {0.5} and xs[0] == 4.5
    assert charts.thinned([1, 2], [3, 4]) == ([1, 2], [3, 4])


@pytest.mark.parametrize("series", range(8))
def test_every_series_has_a_mark(series):
    ElementTree.fromstring(charts.key(series))
