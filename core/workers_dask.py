"""The same pool on a Dask cluster: items go to its workers, results come back as bytes, and this process writes them.

A Dask worker works on no item itself. It keeps processes as core.workers does, one per thread, so that an item that hangs can be
killed and one that crashes takes nobody along. docs/clusters.md says what a worker must see.
"""

from __future__ import annotations

import os
import pickle
import platform
import queue
import shutil
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.workers import ROOT, SETUP_LIMIT_S, Child, Task, Verdict, WorkerError, answer, timed_out

ADDRESS = "BABELFACE_DASK"
HOME = "BABELFACE_HOME"
TOKENS = Path(".babelface/cluster")
CONNECT_S = 20
NOBODY_S = 120  # how long a run waits for a first worker, or for another where all are gone
LOOK_S = 1.0
POLL_S = 0.2
IDLE_S = 120.0  # a process that nobody asks for so long ends, should its run have died
SHARED_FILE_S = 10.0  # network file systems show new files late
TRIES = 2  # of one item, as core.workers has it, whether its process dies or the whole Dask worker does
MOST_UNSEEN = 5
LOST_WORKER = "its Dask worker died"
ROOMS = ("core", "corpora", "metrics", "models", "report", "stages")
PACKAGES = ("av", "distributed", "mediapipe", "numpy", "opencv-contrib-python", "pyarrow", "scipy", "torch")


class ClusterError(UserError):
    """The cluster cannot be reached, or its workers cannot do what is asked. What is done stays done."""


