"""A pool of local processes that survives hangs and crashes of single items, and dies with its parent."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from core.errors import NoRoom, no_room
from core.records import Reject

Task = tuple[int, str, str, dict[str, Any]]  # index, result file, item id, payload
Verdict = tuple[str, str] | None  # reason and detail of a reject
SETUP_LIMIT_S = 600
# Parallelism is over items; libraries read these when they are first imported. And no start-up chatter.
QUIET = {**dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"),
         "GLOG_minloglevel": "2", "TF_CPP_MIN_LOG_LEVEL": "3", "OPENCV_LOG_LEVEL": "ERROR"}
ROOT = Path(__file__).resolve().parents[1]
BEGIN = ("import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # the parent decides
         "sys.path.insert(0, sys.argv[1]); from core.workers import serve; serve(int(sys.argv[2]), int(sys.argv[3]))")


class WorkerError(RuntimeError):
    """A mapper failed in a way that is a programming error, or could not be set up."""


class Child:
    """One process with a mapper in it. No multiprocessing.Process: a Dask worker may be a daemon, which may have none."""

    def __init__(self, mapper: str, config: dict[str, Any], folder: Path | None = None, idle_s: float | None = None):
        """folder: where it works, None for here. idle_s: it ends when nothing was asked of it for so long."""
        self.connection, theirs = Pipe()
        self.process = subprocess.Popen([sys.executable, "-c", BEGIN, str(ROOT), str(theirs.fileno()), str(os.getpid())],
                                        cwd=folder,
                                        env={**os.environ, **QUIET}, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        theirs.close()
        try:
            self.connection.send((sys.path, mapper, config, idle_s))
        except OSError:
            pass  # it is gone already; whoever listens to it will notice

    def give(self, path: str | None, name: str, payload: dict[str, Any]) -> None:
        """Hands it an item; its answer is ("done", (verdict, bytes of the result where `path` is None)), "error" or "full"."""
        try:
            self.connection.send((path, name, payload))
        except OSError:
            pass  # as above

    def hear(self) -> tuple[str, Any] | None:
        """The next message; None where the process has ended, which is then waited for."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.kill()
            return None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()

    @property
    def died_how(self) -> str:
        return f"exit {self.process.returncode}"


class _Worker:
    """A child, the task it is at, and when that task has to be done."""

    def __init__(self, mapper: str, config: dict[str, Any]):
        self.child = Child(mapper, config)
        self.task: Task | None = None
        self.ready = False
        self.deadline = time.monotonic() + SETUP_LIMIT_S

    def give(self, task: Task, timeout_s: float) -> None:
        self.task, self.deadline = task, time.monotonic() + timeout_s
        self.child.give(*task[1:])


class WorkerPool:
    """`map` hands tasks to `workers` processes. A hanging item is killed; an item whose process dies is tried once more."""

    def __init__(self, mapper: str, config: dict[str, Any], *, workers: int, timeout_s: float):
        self._mapper, self._config, self._n, self._timeout_s = mapper, config, workers, timeout_s

    def map(self, tasks: list[Task]) -> Iterator[tuple[int, Verdict]]:
        """(index, None) for a result that was written, (index, (reason, detail)) for a reject, in the order they finish."""
        waiting, died = deque(tasks), set()
        pool = [self._start() for _ in range(min(self._n, len(tasks)))]
        try:
            while pool:
                soonest_s = min(w.deadline for w in pool) - time.monotonic()
                ready = wait([w.child.connection for w in pool], timeout=min(max(0.0, soonest_s), 5))
                for k, worker in enumerate(pool):
                    if worker.child.connection in ready:
                        verdict = self._hear(worker, died, waiting)
                        if verdict is not None:
                            yield verdict
                    elif time.monotonic() > worker.deadline:
                        if not worker.ready:
                            raise WorkerError(f"{self._mapper}: not set up within {SETUP_LIMIT_S} s")
                        worker.child.kill()
                        yield worker.task[0], timed_out(worker.task[2], self._timeout_s)
                    if worker.child.connection.closed:
                        pool[k] = self._start()
                for worker in list(pool):
                    if worker.ready and worker.task is None:
                        if waiting:
                            worker.give(waiting.popleft(), self._timeout_s)
                        else:
                            worker.child.kill()
                            pool.remove(worker)
        finally:
            for worker in pool:
                worker.child.kill()

    def _start(self) -> _Worker:
        return _Worker(self._mapper, self._config)

    def _hear(self, worker: _Worker, died: set[int], waiting: deque[Task]) -> tuple[int, Verdict] | None:
        said = worker.child.hear()
        if said is None:
            task = worker.task
            if task is None:
                raise WorkerError(f"{self._mapper}: its process ended while it was set up ({worker.child.died_how})")
            if task[0] in died:
                return task[0], ("worker_died", f"{task[2]}: {worker.child.died_how}, twice")
            died.add(task[0])
            waiting.appendleft(task)
            return None
        if said[0] == "ready":
            worker.ready = True
            return None
        verdict, _ = answer(*said)
        task, worker.task = worker.task, None
        return task[0], verdict


def answer(kind: str, value: Any) -> tuple[Verdict, bytes | None]:
    """(verdict, bytes of the result) of a child's message that an item is done; raises what the others mean."""
    if kind == "full":
        raise NoRoom(value)
    if kind != "done":
        raise WorkerError(value)
    return value


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed_out(name: str, timeout_s: float) -> tuple[str, str]:
    """The verdict on an item that took too long."""
    return "timeout", f"{name}: not done within {timeout_s:g} s"


def die_with_parent(parent: int | None = None) -> None:
    """Asks Linux to kill this process when its parent dies; elsewhere the pipe's end does so at the next item."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if parent is not None and os.getppid() != parent:  # it died before we asked
            os._exit(1)


def serve(handle: int, parent: int) -> None:
    """A child's life: set the mapper up once, then one item at a time until the pipe closes."""
    die_with_parent(parent)
    from core.results import pack_result
    from core.shards import without_pandas, write_bytes

    without_pandas()

    connection, where = Connection(handle), "setting up"
    try:
        sys.path[:], mapper, config, idle_s = connection.recv()
        module, name = mapper.split(":")
        function = getattr(importlib.import_module(module), name)(config)
        connection.send(("ready", None))
        while connection.poll(idle_s):
            path, where, payload = connection.recv()
            try:
                tables, verdict = function(payload), None
            except Reject as reject:
                tables, verdict = {}, (reject.reason, reject.detail)
            data = pack_result(tables, verdict)
            if path is not None:
                write_bytes(Path(path), data)
            connection.send(("done", (verdict, data if path is None else None)))
    except (EOFError, BrokenPipeError, ConnectionError):
        return
    except Exception as error:
        full = no_room(error)
        connection.send(("full", str(full)) if full else ("error", f"{mapper}, {where}:\n{traceback.format_exc()}"))
