"""The folder corpus: hostile indexes lose rows, not runs, and never reach outside the folder."""

from __future__ import annotations

import os

import pytest

from core.records import SAFE_ID, Reject, Source
from corpora import folder
from corpora.registry import adapters, items, languages, open_corpus


def make(tmp_path, text: str, *files: str, encoding: str = "utf-8"):
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "index.csv").write_bytes(text.encode(encoding))
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return {"path": str(root)}


def everything(config):
    found = {tag: items(folder, config, tag) for tag in languages(folder, config)}
    return [i for some, _ in found.values() for i in some], [r for _, rejected in found.values() for r in rejected]


def test_the_real_folder_gives_all_28_rows(shared):
    config = {"path": str(shared / "real")}
    assert languages(folder, config) == ["en", "es", "fr", "it", "pt", "und"]
    found, rejected = everything(config)
    assert len(found) == 28 and rejected == []
    assert len({item.id for item in found}) == 28 and all(SAFE_ID.fullmatch(item.id) for item in found)
    assert {item.kind for item in found} == {"real", "generated", "negative"}
    assert {item.speaker for item in found if item.language == "und"} >= {None, "vox-a"}
    assert all("origin" in item.extra and list(item.extra) == sorted(item.extra) for item in found)


def test_rows_keep_what_they_say_and_unknown_is_none(tmp_path):
    text = "\ufefffile,language,speaker,kind,note,n\r\na/b.mp4,EN_us,Zoë,,\"x, y\",007\r\nc.mp4,,,generated,,\r\n"
    config = make(tmp_path, text, "a/b.mp4", "c.mp4")
    assert languages(folder, config) == ["en-US", "und"]
    (first,), _ = items(folder, config, "en-us")
    assert (first.id, first.speaker, first.kind, first.source) == ("a_b", "Zoë", "real", Source("file", "a/b.mp4"))
    assert first.extra == {"n": "007", "note": "x, y"}
    (second,), _ = items(folder, config, "und")
    assert (second.speaker, second.kind, second.language) == (None, "generated", "und")


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.mp4", "a/../../secret.mp4", "C:/x.mp4", "a\\b.mp4", "link.mp4",
                                  "dir_link/secret.mp4", "", "a\x07.mp4", "..", "a/../ok.mp4"])
def test_names_that_lead_outside_are_rejected(tmp_path, name):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    config = make(tmp_path, f'file,language\nok.mp4,en\n"{name}",en\n', "ok.mp4")
    root = tmp_path / "corpus"
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "dir_link").symlink_to(tmp_path)
    found, rejected = items(folder, config, "en")
    assert [item.id for item in found] == ["ok"]
    assert [r.reason for r in rejected] == ["bad_name"] and "line 3" in rejected[0].detail
    with pytest.raises(Reject):
        folder.safe_path(root, name)


@pytest.mark.parametrize("name", [f"{'x' * 300}.mp4", "/".join(["d" * 200] * 21) + "/a.mp4", "a\0.mp4"])
def test_names_that_no_file_can_have_are_bad_names(tmp_path, name):
    found, rejected = items(folder, make(tmp_path, f"file,language\n{name},en\n"), "en")
    assert not found and [r.reason for r in rejected] == ["bad_name"] and len(rejected[0].detail) < 400


def test_files_that_are_not_there_are_rejected(tmp_path):
    names = ["gone.mp4", "sub", "dangling.mp4", "loop.mp4", "pipe", "ok.mp4"]
    config = make(tmp_path, "file,language\n" + "".join(f"{name},en\n" for name in names), "ok.mp4", "sub/x")
    root = tmp_path / "corpus"
    (root / "dangling.mp4").symlink_to(root / "nowhere.mp4")
    (root / "loop.mp4").symlink_to(root / "loop.mp4")
    os.mkfifo(root / "pipe")
    found, rejected = items(folder, config, "en")
    assert [item.id for item in found] == ["ok"]
    assert [r.reason for r in rejected] == ["missing_file"] * 5
    assert all(SAFE_ID.fullmatch(r.id) for r in rejected)


def test_a_link_within_the_folder_is_fine(tmp_path):
    config = make(tmp_path, "file,language\nlink.mp4,en\n", "sub/ok.mp4")
    (tmp_path / "corpus" / "link.mp4").symlink_to("sub/ok.mp4")
    (item,), _ = items(folder, config, "en")
    assert folder.fetch(item, config, tmp_path).path.read_bytes() == b"sub/ok.mp4"


def test_ids_are_unique_safe_and_a_file_named_twice_counts_once(tmp_path):
    names = ["a.mp4", "a.webm", "x/y.mp4", "x_y.mp4", "ünï 1.mp4", "ünï-1.mp4", "-rf.mp4", ".hidden.mp4"]
    config = make(tmp_path, "file,language\n" + "".join(f"{n},en\n" for n in [*names, "a.mp4", "./a.mp4"]), *names)
    found, rejected = items(folder, config, "en")
    assert sorted(i.source.at for i in found) == sorted(names)
    assert len({i.id for i in found}) == len(names) and all(SAFE_ID.fullmatch(i.id) for i in found)
    assert [r.reason for r in rejected] == ["duplicate"] * 2 and "line 2 already" in rejected[0].detail
    assert len({r.id for r in rejected} | {i.id for i in found}) == len(names) + 2


