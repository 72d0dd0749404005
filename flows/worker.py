"""`babelface node worker`: a Prefect worker that can be taken away without losing what it was at.

Prefect's own worker, told to stop, kills its flow runs at once, and the server goes on believing that they run. Here SIGTERM
goes to the runs first: `train` leaves its checkpoint and puts itself back into the queue; only then does the worker end. It is
held meanwhile, so that it does not take up again what was just put back.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from flows.child import die_with_parent

GRACE_S = 150.0
ENGINE = "prefect.engine"


def run_worker(pool: str, limit: int = 1, *, grace_s: float = GRACE_S) -> int:
    """The exit status of `prefect worker start`; 0 after a signal to stop. Its runs get `grace_s` seconds to end by
    themselves."""
    asked = threading.Event()
    before = {n: signal.signal(n, lambda *_: asked.set()) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        # A session of its own: a signal to our group, Ctrl-C for one, must not reach worker and runs before us.
        worker = subprocess.Popen([sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--limit", str(limit)],
                                  stdin=subprocess.DEVNULL, start_new_session=True,
                                  preexec_fn=lambda: die_with_parent(signal.SIGTERM))
        while worker.poll() is None and not asked.wait(0.2):
            pass
        if worker.poll() is not None:
            return worker.returncode
        print("told to stop: the runs leave their checkpoints first", flush=True)
        _stop(worker, grace_s)
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(worker: subprocess.Popen[bytes], grace_s: float) -> None:
    os.kill(worker.pid, signal.SIGSTOP)
    runs = engines(worker.pid)
    for run in runs:
        run.terminate()
    until = time.monotonic() + grace_s
    while any(_alive(run) for run in runs) and time.monotonic() < until:
        time.sleep(0.1)
    # The signal is waiting when the worker goes on, so it ends before it asks for work.
    os.kill(worker.pid, signal.SIGTERM)
    os.kill(worker.pid, signal.SIGCONT)
    try:
        worker.wait(30)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def engines(pid: int) -> list:
    """The processes in which a worker's flow runs are at work."""
    import psutil

    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if ENGINE in child.cmdline():
                found.append(child)
        except psutil.Error:  # it ended while we looked
            continue
    return found


def _alive(process: object) -> bool:
    import psutil

    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
