"""The published indexes of MultiTalk and HDTF, whole: what their authors count, and every line of every table accounted for."""

from __future__ import annotations

import math
import re
import shutil
from collections import Counter

import pytest

from core.records import SAFE_ID, Item, Rejected
from corpora import hdtf, multitalk, registry

CLIPS = {"ar": 9048, "ja": 5990, "zh": 6096, "tr": 11165}
HOURS = {"ar": 10.32, "ja": 8.36, "zh": 8.73, "tr": 12.90}  # as the authors' README gives them


@pytest.fixture(scope="module")
def talk(shared):
    return list(multitalk.entries({"path": str(shared / "indexes" / "multitalk")}))


def test_multitalk_has_the_clips_and_the_hours_that_its_authors_count(talk):
    assert all(isinstance(entry, Item) for entry in talk)
    assert Counter(entry.language for entry in talk) == CLIPS
    for tag, hours in HOURS.items():
        assert sum(i.length_s for i in talk if i.language == tag) / 3600 == pytest.approx(hours, abs=0.005)


def test_multitalk_clips_say_where_they_lie(talk):
    assert len({item.id for item in talk}) == len(talk) and all(SAFE_ID.fullmatch(item.id) for item in talk)
    first = talk[0]
    assert (first.id, first.video, first.language, first.speaker, first.kind) == ("O-VJXuHb390_0", "O-VJXuHb390", "ar", None,
                                                                                  "real")
    assert (first.source.kind, first.source.at) == ("page", "https://www.youtube.com/watch?v=O-VJXuHb390")
    assert (first.source.start_s, first.source.end_s) == (first.start_s, first.end_s) == (9.32, 10.8)
    assert (first.box.x0, first.box.y0, first.box.x1, first.box.y1, first.box.unit) == (0.5797, 0, 0.8094, 0.4056, "share")
    assert all(item.extra["transcript"] is not None for item in talk)


def test_one_file_is_an_index_too(shared):
    path = shared / "indexes" / "multitalk" / "japanese.json"
    assert registry.languages(multitalk, {"path": str(path)}) == ["ja"]
    items, rejected = registry.items(multitalk, {"path": str(path)}, "ja")
    assert len(items) == 5990 and not rejected and [i.id for i in items] == sorted(i.id for i in items)


GROUPS = {"RD": (57, 56, 64), "WDA": (183, 183, 189), "WRA": (130, 130, 168)}


