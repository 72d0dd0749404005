"""What `babelface download --status` says of a finished download, of a stale one, and of one that runs or was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

import stages.download
from core import executor, shards
from core.stage import only_writer
from flows import download
from flows.cli import app
from flows.download_status import status, status_lines
from tests.core.mappers import InHere
from tests.core.media_clips import mux
from tests.corpora.fault_server import fault_server
from tests.stages.sync_clips import SHORT, hum, inside, workspace

FETCH = {"attempts": 1, "pause_s": 0.01, "stall_s": 5.0, "timeout_s": 30.0, "per_second": 1000.0, "parallel": 1}
OUT = "data/download/net-en"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    mux(folder / "film.mp4", times_s=[i / 25 for i in range(30)], tracks=[{"codec": "aac", "samples": hum(SHORT)}])
    return (folder / "film.mp4").read_bytes()


@pytest.fixture
def server(film):
    with fault_server() as server:
        server.files["film.mp4"] = film
        yield server


@pytest.fixture
def net(tmp_path, server, monkeypatch):
    """net(*addresses below the server) makes the index of the workspace that this is; gives its folder."""
    monkeypatch.setattr(executor, "WorkerPool", InHere)

    def make(*names, **fetch):
        (tmp_path / "index").mkdir(exist_ok=True)
        rows = [f"i{k:02},{server.address}/{name},http,en" for k, name in enumerate(names)]
        (tmp_path / "index" / "t.csv").write_text("\n".join(["id,url,fetch,language", *rows]) + "\n")
        return workspace(tmp_path, {"net": {"adapter": "csv", "path": "index/t.csv", "languages": {"en": {}}}},
                         fetch=FETCH | fetch)

    return make


def row_of(params):
    [row] = status(params, [])
    return row, "\n".join(status_lines([row]))


def test_a_killed_run_is_stopped_at_so_many_and_one_that_runs_is_under_way(net, server, monkeypatch):
    code = ("import stages.download\nfrom core import executor\nfrom core.params import load_params\n"
            "from core.stage import only_writer\nfrom tests.core.mappers import InHere\nexecutor.WorkerPool = InHere\n"
            "with only_writer('download', 'net-en'):\n    stages.download.main('net-en', load_params())\n")
    films = [f"served/film.mp4?{k}" for k in range(3)]
    folder = net(*films, "status-404/v.mp4", "stall-on/v.mp4", "served/film.mp4?9")
    with inside(folder) as params:
        row, text = row_of(params)
        assert row == {"instance": "net-en", "state": "absent"} and text == "net-en: not downloaded yet"
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        child = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": root}, start_new_session=True)
        try:
            end = time.monotonic() + 60
            while not server.hits["stall-on"] and time.monotonic() < end and child.poll() is None:
                time.sleep(0.05)
            row, text = row_of(params)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        assert row["state"] == "under way" and "net-en: under way, 4 of 6 items done: 3 kept" in text
        assert row["run"] | {"bytes": 0} == {"items": 6, "done": 4, "carried": 0, "kept": 3, "rejected": {"gone": 1}, "bytes": 0,
                                             "anew": False} and row["run"]["bytes"] == 3 * len(server.files["film.mp4"])
        row, text = row_of(params)
        assert row["state"] == "stopped" and "net-en: stopped at 4 of 6 items: 3 kept" in text and "  gone: 1 (" in text
        assert "goes on from there" in text and "kept" not in row, "there is no finished version"
        monkeypatch.setattr("flows.graph.check_graph", lambda params: None)
        said = json.loads(CliRunner().invoke(app, ["download", "--status", "--json"]).stdout)
        assert said == [row]
    net(*films[:2])  # an index of which half was done is another one now
    with inside(folder) as params:
        assert row_of(params)[0]["run"]["done"] == 2
    net(*films[:2], parallel=2)
    raw = (folder / "params.yaml").read_text().replace("shards: 2", "shards: 3")
    (folder / "params.yaml").write_text(raw)
    with inside(folder) as params:
        row, text = row_of(params)
    assert row["run"]["anew"] and "items begin anew, what was fetched whole stays" in text


def test_the_ledger_of_another_index_or_of_other_params_is_stale(net, server):
    folder = net("served/film.mp4?0", "good/v.mp4")
    with inside(folder) as params:
        stages.download.main("net-en", params)
        row, text = row_of(params)
        assert row["state"] == "done" and "stale" not in row and "net-en: 1 of 2 items" in text and "decode_error: 1 (" in text
        with only_writer("download", "net-en"):
            row, text = row_of(params)
            assert row["state"] == "under way" and "under way, 2 of 2 items done: 2 as in the last version" in text
        assert download.retry(params, [], ["decode_error"]) == {"net-en": 1}
        assert row_of(params)[0]["stale"] == {"again": 1}
    net("served/film.mp4?0", "good/w.mp4", "good/x.mp4")
    with inside(folder) as params:
        row, text = row_of(params)
        assert row["state"] == "stale" and row["stale"] == {"new": 1, "again": 1} and row["kept"] == 1
    shards.write_bytes(folder / "forgotten.yaml", b"- item: i00\n")
    net("served/film.mp4?0")
    with inside(folder) as params:
        row, text = row_of(params)
        assert row["stale"] == {"lost": 1, "changed": 1} and "stale: 1 no longer in it, 1 changed in it; babelface" in text
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("path: index/t.csv", "path: index/t.csv\n    seed: 1"))
    with inside(folder) as params:
        row, text = row_of(params)
        assert row["stale"] == {"lost": 1, "changed": 1, "params": True} and "params changed; babelface" in text
    (folder / "index" / "t.csv").unlink()
    with inside(folder) as params:
        row, text = row_of(params)
        assert row["state"] == "done" and "the index cannot be read now: " in text and "1 of 2 items" in text


def test_work_begun_beside_a_finished_version_is_told_before_it(net, server):
    folder = net("good/v.mp4")
    with inside(folder) as params:
        stages.download.main("net-en", params)
    net("good/v.mp4", "served/film.mp4?1", "served/film.mp4?2")
    with inside(folder) as params:
        from core.results import write_result

        begun = sorted(status(params, [])[0]["stale"].items())
        assert begun == [("new", 2)]
        from flows.download_status import _Now

        now = _Now(params, params.instance("net-en"))
        scratch = executor.WORK / "download" / "net-en" / now.seal[:16]
        work = {w.id: w for w in now.work}
        write_result(executor.scratch_file(scratch, work["i02"]), {}, ("forbidden", "said !reason"))
        row, text = row_of(params)
    assert row["state"] == "stopped" and row["run"]["done"] == 2 and row["run"]["carried"] == 1
    assert text.splitlines()[0].startswith("net-en: stopped at 2 of 3 items: 1 as in the last version, 0 kept")
    assert "  the last finished version: 0 of 1 items" in text and "    decode_error: 1 (" in text and "stale: 2 new" in text
