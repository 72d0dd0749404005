"""A copy of the project with params of its own, to run beside it: for a folder of somebody's videos, for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from core.digest import digest_of
from core.params import Params, check_params
from core.shards import write_bytes
from flows import graph

ROOT = Path(__file__).resolve().parent.parent
_NOT_COPIED = ("data/", "results/", ".babelface/", "docs/", "notebooks/", "tests/", "bench/")
_NOT_WALKED = {".git", ".venv", ".babelface", "data", "results", "__pycache__", "cache", "tmp"}


class WorkspaceError(ValueError):
    """A workspace cannot be made there, or is not one; the message says why."""


def create_workspace(dest: Path | str, overrides: Mapping[str, Any] | None = None, *, share_cache: bool = False,
                     root: Path = ROOT) -> Path:
    """The absolute path of a new git and DVC repository with the project's code, and params.yaml changed by `overrides`.

    overrides: merged into params.yaml key by key; a value of None takes the key out. share_cache: use the project's DVC cache,
    and begin with what it has made already. Without git data in the project, its files are found by walking.
    WorkspaceError where `dest` holds something.
    """
    dest = Path(dest).resolve()
    if dest.exists() and any(dest.iterdir()):
        raise WorkspaceError(f"{dest} is not empty; name a new folder")
    _params(dest, overrides or {}, root)
    for name in project_files(root):
        target = dest / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
    write_params(dest, overrides or {}, root)
    if share_cache:
        local = f"[cache]\n    dir = {(root / '.dvc' / 'cache').resolve()}\n"
        (dest / ".dvc" / "config.local").write_text(local, encoding="utf-8")
        if (root / "dvc.lock").is_file():
            shutil.copyfile(root / "dvc.lock", dest / "dvc.lock")
    _git(dest, "init", "-q")
    _git(dest, "add", "-A")
    _git(dest, "-c", "user.name=babelface", "-c", "user.email=babelface@localhost", "-c", "commit.gpgsign=false",
         "commit", "-q", "-m", "a workspace of babelface")
    if share_cache:
        graph.restore(dest)
    return dest


def open_workspace(place: Path, overrides: Mapping[str, Any], root: Path = ROOT) -> Path:
    """A new workspace, or the one that is there with the project's code and params of now. What it has made stays: DVC says what
    of it must be made again."""
    if not (place / graph.GRAPH).is_file():
        return create_workspace(place, overrides, root=root)
    _params(place, overrides, root)
    names = project_files(root)
    known = subprocess.run(["git", "-C", str(place), "ls-files", "-z"], capture_output=True, text=True, check=True).stdout.split("\0")
    for name in set(known) - {*names, "dvc.yaml", "dvc.lock", ""}:
        (place / name).unlink(missing_ok=True)
    for name in set(names) - {"params.yaml"}:
        target, content = place / name, (root / name).read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            write_bytes(target, content)
    write_params(place, overrides, root)
    return place


def place_of_folder(clips: Path) -> Path:
    """Where a folder of videos is scored: by its name, and where that is another folder's place, by its path too."""
    place = Path(".babelface/real") / clips.resolve().name
    params = place / "params.yaml"
    said = yaml.safe_load(params.read_text(encoding="utf-8")) if params.is_file() else {}
    taken = said.get("corpora", {}).get("real", {}).get("path", str(clips.resolve()))
    return place if taken == str(clips.resolve()) else place.with_name(f"{place.name}-{digest_of(str(clips.resolve()))[:8]}")


def write_params(place: Path, overrides: Mapping[str, Any], root: Path = ROOT) -> None:
    """Writes params.yaml and dvc.yaml of a workspace: the project's params with `overrides` laid over them."""
    raw, params = _params(place, overrides, root)
    (place / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8")
    graph.write_graph(params, place)


def _params(place: Path, overrides: Mapping[str, Any], root: Path) -> tuple[dict[str, Any], Params]:
    raw = merged(yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")), overrides)
    return raw, check_params(raw, f"{place.name}/params.yaml")


def merged(base: Any, changes: Mapping[str, Any]) -> Any:
    """`base` with `changes` laid over it, mapping by mapping. None takes a key out; anything else replaces."""
    out = dict(base) if isinstance(base, Mapping) else {}
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


def replaced(mapping: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides that leave only `new` of a mapping: `merged` adds keys, this takes the others out."""
    return {**dict.fromkeys(mapping, None), **new}


def project_files(root: Path) -> list[str]:
    """Repository-relative files that a workspace needs: code, params, DVC settings; no data, tests or pages."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True,
                            text=True, check=False)
    if listed.returncode == 0:
        names = [n for n in listed.stdout.split("\0") if n]
    else:  # an unpacked archive
        names = [p.relative_to(root).as_posix() for p in root.rglob("*")
                 if p.is_file() and not _NOT_WALKED & set(p.relative_to(root).parts) and p.suffix != ".pyc"]
    return sorted(n for n in names if (root / n).is_file() and not n.startswith((*_NOT_COPIED, ".venv/"))
                  and n not in ("dvc.yaml", "dvc.lock"))


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, stdin=subprocess.DEVNULL,
                   env={**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, "GIT_TERMINAL_PROMPT": "0"})


def run_inside(folder: Path, *words: str) -> int:
    """The exit status of `babelface WORDS` in a workspace, run by its own copy of the code (python -m looks in the folder
    first)."""
    home = os.environ.get("PREFECT_HOME") or str((ROOT / ".babelface" / "prefect").resolve())
    return subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=folder, check=False,
                          env={**graph.child_environment(), "PREFECT_HOME": home}).returncode


def overrides_for_folder(folder: Path, expert: Path, root: Path = ROOT) -> dict[str, Any]:
    """Params that score one folder of videos: no training, the controls, an expert that exists already."""
    from corpora.registry import languages, open_corpus

    folder, expert = folder.resolve(), expert.resolve()
    if not expert.is_file():
        raise WorkspaceError(f"no trained sync expert at {expert}; run `make demo` first, or name one with --expert")
    raw = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    tags = languages(open_corpus("folder"), {"name": "real", "path": str(folder)})
    if not tags:
        raise WorkspaceError(f"{folder}: no usable row in its index")
    real = {"adapter": "folder", "path": str(folder), "languages": {tag: {} for tag in tags}}
    return {"corpora": replaced(raw["corpora"], {"real": real}),
            "train": {name: replaced(raw["train"][name], {}) for name in ("experts", "systems")},
            "split": {"test_share": 1.0, "validation_share": 0.0, "expert_share": 0.0},
            "generate": {"clips_per_speaker": 1_000_000},  # somebody's folder is scored whole
            "score": {"expert": {"weights": str(expert)}},
            "crop": {"store": raw["crop"]["store"][:1]}}  # nothing trains here, so one view is enough to look at


def override(changes: list[str]) -> dict[str, Any]:
    """Overrides from KEY=VALUE words, KEY dotted and VALUE in YAML. WorkspaceError for a word without `=`."""
    out: dict[str, Any] = {}
    for word in changes:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise WorkspaceError(f"--set {word}: expected KEY=VALUE, such as train.seed=3")
        at = out
        *path, last = key.split(".")
        for part in path:
            at = at.setdefault(part, {})
        at[last] = yaml.safe_load(value)
    return out
