"""Figures and findings in words."""

from __future__ import annotations

import pytest

from report import findings, text
from report.plain import csv_text, plain, rounded


@pytest.mark.parametrize(
    "value, shown", [(1.23456, "1.235"), (-0.5, "\u22120.500"), (-0.0001, "0.000"), (None, "\u2013"), (12, "12.000")]
)
def test_numbers(value, shown):
    assert text.number(value) == shown


def test_signs_and_intervals():
    assert text.number(0.5, 2, sign=True) == "+0.50" and text.number(0.0, 2, sign=True) == "0.00"
    assert text.interval({"low": -0.1, "high": 0.25}, 2) == "[\u22120.10, 0.25]"
    assert text.interval({"low": None, "high": None}) == text.interval(None) == ""


def test_words():
    assert text.listed(["a"]) == "a" and text.listed(["a", "b", "c"]) == "a, b and c"
    assert text.counted(1, "clip") == "1 clip" and text.counted(1234, "clip") == "1\u202f234 clips"
    assert text.p_text(0.0004) == "< 0.001" and text.p_text(0.0416) == "0.042" and text.p_text(None) == "\u2013"
    assert text.reason_text("worker_died") == "worker died"


def estimate(mean, low=None, high=None, n=12, speakers=6):
    return {
        "mean": mean,
        "low": low,
        "high": high,
        "n_clips": n,
        "n_speakers": speakers,
        "reason": None if low is not None else "too_few_speakers",
    }


def cell(language, gap, seen, p=None, p_gap=None):
    return {
        "system": "s",
        "condition": "self",
        "language": language,
        "metric": "ssim",
        "seen": seen,
        "value": estimate(0.9),
        "gap": gap,
        "over_shuffled": None,
        "nulls": {},
        "p_unseen": p,
        "p_unseen_holm": p,
        "unseen_reason": None,
        "p_gap": p_gap,
        "p_gap_holm": p_gap,
    }


def document(cells, **more):
    metric = {"name": "ssim", "label": "SSIM", "digits": 3, "higher_is_better": True, "judged": False, "unit": ""}
    return {
        "alpha": 0.05,
        "validity": [],
        "metrics": [metric],
        "cells": cells,
        "twins": {"languages": [], "comparisons": [], "found": []},
        "systems": [{"name": "s", "control": False}],
        "funnel": {"adds_up": True, "unaccounted": 0},
        **more,
    }


def told(doc, rows=()):
    return findings.findings(doc, list(rows))


def test_a_claim_needs_an_interval():
    (claim,) = [f for f in told(document([cell("tr", estimate(0.2, 0.1, 0.3), True, p_gap=0.04)])) if f["level"] == "claim"]
    assert "in 1 of 1 language" in claim["text"] and "0.200 [0.100, 0.300], 12 clips of 6 speakers" in claim["text"]
    few = told(document([cell("tr", estimate(0.2, speakers=3), True)]))
    assert {f["level"] for f in few if f["link"] == "#gaps"} == {"no-claim"}
    assert "3 speakers" in few[-1]["text"] and "too_few_speakers" in few[-1]["text"]


def gap_told(*cells, **more):
    (found,) = [f for f in told(document(list(cells), **more)) if f["link"] == "#gaps"]
    return found["level"], found["text"]


def test_a_gap_is_shown_only_where_it_stands_after_holm():
    worse = cell("tr", estimate(0.2, 0.1, 0.3, speakers=9), None, p_gap=0.02)
    unsure = cell("fi", estimate(0.4, 0.1, 0.7, speakers=9), None, p_gap=0.08)
    level, text = gap_told(worse, unsure)
    assert level == "claim" and "s falls short of real video in SSIM in 1 of 2 languages" in text
    assert "after Holm's correction over 2 languages; most in tr: 0.200" in text and "fi" not in text
    level, text = gap_told(unsure)
    assert (level, "is not shown to fall short of real video in SSIM in any of 1 language" in text) == ("fact", True)
    assert "the largest gap is in fi: 0.400 [0.100, 0.700], 12 clips of 9 speakers." in text


def test_better_than_real_video_is_no_falling_short():
    better = cell("en", estimate(-0.05, -0.05, -0.05), None, p_gap=0.03125)
    level, text = gap_told(better)
    assert level == "fact" and "not shown to fall short" in text and "largest gap" not in text
    assert "; it is better than real video in 1, most in en: \u22120.050 [\u22120.050, \u22120.050], 12 clips" in text
    level, text = gap_told(better, cell("tr", estimate(0.2, 0.1, 0.3), None, p_gap=0.04))
    assert level == "claim" and "in 1 of 2 languages" in text and "most in tr" in text and "better than real video in 1" in text


def test_languages_with_too_few_speakers_for_the_correction_are_named():
    few = [cell(tag, estimate(0.2, 0.1, 0.3, speakers=6), None, p_gap=0.0625) for tag in ("tr", "fi")]
    level, text = gap_told(*few)
    assert level == "no-claim" and text.endswith("In fi and tr no gap could pass that, however large: it takes 7 speakers.")
    level, text = gap_told(*few, cell("en", estimate(0.0, -0.1, 0.1, speakers=20), None, p_gap=1.0))
    assert level == "fact" and "In fi and tr no gap" in text
    # where the other is shown, one is left to correct, and six speakers suffice
    shown, unsure = cell("en", estimate(0.3, 0.2, 0.4), None, p_gap=0.01), cell("fi", estimate(0.1, -0.1, 0.3), None, p_gap=0.3)
    level, text = gap_told(shown, unsure)
    assert level == "claim" and "no gap" not in text


