"""The report in a real browser, from disk: videos in step, sorting by keyboard, light and dark, nothing from the network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.params import load_params
from stages import aggregate, report
from tests.report.fabricate import fabricate


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fabricate(tmp_path_factory.mktemp("project"), speakers=6, clips=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        aggregate.main("all", load_params())
        report.main("all", load_params())
    return folder / "results/report/index.html"


def test_play_starts_all_videos_of_the_row_in_step(open_page):
    page = open_page()
    row = page.locator(".clip").first
    assert row.locator("video").count() == 5
    row.get_by_role("button", name="Play").click()
    handle = row.element_handle()
    page.wait_for_function("c => [...c.querySelectorAll('video')].every(v => v.currentTime > 0.35)", arg=handle, polling="raf")
    times = handle.evaluate("c => [...c.querySelectorAll('video')].map(v => v.currentTime)")
    assert max(times) - min(times) < 0.1, times
    assert handle.evaluate("c => [...c.querySelectorAll('video')].filter(v => !v.muted).length") == 1


def test_the_end_stops_the_row_and_another_row_stops_the_first(open_page):
    page = open_page()
    one, two = page.locator(".clip").nth(0), page.locator(".clip").nth(1)
    one.locator(".play").click()
    page.wait_for_function("c => c.querySelector('video').currentTime > 0.1", arg=one.element_handle())
    two.locator(".play").click()
    page.wait_for_function("c => c.querySelector('video').currentTime > 0.1", arg=two.element_handle())
    assert one.evaluate("c => [...c.querySelectorAll('video')].every(v => v.paused)")
    page.wait_for_function("c => [...c.querySelectorAll('video')].every(v => v.paused)", arg=two.element_handle())
    assert two.locator(".play").get_attribute("aria-pressed") == "false"


def test_the_slider_seeks_every_video_by_one_frame(open_page):
    page = open_page()
    row = page.locator(".clip").first
    row.locator(".seek").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "c => [...c.querySelectorAll('video')].every(v => Math.abs(v.currentTime - 0.08) < 1e-3)", arg=row.element_handle()
    )
    assert row.locator(".time").text_content() == "0.08 s"


def test_choosing_a_sound_mutes_the_others(open_page):
    page = open_page()
    row = page.locator(".clip").first
    row.get_by_label("sound", exact=True).nth(2).check()
    assert row.evaluate("c => [...c.querySelectorAll('video')].map(v => v.muted)") == [True, True, False, True, True]


def test_tables_sort_by_keyboard_with_empty_cells_last(open_page):
    page = open_page()
    panel = page.locator("#numbers .panel:visible")
    head = panel.locator("th", has_text="LSE-C")
    head.get_by_role("button").focus()
    values = "t => [...t.tBodies[0].rows].map(r => r.cells[3].dataset.v).map(v => v === '' ? null : Number(v))"
    for key, state, order in (("Enter", "ascending", 1), (" ", "descending", -1)):
        page.keyboard.press(key)
        assert head.get_attribute("aria-sort") == state
        found = panel.locator("table").evaluate(values)
        known = [v for v in found if v is not None]
        assert known == sorted(known, reverse=order < 0) and found[: len(known)] == known and None in found


def test_one_metric_picker_turns_all_of_them(open_page):
    page = open_page()
    page.locator("#gaps .picker").get_by_label("SSIM").check()
    shown = page.evaluate("[...document.querySelectorAll('[data-panel]')].filter(p => !p.hidden).map(p => p.dataset.panel)")
    assert set(shown) == {"ssim"} and len(shown) == 7
    assert page.locator("#matrix .picker input:checked").get_attribute("value") == "ssim"


def test_the_gallery_sorts_worst_first_and_filters(open_page):
    page = open_page()
    page.select_option("#gallery-metric", "opening_correlation")
    score = "cs => cs.map(c => JSON.parse(c.querySelector('[data-system=fake-en]').dataset.scores).opening_correlation)"
    found = page.locator(".clip").evaluate_all(score)
    assert found == sorted(found) and len(found) == 6
    page.locator("#gallery-reverse").check()
    assert page.locator(".clip").evaluate_all(score) == sorted(found, reverse=True)
    page.select_option("#gallery-language", "ko")
    assert page.locator(".clip:visible").count() == 1 and page.locator("#gallery-status").text_content() == "1 of 6 clips"


def test_dark_follows_the_system_and_stays_readable(open_page):
    contrast = """() => {
      const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const lum = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => linear(Number(v) / 255))
        .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
      const paper = lum(getComputedStyle(document.body).backgroundColor);
      const of = s => {
        const ink = lum(getComputedStyle(document.querySelector(s)).color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      };
      return [paper, of('body'), of('.sub'), of('.findings .level')];
    }"""
    light = open_page(color_scheme="light").evaluate(contrast)
    dark = open_page(color_scheme="dark").evaluate(contrast)
    assert light[0] > 0.9 and dark[0] < 0.02
    assert min(*light[1:], *dark[1:]) >= 4.5, (light, dark)


def test_a_narrow_screen_never_scrolls_sideways(open_page):
    page = open_page(viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_pictures_across_languages_are_drawn_and_kept_in_their_boxes(open_page):
    page = open_page(viewport={"width": 360, "height": 800})
    for section, marks in (("distance", 12), ("expert", 12)):
        drawn = page.locator(f"#{section} .panel:visible, #{section}:not(:has(.panel))").locator("svg.mark")
        assert drawn.count() >= marks, section
    wide = page.locator("#visemes .scroll").first
    inner, outer = wide.evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert inner > outer and wide.get_attribute("tabindex") == "0", "a wide table scrolls by itself, and by keyboard"
    first = page.locator("#ranking .panel:visible .rank").first.locator("i")
    assert first.count() >= 1 and page.locator("#robustness .panel:visible tbody tr").count() == 2
    assert page.locator("#findings .findings.open li").count() >= 1, "what the data cannot tell stands apart"
    order = page.evaluate("[...document.querySelectorAll('main > section')].map(s => s.id)")
    assert order[:7] == ["findings", "matrix", "gaps", "distance", "robustness", "ranking", "visemes"] and order[7] == "gallery"


def test_everything_to_press_has_a_name(open_page):
    page = open_page()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, a, input, select')].filter(e =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length))).map(e => e.outerHTML)"""
    )
    assert nameless == []


