"""A training that moves between machines through DVC's remote: two clones of one project that share nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from flows import node, remote
from flows.graph import load_graph
from flows.plan import UnknownTarget
from tests.flows.night_repo import NightRepo
from tests.flows.training_repo import GRAPH, TRAIN, machine, make_home

pytestmark = pytest.mark.slow

@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory.mktemp("machines"))


def start(repo: NightRepo, step_s: float) -> subprocess.Popen:
    env = {**os.environ, "TOY_STEP_S": str(step_s), "BABELFACE_GPUS": "GPU-toy",
           "BABELFACE_GPU_LOCKS": str(repo.path.parent / "locks")}
    return subprocess.Popen([sys.executable, "-m", "flows.cli", "node", "train", "toy", "--every", "1"], cwd=repo.path, env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)


def wait_for(found, process: subprocess.Popen, timeout_s: float = 90):
    end = time.monotonic() + timeout_s
    while not (value := found()):
        assert process.poll() is None, process.communicate(timeout=30)[0]
        assert time.monotonic() < end, f"not there after {timeout_s} s"
        time.sleep(0.1)
    return value


def test_preempted_on_one_machine_finished_on_another_collected_on_a_third(home):
    first = machine(home, "first")
    process = start(first, 0.5)
    checkpoint = first.path / ".babelface/work/train/toy/checkpoint.pt"
    wait_for(lambda: checkpoint.exists() and len(checkpoint.read_text().split()) >= 3, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == node.PREEMPTED, output
    assert "it goes on at its last checkpoint" in output
    left = checkpoint.read_text()
    kept, = (home.path.parent / "store/babelface/train/toy").glob("*/checkpoint.pt")
    assert kept.read_text() == left and not (first.path / "data/train/toy/model.pt").exists()
    assert not (first.path / "side/starts").exists(), "its data was fetched, not made"

    second = machine(home, "second")
    process = start(second, 0.0)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert (second.path / "side/began").read_text() == str(len(left.split())), "it went on where the first stopped"
    assert (second.path / "data/features/model-input").read_text() == "input\n" and not (second.path / "side/starts").exists()
    model = (second.path / "data/train/toy/model.pt").read_text()
    assert model == " ".join(f"step{k}" for k in range(12)) + "input\n"
    assert (second.path / "side/card").read_text() == "GPU-toy"
    assert not kept.exists(), "a finished training leaves no checkpoint behind"

    said = home.call("flows.cli", "node", "collect").stdout
    assert "collected: train-toy" in said
    assert (home.path / "data/train/toy/model.pt").read_text() == model
    assert not [n.name for n in load_graph(home.path) if n.reasons], "nothing is out of date any more"


def test_a_node_says_what_it_lacks(home, monkeypatch):
    third = machine(home, "third")
    monkeypatch.chdir(third.path)
    with pytest.raises(UnknownTarget, match="no training 'train-tyo'; there are: train-toy"):
        node.train("tyo")
    (third.path / "train.py").write_text(TRAIN + "# other code\n")
    (third.path / "dvc.yaml").write_text(GRAPH.replace("echo input", "echo other"))
    with pytest.raises(node.NodeError, match="(?s)features is not as train-toy needs it.*babelface node send"):
        node.train("toy")


def test_keys_follow_content_and_locks_are_merged(home, monkeypatch):
    monkeypatch.chdir(home.path)
    key = remote.job_key("train-toy")
    assert key == remote.job_key("train-toy") and len(key) == 20
    before = (home.path / "train.py").read_text()
    (home.path / "train.py").write_text(before + "# changed\n")
    assert remote.job_key("train-toy") != key
    (home.path / "train.py").write_text(before)
    with pytest.raises(remote.RemoteError, match="no stage 'train-x'"):
        remote.job_key("train-x")
    lock = yaml.safe_load((home.path / "dvc.lock").read_text())
    remote.merge_lock({"train-other": {"cmd": "true"}})
    merged = yaml.safe_load((home.path / "dvc.lock").read_text())
    assert merged == {**lock, "stages": {**lock["stages"], "train-other": {"cmd": "true"}}}
    (home.path / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def test_without_a_remote_the_side_folder_is_named(tmp_path, monkeypatch):
    repo = NightRepo(tmp_path / "alone")
    with pytest.raises(remote.RemoteError, match="dvc remote add --default.*BABELFACE_SIDE"):
        remote.open_side(repo.path)
    monkeypatch.setenv("BABELFACE_SIDE", str(tmp_path / "shared"))
    side, file = remote.open_side(repo.path), tmp_path / "file"
    file.write_text("one")
    side.put(file, "a/b/c")
    file.write_text("two")
    side.put(file, "a/b/c")
    assert (tmp_path / "shared/a/b/c").read_text() == "two" and len(list((tmp_path / "shared/a/b").iterdir())) == 1
    assert side.get("a/b/c", tmp_path / "back/c") and (tmp_path / "back/c").read_text() == "two"
    side.delete("a/b/c")
    side.delete("a/b/c")
    assert not side.get("a/b/c", tmp_path / "back/c")
