"""Running instances through dvc's command line: outcomes, retries while another dvc holds a path, and what is left when it is
killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from flows import graph
from flows.mend import mend_rwlock
from flows.graph import Call, reproduce
from tests.flows.fake import NAMES, alive, kill


def test_outcomes_ran_cached_failed(repo):
    first = reproduce(["first@a", "first@b"], root=repo.path)
    assert {n: (o.status, o.changed) for n, o in first.items()} == {"first@a": ("ran", True), "first@b": ("ran", True)}
    assert "done first-a" in (repo.path / ".babelface/logs/build/first@a.txt").read_text()
    again = reproduce(["first@a"], root=repo.path)["first@a"]
    assert (again.status, again.changed, again.why) == ("cached", False, "nothing changed")

    (repo.path / "side" / "fail-first-c").touch()
    (repo.path / "params.yaml").write_text("setting: 2\n")
    mixed = reproduce(["first@c", "first@a"], root=repo.path)
    assert mixed["first@a"].status == "ran", "one that fails must not take the others of its call along"
    assert (mixed["first@c"].status, mixed["first@c"].transient, mixed["first@c"].why) == ("failed", False, "exit status 1")
    assert any("no good: first-c" in line for line in mixed["first@c"].tail)


def test_what_came_from_dvcs_run_cache_counts_as_changed(tmp_path):
    outcomes = {}
    reader = graph._Reader(tmp_path, outcomes, lambda name: None)
    reader.line("Stage 'first@a' is cached - skipping run, checking out outputs")
    reader.end(["first@a"], 0, False)
    assert (outcomes["first@a"].status, outcomes["first@a"].changed) == ("cached", True)


def test_restore_brings_back_what_the_lock_names(repo, expected):
    import shutil

    reproduce(NAMES, root=repo.path)
    shutil.rmtree(repo.path / "data")
    graph.restore(repo.path)
    assert repo.digest() == expected and len(repo.starts) == len(NAMES)


def test_a_killed_stage_is_transient(repo):
    (repo.path / "side" / "die-once-first-a").touch()
    outcome = reproduce(["first@a"], root=repo.path)["first@a"]
    assert outcome.status == "failed" and outcome.transient
    assert reproduce(["first@a"], root=repo.path)["first@a"].status == "ran"


def test_something_that_is_no_stage(repo):
    outcome = reproduce(["nothing"], root=repo.path)["nothing"]
    assert outcome.status == "failed" and not outcome.transient and any("nothing" in line for line in outcome.tail)


def test_waits_while_another_dvc_holds_a_path(repo, monkeypatch):
    """`--wait-for-lock` waits for the repository, not for a path that somebody else's stage is writing."""
    monkeypatch.setenv("FAKE_STEP_S", "0.3")
    other = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "first@a"], cwd=repo.path, env=graph.child_environment(),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    repo.wait_for("data/first-a/item-0")
    try:
        refused = reproduce(["first@a"], root=repo.path, busy_wait_s=0)["first@a"]
        assert refused.status == "failed" and any("is busy, it is being blocked by" in line for line in refused.tail)
        assert other.poll() is None, "the other must still be at work for this to be a test"
        waited = reproduce(["first@a"], root=repo.path, busy_wait_s=60)["first@a"]
        assert waited.status == "cached" and not repo.two_writers
    finally:
        assert other.wait(30) == 0


@pytest.mark.parametrize("torn", ["", '{"write": {"data/'], ids=["empty", "half"])
def test_a_kill_while_dvc_wrote_its_list_of_paths_in_use(repo, expected, torn):
    path = repo.path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(torn)
    assert {n.name for n in graph.load_graph(repo.path)} == set(NAMES)
    path.write_text(torn)
    outcomes = Call(NAMES, root=repo.path).run()
    assert {o.status for o in outcomes.values()} == {"ran"} and repo.digest() == expected
    assert not mend_rwlock(repo.path), "a whole list is left alone"


def test_kill_ends_dvc_and_the_stage(repo, monkeypatch):
    monkeypatch.setenv("FAKE_STEP_S", "0.5")
    call, answer = Call(["first@a", "first@b"], root=repo.path), {}
    thread = threading.Thread(target=lambda: answer.update(call.run()))
    thread.start()
    repo.wait_for("data/first-a/item-1")
    call.kill()
    thread.join(15)
    assert not thread.is_alive()
    repo.assert_stages_end()
    assert {(o.status, o.why, o.transient) for o in answer.values()} == {("failed", "interrupted", False)}
    assert Call(["first@a"], root=repo.path).kill() is None, "before it began"


def test_killing_dvc_ends_the_stage_and_the_next_call_goes_on(repo, monkeypatch, expected):
    import psutil

    monkeypatch.setenv("FAKE_STEP_S", "0.4")
    call, answer = Call(["first@a"], root=repo.path), {}
    thread = threading.Thread(target=lambda: answer.update(call.run()))
    thread.start()
    repo.wait_for("data/first-a/item-1")
    stage = int((repo.path / "side" / "pid-first-a").read_text())
    dvc = next(p for p in psutil.Process(stage).parents() if "quick_dvc.py" in " ".join(p.cmdline()[:4])
               and "child.py" not in " ".join(p.cmdline()))
    kill(dvc.pid)
    thread.join(15)
    repo.assert_stages_end()
    assert answer["first@a"].status == "failed" and answer["first@a"].transient
    monkeypatch.setenv("FAKE_STEP_S", "0")
    kept = (repo.path / "data/first-a/item-0").stat().st_mtime_ns
    outcomes = reproduce(NAMES, root=repo.path)
    assert all(o.status == "ran" for o in outcomes.values()), outcomes
    assert (repo.path / "data/first-a/item-0").stat().st_mtime_ns == kept, "persist: the stage goes on where it was"
    assert repo.digest() == expected and not repo.two_writers


def test_the_child_dies_with_whoever_started_it(tmp_path):
    """kill -9 of the parent leaves no signal handler a chance; the kernel tells the child."""
    pids = tmp_path / "pids"
    grandchild = f"import os, time; open({str(pids)!r}, 'a').write(str(os.getpid()) + ' '); time.sleep(60)"
    child = f"import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); {grandchild}"
    parent = ("import os, subprocess, sys, time; "
              f"subprocess.Popen([sys.executable, {graph.__file__.replace('graph.py', 'child.py')!r}, str(os.getpid()), "
              f"sys.executable, '-c', {child!r}], start_new_session=True); time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", parent])
    until = time.monotonic() + 30
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.kill()
    process.wait()
    for pid in map(int, pids.read_text().split()):
        while alive(pid):
            assert time.monotonic() < until, "outlived its grandparent"
            time.sleep(0.05)
