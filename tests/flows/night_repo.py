"""A small project whose only system is scored out of thin air: how good it is per language stands in params.yaml."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from flows.graph import child_environment

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "flows", "metrics", "report", "stages")
METRIC = "opening_correlation"

SCORE = '''"""Scores and report.json: two languages, nine speakers, two clips each; seed is noise, loss what a language loses."""
import os, pathlib, sys
import numpy as np, yaml
from core.records import columns
from core.shards import write_json, write_table

with open("side/starts", "a") as log:
    log.write("score\\n")
pathlib.Path("side/card").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
if pathlib.Path("side/fail").exists():
    sys.exit("no good: the disk is full")
params = yaml.safe_load(open("params.yaml"))
rng = np.random.default_rng(params["seed"])
rows = []
for tag, loss in sorted(params["loss"].items()):
    for speaker in range(9):
        for clip in range(2):
            name = f"{tag}-s{speaker}-{clip}"
            who = {"generated_id": f"{name}.fake", "clip_id": name, "track_id": name + "-0", "recording_id": name, "corpus": "c",
                   "language": tag, "speaker": f"{tag}-s{speaker}", "cluster": f"speaker:{tag}-s{speaker}", "kind": "real",
                   "system": "fake", "condition": "self", "sample": 0, "audio_clip_id": name, "audio_language": tag,
                   "n_frames": 25,
                   "training_languages": [], "null_reasons": [], "protocol": params["protocol"], "expert": "e",
                   "expert_sha256": "ab" * 32, "finder": "f",
                   "opening_correlation": 0.8 - loss + 0.01 * speaker + 0.02 * rng.standard_normal()}
            rows.append({k: who.get(k) for k in columns("scores")})
out = pathlib.Path("data/score/fake")
(out / "scores").mkdir(parents=True, exist_ok=True)
write_table(out / "scores" / "shard-000.parquet", rows, "scores")
cells = []
for tag in sorted(params["loss"]):
    values = [r["opening_correlation"] for r in rows if r["language"] == tag]
    mean = float(np.mean(values))
    value = {"mean": mean, "low": mean - 0.02, "high": mean + 0.02, "reason": None,
             "n_clips": len(values), "n_speakers": 9}
    cells.append({"system": "fake", "condition": "self", "language": tag, "metric": "opening_correlation", "value": value})
pathlib.Path("data/aggregate/all").mkdir(parents=True, exist_ok=True)
write_json(pathlib.Path("data/aggregate/all/report.json"), {
    "cells": cells, "validity": [], "systems": [{"name": "fake", "control": False}],
    "languages": [{"tag": t} for t in sorted(params["loss"])],
    "metrics": [{"name": "opening_correlation", "label": "Opening correlation", "higher_is_better": True, "digits": 3, "unit": "",
                 "judged": False}]})
page = pathlib.Path("results/report/index.html")
page.parent.mkdir(parents=True, exist_ok=True)
page.write_text(f"<!doctype html><title>the report of seed {params['seed']}</title>")
'''

GRAPH = """stages:
  score-fake:
    cmd: python score.py
    deps: [score.py]
    params: [seed, loss, protocol]
    meta: {gpu: 1, cheap: false, cpus: 1}
    outs:
    - data/score/fake: {persist: true}
    - data/aggregate/all: {persist: true}
    - results/report: {persist: true}
"""


class NightRepo:
    """The project, committed; `set` changes its params."""

    def __init__(self, path: Path):
        self.path = path
        (path / "side").mkdir(parents=True)
        for room in ROOMS:
            (path / room).symlink_to(ROOT / room)
        (path / "score.py").write_text(SCORE)
        (path / "dvc.yaml").write_text(GRAPH)
        self.set()
        ignored = ("data/", "side/", "results/", ".babelface/", ".prefectignore", *ROOMS)
        (path / ".gitignore").write_text("".join(f"/{name}\n" for name in ignored))
        (path / ".dvc").mkdir()
        (path / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text())
        (path / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a project"]):
            self.call("git", *words)

    def set(self, seed: int = 1, protocol: str = "p", **loss: float) -> None:
        """How good the system is tonight."""
        values = {"seed": seed, "protocol": protocol, "loss": {"en": 0.0, "tr": 0.0, **loss},
                  "report": {"bootstrap": 400, "seed": 0, "alpha": 0.05}}
        (self.path / "params.yaml").write_text(yaml.safe_dump(values))

    def call(self, *command: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        """Runs git, or `dvc` and other modules by this interpreter."""
        who = {f"GIT_{role}_{part}": "a@b" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
        words = [*command] if command[0] == "git" else [sys.executable, "-m", *command]
        ran = subprocess.run(words, cwd=self.path, env={**child_environment(), **who, **env}, text=True, capture_output=True,
                             check=False, timeout=240, stdin=subprocess.DEVNULL)
        assert not check or ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
        return ran

    def night(self, day: str) -> dict[str, Any]:
        """The record of nightly-DAY as published."""
        return json.loads((self.path / f".babelface/nightly/nightly-{day}/night.json").read_text())

    @property
    def starts(self) -> int:
        path = self.path / "side" / "starts"
        return len(path.read_text().split()) if path.exists() else 0