def test_every_row_is_accounted_for_and_bad_tags_count_as_undetermined(tmp_path):
    text = "file,language,kind\na.mp4,english,\nb.mp4,xx,\nc.mp4,iw,\nd.mp4,,fake\ne.mp4,zh-hant-tw,,surplus\nf.mp4\n"
    config = make(tmp_path, text, *(f"{c}.mp4" for c in "abcdef"))
    assert languages(folder, config) == ["he", "und", "zh-Hant-TW"]
    found, rejected = everything(config)
    assert sorted(i.source.at for i in found) == ["c.mp4", "e.mp4", "f.mp4"]
    assert sorted(r.reason for r in rejected) == ["bad_language", "bad_language", "bad_row"]
    assert len(found) + len(rejected) == 6


def test_an_index_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="set corpora"):
        languages(folder, {"path": str(tmp_path / "nowhere")})
    with pytest.raises(FileNotFoundError, match=r"needs an index\.csv"):
        languages(folder, {"path": str(tmp_path)})
    wrong = (("name,language\na,en\n", "utf-8", "column 'file'"), ("file,file\na,b\n", "utf-8", "twice"),
             ("", "utf-8", "column 'file'"), ("file,Zoë\na.mp4,x\n", "latin-1", "not UTF-8"),
             ("x" * 200_000 + "\nfile", "utf-8", "not a CSV"))
    for text, encoding, match in wrong:
        (tmp_path / "index.csv").write_bytes(text.encode(encoding))
        with pytest.raises(ValueError, match=match):
            languages(folder, {"path": str(tmp_path)})
    with pytest.raises(ValueError, match="not a BCP-47"):
        (tmp_path / "index.csv").write_text("file\n")
        items(folder, {"path": str(tmp_path)}, "english")


def test_a_line_that_cannot_be_read_is_one_reject_and_the_others_stay(tmp_path):
    text = b'file,language\na.mp4,en\nb\xff.mp4,en\n' + b"x" * 200_000 + b',en\nc.mp4,en\n"d.mp4,en\ne.mp4,en\n'
    config = make(tmp_path, "", "a.mp4", "c.mp4")
    (tmp_path / "corpus" / "index.csv").write_bytes(text)
    found, rejected = everything(config)
    assert [i.source.at for i in found] == ["a.mp4", "c.mp4"] and [r.reason for r in rejected] == ["bad_row"] * 3
    assert ["line 3" in rejected[0].detail, "line 4" in rejected[1].detail, "lines 6 to 7" in rejected[2].detail] == [True] * 3


def test_fetch_links_twice_without_leaving_parts_and_checks_again(tmp_path):
    config = make(tmp_path, "file,language\nsub/a.MP4,en\n", "sub/a.MP4")
    out = tmp_path / "out"
    out.mkdir()
    (item,), _ = items(folder, config, "en")
    for _ in range(2):
        fetched = folder.fetch(item, config, out)
        assert fetched.truth is None and fetched.path == out / "sub_a.mp4"
        assert [p.name for p in out.iterdir()] == ["sub_a.mp4"]
        assert fetched.path.samefile(tmp_path / "corpus" / "sub" / "a.MP4")
    (tmp_path / "corpus" / "sub" / "a.MP4").unlink()
    with pytest.raises(Reject, match="missing_file"):
        folder.fetch(item, config, out)


def test_fetch_copies_where_links_are_not_possible(tmp_path, monkeypatch):
    config = make(tmp_path, "file,language\na.mp4,en\n", "a.mp4")
    (item,), _ = items(folder, config, "en")

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = folder.fetch(item, config, tmp_path).path
    assert path.read_bytes() == b"a.mp4" and not path.samefile(tmp_path / "corpus" / "a.mp4")


def test_the_registry_finds_what_lies_in_the_folder_and_helps_with_typos():
    assert {"folder", "synthetic"} <= set(adapters()) and "registry" not in adapters()
    assert open_corpus("folder") is folder
    assert open_corpus("synthetic").CARD.name == "synthetic"
    assert open_corpus("LRW-1000").CARD.name == "lrw1000" and open_corpus("mTEDx").CARD.name == "muavic"
    with pytest.raises(ValueError, match="did you mean 'folder'"):
        open_corpus("foldr")
    for name in ("../core", "registry", "os", "synthetic.adapter", ""):
        with pytest.raises(ValueError, match="no corpus adapter"):
            open_corpus(name)


def test_a_module_without_the_contract_is_refused(tmp_path, monkeypatch):
    import corpora.registry as registry

    (tmp_path / "half.py").write_text("CARD = None\n")
    monkeypatch.setattr(registry, "_FOLDER", tmp_path)
    monkeypatch.setattr(registry, "import_module", lambda name: __import__("types"))
    with pytest.raises(TypeError, match="lacks CARD, entries, fetch"):
        registry.open_corpus("half")
