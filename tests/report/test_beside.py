"""What stands beside the figures: offsets beside LSE, clips and speakers, what could have been shown, levels; in every form."""

from __future__ import annotations

import copy
import csv
import io
import re

import pytest

from report.findings import findings
from report.markdown import markdown
from report.page import render
from report.tables import files
from report.text import beside, p_text


@pytest.fixture(scope="module")
def read(report_of):
    return {name: list(csv.DictReader(io.StringIO(text))) for name, text in files(report_of).items()}


@pytest.fixture(scope="module")
def page(report_of):
    return render(report_of, {})


def cell(document, system, language, metric, condition="self"):
    return next(c for c in document["cells"]
                if (c["system"], c["language"], c["metric"], c["condition"]) == (system, language, metric, condition))


def test_every_figure_is_in_a_table_with_what_it_was_computed_from(report_of, read):
    for name, rows in (("numbers", report_of["cells"]), ("planted", report_of["twins"]["comparisons"]),
                       ("validity", report_of["validity"]), ("levels", report_of["levels"]["cells"])):
        assert len(read[f"{name}.csv"]) == len(rows)
    c = cell(report_of, "fake-en", "tr", "lse_c")
    one = cell({"cells": read["numbers.csv"]}, "fake-en", "tr", "lse_c")
    for name, figure in (("value", c["value"]), ("gap", c["gap"]), ("lead", c["over_shuffled"])):
        said = [float(one[k]) for k in (name, f"{name}_low", f"{name}_high", f"{name}_n_clips", f"{name}_n_speakers")]
        assert said == [figure[k] for k in ("mean", "low", "high", "n_clips", "n_speakers")]
    assert float(one["detectable_gap"]) == c["detectable"] > 0 and float(one["p_unseen_holm"]) == c["p_unseen_holm"]
    assert float(one["p_gap"]) == c["p_gap"] < float(one["p_gap_holm"]) == c["p_gap_holm"]
    gap = cell({"cells": read["gap.csv"]}, "fake-en", "tr", "lse_c")
    assert (float(gap["p"]), float(gap["p_holm"])) == (c["p_gap"], c["p_gap_holm"])
    planted = cell({"cells": read["numbers.csv"]}, "fake-en", "x-gap", "lse_c")
    assert planted["p_gap"] and planted["p_gap_holm"] == ""
    deaf = next(r for r in read["numbers.csv"] if (r["system"], r["language"], r["metric"]) == ("real", "ko", "lse_c"))
    assert deaf["value"] == "" and deaf["nulls"].endswith(": 6")
    found = {r["language"]: r for r in read["planted.csv"] if r["p_holm"] and float(r["p_holm"]) <= 0.05}
    assert found["x-gap"]["language_found"] == "1" and float(found["x-gap"]["n_speakers"]) == 6
    verdict = {r["language"]: r for r in read["validity.csv"]}
    assert (verdict["ko"]["valid"], verdict["ko"]["lags_heard"], verdict["en"]["lags_n_speakers"]) == ("0", "0", "6")
    assert {r["n_speakers"] for r in read["lag.csv"] if r["condition"] == "self"} == {"6"}
    assert read["sets.csv"][0]["n_speakers"] == "6"


def test_the_p_of_a_gap_stands_in_the_page_and_the_text(report_of, page):
    c = cell(report_of, "fake-en", "tr", "ssim")
    p = p_text(c["p_gap_holm"])
    matrix = page.split('aria-label="Matrix of SSIM')[1].split("</table>")[0]
    (note,) = re.findall(r'<span class="aside"> fake-en in tr: [^<]*</span>', matrix)
    assert f"; p of the gap {p} after Holm" in note and '<th scope="col" class="num">p of gap</th>' in page
    assert f" 6 / 6, p {p}" in markdown(report_of).split("## SSIM")[1].split("Values")[0]


def test_the_tables_that_the_page_names_are_there(page, read):
    named = re.findall(r'href="tables/([^"]*)"', page)
    assert named == sorted(read) and {"numbers.csv", "levels.csv", "planted.csv", "validity.csv", "lag.csv"} <= set(named)


def test_beside_an_lse_stand_the_offset_and_the_share_within_one_frame(report_of, page):
    at = {m: cell(report_of, "fake-en", "en", m) for m in ("abs_offset", "offset_within_one")}
    said = beside(at)
    assert re.fullmatch(r"\d+\.\d\d, \d+\u202f%", said) and beside({}) == "\u2013"
    text = markdown(report_of)
    for label, there in (("LSE-C*", True), ("LSE-D*", True), ("SSIM", False)):
        part = text.split(f"## {label}\n")[1].split("\n## ")[0]
        row = next(line for line in part.split("Values")[1].splitlines() if line.startswith("| fake-en"))
        assert (said in row) is there and "6 / 6" in row
    shown = said.replace(", ", "&#8239;\u00b7&#8239;").replace("\u202f", "\u202f")
    for part, panels in (("matrix", 2), ("gaps", 2), ("controls", 2)):
        section = page.split(f'<section id="{part}">')[1].split("</section>")[0]
        for name in ("lse_c", "lse_d", "ssim"):
            panel = section.split(f'data-panel="{name}"')[1].split('class="panel"')[0]
            assert (shown in panel) is name.startswith("lse"), (part, name)
    numbers = page.split('<section id="numbers">')[1].split("</section>")[0]
    assert numbers.count(">within 1</th>") == 2 and numbers.count(">would show</th>") == len(report_of["metrics"])