class DaskPool:
    """`map` as core.workers.WorkerPool's. address: of the scheduler; None takes the environment variable BABELFACE_DASK."""

    def __init__(self, mapper: str, config: dict[str, Any], *, address: str | None, timeout_s: float):
        self._mapper, self._config, self._timeout_s = mapper, config, timeout_s
        self._address = address or os.environ.get(ADDRESS) or ""
        if not self._address:
            raise ClusterError("executor.kind is dask, and no scheduler is named: set executor.address in params.yaml, or "
                               f"{ADDRESS}, to an address like tcp://host:8786")

    def map(self, tasks: list[Task]) -> Iterator[tuple[int, Verdict]]:
        """(index, None) for a result that was written, (index, (reason, detail)) for a reject, in the order they finish."""
        from core.shards import write_bytes

        if not tasks:
            return
        run = uuid.uuid4().hex
        token = TOKENS / run
        job = {"run": run, "mapper": self._mapper, "config": self._config, "timeout_s": self._timeout_s, "marks": marks(),
               "folder": str(Path.cwd()), "token": str(token)}
        client = self._connect()
        write_bytes(token, run.encode())
        tries_of(job).mkdir()
        try:
            for task, verdict, data in self._results(client, deque(tasks), job):
                if data is not None:
                    write_bytes(Path(task[1]), data)
                yield task[0], verdict
        finally:
            token.unlink(missing_ok=True)
            shutil.rmtree(tries_of(job), ignore_errors=True)
            if client.status == "running":
                client.run(forget, run, on_error="ignore")
            client.close(timeout=5)  # and with it everything that was asked for and is not done

    def _connect(self) -> Any:
        import dask
        from distributed import Client

        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 GiB"})  # an item may hold a whole generated video
        try:
            return Client(self._address, timeout=CONNECT_S, set_as_default=False, name="babelface")
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(f"no Dask scheduler answers at {self._address} "
                               f"({str(error).splitlines()[0] if str(error) else 'timeout'}); start one (`dask scheduler`), or "
                               f"correct executor.address or {ADDRESS}") from error

    def _results(self, client: Any, waiting: deque[Task], job: dict[str, Any]) -> Iterator[tuple[Task, Verdict, bytes | None]]:
        """(task, verdict, bytes of the result) as they come. No more is asked for than the cluster can work on at once."""
        finished: queue.SimpleQueue[str] = queue.SimpleQueue()
        running: dict[str, tuple[Task, Any]] = {}
        suspected: set[int] = set()  # by Dask, which also blames items that only waited at a worker that died
        unseen: Counter[int] = Counter()
        asked, room, look, seen = 0, 0, 0.0, time.monotonic()
        while waiting or running:
            now = time.monotonic()
            if now >= look:
                room, look = self._room(client), now + LOOK_S
                seen = now if room else seen
                if now - seen > NOBODY_S:
                    raise ClusterError(f"the Dask scheduler at {self._address} has had no worker for {NOBODY_S} s; start some "
                                       f"(`dask worker {self._address}`) and run again: what is done stays")
            while waiting and len(running) < room:
                task, asked = waiting.popleft(), asked + 1
                key = f"babelface-{job['run']}-{task[0]}-{asked}"
                blob = pickle.dumps(job | {"key": key, "index": task[0], "name": task[2], "payload": task[3]})
                future = client.submit(attend, blob, key=key, pure=False)
                running[key] = task, future
                future.add_done_callback(lambda _, key=key: finished.put(key))
            try:
                key = finished.get(timeout=LOOK_S / 2)
            except queue.Empty:
                continue
            task, future = running.pop(key)
            kind, value = self._heard(client, future, task[2])
            if kind == "unseen":
                unseen[task[0]] += 1
                if unseen[task[0]] > MOST_UNSEEN:
                    raise ClusterError(f"{task[2]}: its result was lost {unseen[task[0]]} times with the Dask worker that had it; see why "
                                       "workers die, and run the same command: what is done stays")
                waiting.appendleft(task)
            elif kind == "died" or (kind == "suspected" and task[0] not in suspected):
                suspected |= {task[0]} if kind == "suspected" else set()
                waiting.appendleft(task)
            elif kind in ("dead", "suspected"):
                yield task, ("worker_died", f"{task[2]}: {value}, twice"), None
            elif kind == "timeout":
                yield task, timed_out(task[2], self._timeout_s), None
            else:
                yield task, *answer(kind, value)

    def _room(self, client: Any) -> int:
        """How many items the cluster can take: one for each thread, and one for each worker that it can begin with next."""
        if client.status != "running":
            raise self._lost()
        threads = client.nthreads()
        return sum(threads.values()) + len(threads)

    def _heard(self, client: Any, future: Any, name: str) -> tuple[str, Any]:
        """What `attend` said; "suspected" where Dask gave the item up, "unseen" where it was done and its result died with the worker
        that had it, before it came here."""
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                return "suspected", LOST_WORKER
            if isinstance(error, ImportError):
                raise ClusterError(f"a Dask worker cannot load this project ({error}); start it from the project's folder, with "
                                   "its .venv")
            raise WorkerError(f"{self._mapper}, {name}, on a Dask worker: {type(error).__name__}: {error}") from error
        try:
            kind, value = future.result(timeout=CONNECT_S) if future.status == "finished" else ("unseen", None)
        except (FutureCancelledError, TimeoutError):
            kind, value = "unseen", None
        if kind == "unseen" and client.status != "running":
            raise self._lost()
        if kind == "unfit":
            raise ClusterError(value)
        return kind, value

    def _lost(self) -> ClusterError:
        return ClusterError(f"the Dask scheduler at {self._address} is gone; start it and run the same command: "
                            "what is done stays")


