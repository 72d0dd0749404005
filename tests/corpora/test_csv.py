"""The corpus `csv`, and what all adapters share once an item is known: local copies, stretches of files, promised hashes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from core import media
from core.records import Box, Item, Reject, Rejected, Source
from corpora import csv, multitalk, registry

HEADER = "id,file,url,video,start_s,end_s,x0,y0,x1,y1,box_unit,box_frame_height,language,speaker,kind,sha256,fetch,mood\n"


def read(tmp_path, text, name="table.csv", **options):
    (tmp_path / name).write_text(text)
    entries = list(csv.entries({"path": str(tmp_path / name), "options": options}))
    return [e for e in entries if isinstance(e, Item)], [e for e in entries if isinstance(e, Rejected)]


def test_a_row_says_everything_an_item_can(tmp_path):
    (first, second, third), rejected = read(tmp_path, HEADER + (
        "a,,https://x.org/v.mp4,,1,2.5,10,20,110,220,px,720,pt_br,Ana,generated,,,calm\n"
        ",,https://x.org/page,,,,,,,,,,,,,,,\n"
        "c,,https://x.org/stream,abc,,,0.1,0,0.5,1,,,und,,,,http,\n"))
    assert not rejected
    assert first == Item("a", "csv", "pt-BR", "Ana", "generated", Source("http", "https://x.org/v.mp4", 1.0, 2.5),
                         {"mood": "calm"},
                         "https://x.org/v.mp4", 1.0, 2.5, Box(10, 20, 110, 220, "px", 720))
    assert (second.source, second.language, second.speaker) == (Source("page", "https://x.org/page"), "und", None)
    assert (third.source.kind, third.video, third.box) == ("http", "abc", Box(0.1, 0, 0.5, 1))


@pytest.mark.parametrize("cells, reason", [
    ({"url": "https://x.org/v", "start_s": "1"}, "bad_time"), ({"url": "https://x.org/v", "x0": "0.1"}, "bad_box"),
    ({}, "bad_name"),
    ({"file": "../a.mp4"}, "bad_name"), ({"file": "a\x00.mp4"}, "bad_name"), ({"file": "/etc/passwd"}, "bad_name"),
    ({"file": "n.mp4"}, "missing_file"),
    ({"url": "https://x.org/v", "kind": "fake"}, "bad_row"), ({"url": "https://x.org/v", "sha256": "12"}, "bad_row"),
    ({"video": "short"}, "bad_url"),
    ({"url": "https://x.org/v", "fetch": "magic"}, "bad_row"),
    ({"url": "https://x.org/v", "language": "english"}, "bad_language"),
    ({"url": "https://x.org/v", "box_frame_height": "tall", "x1": "1"}, "bad_box")])
def test_a_row_that_cannot_be_used_is_a_reject_with_its_line(tmp_path, cells, reason):
    good = {"url": "https://x.org/good"}
    rows = "".join(",".join(row.get(name, "") for name in HEADER.strip().split(",")) + "\n" for row in (good, cells))
    items, (rejected,) = read(tmp_path, HEADER + rows)
    assert len(items) == 1 and rejected.reason == reason and rejected.detail.startswith("table.csv line 3: ")


def test_a_length_is_that_of_the_stretch_else_what_the_table_says(tmp_path):
    head = "id,file,start_s,end_s,dur,language\n"
    for name in "abcdef":
        (tmp_path / f"{name}.mp4").touch()
    items, rejected = read(tmp_path, head + (
        "a,a.mp4,1,3.5,99,en\nb,b.mp4,,,12.5,en\nc,c.mp4,,,,en\nd,d.mp4,,,-3,en\n"
        "a,a.mp4,4,5,,en\nb,b.mp4,,,7,en\ne,e.mp4,1,,,en\nf,f.mp4,,,5,not a tag\ng,lost.mp4,,,8,en\n"),
        columns={"duration_s": "dur"})
    assert {i.id: i.length_s for i in items} == {"a": 2.5, "b": 12.5, "c": None, "d": None}
    assert items[0].extra["duration_s"] == "99", "and stays a fact of the recording"
    assert [(r.reason, r.length_s) for r in rejected] == [
        ("duplicate", 1.0), ("duplicate", 7.0), ("bad_time", None), ("bad_language", 5.0), ("missing_file", 8.0)]


def test_what_the_media_folder_lacks_is_as_long_as_the_table_says(tmp_path):
    (tmp_path / "films").mkdir()
    _, (gone,) = read(tmp_path, "id,url,start_s,end_s,language\nx,https://x.org/v.mp4,10,22,en\n", media=str(tmp_path / "films"))
    assert (gone.reason, gone.length_s) == ("missing_file", 12.0)


def test_names_of_columns_may_be_anybodys(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"x")
    (item,), _ = read(tmp_path, "path;lang\na.mp4;sw\n", columns={"file": "path", "language": "lang"}, delimiter=";",
                      media=str(tmp_path / "clips"))
    assert (item.id, item.language, item.source.at) == ("a", "sw", "a.mp4")
    for text, options, match in (("a,b\n1,2\n", {}, "expected a column file, url or video"),
                                 ("a\n", {"columns": {"file": "b"}}, "a column 'b'"),
                                 ("a\n", {"columns": {"who": "a"}}, "expected names for some of"),
                                 ("a\n", {"delimiter": "ab"}, "one character")):
        with pytest.raises(ValueError, match=match):
            read(tmp_path, text, **options)


def test_a_table_without_languages_is_in_the_one_that_the_option_names(tmp_path):
    (item,), (bad,) = read(tmp_path, "url\nhttps://x.org/v\nno\n", language="fi")
    assert item.language == bad.language == "fi"
    (item,), _ = read(tmp_path, "url,language\nhttps://x.org/v,\n", language="fi")
    assert item.language == "und"


def test_twice_the_same_is_a_duplicate_and_another_stretch_is_not(tmp_path):
    items, (twice,) = read(tmp_path, "video,start_s,end_s\nabcdefghijk,0,2\nabcdefghijk,2,4\nabcdefghijk,0,2\n")
    assert len(items) == 2 and (twice.reason, "line 2 already" in twice.detail) == ("duplicate", True)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """4 s, every frame told by two greys, every second of sound of its own loudness."""
    path = tmp_path_factory.mktemp("film") / "talk.mp4"
    sound = np.repeat(np.array([1000, 4000, 8000, 16000], np.int16), 16000) * np.tile(np.array([1, -1], np.int16), 32000)
    media.write_video(path, (np.repeat(np.array([[20 + 12 * (k % 16)], [20 + 24 * (k // 16)]], np.uint8),
                                       32 * 16 * 3).reshape(32, 32, 3) for k in range(100)), audio=sound, crf=1,
                                       audio_codec="flac")
    return path


def test_a_stretch_of_a_local_file_is_cut_out_to_the_frame(film, tmp_path):
    (item,), _ = read(tmp_path, "file,start_s,end_s\ntalk.mp4,1.0,2.2\n", media=str(film.parent))
    assert item.video == "talk.mp4" and item.id == "talk.mp4_1.0_2.2"
    fetched = csv.fetch(item, {"path": str(tmp_path / "table.csv"), "options": {"media": str(film.parent)}}, tmp_path)
    frames = list(media.read_frames(fetched.path))
    assert [round((f[:14].mean() - 20) / 12) + 16 * round((f[18:].mean() - 20) / 24) for f in frames] == list(range(25, 55))
    sound = np.abs(media.read_audio(fetched.path).astype(int))
    assert len(sound) == 30 * 640 and set(sound[:16000]) == {4000} and set(sound[16000:]) == {8000}
    again = csv.fetch(item, {"path": str(tmp_path / "table.csv"), "options": {"media": str(film.parent)}},
                      tmp_path).path.read_bytes()
    assert again == fetched.path.read_bytes()
    (late,), _ = read(tmp_path, "file,start_s,end_s\ntalk.mp4,40,41\n", media=str(film.parent))
    with pytest.raises(Reject, match="short_source: talk.mp4: ends before 40 s"):
        csv.fetch(late, {"path": str(tmp_path / "table.csv"), "options": {"media": str(film.parent)}}, tmp_path)


def test_a_file_that_is_not_the_promised_one_is_refused(film, tmp_path):
    right = hashlib.sha256(film.read_bytes()).hexdigest()
    config = {"path": str(tmp_path / "table.csv"), "options": {"media": str(film.parent)}}
    for digest, fine in ((right, True), (right.upper(), True), ("0" * 64, False)):
        (item,), _ = read(tmp_path, f"file,sha256\ntalk.mp4,{digest}\n", media=str(film.parent))
        if fine:
            assert csv.fetch(item, config, tmp_path).path.samefile(film)
        else:
            with pytest.raises(Reject, match="wrong_hash"):
                csv.fetch(item, config, tmp_path)


def clip(video, start_s=1.0):
    return {"youtube_id": video, "duration": {"start_sec": start_s, "end_sec": start_s + 1},
            "bbox": {"top": 0, "bottom": 0.5, "left": 0.2, "right": 0.9},
            "language": "turkish", "transcript": "x"}


def test_what_somebody_has_fetched_already_is_found_by_its_name(film, tmp_path):
    index = tmp_path / "turkish.json"
    index.write_text(json.dumps({"aaaaaaaaaaa_0": clip("aaaaaaaaaaa"), "bbbbbbbbbbb_0": clip("bbbbbbbbbbb"),
                                 "bbbbbbbbbbb_1": clip("bbbbbbbbbbb", 2.0),
                                 "ccccccccccc_0": clip("ccccccccccc"), "ddddddddddd_0": clip("ddddddddddd")}))
    folder = tmp_path / "media"
    for name in ("turkish/aaaaaaaaaaa_0.mp4", "raw/bbbbbbbbbbb.mp4", "x/ddddddddddd_0.mp4", "y/ddddddddddd_0.webm"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(film.read_bytes())
    config = {"path": str(index), "options": {"media": str(folder)}}
    found, rejected = registry.items(multitalk, config, "tr")
    by = {item.id: item for item in found}
    # A clip of the item's name is cut and cropped already; a video has still to be.
    assert (by["aaaaaaaaaaa_0"].source, by["aaaaaaaaaaa_0"].box) == (Source("file", "turkish/aaaaaaaaaaa_0.mp4"), None)
    assert by["bbbbbbbbbbb_1"].source == Source("file", "raw/bbbbbbbbbbb.mp4", 2.0, 3.0) and by["bbbbbbbbbbb_1"].box is not None
    assert {r.id: r.reason for r in rejected} == {"ccccccccccc_0": "missing_file", "ddddddddddd_0": "bad_name"}
    fetched = multitalk.fetch(by["bbbbbbbbbbb_1"], config, tmp_path)
    assert media.frame_count(fetched.path) == 25


def test_what_lies_on_the_network_is_not_the_adapters_to_fetch(tmp_path):
    (item,), _ = read(tmp_path, "url\nhttps://x.org/v.mp4\n")
    with pytest.raises(ValueError, match="the download stage fetches it"):
        csv.fetch(item, {"path": str(tmp_path / "table.csv")}, tmp_path)