def words_of(path):
    """Lines as words, read in another way than the adapter's."""
    return [line.split() for line in path.read_bytes().decode("utf-8-sig").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def tables(shared):
    folder = shared / "indexes" / "hdtf"
    return {(group, table): words_of(folder / f"{group}_{table}.txt") for group in GROUPS for table in hdtf.TABLES}


@pytest.fixture(scope="module")
def faces(shared):
    return list(hdtf.entries({"path": str(shared / "indexes" / "hdtf")}))


@pytest.mark.parametrize("group", GROUPS)
def test_every_url_every_stretch_and_every_crop_of_hdtf_is_accounted_for(group, tables, faces):
    urls, times, crops = (tables[group, table] for table in ("video_url", "annotion_time", "crop_wh"))
    assert (len(urls), len(times), len(crops)) == GROUPS[group]
    mine = [e for e in faces if (e.extra["group"] == group if isinstance(e, Item) else e.detail.startswith(f"{group}_"))]
    items, rejects = [e for e in mine if isinstance(e, Item)], [e for e in mine if isinstance(e, Rejected)]
    # Stretches: an item each, or a reject that names it; crops: all are used; videos: one without times is a reject.
    stretches = {f"{row[0].removesuffix('.mp4')}_{k}" for row in times for k in range(len(row) - 1)}
    cropped = {row[0].removesuffix(".mp4") for row in crops}
    assert {i.id for i in items} == stretches & cropped == cropped
    assert {r.id for r in rejects if r.id in stretches} == stretches - cropped
    silent = {row[0] for row in urls} - {row[0].removesuffix(".mp4") for row in times}
    assert len(rejects) == len(stretches - cropped) + len(silent)
    assert all(any(f"'{name}'" in r.detail for r in rejects) for name in silent)
    assert {r.reason for r in rejects} == {"no_match"} and all(re.match(r"\w+\.txt line \d+: ", r.detail) for r in rejects)


def test_hdtf_in_numbers(faces):
    items = [e for e in faces if isinstance(e, Item)]
    assert (len(items), len(faces) - len(items)) == (421, 16)
    assert sum(i.length_s for i in items) / 3600 == pytest.approx(16.35, abs=0.005)
    assert all(i.language == "en" and i.source.kind == "page" for i in items)


def test_a_byte_order_mark_is_no_part_of_a_name(faces):
    (marked,) = [e for e in faces if isinstance(e, Item) and e.id == "CarolynMaloney2_0"]
    assert marked.video == "RApGxN-O9Qc"


def test_a_crop_counts_in_the_frame_that_it_fits_or_in_an_unknown_one(faces):
    items = {e.id: e for e in faces if isinstance(e, Item)}
    box = items["Radio11_1"].box
    assert (box.x0, box.y0, box.x1, box.y1, box.unit, box.frame_height) == (557, 0, 557 + 478, 478, "px", 720)
    doubtful = {i.id for i in items.values() if "box_doubt" in i.extra}
    assert doubtful == {"MaggieHassan_0", "MazieHirono1_0", "KevinMcCarthy1_0", "KevinMcCarthy1_1", "PeterKing_0"}
    assert all(i.box.frame_height is None if i.id in doubtful else i.box.y1 <= i.box.frame_height for i in items.values())


def test_two_addresses_of_one_politician_are_one_speaker(faces):
    by = {e.id: e.speaker for e in faces if isinstance(e, Item)}
    assert by["AmyKlobuchar0_0"] == by["AmyKlobuchar1_2"] == "AmyKlobuchar" and by["Radio11_0"] is None


def test_a_damaged_copy_of_the_tables_loses_only_what_is_damaged(shared, tmp_path, faces):
    shutil.copytree(shared / "indexes" / "hdtf", tmp_path / "hdtf")
    for path in (tmp_path / "hdtf").iterdir():
        path.chmod(0o644)
    urls = tmp_path / "hdtf" / "RD_video_url.txt"
    lines = urls.read_bytes().splitlines(keepends=True)
    lines[0] = b"Radio1\n"                       # no address any more
    lines[1] = lines[1].replace(b"https", b"file")
    lines[2] = b"\xff\xfe\n"
    urls.write_bytes(b"".join(lines) + lines[5])  # one twice
    times = tmp_path / "hdtf" / "RD_annotion_time.txt"
    times.write_text(times.read_text().replace("Radio12.mp4 00:25-01:00",
                                               "Radio12.mp4 01:25-01:00").replace("Radio13.mp4 00:00-00:35", "Radio13.mp4 soon"))
    now = list(hdtf.entries({"path": str(tmp_path / "hdtf")}))
    before, after = ({e.id for e in es if isinstance(e, Item)} for es in (faces, now))
    lost = {"Radio1_0", "Radio2_0", "Radio3_0", "Radio12_0", "Radio13_0"}
    assert before - after == {i for i in lost if i in before} and not after - before
    reasons = Counter(e.reason for e in now if isinstance(e, Rejected))
    # The two unreadable lines, and the stretches of these videos; the address, the times, and the line that is there twice.
    assert reasons == {"no_match": 16 + 2, "bad_row": 2, "bad_url": 1, "bad_time": 2, "duplicate": 1}
    assert math.isclose(sum(e.length_s for e in now if isinstance(e, Item)),
                        sum(e.length_s for e in faces if isinstance(e, Item) and e.id in after))


def test_a_folder_that_is_no_hdtf_or_lacks_a_table_is_named(tmp_path):
    with pytest.raises(ValueError, match="RD_video_url.txt"):
        list(hdtf.entries({"path": str(tmp_path)}))
    (tmp_path / "RD_video_url.txt").write_text("Radio1 https://www.youtube.com/watch?v=CPCoMyuBRM0\n")
    with pytest.raises(ValueError, match=r"RD_crop_wh\.txt.* is missing"):
        list(hdtf.entries({"path": str(tmp_path)}))
