"""Finished runs to compare: a git revision or DVC experiment, a workspace, or a file of scores, read without being checked out.

Beside flows/graph.py the only module that knows DVC, and it only reads: dvc.lock of the revision names the outputs, the DVC cache
or a remote has them. What is fetched lies in .babelface/revisions/COMMIT/, file by file; a commit never changes, so it is kept.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from core.stage import UserError

STORE = Path(".babelface/revisions")
SCORES, SETS = "data/score", "data/sets"
SUFFIXES = (".json", ".parquet")


class RevisionError(UserError):
    """A run cannot be read; the message says what is missing and how to have it."""


@dataclass(slots=True)
class Run:
    """One finished run. `label` is as the user named it; `rows`: its score rows, each with `source` where an instance made it."""

    label: str
    kind: str  # revision, workspace or file
    detail: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    tree: Any = None

    def path(self, name: str) -> Path | None:
        """A file of the run, by its path in the project; None where it has none."""
        return None if self.tree is None else self.tree.path(name)

    def names(self, folder: str) -> list[str]:
        """What a folder of the run holds, sorted; empty where there is none."""
        return [] if self.tree is None else self.tree.names(folder)


class Folder:
    """A workspace as it lies on disk."""

    def __init__(self, root: Path):
        self.root = root

    def path(self, name: str) -> Path | None:
        """The file, or None."""
        path = self.root / name
        return path if path.is_file() else None

    def names(self, folder: str) -> list[str]:
        """Names in a folder, hidden ones left out."""
        path = self.root / folder
        return sorted(p.name for p in path.iterdir() if not p.name.startswith(".")) if path.is_dir() else []


class Commit:
    """A commit of a git and DVC repository: what git has, and what its dvc.lock names, out of the cache or a remote."""

    def __init__(self, root: Path, sha: str, label: str):
        from dvc.api import DVCFileSystem

        self._fs = DVCFileSystem(str(root), rev=sha)
        self._store, self._label = root / STORE / sha, label

    def path(self, name: str) -> Path | None:
        """The file, fetched once; None where the commit has none. RevisionError where it is recorded but nowhere to be had."""
        target = self._store / name
        if target.is_file():
            return target
        if not self._ask("isfile", name):
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        temp = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            self._ask("get_file", name, str(temp))
            os.replace(temp, target)
        finally:
            temp.unlink(missing_ok=True)
        return target

    def names(self, folder: str) -> list[str]:
        """Names in a folder, hidden ones left out. RevisionError where it is recorded but nowhere to be had."""
        if not self._ask("isdir", folder):
            return []
        found = (str(name).rstrip("/").rpartition("/")[2] for name in self._ask("ls", folder, detail=False))
        return sorted(name for name in found if not name.startswith("."))

    def _ask(self, what: str, name: str, *rest: Any, **options: Any) -> Any:
        from dvc_data.index.index import DataIndexDirError

        try:
            return getattr(self._fs, what)(name, *rest, **options)
        except (DataIndexDirError, FileNotFoundError) as error:
            raise RevisionError(f"{self._label}: {name} is recorded in its dvc.lock but is neither in the DVC cache nor in a "
                                "remote; where it was built, run: dvc push") from error


def open_run(word: str, root: Path = Path(".")) -> Run:
    """The run that a word names: a file of scores, a workspace folder, else a git revision or DVC experiment of the repository at
    `root`. RevisionError says why there is none."""
    path = Path(word).expanduser()
    if path.suffix in SUFFIXES and path.is_file():
        return Run(word, "file", path.name, file_rows(path), None)
    if path.is_dir():
        label = "workspace" if path.resolve() == Path(root).resolve() else word
        run = Run(label, "workspace", "as it lies on disk", tree=Folder(path))
    else:
        sha, title = commit_of(word, root)
        run = Run(word, "revision", f"{sha[:10]} {title}".strip(), tree=Commit(Path(root), sha, word))
        if run.path("dvc.lock") is None:
            raise RevisionError(f"{word} ({sha[:10]}) has no dvc.lock, so nothing says which results belong to it. In a "
                                "workspace of your own, commit dvc.lock with each result, or: dvc exp save --name NAME")
    run.rows = score_rows(run)
    return run


def commit_of(word: str, root: Path = Path(".")) -> tuple[str, str]:
    """(commit, first line of its message) of a branch, tag, commit or DVC experiment."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import RevError, SCMError, resolve_rev

    try:
        with Repo(str(root)) as repo:
            sha = resolve_rev(repo.scm, word)
            return sha, str(repo.scm.resolve_commit(sha).message).strip().partition("\n")[0]
    except NotDvcRepoError as error:
        raise RevisionError(f"{word}: no such file or folder, and there is no DVC repository here to look for a revision in"
                            ) from error
    except (RevError, SCMError) as error:
        raise RevisionError(f"{word}: neither a file of scores (.json, .parquet), nor a workspace, nor a git revision or DVC "
                            "experiment of this repository") from error


def score_rows(run: Run) -> list[dict[str, Any]]:
    """The rows of all score instances of a run, sorted by instance, each with `source`. Folders of systems that its params.yaml
    no longer has may lie about in a workspace: they do not count, as they do not in its report."""
    systems = (settings(run).get("train") or {}).get("systems")
    rows = []
    for instance in run.names(SCORES):
        if systems is None or instance in (*systems, "controls"):
            rows += [{**row, "source": instance} for row in table_rows(run, f"{SCORES}/{instance}/scores")]
    if not rows:
        raise RevisionError(f"{run.label}: no score rows in {SCORES}; run there: babelface evaluate")
    return rows


def set_rows(run: Run) -> tuple[list[dict[str, Any]], str | None]:
    """(the rows of the tables `sets` of a run, why they could not be read or None). A run has none where its stage did not
    run."""
    systems = (settings(run).get("train") or {}).get("systems")
    rows: list[dict[str, Any]] = []
    try:
        for instance in run.names(SETS):
            if systems is None or instance in (*systems, "controls"):
                rows += table_rows(run, f"{SETS}/{instance}/sets")
    except RevisionError as error:
        return [], str(error)
    return rows, None


def settings(run: Run) -> dict[str, Any]:
    """params.yaml of a run as plain values; empty where it has none."""
    path = run.path("params.yaml")
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path is not None else {}


def table_rows(run: Run, folder: str, columns: list[str] | None = None, key: str = "", wanted: set[str] | None = None
               ) -> list[dict[str, Any]]:
    """The rows of one table of a run, shard by shard; with `key` those whose value is wanted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from core.shards import read_shard

    rows = []
    for name in run.names(folder):
        if name.startswith("shard-"):
            data = read_shard(run.path(f"{folder}/{name}"), columns)
            rows += (data if wanted is None else data.filter(pc.is_in(data[key], value_set=pa.array(sorted(wanted), pa.string())))
                     ).to_pylist()
    return rows


def file_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of scores: JSON (a list of rows, or an object with a list `rows`) or Parquet."""
    if path.suffix == ".parquet":
        from core.shards import read_shard

        rows = read_shard(path).to_pylist()
    else:
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise RevisionError(f"{path}: not JSON ({error}); make it with: babelface score ... --out {path.name}") from None
        rows = rows.get("rows") if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise RevisionError(f"{path}: expected a list of score rows; make it with: babelface score ... --out {path.name}")
    return rows


def forget(root: Path = Path(".")) -> None:
    """Deletes what was fetched."""
    shutil.rmtree(root / STORE, ignore_errors=True)
