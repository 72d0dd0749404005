"""From an empty folder to the report, as a user runs it: by dvc alone, by the flow, killed in the middle, and again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.whole import EXPERT_STEPS, LANGUAGES, command, environment, run, tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def wait_for(ready: Callable[[], object], process: subprocess.Popen, seconds: float = 400) -> object:
    """What `ready` returned once it was true; fails when the process ends first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ready():
            return found
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    raise AssertionError("it never came so far")


def scratch_files(folder: Path, stage: str) -> list[Path]:
    return [p for p in (folder / ".babelface" / "work" / stage).rglob("*.arrow") if not p.name.startswith(".")]


def stage_processes(folder: Path) -> list[psutil.Process]:
    """Every process of a stage that works in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and any(w.startswith("stages.") for w in process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def logs(folder: Path) -> str:
    """The last lines that every instance wrote."""
    return "\n".join(f"{log.name}: {log.read_text()[-500:]}" for log in sorted((folder / ".babelface/logs/build").glob("*.txt")))


@pytest.fixture(scope="module")
def killed_and_finished(tmp_path_factory, prefect_home) -> Path:
    """A workspace built by the flow, which was killed on the way, as was a training of its second run."""
    from flows.workspace import create_workspace
    from tests.whole import tiny_overrides

    folder = create_workspace(tmp_path_factory.mktemp("killed") / "workspace", tiny_overrides())

    def start() -> subprocess.Popen:
        return subprocess.Popen(command("evaluate", "--jobs", "2"), cwd=folder, env=environment(prefect_home),
                                stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    # 1. The flow is killed while recordings are rendered.
    flow = start()
    wait_for(lambda: scratch_files(folder, "download"), flow)
    os.kill(flow.pid, signal.SIGKILL)
    flow.wait()
    deadline = time.monotonic() + 15
    while (alive := stage_processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive, "a stage outlived the flow: two could write the same output"
    assert scratch_files(folder, "download"), "what was rendered before the kill is kept"

    # 2. The same command; this time a training stage is killed after its first checkpoint, which the flow begins again.
    flow = start()
    wait_for(lambda: any((folder / "data/download").glob("synthetic-*/stats.json")), flow)
    begun = [line for log in (folder / ".babelface/logs").glob("download-*.log") for line in log.read_text().splitlines()]
    assert any("already_done=" in line and "already_done=0" not in line for line in begun), "what was kept is not rendered again"
    wait_for((folder / ".babelface/work/train/syncnet/checkpoint.pt").exists, flow)
    training = [p for p in stage_processes(folder) if "stages.train" in p.cmdline() and "syncnet" in p.cmdline()]
    for process in training:
        process.kill()
    assert training, "there was somebody to kill"
    assert flow.wait(timeout=900) == 0, logs(folder)
    assert "going on at step" in (folder / ".babelface/logs/build/train-syncnet.txt").read_text()
    return folder


def test_every_stage_ran_and_the_report_is_there(built):
    for stage in ("download", "segment", "track", "crop", "features"):
        for tag in LANGUAGES:
            stats = json.loads((built / f"data/{stage}/synthetic-{tag}/stats.json").read_text())
            assert stats["items_in"] == stats["kept"] + stats["rejected"] and stats["kept"] > 0
    assert (built / "results/report/index.html").stat().st_size > 10_000
    summary = json.loads((built / "results/summary.json").read_text())
    assert set(LANGUAGES) <= set(summary["real"])


def test_dvc_draws_losses_and_gaps(built):
    shown = subprocess.run([sys.executable, "-m", "dvc", "plots", "show", "--json"], cwd=built, env=environment(), text=True,
                           capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    drawn = json.loads(shown)["data"]
    assert sorted(drawn) == [f"results/plots/{p}.csv" for p in ("gap/speech2vid-en", "losses/speech2vid-en", "losses/syncnet")]
    (losses,) = drawn["results/plots/losses/syncnet.csv"]
    points = losses["content"]["data"]["values"]
    assert len(points) == EXPERT_STEPS and all(float(p["loss"]) > 0 for p in points)
    assert losses["content"]["encoding"]["x"]["field"] == "step"


def test_the_flow_killed_twice_gives_the_bytes_of_plain_dvc_repro(built, killed_and_finished):
    ours, theirs = tree(killed_and_finished), tree(built)
    assert sorted(ours) == sorted(theirs)
    assert {p for p in ours if ours[p] != theirs[p]} == set()


def test_a_second_run_has_nothing_to_do_and_does_not_import_prefect(killed_and_finished, prefect_home):
    folder = killed_and_finished
    before = tree(folder)
    again = subprocess.run([command()[0], "-X", "importtime", *command("evaluate")[1:]], cwd=folder,
                           env=environment(prefect_home), text=True,
                           capture_output=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    assert again.returncode == 0 and "nothing changed" in again.stdout
    assert "| prefect" not in again.stderr and " torch\n" not in again.stderr
    assert tree(folder) == before


def test_the_funnel_adds_up_over_all_stages(built):
    found = run(built, "funnel", "--json")
    assert found.returncode == 0, found.stderr
    rows = json.loads(found.stdout)
    text = json.dumps(rows)
    assert all(tag in text for tag in LANGUAGES)


def test_plan_after_a_change_names_it_and_what_follows(killed_and_finished):
    folder = killed_and_finished
    path = folder / "params.yaml"
    original = path.read_text()
    path.write_text(original.replace("every: 5", "every: 4"))
    try:
        said = run(folder, "plan", "--json").stdout
    finally:
        path.write_text(original)
    plan = json.loads(said)
    text = json.dumps(plan)
    assert "track.every" in text and "track@synthetic-en" in text and "report" in text
    assert "download@synthetic-en" not in text
