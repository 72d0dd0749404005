"""Figures of sets in the report: who is null and why, and what the page, the text and the CSV say."""

from __future__ import annotations

import pytest

from metrics.robustness import MixedProtocols
from metrics.validity import expert_validity
from report.markdown import markdown
from report.page import context, environment, render
from report.sets import csv_rows, heading, set_figures, set_table
from report.tables import files
from tests.metrics.test_robustness import row as score_row


def row(system="s", condition="self", language="en", metric="fid", **more):
    base = {"set_id": f"{system}.{condition}.c.{language}", "corpus": "c", "language": language, "system": system,
            "condition": condition,
            "metric": metric, "k": None, "direction": None, "value": None, "chance": None, "n": 0, "unit": "frames",
            "n_needed": 100, "n_clips": 0, "n_frames": 0, "region": "face", "network": None, "reason": None}
    return base | more


def recall(value=0.5, k=1, direction="audio_to_video", **more):
    return row(metric="retrieval_recall", k=k, direction=direction, value=value, chance=0.1, n=10, unit="clips", n_needed=2 * k,
               network="small:0", **more)


def validity(*languages):
    rows = [score_row(condition=c, track=f"{tag}{i}", language=tag, speaker=str(i), lse_c=v) for tag, good in languages
            for i in range(8)
            for c, v in (("self", 3.0 if good else 1.0), ("shuffled", 2.0))]
    return expert_validity(rows, 0.0)


def test_where_the_expert_may_not_judge_recall_is_null_and_fid_stays():
    rows = [recall(language="en"), recall(language="ko"), row(language="ko", value=12.0, network="inception:0", n=200)]
    given = set_figures(rows, validity(("en", True), ("ko", False)), several_corpora=False)
    found = {(r["metric"], r["language"]): r for r in given}
    assert found["retrieval_recall", "en"]["value"] == 0.5 and found["fid", "ko"]["value"] == 12.0
    assert (found["retrieval_recall", "ko"]["value"], found["retrieval_recall", "ko"]["reason"]) == (None, "expert_not_valid_here")
    assert rows[1]["value"] == 0.5, "the rows given stay as they are"


def test_several_corpora_are_told_apart():
    rows = [row(reason="no_weights"), row(reason="no_weights", corpus="d")]
    assert [r["language"] for r in set_figures(rows, {}, several_corpora=True)] == ["c/en", "d/en"]


def test_figures_of_two_networks_are_not_brought_together():
    rows = [row(value=1.0, network="inception:0"), row(system="t", value=2.0, network="inception:1")]
    with pytest.raises(MixedProtocols, match="inception:0 for s.self.c.en, inception:1 for t.self.c.en"):
        set_figures(rows, {}, several_corpora=False)


def test_the_table_has_what_there_is_and_counts_what_there_is_not():
    rows = [recall(), recall(direction="video_to_audio", value=0.25), row(reason="no_weights"),
            row(language="tr", reason="no_weights"),
            *(recall(None, 10, d, reason="too_few") for d in ("audio_to_video", "video_to_audio"))]
    found = set_table(rows)
    names = [name for name, _, _ in found["columns"]]
    assert names == ["R@1 sound to picture", "R@1 picture to sound"] == [heading(r) for r in rows[:2]]
    assert [(r["system"], r["language"], [c["value"] for c in r["cells"]]) for r in found["rows"]] == [("s", "en", [0.5, 0.25])]
    absent = [(a["name"], a["reason"], a["needed"], a["n"]) for a in found["absent"]]
    assert absent == [("FID", "no_weights", "", 2), ("R@K", "too_few", "20 clips", 1)]
    assert set_table([]) == {"columns": [], "rows": [], "absent": []}


def test_page_text_and_csv_say_the_same(report_of):
    assert {r["reason"] for r in report_of["sets"] if r["language"] == "ko"
            and r["metric"] == "retrieval_recall"} >= {"expert_not_valid_here"}
    page, text, csv = render(report_of, {}), markdown(report_of), files(report_of)["sets.csv"]
    assert 'id="sets"' in page and "R@1 sound to picture" in page and "chance 0.17" in page
    for said in ("R@1 sound to picture", "the network's weights are not on this machine", "one sample of every input"):
        assert said in page.replace("&#39;", "'") and said in text
    assert len(csv.splitlines()) == len(csv_rows(report_of)) + 1 and "expert_not_valid_here" in csv


def test_a_report_without_sets_has_no_such_section(report_of):
    bare = {**report_of, "sets": []}
    page = environment().get_template("index.html.j2").render(context(bare) | {"media": {}})
    assert 'id="sets"' not in page and "Figures of sets" not in markdown(bare) and "sets.csv" not in files(bare)


def test_lags_are_shown_with_their_say(report_of):
    verdict = {v["language"]: v for v in report_of["validity"]}
    assert verdict["x-gap"]["lags"]["share"] == 1.0, "a planted delay is no fault of the expert"
    assert verdict["ko"]["lags"]["heard"] is False and verdict["ko"]["lags"]["n_clips"] == 6
    page = render(report_of, {})
    assert "Lags put in on purpose" in page and "6 of 6 clips, 6 speakers, p < 0.001" in page.replace("&lt;", "<").replace("\u202f", " ")
    assert "Lags put into real video" in markdown(report_of)
