"""`babelface download`, `forget` and `unpack` without a network: what they say, and what they refuse to do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from core import shards
from core.params import check_params
from core.records import Source
from core.stage import UserError
from corpora.fetch import forgotten, ledger, page
from corpora.fetch.limits import Limits
from corpora.fetch.store import Store
from flows import doctor, download
from flows.cli import app
from flows.download_status import status, status_lines
from flows.forget import forget

TABLE = """id,url,fetch,video,start_s,end_s,language,speaker
a,https://one.org/v1,page,v1,0,1800,tr,anna
b,https://one.org/v1,page,v1,3600,5400,tr,bert
c,https://two.org/c.mp4,http,,,,tr,anna
d,https://one.org/v2,page,v2,0,360,fi,
e,https://one.org/v2,page,v2,180,540,fi,
"""


@pytest.fixture
def params(tmp_path, root, monkeypatch):
    """The project's params with one corpus, a table of addresses, in a folder of its own that we are in."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    raw = yaml.safe_load((root / "params.yaml").read_text())
    raw["corpora"] = {"net": {"adapter": "csv", "path": "in/t.csv", "languages": {"tr": {}, "fi": {}}}}
    raw["train"] |= {"experts": {}, "systems": {}}
    raw["score"] |= {"expert": {"weights": "expert.pt"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    return check_params(raw)


def put(params, source, n_bytes):
    """A source in the store, as if fetched."""
    store = Store(download.Path(params.fetch.store), Limits.of(params.fetch.model_dump(mode="json")))
    place = store._place(source)
    place.mkdir(parents=True)
    (place / "whole.mp4").write_bytes(bytes(n_bytes))
    shards.write_json(place / "source.json", {"at": source.at, "kind": source.kind, "files": ["whole.mp4"], "bytes": n_bytes,
                                              "sha256": "0", "etag": None})
    assert store.has(source) == n_bytes
    return store


def finished(instance, rows, rejects, early=()):
    """A folder as a finished download leaves it."""
    out = download.out_folder("download", instance)
    who = {"corpus": "net", "language": "tr", "speaker": None}
    kept = [{"recording_id": i, "bytes": 5, "sha256": "ab", "source": "x", "extra": "{}"} | who for i in rows]
    lost = [{"item_id": i, "reason": r, "detail": "d", "stage": "download"} | who for i, r in (*rejects, *early)]
    shards.write_table(shards.shard_path(out, "recordings", 0), kept, "recordings")
    shards.write_table(shards.shard_path(out, "rejects", 0), lost[:len(rejects)], "rejects")
    shards.write_table(out / "rejects_early.parquet", lost[len(rejects):], "rejects")
    items = [{"item_id": i, "language": "tr", "digest": "x", "status": s, "counts": [1, 0, 0]} for i,
             s in [*((i, "kept") for i in rows), *rejects]]
    shards.write_table(out / "items.parquet", items, "items")
    return out


def test_targets_are_instances_corpora_or_languages(params):
    def names(*targets):
        return [i.name for i in download.chosen(params, targets)]

    assert names() == ["net-tr", "net-fi"] == names("net") and names("fi") == ["net-fi"] == names("download@net-fi", "net-fi")
    with pytest.raises(UserError, match="did you mean 'net-tr'"):
        names("net-tt")


def test_the_estimate_counts_sources_once_and_leaves_out_what_is_here(params):
    found = download.estimate(params, ["tr"])
    assert [found[k] for k in ("items", "remote_items", "sources", "items_without_length", "hours")] == [3, 3, 2, 1, 1.0]
    assert found["hours_to_fetch_at_least"] == 1.5, "the video comes whole, and reaches at least to the end of its last stretch"
    assert found["bytes_to_fetch_at_least"] == 1.35e9 and found["bytes_of_result"] == 5e9
    assert found["hosts"] == {"one.org": 1, "two.org": 1}
    put(params, Source("page", "https://one.org/v1"), 1000)
    found = download.estimate(params, [])
    assert [found[k] for k in ("sources", "sources_here", "bytes_here")] == [3, 1, 1000]
    assert found["bytes_to_fetch_at_least"] == round(0.135e9), "two stretches of one video overlap"
    text = "\n".join(download.estimate_lines(found))
    assert "5 of them at 3 addresses" in text and "at least 0.15 hours" in text
    assert "1 items whose length" in text and "assuming" in text


def test_status_counts_by_reason(params, root):
    for room in ("core", "corpora", "metrics", "models", "stages"):  # it tells what a download of now would begin with
        Path(room).symlink_to(root / room, target_is_directory=True)
    finished("net-tr", ["a"], [("b", "gone"), ("c", "unreachable")])
    rows = status(params, [])
    assert rows[0] == {"instance": "net-tr", "state": "stale", "items": 3, "kept": 1, "bytes": 5,
                       "rejected": {"gone": 1, "unreachable": 1}, "tombstones": 0, "stale": {"changed": 3, "params": True}}
    assert rows[1] == {"instance": "net-fi", "state": "absent"}
    text = "\n".join(status_lines(rows))
    assert "net-tr: 1 of 3 items" in text and "unreachable: 1 (the address did not" in text
    assert "net-fi: not downloaded yet" in text


def test_retry_marks_what_was_rejected_for_that_and_nothing_else(params):
    out = finished("net-tr", ["a"], [("b", "gone"), ("c", "unreachable"), ("d", "timeout")])
    assert download.retry(params, [], ["unreachable", "timeout"]) == {"net-tr": 2}
    digests = {r["item_id"]: r["digest"] for r in shards.read_shard(out / "items.parquet").to_pylist()}
    assert digests == {"a": "x", "b": "x", "c": "", "d": ""}
    with pytest.raises(UserError, match="did you mean 'unreachable'"):
        download.retry(params, [], ["unreachible"])


def test_tombstones_survive_a_run_that_was_killed_before_it_wrote_them(params):
    out = finished("net-tr", ["a", "b"], [("c", "gone")])
    ledger.remember(out, "net-tr")
    assert ledger.bury(out, "net-tr") == []
    ledger.remember(out, "net-tr")  # a run begins, its folder is swapped in, and it is killed
    (out / ledger.TOMBSTONES).unlink()
    finished("net-tr", ["b"], [("a", "gone"), ("c", "gone")])
    ledger.remember(out, "net-tr")
    lost = ledger.bury(out, "net-tr")
    assert [(s["item_id"], s["sha256"]) for s in lost] == [("a", "ab")]
    assert [(s["item_id"], s["sha256"]) for s in ledger.tombstones(out)] == [("a", "ab"), ("c", None)]


def test_whatever_the_last_version_had_and_this_one_has_not_is_told_of(params):
    out = finished("net-tr", list("abcdefg"), [("z", "unreachable")])
    ledger.remember(out, "net-tr")
    assert ledger.bury(out, "net-tr") == []
    ledger.remember(out, "net-tr")
    now = [("b", "gone"), ("c", "forbidden"), ("d", "unreachable"), ("e", "no_video"), ("z", "forbidden")]
    finished("net-tr", ["a", "n"], now, early=[("f", "missing_file")])
    lost = ledger.bury(out, "net-tr")
    assert {s["item_id"]: s["reason"] for s in lost} == {"b": "gone", "c": "forbidden", "d": "unreachable", "e": "no_video",
                                                         "f": "missing_file", "g": None}
    assert all((s["source"], s["bytes"], s["sha256"]) == ("x", 5, "ab") for s in lost)
    assert [s["item_id"] for s in ledger.tombstones(out)] == ["b"], "the others may come back"
    ledger.remember(out, "net-tr")
    assert ledger.bury(out, "net-tr") == [], "it is told once"


def test_the_doctor_says_which_runtime_pages_can_use(monkeypatch):
    for version, usable, level in (("20.1.0", False, "note"), ("22.1.0", True, "ok")):
        monkeypatch.setattr(page, "runtimes", lambda v=version, u=usable: [page.Runtime("node", "/bin/node", v, u)])
        [finding] = doctor._pages()
        assert finding.level == level and f"node {version}" in finding.text
    monkeypatch.setattr(page, "solver", lambda: None)
    [finding] = doctor._pages()
    assert finding.level == "note" and "pip install yt-dlp-ejs" in finding.text


def test_forgetting_writes_the_list_and_deletes_what_nobody_else_needs(params):
    store = put(params, Source("page", "https://one.org/v1"), 10)
    put(params, Source("http", "https://two.org/c.mp4"), 10_000_000)
    said = forget(params, "anna", "net", "asked", None)
    assert "speaker 'anna': 2 items" in said and "dvc gc" in said
    assert "fetched and deleted: 1\n  https://two.org/c.mp4 (0.01 GB)\n" in said
    assert "fetched and kept, for others are in it: 1\n  https://one.org/v1\n" in said
    assert forgotten.read() == [forgotten.Entry("speaker", "anna", "net", "asked")]
    assert store.has(Source("page", "https://one.org/v1")) == 10, "another speaker is in it too"
    assert store.has(Source("http", "https://two.org/c.mp4")) is None
    assert [i.id for i in download.items_of(params, params.instance("net-tr"))] == ["b"]
    with pytest.raises(UserError, match="no item, video or speaker"):
        forget(params, "nobody", None, "", None)
    assert "0 items" in forget(params, "nobody", None, "", "speaker"), "also of somebody who may come"


def at_height(params, height):
    return params.model_copy(update={"fetch": params.fetch.model_copy(update={"height": height})})


def test_forgetting_deletes_what_is_here_at_another_height_also_when_done_once_more(params):
    low, page_ = at_height(params, 720), Source("page", "https://one.org/v2")
    store = put(low, page_, 10)
    assert "https://one.org/v2" in forget(params, "v2", None, "", None) and store.has(page_) is None
    store = put(low, page_, 10)  # as a version before this one left it
    said = forget(params, "v2", None, "", None)
    assert "was already in" in said and "2 items" in said and "fetched and deleted: 1" in said and store.has(page_) is None


def test_a_name_that_the_index_has_lost_is_found_in_the_ledger_and_among_what_was_fetched(params):
    film, seen = Source("http", "https://two.org/old.mp4"), Source("page", "https://www.youtube.com/watch?v=dQw4w9WgXcQ")
    store = put(params, film, 10)
    out = finished("net-tr", ["a"], [])
    who = {"corpus": "net", "language": "tr", "speaker": "zoe", "extra": '{"video": "old"}', "bytes": 5, "sha256": "ab"}
    shards.write_table(shards.shard_path(out, "recordings", 0), [{"recording_id": "z", "source": film.at} | who], "recordings")
    with pytest.raises(UserError, match="--as"):
        forget(params, "zoe", None, "", None)
    assert "speaker 'zoe': 0 items" in (said := forget(params, "zoe", None, "", "speaker")) and film.at in said
    assert store.has(film) is None
    for kind, name in (("item", "z"), ("video", "old")):
        put(params, film, 10)
        assert film.at in forget(params, name, None, "", kind) and store.has(film) is None
    put(params, seen, 10)
    put(params, Source("http", "https://two.org/c.mp4"), 10)
    assert seen.at in forget(params, "dQw4w9WgXcQ", None, "", "video") and store.has(seen) is None
    said = forget(params, "c", None, "", "video")
    assert "deleted" not in said and "kept, for others are in it: 1\n  https://two.org/c.mp4" in said, "the index has it"


def test_another_corpus_that_needs_the_file_keeps_it_and_one_that_cannot_be_read_keeps_all(params):
    Path("in/u.csv").write_text("id,url,fetch,language\nx,https://two.org/c.mp4,http,tr\n")
    film = Source("http", "https://two.org/c.mp4")
    store = put(params, film, 10)
    also = {"adapter": "csv", "path": "in/u.csv", "languages": {"tr": {}}}
    both = check_params(yaml.safe_load(Path("params.yaml").read_text()) | {"corpora": {
        "net": {"adapter": "csv", "path": "in/t.csv", "languages": {"tr": {}, "fi": {}}}, "also": also}})
    assert "kept, for others" in forget(both, "c", "net", "", None) and store.has(film) == 10
    Path("in/u.csv").unlink()
    said = forget(both, "c", "net", "", None)
    assert "nothing that was fetched is deleted" in said and "also-tr" in said and store.has(film) == 10


@pytest.mark.parametrize("name", ["download", "forget", "unpack"])
def test_the_commands_have_examples(name):
    assert f"babelface {name}" in CliRunner().invoke(app, [name, "--help"]).output.split("Examples")[1]


def test_the_commands_as_a_person_meets_them(params, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.graph.check_graph", lambda params: None)  # there is no code here that a graph could name
    ran = CliRunner().invoke(app, ["download", "--dry-run", "--json"])
    assert ran.exit_code == 0 and json.loads(ran.stdout)["sources"] == 3
    ran = CliRunner().invoke(app, ["download", "--status"])
    assert "net-tr: not downloaded yet" in ran.stdout
    assert CliRunner().invoke(app, ["download", "--retry", "timeout"]).stdout == "nothing was rejected for that\n"
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("a", "1")
    assert "1 files in" in CliRunner().invoke(app,
                                              ["unpack", "x.zip", "out"]).stdout and (tmp_path / "out" / "a").read_text() == "1"
    for words in (["download", "--status", "--dry-run"], ["forget", "x", "--as", "person"], ["unpack", "x.zip", "out"]):
        assert isinstance(CliRunner().invoke(app, words).exception, UserError), words
