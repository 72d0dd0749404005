from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from time import monotonic, sleep

import pytest

from flows.graph import child_environment
from tests.flows.fake import Repo


@pytest.fixture
def repo(tmp_path):
    return Repo(tmp_path / "repo")


@pytest.fixture(scope="session")
def expected(tmp_path_factory):
    """The bytes that plain `dvc repro` makes of the fake repository, with no Prefect anywhere."""
    repo = Repo(tmp_path_factory.mktemp("plain") / "repo")
    run = repo.dvc("repro")
    assert run.returncode == 0, run.stdout + run.stderr
    return repo.digest()


@pytest.fixture(scope="module")
def prefect_server(prefect_home):
    """The address of a real `prefect server start` on the loopback. One a module: idle it takes a fortieth of a core."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    env = {**child_environment(), "PREFECT_HOME": str(prefect_home), "PREFECT_SERVER_UI_ENABLED": "0",
           "PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_CLI_PROMPT": "0"}
    env.pop("PREFECT_API_URL", None)
    with open(prefect_home / "start.log", "w") as log:
        process = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port",
                                    str(port)], env=env,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        until = monotonic() + 180
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None and monotonic() < until, (prefect_home / "start.log").read_text()[-2000:]
                sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