def marks() -> dict[str, str]:
    """What must be the same on this machine and on every worker, in words: the code of the repository, the interpreter,
    packages."""
    from core.codehash import digest

    found = {"this repository's code": digest([room for room in ROOMS if (ROOT / room).is_dir()], ROOT)[:12],
             "python": ".".join(platform.python_version_tuple()[:2]), "processor": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


# What follows runs on a Dask worker.


class Keeper:
    """The processes of one Dask worker that wait for their run's next item."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[tuple[str, Child, float]] = deque()  # run, process, since when; the longest idle first

    def take(self, run: str) -> Child | None:
        """A process of that run, or None where one has to be started."""
        with self._lock:
            for entry in [e for e in self._idle if time.monotonic() - e[2] > IDLE_S / 2]:
                self._idle.remove(entry)
                entry[1].kill()
            for entry in self._idle:
                if entry[0] == run:
                    self._idle.remove(entry)
                    return entry[1]
        return None

    def put(self, run: str, child: Child, most: int) -> None:
        """Keeps a process; of more than `most` the one that was idle longest goes."""
        with self._lock:
            self._idle.append((run, child, time.monotonic()))
            while len(self._idle) > most:
                self._idle.popleft()[1].kill()

    def drop(self, run: str) -> None:
        with self._lock:
            for entry in [e for e in self._idle if e[0] == run]:
                self._idle.remove(entry)
                entry[1].kill()


KEEPER = Keeper()


def tries_of(job: dict[str, Any], where: Path = Path(".")) -> Path:
    """The folder of a run's marks: a file for each time that an item was begun and that nobody ended."""
    return where / f"{job['token']}.tries"


def begin(folder: Path, index: int) -> Path | None:
    """The mark of a new try of an item, or None where it has had all its tries. A worker that dies leaves its mark behind; only
    one process can make a file, also where a network file system shows it to others late."""
    for n in range(TRIES):
        mark = folder / f"{index}-{n}"
        try:
            mark.open("x").close()
        except FileExistsError:
            continue
        return mark
    return None


def attend(blob: bytes) -> tuple[str, Any]:
    """Has one item done by a process of this Dask worker; what became of it, as core.workers.answer takes it, or ("timeout",
    None), ("died", how) after the first try, ("dead", how) after the last, ("unfit", what this worker lacks)."""
    from distributed import get_worker

    job, worker = pickle.loads(blob), get_worker()  # noqa: S301  Dask itself takes pickles from its client
    child, where = KEEPER.take(job["run"]), Path(os.environ.get(HOME) or job["folder"])
    if child is None:
        lacks = unfit(job, where)
        if lacks:
            return "unfit", f"Dask worker {worker.address}: {lacks}"
        child = Child(job["mapper"], job["config"], where, idle_s=IDLE_S)
        said = _hear(child, worker, job["key"], SETUP_LIMIT_S)
        if said != ("ready", None):
            child.kill()
            if said == ("unwanted", None):
                return said
            why = said[1] if said and said[0] == "error" else child.died_how if said is None else "it took too long"
            return "unfit", f"Dask worker {worker.address} cannot set up {job['mapper']}; are the models there too?\n{why}"
    mark = begin(tries_of(job, where), job["index"])
    if mark is None:  # Dask gives an item on where the worker died that had it
        KEEPER.put(job["run"], child, worker.state.nthreads)
        return "dead", LOST_WORKER
    child.give(None, job["name"], job["payload"])
    said = _hear(child, worker, job["key"], job["timeout_s"])
    if said is None:
        return "dead" if mark.name == f"{job['index']}-{TRIES - 1}" else "died", child.died_how
    mark.unlink(missing_ok=True)
    if said[0] == "done":
        KEEPER.put(job["run"], child, worker.state.nthreads)
    else:
        child.kill()
    return said


def _hear(child: Child, worker: Any, key: str, limit_s: float) -> tuple[str, Any] | None:
    """The child's next message, None where it died, "timeout", or "unwanted" where whoever asked has gone: its process must not
    write into the same folders as that of the next run."""
    end = time.monotonic() + limit_s
    while not child.connection.poll(max(0.0, min(POLL_S, end - time.monotonic()))):
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled" or worker.status.name in ("closing", "closed"):
            return "unwanted", None
        if time.monotonic() > end:
            return "timeout", None
    return child.hear()


def unfit(job: dict[str, Any], where: Path) -> str | None:
    """Why this machine must not work on a run, in words; None where it may."""
    ours = marks()
    differ = [f"{name} is {ours.get(name)} here and {mark} there"
              for name, mark in job["marks"].items() if ours.get(name) != mark]
    if differ:
        return (f"it differs from the machine that asks ({'; '.join(differ)}): same commit, same constraints.txt, or other bytes "
                "would come out")
    token, end = where / job["token"], time.monotonic() + SHARED_FILE_S
    while True:
        try:
            if token.read_bytes() == job["run"].encode():
                return None
        except OSError:
            pass
        if time.monotonic() > end:
            return (f"it does not see the folder that the run works in: no {where / TOKENS} with the run's mark. Share the "
                    f"project's folder, and set {HOME} for the worker where it lies at another path")
        time.sleep(POLL_S)


def forget(run: str) -> None:
    """Ends the processes of a run that is over."""
    KEEPER.drop(run)
