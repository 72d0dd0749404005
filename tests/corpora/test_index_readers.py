"""Tables and JSON as they come: whole, damaged, hostile. A row is read, or a reject says where it stands; nothing else
happens."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.records import SAFE_ID, Reject
from corpora.index import json_rows, values
from corpora.index.tables import delimited, words

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(tmp_path, content: bytes | str, name: str = "index"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def split(rows):
    rows = list(rows)
    return [row.raw for row in rows if not isinstance(row.raw, Reject)], [(row.at,
                                                                           row.raw.reason) for row in rows if isinstance(row.raw,
                                                                                                                         Reject)]


def test_rows_without_a_header_must_have_every_cell(tmp_path):
    path = write(tmp_path, "a,1\n\nb\nc,3,4\n d , 5 \n")
    assert split(delimited(path, columns=("x", "y"))) == ([{"x": "a", "y": "1"}, {"x": "d", "y": "5"}],
                                                          [("line 3", "bad_row"), ("line 4", "bad_row")])


def test_a_quoted_cell_may_hold_lines_and_the_next_row_is_counted_right(tmp_path):
    rows = list(delimited(write(tmp_path, 'a,b\n"1\n2",x\n3,"y"z\n')))
    assert [(row.at, isinstance(row.raw, Reject)) for row in rows] == [("line 3", False), ("line 4", True)]
    assert rows[0].raw == {"a": "1\n2", "b": "x"}


def test_words_skip_empty_lines_and_refuse_short_ones(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbfa 1 2 \n\n  \nb\r\n\xff 1\n")
    assert split(words(path, 2)) == ([["a", "1", "2"]], [("line 4", "bad_row"), ("line 5", "bad_row")])


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_json_is_the_same_in_pieces_of_any_size(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_rows, "CHUNK", chunk)
    data = {"meta": [1, {"clips": {}}], "clips": {"a": {"x": "ü\"}]"}, "b": {"y": [1.5, None]}, "c": 3}, "after": 12}
    path = write(tmp_path, json.dumps(data, indent=1, ensure_ascii=False))
    found, bad = split(json_rows.entries(path, inside="clips"))
    assert found == [{"key": "a", "x": "ü\"}]"}, {"key": "b", "y": [1.5, None]}] and bad == [("entry 'c'", "bad_row")]
    path = write(tmp_path, json.dumps([{"x": 1}, {"x": 22}]))
    assert split(json_rows.entries(path)) == ([{"x": 1}, {"x": 22}], [])


@pytest.mark.parametrize("text, n", [('{"a": {"x": 1}, "b": {"x"', 1), ('[{"x": 1}, {"x": 2} {"x": 3}]', 2),
                                     ('{"a": {"x": 1},, }', 1), ("[", 0),
                                     ('[{"x": 1}', 1), ('[{"x": ' + "[" * 100_000, 0)])
def test_json_that_breaks_off_keeps_what_came_before_and_says_so(tmp_path, text, n):
    found, bad = split(json_rows.entries(write(tmp_path, text)))
    assert len(found) == n and bad == [(f"after entry {n}", "bad_row")]


def test_json_that_is_none_is_named(tmp_path):
    for text, match in (("", "is empty"), ("hello", "expected JSON"), ('{"a": 1}', "has no 'clips'")):
        with pytest.raises(values.BadIndex, match=match):
            list(json_rows.entries(write(tmp_path, text), inside="clips"))


def test_json_lines_lose_only_bad_lines(tmp_path):
    path = write(tmp_path, b'{"x": 1}\n\n[1]\n{"x": \n{"x": "\xff"}\n{"x": 2}\n')
    assert split(json_rows.lines(path)) == ([{"x": 1}, {"x": 2}],
                                            [("line 3", "bad_row"), ("line 4", "bad_row"), ("line 5", "bad_row")])


@QUIET
@given(content=st.binary(max_size=400))
def test_no_bytes_break_a_reader(tmp_path, content):
    path = write(tmp_path, content)
    for read in (lambda: delimited(path), lambda: delimited(path, columns=("a", "b")), lambda: words(path, 2),
                 lambda: json_rows.lines(path),
                 lambda: json_rows.entries(path), lambda: json_rows.entries(path, inside="clips")):
        try:
            assert all(row.at for row in read())
        except values.BadIndex as error:
            assert str(path) in str(error)


@QUIET
@given(names=st.lists(st.text(max_size=30), max_size=12), is_file=st.booleans())
def test_ids_are_safe_and_each_its_own(names, is_file):
    taken: set[str] = set()
    ids = [values.item_id(name, taken, is_file=is_file) for name in names]
    assert len(set(ids)) == len(names) and all(SAFE_ID.fullmatch(one) for one in ids)


@pytest.mark.parametrize("call", [
    lambda: values.span(3, 3), lambda: values.span(-1, 3), lambda: values.span("x", 3), lambda: values.span(0, "inf"),
    lambda: values.span(None, 1),
    lambda: values.clock("4:4"), lambda: values.clock("-1:00"), lambda: values.clock("")])
def test_what_is_no_time_is_bad_time(call):
    with pytest.raises(Reject) as caught:
        call()
    assert caught.value.reason == "bad_time"


def test_clocks_are_read_as_people_write_them():
    assert [values.clock(text) for text in ("00:05", "04:40", "75:00", "1:02:03.5")] == [5, 280, 4500, 3723.5]


@pytest.mark.parametrize("sides, more", [((0.5, 0, 0.5, 1), {}), ((0, 0, 1.01, 1), {}), ((0, -0.1, 1, 1), {}), (("nan", 0, 1, 1),
                                                                                                                {}),
                                                                                                                ((0, 0, 10, 9),
                                                                                                                 {"unit": "em"}),
                                         ((0, 0, 10, 900), {"unit": "px", "frame_height": 720}), ((True, 0, None, 1), {})])
def test_what_is_no_box_is_bad_box(sides, more):
    with pytest.raises(Reject) as caught:
        values.box(*sides, **more)
    assert caught.value.reason == "bad_box"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.b/c.mp4", "https://", "https://me:pw@a.b/c.mp4",
                                 "https://a.b/c d", "https://a.b/\n", "//a.b",
                                 "https://[::1", "https://a.b:99999/", "javascript:alert(1)", "https://a.b/" + "x" * 3000])
def test_what_is_no_address_is_bad_url(url):
    with pytest.raises(Reject) as caught:
        values.address(url)
    assert caught.value.reason == "bad_url" and len(str(caught.value)) < 400


def test_an_address_is_a_page_unless_it_ends_like_a_media_file():
    assert values.address("https://a.b/c.MP4?x=1").kind == "http" and values.address("https://a.b/c").kind == "page"
    assert values.address("https://a.b/stream", kind="http").kind == "http"


@pytest.mark.parametrize("url", ["https://www.youtube.com/watch?v=uBWJJvynXpA&t=6s", "https://youtu.be/uBWJJvynXpA?t=3",
                                 "https://m.youtube.com/shorts/uBWJJvynXpA"])
def test_all_addresses_of_one_video_are_one_video(url):
    assert values.video_of(url) == "uBWJJvynXpA"
