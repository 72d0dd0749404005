"""A project with one toy training, on machines that share nothing but a DVC remote."""

from __future__ import annotations

from pathlib import Path

from tests.flows.night_repo import ROOMS, ROOT, NightRepo

TRAIN = '''"""A training in steps, each a line of its checkpoint, which it goes on from; writes its model at the end."""
import os, pathlib, time
work = pathlib.Path(".babelface/work/train/toy/checkpoint.pt")
work.parent.mkdir(parents=True, exist_ok=True)
done = work.read_text().split() if work.exists() else []
pathlib.Path("side/began").write_text(str(len(done)))
for step in range(len(done), 12):
    time.sleep(float(os.environ.get("TOY_STEP_S", "0")))
    done.append(f"step{step}")
    temp = work.with_name("temp")
    temp.write_text(" ".join(done))
    os.replace(temp, work)
out = pathlib.Path("data/train/toy")
out.mkdir(parents=True, exist_ok=True)
(out / "model.pt").write_text(" ".join(done) + open("data/features/model-input").read())
pathlib.Path("side/card").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
work.unlink()
'''

GRAPH = """stages:
  features:
    cmd: mkdir -p data/features side && echo features >> side/starts && echo input > data/features/model-input
    outs:
    - data/features: {persist: true}
  train-toy:
    cmd: python train.py
    deps: [data/features, train.py]
    meta: {gpu: 1, cheap: false, cpus: 1}
    outs:
    - data/train/toy: {persist: true}
"""


def make_home(base: Path) -> NightRepo:
    """The machine with the data: built, sent; and a folder that is the remote."""
    repo = NightRepo(base / "home")
    (repo.path / "train.py").write_text(TRAIN)
    (repo.path / "dvc.yaml").write_text(GRAPH)
    settings = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {base / 'store'}\n"
    (repo.path / ".dvc/config.local").write_text(settings)
    repo.call("git", "add", "-A")
    repo.call("git", "commit", "-qm", "a training")
    repo.call("dvc", "repro", "features")
    repo.call("flows.cli", "node", "send")
    return repo


def machine(home: NightRepo, name: str) -> NightRepo:
    """A fresh clone with the remote configured, as a node has it."""
    place = home.path.with_name(name)
    home.call("git", "clone", "-q", str(home.path), str(place))
    made = NightRepo.__new__(NightRepo)
    made.path = place
    (place / ".dvc/config.local").write_bytes((home.path / ".dvc/config.local").read_bytes())
    (place / "side").mkdir()
    for room in ROOMS:
        (place / room).symlink_to(ROOT / room)
    return made
