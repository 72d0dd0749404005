"""Whole builds through Prefect: the bytes of plain dvc, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.flows.fake import NAMES, ROOT

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


def test_without_any_server(repo, prefect_home, expected):
    env = {"PREFECT_HOME": str(prefect_home), "PREFECT_API_URL": ""}
    status, output = repo.build(**env)
    assert status == 0, output
    assert "6 instances: 6 to run, 0 may follow" in output and "6 ran in" in output
    assert repo.digest() == expected
    status, output = repo.build(**env)
    assert (status, output.strip()) == (0, "nothing changed: all 6 instances are up to date")


def test_with_a_server_every_instance_is_a_task_and_only_what_differs_runs_again(repo, prefect_server, expected):
    status, output = repo.build(PREFECT_API_URL=prefect_server)
    assert status == 0 and repo.digest() == expected, output

    def ask(path, body):
        request = urllib.request.Request(f"{prefect_server}/{path}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=30))

    flow = ask("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1, "flows": {"name": {"any_": ["evaluate"]}}})[0]
    assert flow["state_type"] == "COMPLETED" and sorted(flow["parameters"]["targets"]) == sorted(NAMES)
    tasks = ask("task_runs/filter", {"flow_runs": {"id": {"any_": [flow["id"]]}}})
    assert sorted(t["name"] for t in tasks) == sorted(NAMES)
    assert {tuple(t["tags"]) for t in tasks if t["name"] == "last"} == {("stage:last",)}
    made = ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow["id"]]}}})
    assert "| first@a | ran |" in made[0]["data"]

    before = len(repo.starts)
    (repo.path / "work.py").write_text((repo.path / "work.py").read_text() + "# changed\n")
    status, output = repo.build(PREFECT_API_URL=prefect_server)
    assert status == 0
    assert sorted(repo.starts[before:]) == ["first-a", "first-b", "first-c", "second-a", "second-b"]
    assert "last cached (nothing changed)" in output, "the same bytes again: DVC cuts off there"


def test_a_failure_leaves_other_branches_running(repo, prefect_server, expected):
    (repo.path / "side" / "fail-first-b").touch()
    (repo.path / "side" / "die-once-second-a").touch()
    status, output = repo.build(PREFECT_API_URL=prefect_server)
    assert status == 1
    assert "no good: first-b" in output and "failed: first@b: exit status 1; log: .babelface/logs/build/first@b.txt" in output
    assert "second@b skipped (after first@b failed)" in output and "last skipped" in output
    assert "3 ran, 1 failed, 2 skipped" in output
    assert repo.starts.count("first-b") == 1, "what fails by itself is not tried again"
    assert repo.starts.count("second-a") == 2, "what was killed is"
    (repo.path / "side" / "fail-first-b").unlink()
    status, output = repo.build(PREFECT_API_URL=prefect_server)
    assert status == 0 and repo.digest() == expected


def test_stopped_in_the_middle_and_started_again(repo, prefect_server, expected):
    """By Ctrl-C, by SIGTERM and by kill -9, one after the other."""
    when = None
    for k, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL)):
        process = repo.start(step_s=0.5, PREFECT_API_URL=prefect_server)
        kept = repo.wait_for(f"data/first-a/item-{2 * k}")
        os.kill(process.pid, number)
        output, _ = process.communicate(timeout=60)
        repo.assert_stages_end()
        assert process.returncode == (-9 if number == signal.SIGKILL else 130), output
        assert number == signal.SIGKILL or "the same command goes on where it was" in output
        first = repo.path / "data/first-a/item-0"
        when = when or first.stat().st_mtime_ns
    assert kept.exists() and repo.digest() != expected
    status, output = repo.build(PREFECT_API_URL=prefect_server)
    assert status == 0 and repo.digest() == expected, output
    assert first.stat().st_mtime_ns == when, "an item that was done is not made again"
    assert not repo.two_writers


def test_ctrl_c_is_heard_though_a_library_swallowed_its_exception():
    code = "\n".join([
        "import os, queue, signal", "from flows import build, runner", "build.run_plan = lambda *_: swallow()", "def swallow():",
        "    try: os.kill(os.getpid(), signal.SIGINT)", "    except BaseException: pass",
        "    return build._next(queue.SimpleQueue())", "from contextlib import nullcontext", "from flows import server",
        "server.prefect_api = nullcontext",
        "try: runner._with_prefect('build', None, 1)", "except KeyboardInterrupt: print('heard')"])
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
                         env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.stdout.strip() == "heard", run.stderr


def test_one_build_at_a_time(repo, prefect_server, expected):
    first = repo.start(step_s=0.5, PREFECT_API_URL=prefect_server)
    repo.wait_for("data/first-a/item-0")
    status, output = repo.build(PREFECT_API_URL=prefect_server)
    assert status == 3 and f"process {first.pid} (babelface evaluate, since" in output and "--wait" in output
    waiting = repo.start(words="jobs=2, wait=True", PREFECT_API_URL=prefect_server)
    output, _ = first.communicate(timeout=240)
    assert first.returncode == 0 and repo.digest() == expected, output
    output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and "waiting for another build" in output and "nothing changed" in output
    assert len(repo.starts) == len(NAMES) and not repo.two_writers


def test_an_address_where_nothing_answers(tmp_path):
    code = "from flows import server\nserver.PATIENCE_S = 0.5\nwith server.prefect_api(): pass"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path,
                         capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert run.returncode == 1 and "NoServer: PREFECT_API_URL is http://127.0.0.1:9/api, and nothing answers there" in run.stderr


def test_a_scheduled_run_makes_its_own_plan(repo, prefect_server, expected):
    """A deployment calls the flow itself, with nobody to hand it a plan."""
    code = "from flows.build import evaluate; print(len(evaluate(jobs=2)), len(evaluate(jobs=2)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=repo.path, capture_output=True, text=True, timeout=240,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": prefect_server,
                              "PREFECT_LOGGING_LEVEL": "ERROR"})
    assert run.stdout.splitlines()[-1] == "6 0" and repo.digest() == expected, run.stderr