def test_planted_languages_are_none_of_those_that_a_system_falls_short_in():
    planted, twins = cell("x-gap", estimate(0.9, 0.8, 1.0), None), {"languages": ["x-gap"], "comparisons": [], "found": []}
    level, text = gap_told(cell("tr", estimate(0.2, 0.1, 0.3), None, p_gap=0.03), planted, twins=twins)
    assert level == "claim" and "1 of 1 language" in text and "x-gap" not in text
    assert gap_told(cell("tr", estimate(0.2, speakers=3), None), planted, twins=twins)[0] == "no-claim"


def test_unseen_languages_are_named_only_when_worse():
    cells = [
        cell("en", estimate(0.2, 0.1, 0.3), True, p_gap=0.03),
        cell("fi", estimate(0.4, 0.3, 0.5), False, 0.01, p_gap=0.03),
        cell("ar", estimate(0.1, 0, 0.2), False, 0.01, p_gap=0.05),
    ]
    (found,) = [f for f in told(document(cells)) if f["link"] == "#matrix"]
    assert "worse in fi than" in found["text"] and "ar" not in found["text"].split("than")[0]


def test_a_funnel_with_a_hole_is_a_warning():
    rows = [
        {"stage": "download", "in": 3, "kept": 2, "rejected": {"no_face": 1}},
        {"stage": "score", "in": 2, "kept": 2, "rejected": {}},
    ]
    (fine,) = [f for f in told(document([]), rows) if f["link"] == "#funnel"]
    assert fine["level"] == "fact" and "no face (1)" in fine["text"]
    (hole,) = [f for f in told(document([], funnel={"adds_up": False, "unaccounted": 2}), rows) if f["link"] == "#funnel"]
    assert hole["level"] == "warning" and "2 items cannot be accounted for" in hole["text"]


def test_files_have_no_recordings_before_them():
    rows = [{"stage": "score", "in": 5, "kept": 4, "rejected": {"decode_error": 1}}]
    (found,) = [f for f in told(document([]), rows) if f["link"] == "#funnel"]
    assert "5 videos went in; 4 videos were scored." in found["text"] and "decode error (1)" in found["text"]


def test_what_the_expert_was_not_asked_is_said():
    def verdict(language, reason=None, share=1.0):
        return {"language": language, "valid": reason is None, "reason": reason, "n_clips": 8, "share_right": share,
                "mean_difference": share - 0.5}

    unasked = verdict("ar", "no_real_and_shuffled_pairs", 0.0) | {"n_clips": 0, "share_right": None, "mean_difference": None}
    good, few = verdict("tr"), verdict("fi", "too_few_clips")
    bad, deaf = verdict("ko", "expert_not_valid_here", 0.5), verdict("ru", "expert_not_valid_here")

    def says(*verdicts, **more):
        found = told(document([], validity=list(verdicts), margin=0.0, **more))
        return next((f["level"], f["text"]) for f in found if f["link"] == "#expert")

    assert says(good) == ("fact", "The sync expert ranks real sound above shuffled sound in 1 of 1 language.")
    level, text = says(unasked)
    assert level == "warning" and "Not checked: no real clip with shuffled sound in ar." in text and "rank" not in text
    assert "left out" not in text
    level, text = says(good, unasked, few, bad, deaf)
    assert level == "warning" and "in 3 of 4 languages" in text and "lags put into real video in ru." in text
    assert "In fi there are too few clips to tell" in text and "left out in fi, ko and ru." in text and "sound in ar." in text
    assert "none of the 1 language: there are too few clips to tell hearing from guessing. All its" in says(few)[1]
    text = says(bad, few, unasked)[1]
    assert "none of the 2 languages in which it was asked: it does not rank" in text and "from guessing in fi. All" in text
    assert says(unasked, protocol={"expert": None}) == ("warning", "There was no sync expert, so there is no LSE.")


def test_planted_languages_say_found_not_found_or_nothing():
    def comparison(tag, p, worse=1.0):
        return {
            "language": tag,
            "against": "tr",
            "system": "real",
            "metric": "ssim",
            "worse_by": worse,
            "p": p,
            "p_holm": p,
            "reason": None if p is not None else "too_few_speakers",
        }

    twins = {
        "languages": ["a", "b", "c"],
        "found": ["a"],
        "comparisons": [comparison("a", 0.01), comparison("b", 0.6), comparison("c", None)],
    }
    levels = {f["text"].split()[2].strip(":"): f["level"] for f in told(document([], twins=twins)) if f["link"] == "#planted"}
    assert levels == {"a": "claim", "b": "fact", "c": "no-claim"}


def test_plain_values_have_no_nan_and_six_digits():
    assert rounded(1234567.8) == 1234570.0 and rounded(float("nan")) is None
    assert plain({"a": (1, 0.12345678, float("inf"))}) == {"a": [1, 0.123457, None]}
    assert csv_text([{"a": None, "b": 1 / 3, "c": 0}], ("a", "b")) == "a,b\n,0.333333\n"


def test_the_metric_shown_first():
    def shown(valid, control):
        metrics = [{"name": n, "judged": n == "lse_c"} for n in ("lse_c", "ssim")]
        cells = [{"metric": n, "value": estimate(1.0)} for n in ("lse_c", "ssim")]
        return text.headline_metric({"validity": [{"valid": v} for v in valid], "metrics": metrics, "cells": cells,
                                     "systems": [{"name": "s", "control": control}]})

    assert shown([True, False], False) == "lse_c" and shown([True, False, False], False) == "ssim"
    assert shown([True, False, False], True) == "lse_c", "without systems there is real video to look at, in one language at least"
    assert shown([False, False], True) == "ssim"
