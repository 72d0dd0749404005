"""Nights on a real Prefect server with a real worker: deployed from prefect.yaml, scheduled, failed, recovered, regressed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
from datetime import UTC, datetime

import pytest

from flows.graph import child_environment
from tests.flows.api import Api
from tests.flows.night_repo import METRIC, ROOT, NightRepo

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture(scope="module")
def api(prefect_server):
    return Api(prefect_server)


@pytest.fixture(scope="module")
def env(prefect_server, prefect_home):
    return {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(prefect_home), "PREFECT_CLI_PROMPT": "0",
            "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "BABELFACE_GPUS": "GPU-made-up", "BABELFACE_GPU_LOCKS": str(prefect_home / "gpus")}


@pytest.fixture(scope="module")
def project(tmp_path_factory, env, api):
    """The project, deployed from the repository's own prefect.yaml."""
    repo = NightRepo(tmp_path_factory.mktemp("nights") / "project")
    for pool in ("babelface", "babelface-gpu"):
        api.ask("work_pools/", {"name": pool, "type": "process"})
    repo.call("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(ROOT / "prefect.yaml"),
              BABELFACE_HOME=str(repo.path), **env)
    return repo


@pytest.fixture(scope="module")
def worker(project, env, tmp_path_factory):
    log = tmp_path_factory.mktemp("worker") / "log"
    with open(log, "w") as sink:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "babelface", "--limit", "1"]
        process = subprocess.Popen(command, cwd=project.path, env={**child_environment(), **env}, stdin=subprocess.DEVNULL,
                                   stdout=sink, stderr=sink, start_new_session=True)
    yield process
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def test_everything_is_deployed_and_the_schedule_has_runs(project, api):
    made = {f"{n}/babelface": api.deployment(f"{n}/babelface") for n in ("build", "evaluate", "nightly", "train")}
    assert made["train/babelface"]["work_pool_name"] == "babelface-gpu"
    assert made["nightly/babelface"]["work_pool_name"] == "babelface"
    assert [s["schedule"]["cron"] for s in made["nightly/babelface"]["schedules"] if s["active"]] == ["0 2 * * *"]
    end, runs = time.monotonic() + 90, []
    while not runs:
        assert time.monotonic() < end, "the server has scheduled nothing"
        runs = api.ask("flow_runs/filter", {"deployments": {"id": {"any_": [made["nightly/babelface"]["id"]]}},
                                            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
        time.sleep(0.3)
    times = sorted(datetime.fromisoformat(r["expected_start_time"]) for r in runs)
    assert times[0] > datetime.now(UTC) and {(t.hour, t.minute) for t in times} == {(2, 0)}
    assert all(r["auto_scheduled"] for r in runs)


def night(api: Api, project: NightRepo, process: subprocess.Popen, day: str,
          deployment: str = "nightly/babelface") -> tuple[dict, dict, str]:
    """(the flow run, the record, the artifact) of one night."""
    run = api.start(deployment, f"{day}T02:00:00Z", retry_delay_s=0.1, url="http://nights.example")
    found = api.wait(run, process)
    return found, project.night(day), api.artifact(run, "babelface-night")["data"]


def test_nights_by_a_worker(project, worker, api):
    """Good, failed, recovered: the third is compared with the first."""
    # the first: nothing to compare with, saved as an experiment, published
    run, first, said = night(api, project, worker, "2026-11-01")
    assert (run["state_type"], run["name"], first["status"]) == ("COMPLETED", "nightly-2026-11-01", "good"), run["state"]
    assert first["ran"] == 1 and "nothing to compare" in first["note"]
    saved = project.call("git", "for-each-ref", "refs/exps").stdout
    assert "/nightly-2026-11-01" in saved and first["commit"] in saved
    folder = project.path / ".babelface/nightly"
    assert (folder / "latest/index.html").read_text() == (project.path / "results/report/index.html").read_text()

    # its stage asks for a GPU: it had a card of its own, under a strict limit that is free again
    limit = api.ask("v2/concurrency_limits/gpu")
    assert (limit["limit"], limit["active_slots"], limit["active"]) == (1, 0, True)
    assert (project.path / "side/card").read_text() == "GPU-made-up"

    # a stage fails, and fails again; only then it is reported. Not good, not saved.
    (project.path / "side/fail").touch()
    project.set(seed=2)
    before = project.starts
    run, failed, said = night(api, project, worker, "2026-11-02")
    assert (run["state_type"], failed["status"], failed["commit"]) == ("FAILED", "failed", None)
    assert project.starts - before == 2, "tried once more"
    assert "score-fake failed" in said and "no good: the disk is full" in said and "does not count as good" in said
    assert "nightly-2026-11-02 failed: score-fake" in run["state"]["message"]

    # the night after recovers: other noise, no alarm; compared with the last good night
    (project.path / "side/fail").unlink()
    run, third, said = night(api, project, worker, "2026-11-03")
    assert (run["state_type"], third["status"], third["baseline"]) == ("COMPLETED", "good", "nightly-2026-11-01"), said
    assert third["comparison"] and (folder / "latest/comparison/index.html").is_file()
    values = [[f["mean"] for f in n["figures"]] for n in (first, third)]
    assert values[0] != values[1], "the noise did change the figures"


def test_a_regressed_night_by_serve_which_leaves_the_schedule_active(project, worker, api, env):
    """`babelface serve` beside a server that runs already: three deployments in one process, which runs what is asked of it."""
    command = [sys.executable, "-m", "flows.cli", "serve", "--cron", "30 22 * * 1-5", "--timezone", "Europe/Berlin",
               "--name", "served"]
    process = subprocess.Popen(command, cwd=project.path, env={**child_environment(), **env}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        lines = []
        while "nightly/served" not in "".join(lines):
            line = process.stdout.readline()
            assert line, "".join(lines)
            lines.append(line)
        end = time.monotonic() + 60
        while True:
            try:
                served = api.deployment("nightly/served")
                break
            except urllib.error.HTTPError:
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.3)
        assert served["schedules"][0]["schedule"] == {"cron": "30 22 * * 1-5", "timezone": "Europe/Berlin", "day_or": True}

        # Turkish gets worse beyond its interval
        project.set(seed=3, tr=0.2)
        run, worse, said = night(api, project, process, "2026-11-04", "nightly/served")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)
    assert api.deployment("nightly/served")["schedules"][0]["active"], "a restart must not leave the nights paused"
    assert (run["state_type"], worse["status"], worse["baseline"]) == ("FAILED", "regressed", "nightly-2026-11-03")
    change, together = worse["regressions"]
    assert together["language"] == "*"
    assert (change["language"], change["system"], change["metric"]) == ("tr", "fake", METRIC)
    assert -0.3 < change["change"]["low"] < change["change"]["mean"] < change["change"]["high"] < -0.1
    message = run["state"]["message"]
    assert "nightly-2026-11-04: tr and all languages together got worse beyond noise against nightly-2026-11-03" in message
    row = next(line for line in said.splitlines() if line.startswith("| **tr**"))
    assert "Opening correlation" in row and f"\u2212{abs(change['change']['mean']):.3f}" in row
    assert "](http://nights.example/nightly-2026-11-04/comparison/index.html)" in said and "does not count as good" in said
    page = (project.path / ".babelface/nightly/index.html").read_text()
    assert page.count('class="status good"') == 2 and page.count('class="ring"') == 1 and page.count('class="status failed"') == 1
