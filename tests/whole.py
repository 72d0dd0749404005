"""A whole run of the pipeline, small enough for a test: two languages, one of them planted, a minute or two on two cores."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ("en", "x-gap")
SEED = 1624  # its speakers draw short sentences: seven recordings of less than four seconds on average
EXPERT_STEPS = 20


def tiny_overrides() -> dict[str, Any]:
    """Changes to params.yaml that make the whole graph small; everything else stays as the project has it."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    languages = raw["corpora"]["synthetic"]["languages"]
    systems = raw["train"]["systems"]
    return {
        "corpora": {"synthetic": {"size": 144, "speakers": 5, "clips_per_speaker": 1, "seed": SEED,
                                  "languages": {tag: None for tag in languages if tag not in LANGUAGES} | {
                                      "x-gap": languages["x-gap"] | {"speakers": 2, "twin_of": "en"}}}},
        "shards": 2,
        "track": {"landmarker": "facemesh"},  # a third of the bundle's time
        "split": {"test_share": 0.2, "expert_share": 0.6},
        "train": {"experts": {"syncnet": {"steps": EXPERT_STEPS, "checkpoint_every": 5, "batch_clips": 4}},
                  "systems": {name: None for name in systems if name != "speech2vid-en"} | {
                      "speech2vid-en": {"steps": 8, "checkpoint_every": 2, "batch": 8}}},
        "generate": {"clips_per_speaker": 1},
        "report": {"gallery_per_language": 1, "bootstrap": 200},
    }


def tree(folder: Path) -> dict[str, str]:
    """Path -> sha256 of every file that a run leaves under data/ and results/."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for part in ("data", "results") for p in sorted((folder / part).rglob("*"))
            if p.is_file() and not any(x.startswith(".") for x in p.relative_to(folder).parts)}


def command(*words: str) -> list[str]:
    """The command line of `babelface WORDS` with this interpreter, to be run with the workspace as its folder."""
    return [sys.executable, "-m", "flows.cli", *words]


def environment(prefect_home: Path | None = None, **more: str) -> dict[str, str]:
    """What a command in a workspace gets: one thread a process, and a Prefect folder of its own."""
    from flows.graph import child_environment

    home = {"PREFECT_HOME": str(prefect_home)} if prefect_home else {}
    kept = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    return {**kept, **{k: v for k, v in child_environment().items() if k not in kept or k == "PATH"}, **home, **more}


def run(folder: Path, *words: str, prefect_home: Path | None = None, timeout: float = 900) -> subprocess.CompletedProcess:
    """One finished `babelface` command in a workspace; its output is text."""
    return subprocess.run(command(*words), cwd=folder, env=environment(prefect_home), text=True, capture_output=True,
                          timeout=timeout, stdin=subprocess.DEVNULL, check=False)
