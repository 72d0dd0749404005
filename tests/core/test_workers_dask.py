"""The executor on a real Dask scheduler and real workers, all on the loopback: the bytes of a local run, whatever dies on the
way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import core.workers_dask
from core import shards
from core.executor import run_stage
from core.params import Executor
from core.workers import WorkerError
from core.workers_dask import TRIES, ClusterError, DaskPool, begin, unfit
from tests.core.test_executor import calls, items, tree

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False", "BABELFACE_HOME": ""}


class Cluster:
    """A scheduler and workers, one process each, without nannies: what is killed stays dead."""

    def __init__(self, folder: Path):
        self._folder, self.workers = folder, []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._scheduler = self._start("dask_scheduler", "--host", self.address, "--no-dashboard")
        self._client = None

    def _start(self, what: str, *words: str) -> subprocess.Popen:
        with open(self._folder / f"{what}.log", "a") as log:
            return subprocess.Popen([sys.executable, "-m", f"distributed.cli.{what}", *words], cwd=self._folder, env=ENV,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def grow(self, n: int) -> None:
        """Until there are `n` workers of one thread."""
        from distributed import Client

        self.workers = [w for w in self.workers if w.poll() is None]
        while len(self.workers) < n:
            self.workers.append(self._start("dask_worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard",
                                            "--local-directory", str(self._folder)))
        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(n, timeout=60)

    def kill_one(self) -> None:
        worker = self.workers.pop(0)
        worker.kill()
        worker.wait()

    def end(self) -> None:
        for process in (*self.workers, self._scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.end()


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BABELFACE_DASK", raising=False)


def run(work, *, address=None, timeout_s=60, mapper="Loud", **more):
    executor = Executor(kind="dask" if address else "local", address=address, timeout_s=timeout_s)
    tables = ("recordings",) if mapper == "Writer" else ("features",)
    where = mapper if ":" in mapper else f"tests.core.mappers:{mapper}"
    return run_stage("features", "toy-en", work, where, config={"log": "calls.log"}, tables=tables,
                     fingerprint={"seal": 1}, n_shards=3, executor=executor, **more)


def clear():
    subprocess.run(["rm", "-rf", "data", "calls.log", ".babelface"], check=True)


BAD = {"c03": {"reject": "no_face"}, "c05": {"rows": 0}, "c06": {"die": True}, "c07": {"die_once": "died.flag"}}


def test_same_bytes_as_here_for_any_number_of_workers(cluster):
    run(items(12, **BAD))
    whole, seen = tree(), {}
    for n in (1, 3):
        clear()
        Path("died.flag").unlink()
        cluster.grow(n)
        stats = run(items(12, **BAD), address=cluster.address)
        seen[n] = tree()
        assert calls().count("c06") == calls().count("c07") == 2 and len(calls()) == 14, "each once, but what died twice"
    assert seen == dict.fromkeys((1, 3), whole)
    assert stats["by_language"]["en"]["rejected"] == {"no_face": 1, "worker_died": 1}
    assert not list(Path(".babelface/cluster").iterdir()), "the mark goes with the run"


def test_files_that_mappers_write_are_carried_over(cluster):
    cluster.grow(2)
    run(items(4), address=cluster.address, mapper="Writer", files="recordings")
    assert sorted(p.name for p in Path("data/features/toy-en/media").iterdir()) == [f"c{i:02d}.txt" for i in range(4)]


def test_an_item_that_hangs_is_killed_where_it_is(cluster):
    cluster.grow(2)
    stats = run(items(4, c01={"sleep": 60}), address=cluster.address, timeout_s=5)
    assert stats["by_language"]["en"]["rejected"] == {"timeout": 1} and stats["kept"] == 3
    assert not alive(Path("pid-c01"))


def test_a_bug_stops_the_run_and_shows_where(cluster):
    cluster.grow(1)
    with pytest.raises(WorkerError, match=r"c02.*\n(.*\n)*ZeroDivisionError"):
        run(items(4, c02={"bug": True}), address=cluster.address)


SLOW = {f"c{i:02d}": {"sleep": 0.3} for i in range(12)}


def test_a_worker_that_is_killed_changes_no_byte(cluster):
    run(items(12))
    whole = tree()
    clear()
    cluster.grow(3)
    pool = DaskPool("tests.core.mappers:Loud", {"log": "calls.log"}, address=cluster.address, timeout_s=60)
    Path("out").mkdir()
    work = items(12, **SLOW)
    verdicts, here = {}, ()
    for n, (index, verdict) in enumerate(pool.map([(i, f"out/{i}.arrow", w.id, w.payload) for i, w in enumerate(work)])):
        verdicts[index] = verdict
        if n == 2:
            here = [work[i].id for i in verdicts]
            cluster.kill_one()
    assert verdicts == dict.fromkeys(range(12)) and len(list(Path("out").iterdir())) == 12
    assert set(calls()) == {w.id for w in work} and all(calls().count(name) == 1 for name in here), "what came is not done again"
    # The dead worker was at one item and may have had a result that nobody had fetched; three workers never hold more than six.
    assert len(calls()) <= 12 + 6
    clear()
    cluster.grow(3)
    import threading

    threading.Timer(1.0, cluster.kill_one).start()
    run(items(12, **SLOW), address=cluster.address)
    assert tree() == whole and len(cluster.workers) == 2


def test_an_item_that_kills_its_whole_worker_is_tried_as_often_as_here(cluster):
    seen = {}
    for n, once in ((3, {}), (4, {"kill_once": "killed.flag"})):
        clear()
        cluster.grow(n)
        stats = run(items(8, c02={"kill_worker": True}, c05=once), address=cluster.address,
                    mapper="tests.core.fatal_mapper:Fatal")
        dead = [w for w in cluster.workers if w.poll() is not None]
        cluster.workers = [w for w in cluster.workers if w not in dead]
        assert len(dead) == 2 + len(once) and calls().count("c02") == TRIES and calls().count("c05") >= 1 + len(once)
        assert stats["kept"] == 7, "also those that waited behind it"
        assert stats["by_language"]["en"]["rejected"] == {"worker_died": 1}
        seen[n] = tree()
    assert seen[3] == seen[4], "whichever workers died"
    (reject,) = shards.read_rows(Path("data/features/toy-en"), "rejects")
    assert reject["detail"] == "c02: its Dask worker died, twice"
    clear()
    run(items(8, c02={"die": True}), mapper="tests.core.mappers:Loud")
    assert calls().count("c02") == TRIES
    rows = {n: digest for n, digest in tree().items() if n.startswith("features/")}
    assert rows and rows.items() <= seen[3].items(), "and every other item has the bytes that it has here"


class Lost:
    """A future whose result died with its worker before anybody fetched it, as distributed shows it at one moment or another."""

    def __init__(self, status, error=None):
        self.status, self._error = status, error

    def result(self, timeout=None):
        raise self._error


def test_a_result_that_was_lost_is_asked_for_again_and_a_lost_scheduler_is_not():
    from types import SimpleNamespace

    from distributed.client import FutureCancelledError

    pool = DaskPool("m:M", {}, address="tcp://127.0.0.1:1", timeout_s=1)
    for future in (Lost("cancelled"), Lost("pending"), Lost("finished", FutureCancelledError("k", "lost"))):
        assert pool._heard(SimpleNamespace(status="running"), future, "c00") == ("unseen", None)
        with pytest.raises(ClusterError, match="is gone"):
            pool._heard(SimpleNamespace(status="connecting"), future, "c00")


def test_a_try_is_one_processs_and_there_are_as_many_as_here(tmp_path):
    marks = [begin(tmp_path, 3), begin(tmp_path, 3)]
    assert None not in marks and begin(tmp_path, 3) is None and begin(tmp_path, 4) is not None
    marks[0].unlink()
    assert begin(tmp_path, 3) == marks[0], "what was ended in order does not count"


def test_a_killed_run_leaves_no_writer_behind_and_goes_on(cluster):
    run(items(8))
    whole = tree()
    clear()
    cluster.grow(2)
    code = f"""
