"""The sections across languages: sentences that follow their rules, pictures, tables and Markdown of one fabricated report."""

from __future__ import annotations

import csv
import io

import pytest

from report import charts, pictures
from report.findings_robust import expert_bias, rankings, robustness, visemes
from report.markdown import table


def estimate(mean, low=None, high=None, speakers=8):
    reason = None if low is not None else "too_few_speakers"
    return {"mean": mean, "low": low, "high": high, "n_clips": 16, "n_speakers": speakers, "reason": reason}


def document(**more):
    metric = {"name": "lse_c", "label": "LSE-C", "digits": 2, "higher_is_better": True, "judged": True, "unit": ""}
    return {"alpha": 0.05, "metrics": [metric], "validity": [{"valid": True, "language": "en"}],
            "systems": [{"name": "s", "control": False}],
            "cells": [{"metric": "lse_c", "value": {"mean": 1.0}}], "twins": {"languages": []}, "visemes": [], "bias": [],
            "robustness": {"spreads": [], "slopes": [], "rankings": []}} | more


def spread(**more):
    return {"system": "s", "metric": "lse_c", "seen_languages": ["en"], "unseen_languages": ["fi", "ru"], "seen": None,
            "unseen": None,
            "difference": None, "worst": None, "worst_gap": None, "worst_share": None, "skill_seen": None, "skill_unseen": None,
            "retention": None,
            "reasons": {}} | more


def told(found):
    return [(f["level"], f["text"]) for f in found]


def test_a_difference_is_a_claim_only_beyond_its_interval():
    def of(**more):
        return told(robustness(document(robustness={"spreads": [spread(**more)], "slopes": [], "rankings": []}), "s"))

    ((level, text),) = of(difference=estimate(0.3, 0.1, 0.5), retention=estimate(0.8, 0.7, 0.9))
    assert level == "claim" and "2 unseen languages and 1 seen one" in text and "keeps 80\u202f% [70\u202f%, 90\u202f%]" in text
    ((level, text),) = of(difference=estimate(0.1, -0.1, 0.3))
    assert level == "fact" and "not more than chance" in text
    ((level, text),) = of(difference=estimate(0.1))
    assert level == "no-claim" and "too few speakers" in text
    ((level, text),) = of(reasons={"difference": "no_unseen_language"})
    assert level == "no-claim" and "trained on every language tested" in text


@pytest.mark.parametrize("share, level", [(0.97, "claim"), (0.6, "no-claim")])
def test_the_worst_language_must_stay_the_worst(share, level):
    found = [spread(difference=estimate(0.1, -0.1, 0.3), worst="fi", worst_share=share)]
    texts = told(robustness(document(robustness={"spreads": found, "slopes": [], "rankings": []}), "s"))
    assert texts[1][0] == level and "worst in fi" in texts[1][1]


def slope(p=0.01, low=0.1, points=6, **more):
    return {"system": "s", "metric": "lse_c", "kind": "genealogical", "points": [{}] * points, "missing": {},
            "slope": estimate(0.5, low, 0.9),
            "intercept": 0.1, "p": p, "p_holm": p, "reason": None} | more


@pytest.mark.parametrize(
    "one, level", [(slope(), "claim"), (slope(p=0.2), "fact"), (slope(low=-0.1), "fact"),
                   (slope(slope=None, p_holm=None, reason="too_few_languages"), "no-claim")]
)
def test_a_slope_needs_speakers_and_languages(one, level):
    found = {"spreads": [spread(difference=estimate(0.1, -0.1, 0.3))], "slopes": [one], "rankings": []}
    assert told(robustness(document(robustness=found), "s"))[-1][0] == level


def test_an_order_that_moves_is_not_settled():
    whole = {"metric": "lse_c", "language": None, "order": ["s", "t"], "gaps": [0.1, 0.2], "first": [0.97, 0.03],
             "ahead": [0.97, None], "kept": 0.97,
             "n_languages": 3, "n_clips": 9, "n_speakers": 9, "reason": None}
    other = whole | {"language": "fi", "order": ["t", "s"], "first": [1.0, 0.0]}

    def of(*found):
        return told(rankings(document(robustness={"spreads": [], "slopes": [], "rankings": list(found)})))

    assert [level for level, _ in of(whole, other)] == ["claim", "claim"] and "In fi another system" in of(whole, other)[1][1]
    assert "not settled" in of(whole | {"kept": 0.7})[0][1]
    assert of(whole | {"kept": None, "first": [None, None]})[0][0] == "no-claim"


def cell(viseme, gain, p, language="tr", speakers=8):
    return {"system": "s", "language": language, "viseme": viseme, "n_frames": 30, "error": estimate(0.06, 0.05, 0.07, speakers),
            "signed": 0.05,
            "still": 0.03, "gain": estimate(gain, gain - 0.01, gain + 0.01), "p": p, "p_holm": p}


def test_sounds_fail_only_against_a_still_face():
    ((level, text),) = told(visemes(document(visemes=[cell("ou", -0.03, 0.01)]), "s"))
    assert level == "claim" and "ou in tr" in text and "too far open" in text and "0.060" in text and "0.030" in text
    ((level, text),) = told(visemes(document(visemes=[cell("ou", 0.03, 0.01, language=None)]), "s"))
    assert level == "claim" and "1 of 1 mouth shape: ou" in text
    many = [cell(f"v{k}", -0.03, 0.4) for k in range(40)]
    ((level, text),) = told(visemes(document(visemes=many), "s"))
    assert level == "no-claim" and "it takes 11 speakers" in text and "there are 8" in text
    assert told(visemes(document(visemes=[cell("ou", 0.03, None)]), "s"))[0][0] == "no-claim" and visemes(document(), "s") == []


