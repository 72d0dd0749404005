"""The names of the metrics."""

from __future__ import annotations

import re

import pytest

from core.records import columns
from metrics.registry import METRICS, spec


def test_every_metric_of_a_clip_is_read_from_a_column_of_the_score_table():
    assert {m.column for m in METRICS.values() if m.per == "clip"} <= set(columns("scores"))
    assert {m.name for m in METRICS.values() if m.per != "clip"} == {"fid", "fvd", "retrieval_recall", "lip_diversity"}
    assert all(not m.column for m in METRICS.values() if m.per != "clip")
    assert all(name == m.name and re.fullmatch(r"[a-z_]+", name) for name, m in METRICS.items())


def test_bounds_contain_the_ideal_and_directions_are_stated():
    for m in METRICS.values():
        low, high = m.bounds
        assert low is None or high is None or low < high
        best = {True: high, False: low, None: 0}[m.higher_is_better]
        assert m.ideal is None or m.ideal == best
        assert m.label and m.about and m.cites and m.needs
    assert [m.name for m in METRICS.values() if m.higher_is_better is None] == ["offset_frames", "blink_rate", "head_motion", "fdd"]
    judged = {"lse_c", "lse_d", "offset_frames", "abs_offset", "offset_within_one", "retrieval_recall"}
    assert {m.name for m in METRICS.values() if m.judged} == judged


def test_a_name_with_a_slip_gets_a_suggestion():
    assert spec("lse_d").higher_is_better is False and spec("lse_c").higher_is_better is True
    with pytest.raises(KeyError, match="did you mean 'lse_c'"):
        spec("lse-c")
    with pytest.raises(KeyError, match="known: abs_offset"):
        spec("zzzzzz")
