"""The document of a comparison: its findings in words, and its page as text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from report.comparison import compare_runs, document, key_of
from report.comparison_page import forest, render
from tests.metrics.test_comparison import run
from tests.metrics.test_robustness import row

A, B = ({"label": n, "kind": "revision", "detail": ""} for n in ("old", "new"))
SAME = {"params": [], "code": [], "data": [], "weights": [], "unknown": {}}


def of(a: list, b: list, causes: dict | None = None, **options) -> dict:
    return document(compare_runs(a, b, **options), A, B, SAME if causes is None else causes)


def said(doc: dict) -> list[str]:
    return [f["text"] for f in doc["findings"]]


def test_the_worst_comes_first_and_every_figure_has_its_numbers():
    doc = of(run(seed=1), run({"tr": 0.15, "zh": -0.15}, seed=2))
    first, second = said(doc)[:2]
    assert first.startswith("Worse: s in tr: opening r 0.7") and "after Holm, 20 clips of 10 speakers." in first
    assert second.startswith("Better: s in zh") and (doc["n_regressions"], doc["n_improvements"]) == (1, 1)
    assert "Scores differ although params, code, data and weights are the same" in said(doc)[-1]


def test_one_language_seen_by_two_metrics_is_told_once():
    a, b = run(seed=1), run({"tr": 0.15}, seed=2)
    for k, (one, two) in enumerate(zip(a, b, strict=True)):
        one["landmark_distance"], two["landmark_distance"] = 0.05, 0.05 + (two["language"] == "tr") * (0.02 + 0.0001 * (k % 5))
    (worse,) = [t for t in said(of(a, b)) if t.startswith("Worse: s in tr")]
    assert "also in" in worse and of(a, b)["n_regressions"] == 4
    (together,) = [t for t in said(of(a, b)) if t.startswith("Worse: s in all languages together")]
    assert "also in" in together


def test_nothing_and_too_little_are_said_as_such():
    assert said(of(run(), run())) == ["Every score of every clip is the same in both."]
    assert any("No language got worse or better beyond noise" in t for t in said(of(run(seed=1000), run(seed=1001))))
    few = said(of(run(speakers=5), run({"tr": 0.3}, speakers=5, seed=1)))
    assert ("Too few speakers to claim a change of one language, however large: en, tr and zh (5 speakers, it takes 7); only all "
            "languages together can show one.") in few
    six = said(of(run(speakers=6), run({"tr": 0.3}, speakers=6, seed=1)))
    assert any("en, tr and zh (6 speakers, it takes 7); only" in t for t in six)
    assert any("the interval leaves out zero" in t for t in six)


def test_what_b_could_not_compute_is_not_the_same_in_both():
    a = [row("s", track=str(i), speaker=str(i), lse_d=7.0, ssim=0.5) for i in range(7)]
    told = said(of(a, [r | {"lse_d": None} for r in a]))
    assert told[:2] == ["Every score that both have is the same.", "7 clips had a score in A that B could not compute."]


def test_beside_every_lse_of_the_page_and_the_findings_stand_the_offsets_of_both_runs():
    a, b = ([row("s", track=str(i), speaker=str(i), lse_d=d + 0.01 * i, ssim=0.5, offset_frames=o) for i in range(8)]
            for d, o in ((7.0, 0), (9.0, 3)))
    doc = of(a, b, metrics=["lse_d", "ssim"])
    both = "0.00, 100\u202f% \u2192 3.00, 0\u202f%"
    assert said(doc)[0].endswith(f"8 speakers; mean |offset| in frames, and within 1 frame: {both}.")
    page = render(doc, {})
    assert page.count(f'<span class="quiet">{both}</span>') == 1
    assert '<span class="ci">0.00, 100\u202f%</span>' in page and '<span class="ci">3.00, 0\u202f%</span>' in page
    assert "offset|" not in render(of(a, b, metrics=["ssim"]), {})


def test_lost_clips_other_names_and_real_video_are_told():
    a = [*run(system="one"), *(row(track=str(i), language="en", speaker=str(i), ssim=1.0) for i in range(8))]
    b = [*run(system="two")[1:], *(row(track=str(i), language="en", speaker=str(i), ssim=0.9) for i in range(8))]
    b[0] |= {"opening_correlation": None}
    told = said(of(a, b))
    assert "1 clip had a score in A that B could not compute." in told
    assert "Compared under two names: one of A with two of B." in told
    assert any("Real video itself scores differently" in t for t in told)
    assert "Not compared: 1 clip of A alone, 0 clips of B alone." in told


def test_causes_are_counted():
    causes = {**SAME, "params": [{"key": "a", "a": 1, "b": 2}], "weights": [{"name": "m", "a": "1", "b": "2"}]}
    assert said(of(run(), run(seed=1), causes))[-1] == "Between the two 1 param and 1 set of weights differ."


def test_languages_of_two_corpora_stay_apart():
    names = ("track_id", "clip_id", "audio_clip_id")
    one = run(languages=("en",))
    two = [r | {"corpus": "d", **{n: "d" + r[n] for n in names}} for r in one]
    assert of([*one, *two], [*one, *two])["languages"] == ["c/en", "d/en"]


@pytest.mark.parametrize("metric, sign", [("opening_correlation", 1), ("landmark_distance", -1)])
def test_right_is_better_whatever_the_direction_of_the_metric(metric, sign):
    rows = [row("s", track=str(i), speaker=str(i), **{metric: 0.5}) for i in range(8)]
    better = [r | {metric: 0.5 + sign * (0.1 + 0.001 * i)} for i, r in enumerate(rows)]
    doc = of(rows, better)
    drawn = forest(doc, doc["metrics"][0])
    x = float(str(drawn["rows"][0]["strip"]).partition('x="')[2].partition("%")[0])
    zero = float(str(drawn["rows"][0]["strip"]).rpartition('class="zero" x1="')[2].partition("%")[0])
    assert doc["changes"][0]["verdict"] == "better" and "right of zero is better" in drawn["axis"] and x >= zero


def test_the_page_escapes_what_it_is_given_and_is_the_same_twice():
    bad = "<script>alert(1)</script>"
    a, b = ([r | {"system": bad} for r in run(seed=k)] for k in (1, 2))
    doc = of(a, b, {**SAME, "params": [{"key": bad, "a": bad, "b": None}], "unknown": {"data": bad}})
    html = render(doc, {})
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html and html == render(doc, {})
    json.dumps(doc, allow_nan=False)


def test_the_worst_clips_are_those_that_moved_most_and_have_their_videos():
    a, b = run(noise=0.01, seed=1), run(noise=0.01, seed=2)
    b[7]["opening_correlation"] -= 0.9
    doc = of(a, b)
    assert doc["worst"][0]["track_id"] == a[7]["track_id"]
    assert len({key_of(c) for c in doc["changed_clips"]}) == len(doc["changed_clips"])
    video = {"title": "B: new", "side": "b", "video": "media/b.mp4", "poster": "media/b.jpg", "n_frames": 50}
    html = render(doc, {key_of(doc["worst"][0]): [video]})
    assert 'max="2.00"' in html and html.count("<video") == 1
    assert np.isclose(doc["worst"][0]["values"]["opening_correlation"][1], b[7]["opening_correlation"])


def test_blinks_stand_on_the_page_without_a_better_side_and_with_their_reasons():
    real = [row(track=str(i), speaker=str(i), language="tr", blink_rate=15.0, ssim=1.0) for i in range(8)]
    a, b = ([row("s", track=str(i), speaker=str(i), language="tr", blink_rate=v + i % 3, ssim=0.9) for i in range(8)]
            for v in (2, 9))
    doc = of([*real, *a], [*real, *b])
    assert any(t.startswith("Moved, and neither way is better: s in tr: blinks 2.9") for t in said(doc)) and doc["n_regressions"] == 0
    page = render(doc, {})
    assert "neither way is better; right is what real video does" in page and "<small>\u221212.1</small>" in page
    assert 'class="said moved"' in page and "<span>blinks </span>" in page and "right of zero is better" in page
    assert "blinks (1/min), B minus A: neither way is better" in page
    lost = [r | {"blink_rate": None, "null_reasons": [{"metric": "blink_rate", "reason": "too_few_voiced_frames"}]} for r in b]
    assert "fewer than 25 frames with a voice" in render(of([*real, *a], [*real, *lost]), {})
