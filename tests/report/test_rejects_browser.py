"""The contact sheet of rejects in a real browser, from disk: filters, keyboard, names, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.shards import shard_path, write_table
from flows.rejects import rejects, write_sheet
from tests.stages.sync_clips import inside


@pytest.fixture(scope="module")
def place(small, tmp_path_factory) -> Path:
    """The small dataset, with more rejects of later stages."""
    import shutil

    folder = tmp_path_factory.mktemp("rejected") / "place"
    shutil.copytree(small, folder, symlinks=True)
    who = {"corpus": "toy", "language": "fi", "speaker": "<b>cai</b>", "stage": "track"}
    rows = [who | {"item_id": "c1-c0", "reason": "no_face", "detail": "0 of 15 frames & none"},
            who | {"item_id": "f1-c0", "reason": "face_lost", "detail": "seen in 40 %"},
            who | {"item_id": "f2-c0", "reason": "no_face", "detail": "never was here"}]
    write_table(shard_path(folder / "data/track/toy-fi", "rejects", 0), rows, "rejects")
    gone = who | {"stage": "split", "language": "en", "item_id": "a1-c0-t0", "reason": "filtered", "detail": "sharpness: too low"}
    write_table(shard_path(folder / "data/split/all", "rejects", 0), [gone], "rejects")
    return folder


@pytest.fixture(scope="module")
def index(place) -> Path:
    with inside(place) as params:
        found = write_sheet(params, place / "sheet")
    assert found == {"rejects": 8, "shown": 8, "pictures": 5}
    return place / "sheet/index.html"


def shown(page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('.items figure:not([hidden]) .id')].map(e => e.textContent)")


def test_every_reject_is_there_with_its_picture(open_page):
    page = open_page()
    assert shown(page) == ["junk", "gone", "quiet", "brief", "f1-c0", "c1-c0", "f2-c0", "a1-c0-t0"]
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.locator(".items img").count() == 5 and "0 of 15 frames & none" in page.content().replace("&amp;", "&")
    assert page.locator("figure", has_text="<b>cai</b>").count() == 4, "names are text"


def test_filters_work_together_and_are_announced(open_page):
    page = open_page()
    page.get_by_label("language").select_option("fi")
    assert shown(page) == ["f1-c0", "c1-c0", "f2-c0"]
    page.get_by_label("reason", exact=True).select_option("no_face")
    page.get_by_label("text").fill("FRAMES")
    assert shown(page) == ["c1-c0"] and page.locator("output").text_content() == "1 shown"
    page.get_by_label("text").fill("nothing like it")
    assert shown(page) == [] and page.locator("#none").is_visible()
    page.get_by_role("button", name="show all").click()
    page.wait_for_function("document.querySelector('output').textContent === '8 shown'")


def test_a_count_shows_what_it_counts(open_page):
    page = open_page()
    page.get_by_role("button", name="show 2: track, no_face, fi").press("Enter")
    assert shown(page) == ["c1-c0", "f2-c0"]
    assert page.evaluate("document.activeElement.querySelector('.id').textContent") == "c1-c0"


def test_arrow_keys_go_through_what_is_shown(open_page):
    page = open_page()
    page.get_by_label("stage").select_option("segment")
    first = page.locator(".items figure:not([hidden])").first
    assert first.get_attribute("tabindex") == "0"
    first.focus()
    focused = "document.activeElement.querySelector('.id').textContent"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "brief"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "brief"
    page.keyboard.press("Home")
    assert page.evaluate(focused) == "quiet"


def test_narrow_screens_and_names(open_page):
    page = open_page(viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, a, input, select')].filter(e =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length))).map(e => e.outerHTML)"""
    )
    assert nameless == [] and page.locator("img:not([alt])").count() == 0


def test_light_and_dark_stay_readable(open_page):
    contrast = """() => {
      const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const lum = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => linear(Number(v) / 255))
        .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
      const of = (s, under) => {
        const ink = lum(getComputedStyle(document.querySelector(s)).color);
        const paper = lum(getComputedStyle(document.querySelector(under)).backgroundColor);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      };
      return [of('.why', 'figure'), of('.detail', 'figure'), of('.id', 'figure'), of('.shot .quiet', '.shot'),
              of('.meaning', 'body')];
    }"""
    for scheme in ("light", "dark"):
        found = open_page(color_scheme=scheme).evaluate(contrast)
        assert min(found) >= 4.5, (scheme, found)


def test_the_same_rejects_give_the_same_bytes_in_place_of_the_last(place, index):
    before = {p.name: p.read_bytes() for p in index.parent.rglob("*") if p.is_file()}
    with inside(place) as params:
        write_sheet(params, index.parent)
    assert {p.name: p.read_bytes() for p in index.parent.rglob("*") if p.is_file()} == before


def test_many_rejects_are_spread(place, tmp_path):
    from core.stage import UserError

    with inside(place) as params:
        assert len(rejects(params)) == 8
        assert write_sheet(params, tmp_path / "few", most=7)["shown"] == 7
        text = (tmp_path / "few/index.html").read_text()
        assert "8 items of all stages; 7 of them are shown" in text
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/file").write_text("mine")
        with pytest.raises(UserError, match="holds something else than a contact sheet"):
            write_sheet(params, tmp_path / "mine")
