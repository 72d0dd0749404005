"""A training on a GPU work pool whose worker is taken away: on a real Prefect server, by real workers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from flows.graph import child_environment
from tests.flows.api import Api
from tests.flows.training_repo import machine, make_home

pytestmark = [pytest.mark.prefect, pytest.mark.slow]
POOL = "babelface-gpu-taken-away"


@pytest.fixture
def node(tmp_path):
    return machine(make_home(tmp_path / "machines"), "node")


@pytest.fixture
def workers(node, prefect_server, prefect_home, tmp_path):
    """A function that starts a worker as `babelface node worker` does."""
    started, log = [], open(tmp_path / "log", "w")  # noqa: SIM115
    env = {**child_environment(), "PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(prefect_home), "PREFECT_CLI_PROMPT": "0",
           "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "1", "TOY_STEP_S": "0.5",
           "BABELFACE_GPUS": "GPU-toy", "BABELFACE_GPU_LOCKS": str(tmp_path / "locks")}

    def start() -> subprocess.Popen:
        command = [sys.executable, "-m", "flows.cli", "node", "worker", "--pool", POOL]
        started.append(subprocess.Popen(command, cwd=node.path, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
    log.close()


def deploy(api: Api, folder) -> str:
    """The id of a deployment of flows/train.py in a folder, as `prefect deploy` makes it."""
    api.ask("work_pools/", {"name": POOL, "type": "process"})
    flow = api.ask("flows/", {"name": "train"})["id"]
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}]
    return api.ask("deployments/", {"name": "taken-away", "flow_id": flow, "work_pool_name": POOL, "pull_steps": pull,
                                    "entrypoint": "flows/train.py:train", "parameters": {"name": "toy", "every_s": 1}})["id"]


def test_a_worker_that_is_taken_away_leaves_its_training_to_the_next(node, workers, prefect_server):
    api = Api(prefect_server)
    run = api.ask(f"deployments/{deploy(api, node.path)}/create_flow_run", {"state": {"type": "SCHEDULED"}})["id"]
    first = workers()
    checkpoint = node.path / ".babelface/work/train/toy/checkpoint.pt"
    end = time.monotonic() + 120
    while not (checkpoint.exists() and len(checkpoint.read_text().split()) >= 2):
        assert first.poll() is None and time.monotonic() < end, api.ask(f"flow_runs/{run}")["state"]
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    assert api.ask(f"flow_runs/{run}")["state_name"] == "AwaitingRetry"
    steps = len(checkpoint.read_text().split())
    assert 2 <= steps < 12
    checkpoint.unlink()  # the next worker stands elsewhere: all it has is the remote

    second = workers()
    found = api.wait(run, second)
    assert found["state_type"] == "COMPLETED", found["state"]
    assert (node.path / "side/began").read_text() == str(steps), "it went on where the first was stopped"
    assert (node.path / "data/train/toy/model.pt").read_text().startswith("step0 ")
    limit = api.ask("v2/concurrency_limits/gpu")
    assert limit["active_slots"] == 0, "no slot is left behind"