def test_what_a_cell_has_to_say_is_reached_by_keyboard_and_read_aloud(open_page):
    """Intervals of the matrix and of sounds, and the reasons of dashes: no table keeps them for the mouse."""
    page = open_page()
    assert page.locator("table td[title], table td :not(code, a)[title], dd[title], th[title]").count() == 0
    stops = "t => [...t.querySelectorAll('[data-tip]')].filter(c => c.tabIndex === 0).length"
    for place in ("#matrix .panel:visible table", "#visemes table >> nth=0", "#numbers .panel:visible table"):
        assert page.locator(place).evaluate(stops) == 1, "one stop of the Tab key a table"
    table = page.locator("#matrix .panel:visible table")
    first = table.locator("tbody td[data-tip]").first
    page.locator("#matrix .panel:visible .scroll").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert first.evaluate("c => c === document.activeElement")
    note = first.locator(".aside")
    assert re.search(r"fake-en in en: .*\[.*\], 6 clips, 6 speakers; would show a gap of", note.text_content())
    box = note.bounding_box()
    assert box["width"] > 100 and box["height"] > 20, "shown while it has the focus"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    now = page.evaluate("[document.activeElement.cellIndex, document.activeElement.closest('tr').rowIndex]")
    assert now == [2, 2] and note.bounding_box()["width"] <= 1 and table.evaluate(stops) == 1
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("[document.activeElement.cellIndex, document.activeElement.closest('tr').rowIndex]") == now


def test_a_dash_says_why_to_the_keyboard_too(open_page):
    page = open_page()
    page.locator("#gaps .picker").get_by_label("LSE-C*").check()
    dash = page.locator("#matrix .panel:visible td.none").first
    dash.focus()
    page.keyboard.press("ArrowUp")  # the keyboard is in use, so the focus shows
    page.keyboard.press("ArrowDown")
    note = dash.locator(".aside")
    assert "the sync expert is not shown to tell real from shuffled sound here" in note.text_content()
    box = note.bounding_box()
    assert box["width"] > 100 and 0 <= box["x"] and box["x"] + box["width"] <= 1280
    shown = page.locator("#gallery dd[data-tip]").first
    assert shown.locator(".aside").text_content().strip() and shown.get_attribute("tabindex") == "0"


def test_the_gallery_sorts_what_has_no_better_side_by_its_distance_from_the_real_video(open_page):
    page = open_page()
    page.select_option("#gallery-metric", "offset_frames")
    apart = """cs => cs.map(c => ['real', 'fake-en'].map(s => [...c.querySelectorAll('figure')].find(f =>
        f.dataset.system === s && f.dataset.condition === 'self')).map(f => JSON.parse(f.dataset.scores).offset_frames))
        .filter(([a, b]) => a !== undefined && b !== undefined).map(([a, b]) => Math.abs(a - b))"""
    found = page.locator(".clip").evaluate_all(apart)
    assert found == sorted(found, reverse=True) and len(set(found)) > 1