def test_the_experts_bias_is_said_where_intervals_lie_apart():
    def of(*reals, **more):
        rows = [{"language": tag, "lead": r, "valid": True, "trained": tag == "en", "share_right": 0.9} for tag,
                r in zip(("en", "fi"), reals, strict=True)]
        main = {"name": "x", "main": True, "label": "LSE-C*", "languages": ["en", "fi"], "rows": rows}
        return told(expert_bias(document(bias=[main, *more.values()])))

    assert of(estimate(3, 2.8, 3.2), estimate(1, 0.8, 1.2))[0][0] == "warning"
    assert of(estimate(3, 2.8, 3.2), estimate(2.9, 2.7, 3.1))[0][0] == "fact"
    other = {"name": "x-en", "main": False, "label": "LSE-C*", "languages": ["en"], "rows": [
        {"language": t, "real": estimate(1), "valid": True, "trained": t == "en", "share_right": s} for t,
        s in (("en", 1.0), ("fi", 0.6))]}
    text = of(estimate(3, 2.8, 3.2), estimate(2.9, 2.7, 3.1), other=other)[1][1]
    assert "trained on en only (x-en)" in text
    assert "100\u202f% of the clips there and 60\u202f% elsewhere" in text and "90\u202f%" in text


def test_marks_of_one_place_stand_side_by_side_and_inside():
    points = [{"x": 1.0, "y": 0.5, "low": None, "high": None, "series": k, "name": f"l{k}", "label": f"<l{k}>"}
              for k in range(12)]
    drawn = str(charts.scatter(points, [], title="t", x_title="x", y_title="y", names=True))
    places = [float(part.split('"')[0]) for part in drawn.split('<svg x="')[1:]]
    assert len(set(places)) == 12 and min(places) > 46 and max(places) < 340 and "&lt;l0&gt;" in drawn
    flat = charts.scatter([], [{"series": 0, "slope": 1.0, "intercept": 0.0, "sure": True}], title="t", x_title="x", y_title="y",
                          names=True)
    assert "nan" not in str(flat)


def test_a_scatter_says_what_it_lacks():
    one = slope(points=0, missing={"qq": "unknown_language", "xx": "unknown_language"})
    assert pictures.missing([one]) == ["distance in the family tree: qq, xx left out (the language is not in the table)"]


def test_markdown_tables_escape_bars():
    assert table(["a|b"], [["c\nd"]]) == "| a\\|b |\n| --- |\n| c d |\n"


def test_a_report_has_all_of_it(report_of):
    found = report_of["robustness"]
    assert {s["system"] for s in found["spreads"]} == {"fake-en",
                                                       "fake-mix"} and found["families"]["zh"]["branches"][0] == "Sino-Tibetan"
    lips = next(s for s in found["spreads"] if (s["system"], s["metric"]) == ("fake-en", "opening_correlation"))
    assert lips["seen_languages"] == ["en"] and lips["unseen_languages"] == ["ko", "tr", "zh"], "planted languages are left out"
    assert lips["difference"]["low"] > 0 and lips["retention"]["high"] < 1
    kinds = {s["kind"]: s for s in found["slopes"] if (s["system"], s["metric"]) == ("fake-en", "opening_correlation")}
    assert [p["language"] for p in kinds["visemes"]["points"]] == ["en", "ko", "tr",
                                                                   "zh"] and kinds["visemes"]["slope"]["n_speakers"] == 24
    assert {p["distance"] for p in kinds["genealogical"]["points"]} == {0.0, 1.0}
    assert [(e["name"], e["main"]) for e in report_of["bias"]] == [("syncnet", True), ("syncnet-en", False)]
    english = next(r for r in report_of["bias"][1]["rows"] if r["language"] == "en")
    assert english["trained"] and english["relative"]["mean"] > 1.5
    wrong = next(c for c in report_of["visemes"] if (c["system"], c["language"], c["viseme"]) == ("fake-en", "tr", "ou"))
    assert wrong["gain"]["high"] < 0 < wrong["signed"]


def test_the_tables_and_the_markdown_say_the_same(report_of):
    from report.markdown import markdown
    from report.tables import file_names, files

    found = files(report_of)
    assert sorted(found) == file_names(report_of)
    read = {name: list(csv.DictReader(io.StringIO(text))) for name, text in found.items()}
    one = next(r for r in read["robustness.csv"] if (r["system"], r["metric"]) == ("fake-mix", "opening_correlation"))
    spread = next(s for s in report_of["robustness"]["spreads"]
                  if (s["system"], s["metric"]) == ("fake-mix", "opening_correlation"))
    assert float(one["difference"]) == spread["difference"]["mean"] and one["unseen_languages"] == "ko tr"
    assert len(read["visemes.csv"]) == len(report_of["visemes"]) and len(read["gap.csv"]) == sum(c["gap"] is not None
                                                                                                 for c in report_of["cells"])
    text = markdown(report_of)
    assert text == markdown(report_of)
    assert "## What these data cannot tell" in text and f"{spread['difference']['mean']:.3f}" in text
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("| ---"):
            assert lines[i - 1].count("|") == line.count("|") == lines[i + 1].count("|"), lines[i - 1]
