"""Keep rates: every filter by itself, per language, and a warning where they differ."""

from __future__ import annotations

from metrics.keep_rates import as_json, keep_rates, sentences


def test_each_filter_is_counted_by_itself_per_language():
    items = [("en", []), ("en", ["a"]), ("tr", ["a", "b"]), ("tr", ["b"])]
    assert keep_rates(items, ["a", "b"]) == {"a": {"en": {"in": 2, "kept": 1}, "tr": {"in": 2, "kept": 1}},
                                             "b": {"en": {"in": 2, "kept": 2}, "tr": {"in": 2, "kept": 0}}}
    assert keep_rates(iter(items), ["a"])["a"]["en"]["kept"] == 1 and keep_rates([], ["a"]) == {"a": {}}


def test_a_filter_that_keeps_more_of_one_language_is_warned_of():
    rates = keep_rates([("en", []), ("tr", ["min_sync_confidence", "min_face_px"])], ["min_sync_confidence", "min_face_px"])
    told = sentences(rates, ["min_sync_confidence", "max_offset_frames"])
    assert told[0] == "filter min_sync_confidence keeps en 100% of 1, tr 0% of 1" and len(told) == 2
    assert told[1].startswith("WARNING") and "100% of en and 0% of tr" in told[1]
    assert as_json(rates, {"en": {"in": 1, "kept": 1}}, [])["sentences"] == ["split: filter keeps en 1 of 1 tracks"]
    assert as_json({}, {"en": {"in": 1, "kept": 1}}, ["min_sync_confidence"])["sentences"] == []
    even = keep_rates([("en", []), ("tr", [])], ["min_sync_confidence"])
    assert sentences(even, ["min_sync_confidence"]) == ["filter min_sync_confidence keeps en 100% of 1, tr 100% of 1"]
