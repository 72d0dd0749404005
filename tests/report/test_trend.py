"""The trend page: one file, a chart per metric and language, rings where a language got worse, crosses where a night failed."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from report.trend import chart, lede, render

METRICS = [{"name": "lse_c", "label": "LSE-C*", "higher_is_better": True, "digits": 3, "unit": ""},
           {"name": "lip_gap", "label": "Lip gap", "higher_is_better": False, "digits": 2, "unit": "px"}]


def night(day: int, status: str = "good", value: float = 0.5, worse: bool = False) -> dict:
    figures = [] if status == "failed" else [
        {"metric": m["name"], "system": s, "language": tag, "mean": value + 0.1 * k, "low": value + 0.1 * k - 0.05,
         "high": value + 0.1 * k + 0.05, "reason": None, "n_clips": 12, "n_speakers": 6}
        for m in METRICS for k, s in enumerate(("a<b", "real")) for tag in ("tr", "en")]
    change = {"mean": -0.2, "low": -0.3, "high": -0.1, "reason": None, "n_clips": 12, "n_speakers": 6}
    figures += [{**f, "metric": m, "mean": v} for f in figures if f["metric"] == "lse_c"
                for m, v in (("abs_offset", 0.1 * day), ("offset_within_one", 0.9))]
    regressions = [{"language": "tr", "system": "a<b", "metric": "lse_c", "change": change, "offsets_a": [0.3, 0.9],
                    "offsets_b": [4.0, 0.25]}] if worse else []
    failed = status == "failed"
    failures = [{"name": "score-a", "why": "exit status 1", "tail": [], "log": "", "skipped": 0}] if failed else []
    return {"name": f"nightly-2026-11-{day:02d}", "date": f"2026-11-{day:02d}", "status": status, "commit": None,
            "code": "c" * 40, "baseline": "nightly-2026-11-01" if day > 1 else None, "note": "",
            "regressions": regressions, "improvements": [],
            "failures": failures, "ran": 2, "figures": figures, "metrics": [] if failed else METRICS,
            "systems": ["a<b", "real"], "headline": "" if failed else "lse_c", "languages": [] if failed else ["en", "tr"],
            "report": not failed, "comparison": day > 1 and not failed}


NIGHTS = [night(1), night(2, "failed"), night(3, value=0.52), night(4, "regressed", 0.3, worse=True)]


def test_one_file_with_a_chart_per_metric_and_language():
    page = render(NIGHTS)
    charts = re.findall(r'(<svg class="chart trend".*?</svg>)</figure>', page, re.S)
    assert len(charts) == len(METRICS) * 2
    for svg in charts:
        ElementTree.fromstring(svg)
        assert svg.count('class="failed"') == 1
    assert page.count('class="ring"') == 1 and page.count('<figure class="worse">') == 1
    assert not re.search(r'(src|href)="(https?:|static/)', page)
    assert "a<b" not in page and "a&lt;b" in page
    assert 'href="nightly-2026-11-04/comparison/index.html"' in page and "tr: a&lt;b LSE-C* \u22120.200" in page
    assert render(NIGHTS) == page


def test_beside_every_lse_stand_the_offsets():
    page = render(NIGHTS)
    both = "0.30, 90\u202f% \u2192 0.40, 90\u202f%"
    assert page.count(f'<p class="sub">a&lt;b {both}; real {both}</p>') == 2
    assert page.count("; |offset| and within 1 frame: 0.40, 90\u202f%</title>") == 4, "of LSE-C only: two systems, two languages"
    assert "12 clips, 6 speakers</title>" in page, "the other metric has none"
    assert "\u22120.100], |offset| and within 1 frame: 0.30, 90\u202f% \u2192 4.00, 25\u202f%" in page


def test_all_languages_together_are_named_and_too_few_speakers_are_said():
    worse = night(2, "regressed", worse=True)
    worse["regressions"][0]["language"] = "*"
    assert lede([worse]) == "Last night all languages together got worse (nightly-2026-11-02)."
    page = render([night(1) | {"too_few": "Too few speakers for en."}, worse])
    assert "all languages together: a&lt;b LSE-C* \u22120.200" in page and "Too few speakers for en." in page
    assert page.count('class="ring"') == 0


def test_a_line_breaks_where_a_night_has_no_value_and_marks_are_hollow_without_interval():
    figure = {"mean": 0.5, "low": None, "high": None, "reason": "too_few_speakers", "n_clips": 1, "n_speakers": 1}
    at = {(k, "a"): figure for k in (0, 1, 3)}
    svg = chart([night(d) for d in range(1, 5)], METRICS[0], "tr", ["a"], at, set())
    assert svg.count('class="line s0"') == 1 and svg.count("hollow") == 3 and "whisker" not in svg
    points = re.search(r'class="line s0" d="M([^"]+)"', svg)[1].split("L")
    assert len(points) == 2, "nights 1 and 2 are joined, night 4 stands alone"


@pytest.mark.parametrize("nights", [[], [night(1)], [night(1, "failed")]], ids=["none", "one", "only-failed"])
def test_degenerate_histories_render(nights):
    page = render(nights)
    assert ("No night has been recorded yet" in page) == (not nights)


def test_the_lede_says_how_the_last_night_was():
    assert lede(NIGHTS) == "Last night a language got worse (nightly-2026-11-04). Of the 4 nights shown 2 were good."
    assert lede([night(1)]) == "Last night was good (nightly-2026-11-01)."


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trend") / "index.html"
    path.write_text(render(NIGHTS))
    return path


def test_in_a_browser_the_metric_is_chosen_by_keyboard_and_nothing_is_fetched(open_page):
    page = open_page(color_scheme="dark")
    assert page.locator('[data-panel="lse_c"]').is_visible() and not page.locator('[data-panel="lip_gap"]').is_visible()
    page.locator('.picker input[value="lse_c"]').focus()
    page.keyboard.press("ArrowRight")
    assert page.locator('[data-panel="lip_gap"]').is_visible() and not page.locator('[data-panel="lse_c"]').is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 21)"
