"""A small DVC repository whose stages write slowly, item by item, and tell on themselves when two of them write at once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WORK = '''"""python work.py NAME INPUT... : writes data/NAME/item-K, resumes, and never knows who started it."""
import fcntl, hashlib, os, pathlib, sys, time

name, inputs = sys.argv[1], sys.argv[2:]
side = pathlib.Path("side")
lock = open(side / f"{name}.lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    (side / "two-writers").write_text(name)
(side / f"pid-{name}").write_text(str(os.getpid()))
with open(side / "starts", "a") as log:
    log.write(name + "\\n")
if (side / f"fail-{name}").exists():
    sys.exit("no good: " + name)
if (side / f"die-once-{name}").exists():
    (side / f"die-once-{name}").unlink()
    os.kill(os.getpid(), 9)
out = pathlib.Path("data") / name
out.mkdir(parents=True, exist_ok=True)
seed = hashlib.sha256(b"".join(p.read_bytes() for i in inputs for p in sorted(pathlib.Path(i).rglob("item-*")))).hexdigest()
setting = pathlib.Path("params.yaml").read_text().split("setting: ")[1].split()[0] if name.startswith("first") else ""
step = float(os.environ.get("FAKE_STEP_S", "0"))
for k in range(8):
    item = out / f"item-{k}"
    if item.exists():
        continue
    time.sleep(step)
    temp = out / f".{k}.tmp"
    temp.write_text(f"{name} {k} {setting} {seed}")
    os.replace(temp, item)
print("done", name)
'''

GRAPH = """stages:
  first:
    foreach: {a: {}, b: {}, c: {}}
    do:
      cmd: python work.py first-${key}
      deps: [work.py]
      params: [setting]
      meta: {gpu: 0, cheap: true, cpus: 1}
      outs:
      - data/first-${key}: {persist: true}
  second:
    foreach: {a: {}, b: {}}
    do:
      cmd: python work.py second-${key} data/first-${key}
      deps:
      - work.py
      - data/first-${key}
      meta: {gpu: 0, cheap: false, cpus: 1}
      outs:
      - data/second-${key}: {persist: true}
  last:
    cmd: python work.py last data/second-a data/second-b
    deps: [data/second-a, data/second-b]
    meta: {gpu: 1, cheap: false, cpus: 1}
    outs:
    - data/last: {persist: true}
"""

NAMES = ["first@a", "first@b", "first@c", "second@a", "second@b", "last"]


class Repo:
    """A fake repository; `start` runs a build in it as the command line would."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(parents=True)
        (path / "side").mkdir()
        (path / "work.py").write_text(WORK)
        (path / "params.yaml").write_text("setting: 1\n")
        (path / "dvc.yaml").write_text(GRAPH)
        (path / ".gitignore").write_text("/data/\n/side/\n/.babelface/\n")
        (path / ".dvc").mkdir()
        (path / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text())
        (path / ".dvc" / ".gitignore").write_text("/tmp\n/cache\n")
        subprocess.run(["git", "init", "-q", str(path)], check=True)

    def command(self, words: str = "jobs=2") -> list[str]:
        """Builds everything as the flow `evaluate`; the exit status is the build's."""
        return [sys.executable, "-c", f"import sys; from flows.runner import run_graph; sys.exit(run_graph('evaluate', {words}))"]

    def start(self, *, step_s: float = 0.0, words: str = "jobs=2", **env: str) -> subprocess.Popen:
        """Starts a build and returns at once."""
        return subprocess.Popen(self.command(words), cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env={**os.environ, "PYTHONPATH": str(ROOT), "FAKE_STEP_S": str(step_s), **env})

    def build(self, **options) -> tuple[int, str]:
        """(exit status, output) of a build run to its end."""
        process = self.start(**options)
        output, _ = process.communicate(timeout=240)
        return process.returncode, output

    def dvc(self, *words: str) -> subprocess.CompletedProcess:
        """A plain dvc command, as a user would type it."""
        from flows.graph import child_environment

        return subprocess.run([sys.executable, "-m", "dvc", *words], cwd=self.path, env=child_environment(),
                              capture_output=True, text=True)

    def wait_for(self, name: str, timeout_s: float = 60) -> Path:
        """Waits until a file is there."""
        until = time.monotonic() + timeout_s
        while not (self.path / name).exists():
            assert time.monotonic() < until, f"{name} did not appear within {timeout_s} s"
            time.sleep(0.02)
        return self.path / name

    def stage_pids(self) -> list[int]:
        return [int(p.read_text()) for p in (self.path / "side").glob("pid-*") if p.read_text()]

    def assert_stages_end(self, timeout_s: float = 10) -> None:
        """Nothing that a stage started is alive any more, soon."""
        until = time.monotonic() + timeout_s
        while any(alive(pid) for pid in self.stage_pids()):
            assert time.monotonic() < until, "a stage outlived the build that started it"
            time.sleep(0.05)

    @property
    def starts(self) -> list[str]:
        path = self.path / "side" / "starts"
        return path.read_text().split() if path.exists() else []

    @property
    def two_writers(self) -> bool:
        return (self.path / "side" / "two-writers").exists()

    def digest(self) -> str:
        """Over all bytes that the build made."""
        total = hashlib.sha256()
        for path in sorted((self.path / "data").rglob("*")):
            if path.is_file():
                total.update(path.relative_to(self.path).as_posix().encode() + b"\0" + path.read_bytes())
        return total.hexdigest()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
