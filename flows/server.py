"""A Prefect API to run flows against: the user's where PREFECT_API_URL names one, else a private one that lives as long as the
run.

Prefect can start a server by itself, but then imports it into this process too and builds its user interface: 8 s each time
against 4 s here (2 cores), and it stays behind when the run is killed. The first start on a machine makes the database, about 11
s.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOME = Path(".babelface/prefect")
START_S = 120.0
PATIENCE_S = 10.0
# What a run that nobody watches in a browser does not need.
_QUIET = {"PREFECT_SERVER_UI_ENABLED": "0", "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
          "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
          "PREFECT_SERVER_LOGGING_LEVEL": "ERROR", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
_OURS = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "0", "PREFECT_LOGGING_LEVEL": "ERROR",
         "PREFECT_CLI_PROMPT": "0", "PREFECT_LOGGING_TO_API_ENABLED": "0"}
# What a server that stays needs: leases of concurrency slots that outlive it, so that no slot is lost with it.
_STAYING = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "0", "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}
_PRIVATE = "BABELFACE_PRIVATE_API"


class NoServer(RuntimeError):
    """No Prefect API answers; the message says what to do."""


@contextmanager
def prefect_api() -> Iterator[str]:
    """The address of a Prefect API that answers. Call before Prefect is imported: its settings are read at import."""
    for name, value in _OURS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(HOME.resolve()))
    given = os.environ.get("PREFECT_API_URL")
    if given:
        if not answers(given, PATIENCE_S):
            raise NoServer(f"PREFECT_API_URL is {given}, and nothing answers there; start it (prefect server start) or unset the "
                           "variable")
        yield given
        return
    with _running(_free_port(), _QUIET) as address:
        os.environ |= {"PREFECT_API_URL": address, _PRIVATE: "1"}
        try:
            yield address
        finally:
            for name in ("PREFECT_API_URL", _PRIVATE):
                del os.environ[name]


@contextmanager
def standing_api(port: int) -> Iterator[str]:
    """As `prefect_api`, for a process that stays: without PREFECT_API_URL a whole server on the loopback, with schedules and the
    user interface, at a port that stays the same."""
    if os.environ.get("PREFECT_API_URL"):
        with prefect_api() as address:
            yield address
        return
    os.environ.setdefault("PREFECT_HOME", str(HOME.resolve()))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise NoServer(f"port {port} is taken; if a Prefect server answers there, set "
                           f"PREFECT_API_URL=http://127.0.0.1:{port}/api, else name another port with --port") from None
    with _running(port, _STAYING) as address:
        os.environ["PREFECT_API_URL"] = address
        try:
            with prefect_api():
                yield address
        finally:
            del os.environ["PREFECT_API_URL"]


def private() -> bool:
    """Whether the Prefect API of this process is its own, and ends with it."""
    return _PRIVATE in os.environ


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def _running(port: int, settings: dict[str, str]) -> Iterator[str]:
    """The address of a server of our own, which ends with us, however we end."""
    home = Path(os.environ["PREFECT_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    address = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py")), str(os.getpid()), sys.executable,
               "-m", "uvicorn",
               "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", str(port),
               "--log-level", "error", "--lifespan", "on"]
    with open(home / "server.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True)
    try:
        if not answers(address, START_S, process):
            raise NoServer(f"the private Prefect API did not start within {START_S:.0f} s; see {home / 'server.log'}, or run "
                           "`dvc repro`, which needs no Prefect and gives the same result")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def answers(address: str, patience_s: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Whether a Prefect API is healthy there, asking until `patience_s` is over or `process` has ended."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:  # the loopback or the user's own server
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            pass
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.1)
    return False