from tests.core.test_workers_dask import run
from tests.core.test_executor import items
run(items(8, **{{f'c{{i:02d}}': {{'sleep': 0.5 if i < 3 else 60}} for i in range(8)}}), address={cluster.address!r})
"""
    child = subprocess.Popen([sys.executable, "-c", code], env=ENV, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(calls()) >= 5)
    time.sleep(0.3)
    child.kill()
    child.wait()
    wait_for(lambda: not any(alive(p) for p in Path().glob("pid-*")), 20)
    done = len(calls())
    run(items(8), address=cluster.address)
    assert tree() == whole and len(calls()) - done <= 5, "what was done is not done again"


def alive(pid: Path) -> bool:
    try:
        return Path(f"/proc/{pid.read_text()}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(true, limit_s=60):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_nobody_there_is_said_with_the_address(monkeypatch):
    monkeypatch.setattr(core.workers_dask, "CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*BABELFACE_DASK"):
        run(items(1), address="tcp://127.0.0.1:9")
    monkeypatch.setenv("BABELFACE_DASK", "tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"at tcp://127\.0\.0\.1:9 "):
        list(DaskPool("m:C", {}, address=None, timeout_s=1).map([(0, "x", "x", {})]))
    monkeypatch.delenv("BABELFACE_DASK")
    with pytest.raises(ClusterError, match="executor.address"):
        DaskPool("m:C", {}, address=None, timeout_s=1)


def test_a_cluster_without_workers_is_not_waited_for_without_end(monkeypatch, tmp_path):
    monkeypatch.setattr(core.workers_dask, "NOBODY_S", 1)
    lonely = Cluster(tmp_path)
    try:
        with pytest.raises(ClusterError, match="has had no worker for 1 s"):
            run(items(1), address=lonely.address)
    finally:
        lonely.end()


def test_a_worker_that_differs_or_does_not_see_the_folder_is_unfit(monkeypatch, tmp_path):
    job = {"marks": core.workers_dask.marks(), "run": "r1", "token": ".babelface/cluster/r1"}
    monkeypatch.setattr(core.workers_dask, "SHARED_FILE_S", 0)
    assert "does not see the folder" in unfit(job, tmp_path) and "BABELFACE_HOME" in unfit(job, tmp_path)
    (tmp_path / ".babelface/cluster").mkdir(parents=True)
    (tmp_path / job["token"]).write_text("r0")
    assert "does not see the folder" in unfit(job, tmp_path)
    (tmp_path / job["token"]).write_text("r1")
    assert unfit(job, tmp_path) is None
    assert "numpy is" in unfit(job | {"marks": job["marks"] | {"numpy": "1.0"}}, tmp_path)
    assert "same commit" in unfit(job | {"marks": job["marks"] | {"this repository's code": "0"}}, tmp_path)


def test_a_worker_elsewhere_says_what_it_lacks(cluster, monkeypatch):
    cluster.grow(1)
    differ = core.workers_dask.marks() | {"av": "0.1"}
    monkeypatch.setattr(core.workers_dask, "marks", lambda: differ)
    with pytest.raises(ClusterError, match=r"Dask worker tcp://127\.0\.0\.1:\d+: .*av is .* here and 0\.1 there"):
        run(items(1), address=cluster.address)


def test_real_stages_make_the_same_bytes_there(cluster, tmp_path):
    import stages.download
    import stages.segment
    from core import media
    from tests.stages.conftest import drifting, wav
    from tests.stages.sync_clips import SHORT, index, inside, workspace

    cluster.grow(2)
    source = tmp_path / "source"
    source.mkdir()
    for k in range(3):
        media.write_video(source / f"v{k}.mp4", drifting(k, 75), audio=wav(SHORT))
    index(source, [{"file": f"v{k}.mp4", "language": "en", "speaker": f"s{k}"} for k in range(3)]
          + [{"file": "gone.mp4", "language": "en"}])
    seen = {}
    for kind in ("local", "dask"):
        folder = workspace(tmp_path / kind, {"odd": {"adapter": "folder", "path": str(source), "languages": {"en": {}}}},
                           executor={"kind": kind, "address": cluster.address if kind == "dask" else None})
        with inside(folder) as params:
            for stage in (stages.download, stages.segment):
                stage.main("odd-en", params)
        seen[kind] = tree(folder / "data")
    assert seen["local"] == seen["dask"] and any(name.startswith("download/odd-en/media/") for name in seen["dask"])
