"""Figures of sets of two runs: a difference only where both were made of as many samples of the same clips, never a verdict."""

from __future__ import annotations

import json

import pytest

from report.comparison import compare_runs, document
from report.comparison_page import render
from report.set_comparison import ABSENT, NO_INTERVAL, compare_sets, findings, remark, shown
from tests.metrics.test_comparison import run

A, B = ({"label": n, "kind": "revision", "detail": ""} for n in ("old", "new"))


def figure(metric="fid", value=10.0, language="en", system="s", **more):
    unit = {"fid": "frames", "retrieval_recall": "clips", "lip_diversity": "inputs"}[metric]
    return {"set_id": f"{system}.self.c.{language}", "corpus": "c", "language": language, "system": system, "condition": "self",
            "metric": metric, "k": None, "direction": None, "value": value, "chance": None, "n": 200, "unit": unit,
            "n_needed": 100, "n_clips": 20, "n_frames": 500, "region": "face", "network": "inception:1",
            "reason": None if value is not None else "no_weights", **more}


def recall(value, way="audio_to_video", **more):
    return figure("retrieval_recall", value, k=1, direction=way, n=20, chance=0.05, network="e", **more)


def of(a, b, rows_a=None, rows_b=None, **options):
    """(the sets' part of the document, the whole document)."""
    rows = rows_a or run(), rows_b or run(seed=1)
    found = compare_runs(*rows)
    sets = compare_sets(found, rows, (a, b), **options)
    return sets, document(found, A, B, {}, sets=sets)


def test_a_difference_has_its_sign_its_n_and_its_direction_and_no_verdict():
    sets, doc = of([figure(), recall(0.5)], [figure(value=12.5), recall(0.75)])
    fid, found = sets["rows"]
    assert (fid["name"], fid["difference"], fid["higher_is_better"], fid["a"]["n"],
            fid["b"]["n"]) == ("FID", 2.5, False, 200, 200)
    assert (found["name"], found["difference"], found["higher_is_better"]) == ("R@1 sound to picture", 0.25, True)
    assert not any({"verdict", "low", "high", "p"} & set(r) for r in doc["sets"]["rows"]) and sets["note"] == NO_INTERVAL
    told = [f for f in doc["findings"] if f["link"] == "#sets"]
    assert [f["level"] for f in told] == ["no-claim", "no-claim"]
    assert "FID of s in en moved most: 10.00 \u2192 12.50 (+2.50; lower is better), n 200" in told[0]["text"]
    assert remark(fid) == "" and json.loads(json.dumps(doc, allow_nan=False)) == doc


@pytest.mark.parametrize("more, code", [({"n": 150}, "other_n"), ({"n_clips": 19}, "other_clips"),
                                        ({"network": "inception:2"}, "other_network")])
def test_what_is_not_of_the_same_samples_is_not_subtracted(more, code):
    sets, doc = of([figure(), recall(0.5)], [figure(value=5.0, **more), recall(0.5)])
    fid, found = sets["rows"]
    assert fid["difference"] is None and fid["not_comparable"] == [code] and remark(fid).startswith("not comparable: ")
    assert found["difference"] == 0 and not found["not_comparable"]
    (warning,) = [f["text"] for f in doc["findings"] if f["level"] == "warning" and f["link"] == "#sets"]
    assert warning.startswith("1 figure of sets is in both runs and is not comparable: ")


def test_other_clips_are_seen_even_where_there_are_as_many():
    other = [r | {"track_id": "new" + r["track_id"]} if r["language"] == "tr" else r for r in run()]
    sets, _ = of([figure(), figure(language="tr")], [figure(value=9.0), figure(value=9.0, language="tr")], rows_b=other)
    assert [(r["language"], r["not_comparable"], r["difference"])
            for r in sets["rows"]] == [("en", [], -1.0), ("tr", ["other_clips"], None)]


def test_nulls_keep_their_reasons_and_what_one_run_lacks_is_said():
    few = figure(value=None, reason="too_few", n=40)
    sets, _ = of([few, figure(value=None, language="tr"), recall(0.5)], [figure(), figure(value=None, language="tr")])
    one, two, three = sets["rows"]
    assert remark(one) == "A: too few samples: 40 frames, 100 needed" and one["difference"] is None
    assert (three["language"], three["b"]["value"]) == ("tr", None)
    assert two["b"]["reason"] == ABSENT and remark(two) == "B: not in this run"
    assert shown(sets)["rows"] == [one, two]
    assert shown(sets)["absent"] == [{"name": "FID", "why": "the network's weights are not on this machine", "n": 1}]


def test_figures_of_an_expert_that_may_not_judge_are_null():
    found = compare_runs(run(), run(seed=1))
    found.invalid = {"en": ["B"]}
    sets = compare_sets(found, (run(), run()), ([figure(), recall(0.5)], [figure(), recall(0.5)]))
    assert [r["b"]["reason"] for r in sets["rows"]] == [None, "expert_not_valid_here"] and sets["rows"][0]["difference"] == 0


def test_names_corpora_conditions_and_metrics_are_those_of_the_comparison():
    sets, _ = of([figure(system="one")], [figure(system="two")], run(system="one"), run(system="two"))
    assert [(r["system"], r["difference"]) for r in sets["rows"]] == [("two", 0.0)], "systems that are compared under two names"
    rows = [*run(), *(r | {"corpus": "d", "track_id": "d" + r["track_id"]} for r in run())]
    sets, _ = of([figure(), figure(corpus="d")], [figure(), figure(corpus="d")], rows, rows)
    assert [r["language"] for r in sets["rows"]] == ["c/en", "d/en"]
    both = [figure(), figure(condition="cross-audio"), figure(condition="shuffled")]
    assert [r["condition"] for r in of(both, both)[0]["rows"]] == ["self"]
    assert [r["condition"] for r in of(both, both, conditions=None)[0]["rows"]] == ["self", "cross-audio"]
    assert [r["metric"] for r in of([figure(), recall(0.5)], [], metrics=["retrieval_recall"])[0]["rows"]] == ["retrieval_recall"]
    assert of([figure()], [figure()], metrics=[])[0] is None and of([], [])[0] is None


def test_what_could_not_be_read_is_said_and_the_page_shows_it_all():
    bad = "<script>alert(1)</script>"
    sets, doc = of([figure(system=bad), recall(0.5)], [], missing={"B": "not in the cache"})
    assert findings(sets)[0] == {"level": "warning", "link": "#sets",
                                 "text": "Figures of sets of B are left out: not in the cache"}
    html = render(doc, {})
    assert "not in the cache" in html and 'id="sets"' in html and "<script>alert" not in html and html == render(doc, {})
    assert 'id="sets"' not in render(of([], [])[1], {})


def test_what_neither_run_has_is_told_once_per_set():
    ways = [recall(None, way, reason="too_few") for way in ("audio_to_video", "video_to_audio")]
    sets, _ = of([*ways, figure(value=None, language="tr")], [*ways, figure(value=None, language="tr", reason="too_few")])
    assert shown(sets) == {"rows": [], "absent": [
        {"name": "R@1", "why": "too few samples", "n": 1},
        {"name": "FID", "why": "A: the network's weights are not on this machine; B: too few samples", "n": 1}]}
