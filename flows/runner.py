"""One build at a time, from a plan to outcomes: the Prefect side is flows/build.py, everything around it is here."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.workers import cores
from flows import graph, licences, show
from flows.graph import Outcome
from flows.plan import Plan, plan

LOCK = Path(".babelface/build.lock")
HOLDER = Path(".babelface/build.json")
LOCKED = 3
INTERRUPTED = 130
# Set by Ctrl-C and SIGTERM. The exception that they raise is lost where a library catches everything, or runs a finalizer just then;
# this stays, and the flow looks at it.
stopped = threading.Event()


class Locked(RuntimeError):
    """Another build is at work in this folder; the message says which process."""


@contextmanager
def only_build(what: str, *, wait: bool = False) -> Iterator[None]:
    """Holds the lock of this folder's builds. The lock ends with the process, however it ends."""
    import filelock

    LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            raise Locked(f"another build is at work here: {_holder()}; wait for it, or use --wait") from None
        print(f"waiting for another build: {_holder()}", flush=True)
        lock.acquire(timeout=-1)
    try:
        temp = HOLDER.with_name(f".{HOLDER.name}.{os.getpid()}")
        temp.write_text(json.dumps({"pid": os.getpid(), "what": what, "since": time.strftime("%H:%M:%S")}), encoding="utf-8")
        os.replace(temp, HOLDER)
        yield
        HOLDER.unlink(missing_ok=True)
    finally:
        lock.release()


def _holder() -> str:
    try:
        held = json.loads(HOLDER.read_text(encoding="utf-8"))
        return f"process {held['pid']} (babelface {held['what']}, since {held['since']})"
    except (OSError, ValueError, KeyError):
        return f"a process that holds {LOCK}"


def run(what: str, targets: list[str] | None = None, *, jobs: int | None = None, wait: bool = False) -> int:
    """Checks that dvc.yaml fits params.yaml and that no licence is against it, then as `run_graph`."""
    licences.guard(graph.current_graph())
    return run_graph(what, targets, jobs=jobs, wait=wait)


def run_graph(what: str, targets: list[str] | None = None, *, jobs: int | None = None, wait: bool = False) -> int:
    """Builds `targets` of dvc.yaml (all instances where None) as the flow `what` and prints what happened.

    The exit status: 0, 1 where an instance failed, 3 where another build is at work, 130 after Ctrl-C.
    """
    try:
        with only_build(what, wait=wait):
            began = time.monotonic()
            todo = plan(targets)
            if not todo:
                print(f"nothing changed: all {todo.n_instances} instances are up to date")
                return 0
            print(show.plan_line(todo), flush=True)
            outcomes = _with_prefect(what, todo, jobs or at_once())
            show.summary(outcomes, time.monotonic() - began)
    except Locked as error:
        print(error, file=sys.stderr)
        return LOCKED
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED
    return 1 if any(o.status in ("failed", "skipped") for o in outcomes) else 0


def _with_prefect(what: str, todo: Plan, jobs: int) -> list[Outcome]:
    """Runs the flow `what` over a plan. SIGTERM counts as Ctrl-C, so that what was started ends with us."""
    from flows.server import prefect_api

    def stop(_number: int, _frame: object) -> None:
        stopped.set()
        raise KeyboardInterrupt

    stopped.clear()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with prefect_api():
            from flows import build

            return build.run_plan(what, todo, jobs)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def at_once() -> int:
    """How many cores' worth of instances run at once where nobody says: one more than there are, since each begins and ends with some
    seconds of reading and writing."""
    return cores() + 1


def gpus() -> int:
    """How many GPUs this process may use."""
    from flows.gpu import cards

    return len(cards())
