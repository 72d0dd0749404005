"""A pool of spawned processes that survives hangs and crashes of single items, and dies with its parent."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from core.records import Reject

Task = tuple[int, str, str, dict[str, Any]]  # index, result file, item id, payload
SETUP_LIMIT_S = 600
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


class WorkerError(RuntimeError):
    """A mapper failed in a way that is a programming error, or could not be set up."""


class _Worker:
    """One process, the task it is at, and when that task has to be done."""

    def __init__(self, context, mapper: str, config: dict[str, Any]):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, mapper, config), daemon=True)
        self.process.start()
        theirs.close()
        self.task: Task | None = None
        self.ready = False
        self.deadline = time.monotonic() + SETUP_LIMIT_S

    def give(self, task: Task, timeout_s: float) -> None:
        self.task, self.deadline = task, time.monotonic() + timeout_s
        self.connection.send(task)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class WorkerPool:
    """`map` hands tasks to `workers` processes. A hanging item is killed; an item whose process dies is tried once more."""

    def __init__(self, mapper: str, config: dict[str, Any], *, workers: int, timeout_s: float):
        self._mapper, self._config, self._n, self._timeout_s = mapper, config, workers, timeout_s
        self._context = multiprocessing.get_context("spawn")
        # Parallelism is over items; libraries read these when they are first imported, which is in the worker.
        os.environ.update(dict.fromkeys(THREADS, "1"))
        os.environ.update(GLOG_minloglevel="2", TF_CPP_MIN_LOG_LEVEL="3", OPENCV_LOG_LEVEL="ERROR")  # no start-up chatter

    def map(self, tasks: list[Task]) -> Iterator[tuple[int, tuple[str, str] | None]]:
        """(index, None) for a result that was written, (index, (reason, detail)) for a reject, in the order they finish."""
        waiting, died = deque(tasks), set()
        pool = [self._start() for _ in range(min(self._n, len(tasks)))]
        try:
            while pool:
                ready = wait([w.connection for w in pool], timeout=min(max(0.0, min(w.deadline for w in pool) - time.monotonic()), 5))
                for worker in list(pool):
                    if worker.connection in ready:
                        verdict = self._hear(worker, died, waiting)
                        if verdict is not None:
                            yield verdict
                    elif time.monotonic() > worker.deadline:
                        if not worker.ready:
                            raise WorkerError(f"{self._mapper}: not set up within {SETUP_LIMIT_S} s")
                        index, _, name, _ = worker.task
                        worker.kill()
                        pool[pool.index(worker)] = self._start()
                        yield index, ("timeout", f"{name}: not done within {self._timeout_s:g} s")
                    if worker in pool and worker.connection.closed:  # it died: _hear has put its task back
                        pool[pool.index(worker)] = self._start()
                for worker in list(pool):
                    if worker.ready and worker.task is None:
                        if waiting:
                            worker.give(waiting.popleft(), self._timeout_s)
                        else:
                            worker.kill()
                            pool.remove(worker)
        finally:
            for worker in pool:
                worker.kill()

    def _start(self) -> _Worker:
        return _Worker(self._context, self._mapper, self._config)

    def _hear(self, worker: _Worker, died: set[int], waiting: deque[Task]) -> tuple[int, tuple[str, str] | None] | None:
        try:
            kind, value = worker.connection.recv()
        except (EOFError, ConnectionError):
            worker.kill()
            if worker.task is None:
                raise WorkerError(f"{self._mapper}: its process ended while it was set up (exit {worker.process.exitcode})") from None
            task, worker.task = worker.task, None
            if task[0] in died:
                return task[0], ("worker_died", f"{task[2]}: exit {worker.process.exitcode}, twice")
            died.add(task[0])
            waiting.appendleft(task)
            return None
        if kind == "ready":
            worker.ready = True
            return None
        if kind == "error":
            raise WorkerError(value)
        task, worker.task = worker.task, None
        return task[0], value


def die_with_parent() -> None:
    """Asks Linux to kill this process when its parent dies; elsewhere the pipe's end does so at the next item."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _serve(connection, mapper: str, config: dict[str, Any]) -> None:
    """A worker's life: set the mapper up once, then one item at a time until the pipe closes."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    from core.executor import write_result

    where = "setting up"
    try:
        module, name = mapper.split(":")
        function = getattr(importlib.import_module(module), name)(config)
        connection.send(("ready", None))
        while True:
            _, path, where, payload = connection.recv()
            try:
                tables, verdict = function(payload), None
            except Reject as reject:
                tables, verdict = {}, (reject.reason, reject.detail)
            write_result(Path(path), tables, verdict)
            connection.send(("done", verdict))
    except (EOFError, BrokenPipeError, ConnectionError):
        return
    except Exception:
        connection.send(("error", f"{mapper}, {where}:\n{traceback.format_exc()}"))
