"""The list of the forgotten: what a person wrote is kept to, and what cannot be read stops everything."""

from __future__ import annotations

import pytest

from core.records import Item
from corpora.fetch.forgotten import BadList, Entry, add, read, split


def item(name, speaker=None, video=None, corpus="c"):
    return Item(name, corpus, "en", speaker, video=video)


def test_what_is_added_is_read_again_and_once_only(tmp_path):
    path = tmp_path / "forgotten.yaml"
    assert read(path) == []
    entries = [Entry("speaker", "007"), Entry("item", "Ünal: #1", "c", "asked by letter"), Entry("video", "yes")]
    assert [add(entry, path) for entry in entries] == [True] * 3 and read(path) == entries
    assert not add(Entry("speaker", "007", why="again"), path) and read(path) == entries
    assert path.read_text().startswith("#") and [p.name for p in tmp_path.iterdir()] == ["forgotten.yaml"]


def test_the_list_of_the_project_can_be_read(root):
    assert isinstance(read(root / "forgotten.yaml"), list)


@pytest.mark.parametrize("text", ["- {item: 7}", "- {item: a, speaker: b}", "- {corpus: c}", "- a", "item: a", "[",
                                  "- {item: a, sex: f}",
                                  "- {item: a, corpus: 7}"])
def test_a_list_that_cannot_be_read_is_an_error_not_an_empty_list(tmp_path, text):
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(BadList, match="f.yaml"):
        read(tmp_path / "f.yaml")


def test_items_go_by_their_own_name_their_video_or_their_speaker():
    items = [item("a", "anna", "v1"), item("b", "bert", "v1"), item("c", "bert", "v2"), item("anna"), item("d")]
    for entry, gone in ((Entry("item", "a"), "a"), (Entry("video", "v1"), "ab"), (Entry("speaker", "bert"), "bc"),
                        (Entry("speaker", "None"), ""),
                        (Entry("speaker", "bert", "mine"), "bc"), (Entry("speaker", "bert", "yours"), "")):
        kept, out = split(items, [entry], "mine")
        assert "".join(r.id for r in out) == gone and {r.reason for r in out} <= {"forgotten"}
        assert [i.id for i in kept] == [i.id for i in items if i.id not in gone or not gone]
