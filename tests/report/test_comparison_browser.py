"""The page of a comparison in a real browser, from disk: one metric for all of it, videos in step, keyboard, light and dark."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.shards import read_rows, shard_path, write_table
from flows.compare import compare, write_page
from tests.report.fabricate import fabricate


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pages")
    (base / "a").mkdir()
    fabricate(base / "a", speakers=9, clips=1)
    shutil.copytree(base / "a", base / "b", symlinks=True)
    rows = read_rows(base / "b/data/score/fake-en", "scores")
    for k, r in enumerate(rows):
        if r["opening_correlation"] is not None:
            r["opening_correlation"] -= (0.2 if r["language"] == "tr" else 0.0) + 0.01 * (k % 3 - 1)
    write_table(shard_path(base / "b/data/score/fake-en", "scores", 0), rows, "scores")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        return write_page(compare("a", "b", n_worst=3), base / "page")


def test_real_a_and_b_play_in_step(open_page):
    row = (page := open_page()).locator(".clip").first
    assert row.locator("figcaption").all_text_contents() == ["real video", "A: a", "B: b"]
    row.get_by_role("button", name="Play").click()
    handle = row.element_handle()
    page.wait_for_function("c => [...c.querySelectorAll('video')].every(v => v.currentTime > 0.3)", arg=handle, polling="raf")
    times = handle.evaluate("c => [...c.querySelectorAll('video')].map(v => v.currentTime)")
    assert max(times) - min(times) < 0.1, times
    row.get_by_label("sound", exact=True).nth(2).check()
    assert handle.evaluate("c => [...c.querySelectorAll('video')].map(v => v.muted)") == [True, True, False]


def test_the_metric_that_got_worse_is_shown_first_and_one_picker_turns_all(open_page):
    page = open_page()
    assert page.locator("#changes .picker input:checked").get_attribute("value") == "opening_correlation"
    page.locator("#clips .picker").get_by_label("SSIM").check()
    shown = page.evaluate("[...document.querySelectorAll('[data-panel]')].filter(p => !p.hidden).map(p => p.dataset.panel)")
    assert set(shown) == {"ssim"} and len(shown) == 2


def test_the_table_sorts_by_keyboard(open_page):
    table = (page := open_page()).locator("#changes .panel:visible table")
    table.locator("th", has_text="change").get_by_role("button").focus()
    page.keyboard.press("Enter")
    first = table.locator("tbody tr").first
    assert first.locator("td").nth(1).text_content() == "tr" and "worse" in first.text_content()


def test_narrow_screens_and_names(open_page):
    page = open_page(viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, a, input, select')].filter(e =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length))).map(e => e.outerHTML)"""
    )
    assert nameless == []


def test_light_and_dark_stay_readable(open_page):
    contrast = """() => {
      const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const lum = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => linear(Number(v) / 255))
        .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
      const paper = lum(getComputedStyle(document.body).backgroundColor);
      const of = s => {
        const ink = lum(getComputedStyle(document.querySelector(s)).color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      };
      return [of('body'), of('.sub'), of('.said.worse'), of('.said.open'), of('.sides dt')];
    }"""
    for scheme in ("light", "dark"):
        found = open_page(color_scheme=scheme).evaluate(contrast)
        assert min(found) >= 4.5, (scheme, found)