def test_the_main_table_has_clips_speakers_windows_and_offsets(report_of):
    from flows.show import main_table

    valid = [v | {"valid": True} for v in report_of["validity"]]
    table = main_table({**report_of, "validity": valid})
    heads = [c.header for c in table.columns]
    assert heads[:6] == ["language", "clips", "speakers", "windows", "real", "|offset|,\nwithin 1"]
    assert heads.count("|offset|,\nwithin 1") == 4
    cells = [list(c.cells) for c in table.columns]
    windows = [None if one["median_windows"] is None else f"{one['median_windows']:.0f}" for one in report_of["languages"]]
    assert windows[0] is not None and cells[3] == [shown or "\u2013" for shown in windows]
    assert cells[2][0] == "6" and cells[5][0].endswith("%") and cells[heads.index("fake-en") + 1][0].endswith("%")


def test_blinks_and_head_motion_are_shown_beside_real_video(report_of, page, read):
    names = [m["name"] for m in report_of["levels"]["metrics"]]
    assert names == ["offset_frames", "blink_rate", "head_motion"]
    section = page.split('<section id="levels">')[1].split("</section>")[0]
    assert section.count("<table") == 3 and "16.0<small>6&#8239;/&#8239;6</small>" in section
    assert "\u22129.0 [\u22129.0, \u22129.0]" in section and "too short" in section
    assert "| fake-en | 7.0 6 / 6 (\u22129.0 [\u22129.0, \u22129.0]) |" in markdown(report_of)
    one = next(r for r in read["levels.csv"] if (r["system"], r["language"], r["metric"]) == ("fake-en", "tr", "blink_rate"))
    assert (float(one["value"]), float(one["from_real"]), one["from_real_n_speakers"]) == (7.0, -9.0, "6")
    video = report_of["gallery"][0]["videos"][0]
    assert video["scores"]["blink_rate"] >= 15 and page.count("<dt>head motion</dt>") > len(report_of["gallery"])


def test_clips_and_speakers_stand_at_every_figure(report_of, page):
    controls = page.split('<section id="controls">')[1].split("</section>")[0]
    figures = re.findall(r'<td class="num">[^<]+<small>([^<]*)</small>', controls)
    assert figures and all("&#8239;/&#8239;" in n for n in figures)
    assert "6 clips of 6 speakers" in page.split('<section id="lag">')[1].split("</section>")[0]
    assert "6 of 6 clips, 6 speakers, p" in page
    assert "6&#8239;/&#8239;6" in page.split('<section id="sets">')[1].split("</section>")[0]
    assert report_of["n_speakers"] == 36 and "36 speakers." in page.split("</header>")[0]


def test_pairs_of_two_lengths_are_counted_and_raw_lse_c_says_how_long_its_clips_are(report_of):
    """LSE-C is never compared across lengths: what is left out, and what must not be compared, stands in every form."""
    document = copy.deepcopy(report_of)
    assert all(lang["median_windows"] == 20 for lang in document["languages"])
    assert "of another length" not in render(document, {}) and not any("must not be" in f["text"] for f in findings(document, []))
    assert any(f["text"].startswith("The expert itself scores real video above the same with shuffled sound by")
               for f in findings(document, [])), "not by LSE-C itself"
    document["languages"][0]["median_windows"] = 37.5
    document["validity"][0]["n_other_length"] = 3
    one = next(c for c in document["cells"] if c["metric"] == "lse_c" and c["gap"] and c["over_shuffled"])
    one |= {"gap_nulls": {"other_length": 2}, "lead_nulls": {"other_length": 4}}
    said = [f["text"] for f in findings(document, []) if f["level"] == "no-claim"]
    assert any("2 pairs of videos out of gaps, 4 pairs of videos out of leads over shuffled sound and 3 pairs of videos out of the "
               "question whether" in t and "differ by more than 10\u202f%" in t for t in said)
    longest = document["languages"][0]["tag"]
    assert any("from 20 (" in t and f"to 37.5 windows ({longest})" in t and "LSE-C* itself must not" in t for t in said)
    page, text = render(document, {}), markdown(document)
    assert "3 of another length" in page and "37.5 windows" in page and page.count("2 left out") == 1 == page.count("4 left out")
    assert "2 pairs left out: the two videos differ in length" in page
    assert f"{longest} (37.5 windows)" in text and "differ in length by more than this metric allows: 2 left out" in text
    (row,) = [r for r in csv.DictReader(io.StringIO(files(document)["numbers.csv"])) if r["gap_nulls"]]
    assert (row["gap_nulls"], row["lead_nulls"], row["language"]) == ("other_length: 2", "other_length: 4", one["language"])
