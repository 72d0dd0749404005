"""The download stage on a corpus of addresses: what arrives, what the ledger says, what rots, is tried again, is forgotten."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

import stages.download
from core import executor, media, shards
from core.stage import UserError
from corpora.fetch import forgotten, ledger
from flows import download as downloading
from tests.core.mappers import InHere
from tests.core.media_clips import mux
from tests.corpora.fault_server import fault_server
from tests.stages.sync_clips import SHORT, hum, inside, rejects_of, rows_of, workspace

FETCH = {"attempts": 2, "pause_s": 0.01, "stall_s": 2.0, "timeout_s": 30.0, "per_second": 1000.0, "parallel": 1}
OUT = "data/download/net-en"


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """(folder, server, ledger rows of the first run): nine rows of a table, one film at two addresses, one of them a page."""
    folder = tmp_path_factory.mktemp("net")
    mux(folder / "film.mp4", times_s=[i / 25 for i in range(75)], tracks=[{"codec": "aac", "samples": hum(SHORT)}])
    with fault_server() as server:
        server.files["film.mp4"] = server.files["film2.mp4"] = (folder / "film.mp4").read_bytes()
        server.files["page.html"] = b'<!doctype html><title>A film</title><video src="film.mp4"></video>'
        at = f"{server.address}/served"
        (folder / "index").mkdir()
        (folder / "index" / "t.csv").write_text("\n".join([
            "id,url,fetch,start_s,end_s,language,speaker,sha256", f"whole,{at}/film.mp4,http,,,en,anna,",
            f"cut1,{at}/film.mp4,http,0,1,en,anna,",
            f"cut2,{at}/film.mp4,http,1,2.4,en,bert,", f"page,{at}/page.html,page,0,2,en,,", f"lost,{at}/lost.mp4,http,0,1,en,,",
            f"lost2,{at}/lost.mp4,http,1,2,en,,", f"down,{server.address}/status-500-2/v.mp4,http,,,en,,",
            f"other,{at}/film2.mp4,http,,,en,,{'0' * 64}", f"junk,{server.address}/good/v.mp4,http,,,en,,"]) + "\n")
        workspace(folder, {"net": {"adapter": "csv", "path": "index/t.csv", "languages": {"en": {}}}}, fetch=FETCH)
        with inside(folder) as params:
            stages.download.main("net-en", params)
            rows = {r["item_id"]: r for r in ledger.rows(folder / OUT)}
        yield folder, server, rows


@pytest.fixture(autouse=True)
def in_here(net, monkeypatch):
    """After the first run, which is as a user has it."""
    monkeypatch.setattr(executor, "WorkerPool", InHere)


def test_every_item_is_there_or_has_its_reason(net):
    folder, server, rows = net
    assert {i: r["reason"] for i, r in rows.items()} == {
        "whole": None, "cut1": None, "cut2": None, "page": None, "lost": "gone", "lost2": "gone", "down": "unreachable",
        "other": "wrong_hash",
        "junk": "decode_error"}
    got = {r["recording_id"]: r for r in rows_of(folder, "download", "net-en", "recordings")}
    assert (folder / OUT / "media" / "whole.mp4").read_bytes() == server.files["film.mp4"]
    frames = {i: media.frame_count(folder / OUT / "media" / got[i]["file"]) for i in got}
    assert frames == {"whole": 75, "cut1": 25, "cut2": 35, "page": 50}
    assert json.loads(got["cut1"]["extra"])["fetched"]["etag"] == '"film.mp4"' == rows["whole"]["etag"]
    assert sorted(p.name for p in (folder / OUT / "media").iterdir()) == sorted(r["file"] for r in got.values())


def test_items_of_one_source_are_one_fetch_also_where_it_is_refused(net):
    _, server, _ = net
    asked = [what for what, _ in server.ranges]
    # film.mp4 for three items and by the page's downloader; lost.mp4 twice, to be sure, for two items; film2 twice, for its hash
    assert server.hits["status-500-2"] == 2 and asked.count("good") == 1


def test_attempts_and_times_are_written_down_outside_the_output(net):
    folder, _, _ = net
    lines = [json.loads(line) for line in (folder / ".babelface/logs/download-net-en.jsonl").read_text().splitlines()]
    assert sum("/served/lost.mp4" in x["at"] for x in lines) == 2 and sum(x["at"].endswith("/film.mp4") for x in lines) == 1
    assert {x["outcome"] for x in lines} == {"done", "gone", "unreachable", "wrong_hash"}
    assert not any("attempt" in p.read_text() for p in (folder / OUT).glob("*.json"))


def test_what_failed_for_now_is_tried_again_and_nothing_else(net):
    folder, server, _ = net
    before = dict(server.hits)
    with inside(folder) as params:
        server.files["film3.mp4"] = server.files["film.mp4"]
        assert ledger.again(folder / OUT, ["unreachable"]) == {"down": "unreachable"}
        stages.download.main("net-en", params)
    assert {k: n - before[k] for k, n in server.hits.items() if n != before.get(k)} == {"status-500-2": 1}
    # the server has recovered, and what it has there is no film
    assert rejects_of(folder, "download", "net-en")["down"][0] == "decode_error"


def test_forgetting_takes_out_a_speaker_and_leaves_a_tombstone(net):
    folder, server, _ = net
    hits = dict(server.hits)
    with inside(folder) as params:
        forgotten.add(forgotten.Entry("speaker", "anna", "net", "asked on paper"))
        stages.download.main("net-en", params)
    got = {r["recording_id"]: r["speaker"] for r in rows_of(folder, "download", "net-en", "recordings")}
    assert set(got) == {"cut2", "page"} and not list((folder / OUT / "media").glob("whole*")) and server.hits == hits
    stones = {s["item_id"]: s for s in ledger.tombstones(folder / OUT)}
    assert stones["whole"]["reason"] == "forgotten" and stones["whole"]["sha256"]
    early = shards.read_shard(folder / OUT / "rejects_early.parquet").to_pylist()
    assert {r["item_id"] for r in early} == {"whole", "cut1"} and "anna" not in json.dumps(early)


def test_a_rebuild_needs_no_network_and_without_what_was_fetched_says_what_rotted(net, capsys):
    folder, server, _ = net
    del server.files["film.mp4"]
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    workspace(folder, raw["corpora"], fetch=FETCH, shards=3)
    with inside(folder) as params:
        stages.download.main("net-en", params)
    assert ledger.counts(folder / OUT)["kept"] == 2 and "last version" not in capsys.readouterr().err
    shutil.rmtree(folder / ".babelface/fetched")
    workspace(folder, raw["corpora"], fetch=FETCH | {"attempts": 1}, shards=2)  # that a refusal is believed late is shown above
    with inside(folder) as params:
        stages.download.main("net-en", params)
    stones = {s["item_id"]: s for s in ledger.tombstones(folder / OUT)}
    assert set(stones) == {"whole", "cut1", "cut2", "lost", "lost2", "page"} and ledger.counts(folder / OUT)["tombstones"] == 6
    assert stones["cut2"]["sha256"] and stones["whole"]["sha256"] and stones["lost"]["sha256"] is None
    said = capsys.readouterr().err
    assert "cut2 was in the last version and is gone" in said and "lost was in" not in said and "whole was in" not in said


@pytest.fixture
def wrong_at_first(net, tmp_path):
    """The workspace of six rows and its server: a page in place of v.mp4, the first half of cut.mp4, a film at film.mp4."""
    _, server, _ = net
    film = server.files["film2.mp4"]
    server.files |= {"v.mp4": b"<!doctype html><title>Back soon</title>", "cut.mp4": film[:len(film) // 2], "ok.mp4": film,
                     "pinned.mp4": b"no film"}
    at = f"{server.address}/served"
    (tmp_path / "t.csv").write_text("\n".join([
        "id,url,fetch,start_s,end_s,language,sha256", f"v,{at}/v.mp4,http,,,en,", f"v2,{at}/v.mp4,http,0,1,en,",
        f"cut,{at}/cut.mp4,http,,,en,", f"late,{at}/ok.mp4,http,50,51,en,", f"ok,{at}/ok.mp4,http,,,en,",
        f"pinned,{at}/pinned.mp4,http,,,en,{hashlib.sha256(b'no film').hexdigest()}"]) + "\n")
    workspace(tmp_path, {"net": {"adapter": "csv", "path": "t.csv", "languages": {"en": {}}}}, fetch=FETCH)
    return tmp_path, server, film


def test_wrong_bytes_are_fetched_anew_when_they_are_tried_again(wrong_at_first):
    folder, server, film = wrong_at_first

    def run(*reasons):
        asked = server.hits["served"]
        with inside(folder) as params:
            n = sum(downloading.retry(params, [], list(reasons)).values()) if reasons else 0
            stages.download.main("net-en", params)
            return {r["item_id"]: r["reason"] for r in ledger.rows(folder / OUT)}, n, server.hits["served"] - asked

    bad = {"v": "decode_error", "v2": "decode_error", "cut": "decode_error", "late": "short_source", "ok": None,
           "pinned": "decode_error"}
    assert run() == (bad, 0, 4)
    assert run("decode_error") == (bad, 4, 2), "two addresses; one hash is as the index gives it"
    server.files |= {"v.mp4": film, "cut.mp4": film}
    assert run() == (bad, 0, 0)
    good = bad | {"v": None, "v2": None, "cut": None}
    assert run("decode_error") == (good, 4, 2)
    assert (folder / OUT / "media" / "v.mp4").read_bytes() == film

    del server.files["ok.mp4"]  # what others were made of is not lost for an attempt that came to nothing
    assert run("short_source") == (good | {"late": "gone"}, 1, 2)
    workspace(folder, yaml.safe_load((folder / "params.yaml").read_text())["corpora"], fetch=FETCH, shards=3)
    assert run() == (good, 0, 0)


def test_a_corpus_for_research_only_needs_a_word(tmp_path):
    (tmp_path / "talk").mkdir()
    (tmp_path / "talk" / "t.json").write_text("{}")
    corpora = {"talk": {"adapter": "ravdess", "path": "talk", "languages": {"en": {}}}}
    workspace(tmp_path, corpora)
    with inside(tmp_path) as params, pytest.raises(UserError, match=r"corpus talk.*allow_non_commercial"):
        stages.download.main("talk-en", params)
    workspace(tmp_path, corpora, licences={"allow_non_commercial": True})
    with inside(tmp_path) as params:
        assert stages.download.main("talk-en", params)["items_in"] == 0


def test_a_damaged_list_of_the_forgotten_stops_everything(tmp_path):
    (tmp_path / "t.csv").write_text("url,language\nhttp://127.0.0.1:9/v.mp4,en\n")
    (tmp_path / "forgotten.yaml").write_text("- {item: 12}\n")
    workspace(tmp_path, {"net": {"adapter": "csv", "path": str(tmp_path / "t.csv"), "languages": {"en": {}}}}, fetch=FETCH)
    with inside(tmp_path) as params, pytest.raises(UserError, match=r"forgotten\.yaml.*quotes"):
        stages.download.main("net-en", params)
