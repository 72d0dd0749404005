"""A stage that is killed at any step of its writing, and one whose disk is full: nothing half written, and the same bytes in the end."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.test_executor import calls, items, run, tree

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)


# Forks for every run: a new process each time, without the price of a new interpreter.
KILL_EVERYWHERE = '''
import os, shutil, signal, sys
from pathlib import Path
import pyarrow.compute, pyarrow.parquet
from core import executor
from tests.core.mappers import InHere
from tests.core.test_executor import items, run, tree

executor.WorkerPool = InHere
os.fsync = lambda handle: None  # a kill loses nothing that was written
old = [w for w in items(5, c01={"reject": "no_face"})]
new = [executor.Work(w.id, "new" if w.id == "c03" else w.digest, w.payload, w.row) for w in items(7, c01={"reject": "no_face"})[1:]]


def work_on(what):
    run(what, mapper="Writer", files="recordings")


def in_a_process(do):
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            do()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def killed_at(n):
    left = [n]

    def wrap(module, name):
        real = getattr(module, name)

        def step(*words, **more):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*words, **more)
        setattr(module, name, step)
    for name in ("replace", "link", "mkdir", "rmdir", "unlink", "chmod"):
        wrap(os, name)
    work_on(new)


work_on(new)  # here, so that libraries are warm in every fork
whole = tree()
shutil.rmtree("data"), shutil.rmtree(".babelface")
assert in_a_process(lambda: work_on(old)) == 0
before = tree()
shutil.copytree("data", "kept")
n = 0
while True:
    shutil.rmtree("data"), shutil.rmtree(".babelface")
    shutil.copytree("kept", "data")
    status = in_a_process(lambda: killed_at(n))
    if status == 0:
        break
    assert status == signal.SIGKILL, status
    folder = Path("data/features/toy-en")
    assert not folder.exists() or tree() in (before, whole), f"step {n}: half a result"
    assert in_a_process(lambda: work_on(new)) == 0
    assert tree() == whole, f"step {n}: other bytes"
    assert [p.name for p in folder.parent.iterdir()] == ["toy-en"], f"step {n}: left behind"
    n += 1
print(n)
'''


def test_kill_at_every_step_of_writing_leaves_the_old_or_the_new_result():
    Path("steps.py").write_text(KILL_EVERYWHERE)
    done = subprocess.run([sys.executable, "steps.py"], env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 40, "steps that were tried"


STAGE = '''
import sys
from core.stage import run_cli
from tests.core.test_executor import items, run
many = {f"c{i:02d}": {"size": %d} for i in range(12)}
sys.exit(run_cli("features", lambda instance, params: run(items(12, **many), workers=2), ["synthetic-en"]))
'''


def stage(size, limit=None):
    """One run of a stage command here, of 12 items with twice `size` bytes each; limit: the largest file it may write."""
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    Path("stage.py").write_text(STAGE % size)
    return subprocess.run([sys.executable, "stage.py"], env=ENV, capture_output=True, text=True,
                          preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))


def temporary():
    return [p for p in Path().rglob(".*") if p.is_file() and p.name not in (".gitignore",)] + list(Path("data").rglob(".*"))


@pytest.mark.parametrize("limit", [9000, 30000], ids=["an-item", "a-shard"])
def test_no_room_for_a_file(limit, monkeypatch):
    """A limit on the size of files, which every machine has: the small one stops an item, the other what the items become."""
    size = 5000
    assert stage(size).returncode == 0
    whole = tree()
    shutil.rmtree("data")
    Path("calls.log").unlink()
    failed = stage(size, limit)
    assert failed.returncode == 2 and "Traceback" not in failed.stderr, failed.stderr
    assert "features synthetic-en: no room left in " in failed.stderr and "limit of this process" in failed.stderr and "goes on" in failed.stderr
    assert not Path("data/features/toy-en").exists() and not temporary()
    done = len(calls())
    assert stage(size).returncode == 0 and tree() == whole
    assert limit == 9000 or len(calls()) == done == 12, "what was done before is not done again"


def test_a_full_disk(small_disk, monkeypatch):
    monkeypatch.chdir(small_disk(3))
    size = 60000
    assert stage(size).returncode == 0
    whole = tree()
    for ballast_kb in (1000, 2200):  # room for all items but not for what they become; room for some items
        shutil.rmtree("data")
        Path("calls.log").unlink()
        Path("ballast").write_bytes(bytes(ballast_kb << 10))
        failed = stage(size)
        assert failed.returncode == 2 and "Traceback" not in failed.stderr, failed.stderr
        assert "no room left in " in failed.stderr and "the disk is full" in failed.stderr and "MB are free there" in failed.stderr
        assert not Path("data/features/toy-en").exists() and not temporary()
        Path("ballast").unlink()
        again = stage(size)
        assert again.returncode == 0 and tree() == whole, again.stderr
