from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

import core.stage
from core.params import load_params
from core.records import Reject
from core.stage import UserError, only_writer, out_folder, run_cli, seal
from core.workers import WorkerError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())


def failing(error):
    def main(instance, params):
        raise error

    return main


def test_a_stage_gets_its_instance_and_the_params():
    seen = []
    assert run_cli("track", lambda i, p: seen.append((i, p.track.every)), ["synthetic-en"]) == 0
    assert seen == [("synthetic-en", 5)]


@pytest.mark.parametrize("error, status, says", [
    (UserError("change this"), 2, "track synthetic-en: change this\n"),
    (FileNotFoundError("a.mp4: gone"), 2, "track synthetic-en: a.mp4: gone\n"),
    (Reject("no_face", "in c1"), 2, "track synthetic-en: no_face: in c1\n"),
    (WorkerError("trace"), 1, "track synthetic-en: this is a bug, not a bad clip:\ntrace\n"),
    (KeyboardInterrupt(), 130, "track synthetic-en: interrupted; the same command goes on where it was\n"),
])
def test_errors_have_a_status_and_a_line(error, status, says, capsys):
    assert run_cli("track", failing(error), ["synthetic-en"]) == status
    assert capsys.readouterr().err == says


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_cli("track", failing(ZeroDivisionError()), ["synthetic-en"])


def test_wrong_params_are_told_before_anything_runs(capsys):
    Path("params.yaml").write_text("trac: {}\n")
    assert run_cli("track", failing(AssertionError("ran")), ["synthetic-en"]) == 2
    assert "trac" in capsys.readouterr().err
    Path("params.yaml").unlink()
    assert run_cli("track", failing(AssertionError("ran")), ["synthetic-en"]) == 2
    assert "run from the project's root" in capsys.readouterr().err


COMMANDS = re.findall(r"python -m stages\.(\w+) (\S+)$", (ROOT / "dvc.yaml").read_text(), re.MULTILINE)


def test_every_instance_of_the_graph_is_known():
    params = load_params()
    assert len({stage for stage, _ in COMMANDS}) == 13, "all but bias, which scores with other experts"
    for stage, name in COMMANDS:
        for instance in [i.name for i in params.instances()] if name == "${key}" else [name]:
            core.stage.check_instance(stage, instance, params)
    other = params.model_copy(update={"score": params.score.model_copy(update={"ablation_experts": ["syncnet"]})})
    core.stage.check_instance("bias", "syncnet", other)


@pytest.mark.parametrize("stage", [*dict(COMMANDS), "bias"])
def test_an_instance_that_params_do_not_ask_for_is_refused_before_anything_runs(stage, capsys):
    near = {"all": "al", "${key}": "synthetic-enn"}.get(name := dict(COMMANDS).get(stage, "syncnet"), f"{name}n")
    assert run_cli(stage, failing(AssertionError("ran")), [near]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{stage} {near}: ") and ("known: none" if stage == "bias" else "; did you mean ") in said
    assert not Path(".babelface").exists(), "no lock was taken"


def test_help_says_how_to_call_it(capsys):
    with pytest.raises(SystemExit) as left:
        run_cli("track", failing(AssertionError("ran")), ["--help"], doc="Finds faces.")
    text = capsys.readouterr().out
    assert left.value.code == 0 and "python -m stages.track" in text and "Finds faces." in text and "INSTANCE" in text
    with pytest.raises(SystemExit) as left:
        run_cli("track", failing(AssertionError("ran")), [])
    assert left.value.code == 2


def test_an_output_has_one_writer_at_a_time(monkeypatch, capsys):
    monkeypatch.setattr(core.stage, "WAIT_FOR_LOCK_S", 0.2)
    with only_writer("track", "synthetic-en"):
        with only_writer("track", "synthetic-fi"):
            pass
        assert run_cli("track", failing(AssertionError("ran")), ["synthetic-en"]) == 2
        assert "another process" in capsys.readouterr().err
    assert run_cli("track", lambda i, p: None, ["synthetic-en"]) == 0, "the lock is free again"
    with pytest.raises(UserError):
        with only_writer("track", "synthetic-en"):
            raise UserError("failed inside")
    with only_writer("track", "synthetic-en"):
        pass


def test_a_lock_goes_with_its_process(tmp_path):
    code = "import time\nfrom core.stage import only_writer\nwith only_writer('track', 'synthetic-en'):\n print('held', flush=True)\n time.sleep(60)\n"
    child = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)},
                             stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(".babelface/locks/track-synthetic-en.lock").acquire(timeout=0.1)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    with only_writer("track", "synthetic-en"):
        pass


def test_a_stage_ends_when_the_dvc_that_started_it_is_gone(tmp_path):
    """dvc starts a shell, the shell a stage: a killed dvc must leave no writer behind."""
    stage = tmp_path / "stage.py"
    stage.write_text("import os, time\nfrom core.stage import follow_dvc\nfollow_dvc(0.05)\nopen('pid', "
                     "'w').write(str(os.getpid()))\ntime.sleep(120)\n")
    dvc = tmp_path / "dvc"
    dvc.write_text(f"import subprocess\nsubprocess.run([{sys.executable!r}, {str(stage)!r}])\n")
    owner = subprocess.Popen([sys.executable, str(dvc)], env=os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(tmp_path)})
    try:
        _wait_for(lambda: Path("pid").is_file() and Path("pid").read_text())
        pid = int(Path("pid").read_text())
        time.sleep(0.3)
        assert _alive(pid)
    finally:
        owner.kill()
        owner.wait()
    _wait_for(lambda: not _alive(pid))


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for(true, limit_s=60):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_without_dvc_nothing_is_watched(monkeypatch):
    import threading

    before = threading.active_count()
    core.stage.follow_dvc()
    monkeypatch.setenv("DVC_ROOT", ".")
    core.stage.follow_dvc()  # no process above us is dvc
    assert threading.active_count() == before


def test_the_seal_follows_params_code_and_weights(tmp_path, monkeypatch):
    import shutil

    for room in ("core", "stages", "metrics", "models", "corpora"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    first = seal("features", {"store": ["mel"]})
    assert first == seal("features", {"store": ["mel"]}) and first["weights"] == {}
    with open("core/views.py", "a") as file:
        file.write("\n# changed\n")
    assert seal("features", {"store": ["mel"]}) == first, "features does not run it"
    with open("core/mfcc.py", "a") as file:
        file.write("\n# changed\n")
    assert seal("features", {"store": ["mel"]})["code"] != first["code"]
    assert seal("features", {"store": []})["params"] != first["params"]
    assert seal("features", {}, {"a": "b"})["weights"] == {"a": "b"}


def test_where_outputs_lie():
    assert out_folder("track", "toy-en") == Path("data/track/toy-en")
