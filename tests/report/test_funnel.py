"""The funnel adds up, or says where it does not."""

from __future__ import annotations

import pytest

from report.funnel import FunnelError, by_language, funnel


def stats(stage, instance, n_in, rejected=None, rows=None, language="tr"):
    rejected = rejected or {}
    kept = n_in - sum(rejected.values())
    return {
        "stage": stage,
        "instance": instance,
        "items_in": n_in,
        "kept": kept,
        "rejected": sum(rejected.values()),
        "rows": rows or {},
        "by_language": {language: {"in": n_in, "kept": kept, "rejected": rejected}},
    }


def test_what_a_stage_hands_on_the_next_takes_in():
    found = funnel(
        [
            stats("download", "c-tr", 5, {"missing_file": 1}, {"recordings": 4}),
            stats("segment", "c-tr", 4, {"no_speech": 1}, {"clips": 6}),
            stats("track", "c-tr", 6, {}, {"tracks": 6}),
        ]
    )
    assert found["adds_up"] and [s["stage"] for s in found["steps"]] == ["download", "segment", "track"]
    assert found["steps"][1]["out"] == 6


def test_a_lost_item_is_counted_once():
    found = funnel([stats("download", "c-tr", 5, {}, {"recordings": 5}), stats("segment", "c-tr", 3, {}, {"clips": 3})])
    assert not found["adds_up"] and found["unaccounted"] == 2
    assert [s["unaccounted"] for s in found["steps"]] == [0, 2]


def test_counts_that_do_not_add_up_inside_a_stage_are_an_error():
    wrong = stats("track", "c-tr", 5)
    wrong["by_language"]["tr"]["kept"] = 4
    with pytest.raises(FunnelError, match="track c-tr, language tr: 5 in, but 4 kept"):
        funnel([wrong])


def test_instances_of_one_language_are_summed():
    steps = funnel([stats("score", "a", 3, {"decode_error": 1}), stats("score", "b", 4, {"decode_error": 1})])
    (row,) = by_language(steps)
    assert (row["in"], row["kept"], row["rejected"]) == (7, 5, {"decode_error": 2})


def test_generated_rows_reach_the_score():
    found = funnel([stats("generate", "a", 2, {}, {"generated": 6}), stats("score", "a", 5)])
    assert found["unaccounted"] == 1
