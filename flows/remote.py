"""What goes to DVC's remote and comes back: outputs, saved nights, and a side folder for what DVC does not track.

Beside flows/graph.py and flows/revisions.py the only module that knows DVC. What changes something goes through its command line.

The side folder is `babelface/` inside the remote, reached with the remote's own credentials; BABELFACE_SIDE names a folder that
all machines share instead. In it:

    locks/COMMIT.lock                    dvc.lock of the machine that built the data, by commit of the code
    train/NAME/KEY/checkpoint.pt         a training that is under way; KEY: of all that it depends on, as DVC counts it
    train/NAME/KEY/lock.yaml             its entry for dvc.lock, once its result is in the remote
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from core.stage import UserError
from flows.graph import child_environment, restore

LOCK = "dvc.lock"
SIDE = "babelface"


class RemoteError(UserError):
    """DVC's remote cannot be used, or git or dvc refused; the message has their words."""


def has_remote(root: Path = Path(".")) -> bool:
    """Whether a default remote is configured."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return bool(repo.config["core"].get("remote"))


def fetch(names: Iterable[str] = (), root: Path = Path(".")) -> None:
    """Brings what dvc.lock names out of the remote into the cache, and puts it where the folder lacks it. names: stage instances,
    all where there are none. What the remote does not have is left to be made."""
    _dvc(root, "fetch", *names)
    restore(root)


def push(names: Iterable[str] = (), root: Path = Path(".")) -> None:
    """Copies outputs of instances (all where none are named) into the remote."""
    _dvc(root, "push", *names)


def cached(md5: str, root: Path = Path(".")) -> bytes | None:
    """The content of the DVC cache under a hash, or None where it is not there; of a folder (`.dir`) that is the list of its
    files."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        path = Path(repo.cache.local.oid_to_path(md5))
    return path.read_bytes() if path.is_file() else None


def save_experiment(name: str, root: Path = Path(".")) -> str:
    """The commit of a DVC experiment with the folder as it is, results by their dvc.lock; one of the same name is replaced. Its
    author is git's; babelface, on a machine where git knows none.

    Call it only when nothing is out of date: DVC takes what it finds for the result of what the graph now says.
    """
    if _run(root, ["git", "rev-parse", "--verify", "--quiet", "HEAD"], check=False).strip() == "":
        raise RemoteError("there is no commit here yet, and an experiment hangs on one; run: git add -A && git commit -m first")
    said = _dvc(root, "exp", "save", "--json", "--force", "--name", name, env=_identity(root))
    return json.loads(said[said.index("{") :])["ref"]


def _identity(root: Path) -> dict[str, str]:
    """Environment that names an author where git knows none: a service's account often has none, and DVC would refuse to save what
    took the night to make."""
    names = {"NAME": ("user.name", "babelface"), "EMAIL": ("user.email", "babelface@localhost")}
    return {f"GIT_{role}_{part}": ours for part, (key, ours) in names.items()
            if not _run(root, ["git", "config", "--get", key], check=False).strip()
            for role in ("AUTHOR", "COMMITTER") if not os.environ.get(f"GIT_{role}_{part}")}


def git_pull(root: Path = Path(".")) -> bool:
    """Fast-forwards the branch; True where that brought something. RemoteError where it cannot be done without merging."""
    before = head(root)
    _run(root, ["git", "pull", "--ff-only", "--quiet"])
    return head(root) != before


def head(root: Path = Path(".")) -> str:
    """The commit that is checked out."""
    return _run(root, ["git", "rev-parse", "HEAD"]).strip()


class Side:
    """Files beside DVC's in the remote, or in a shared folder. Names have slashes; a file that is there is whole."""

    def __init__(self, fs: Any, base: str):
        self._fs, self._base = fs, base

    def put(self, source: Path, name: str) -> None:
        """Copies a file there; readers see the old one or the whole new one."""
        target = self._at(name)
        temp = f"{target}.{os.uname().nodename}.{os.getpid()}.part"
        self._fs.makedirs(self._fs.parent(target), exist_ok=True)
        self._fs.put_file(str(source), temp)
        self._fs.move(temp, target)

    def get(self, name: str, target: Path) -> bool:
        """Copies a file from there; False where there is none."""
        if not self._fs.exists(self._at(name)):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        temp = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            self._fs.get_file(self._at(name), str(temp))
            os.replace(temp, target)
        finally:
            temp.unlink(missing_ok=True)
        return True

    def delete(self, name: str) -> None:
        """Removes a file, where there is one."""
        if self._fs.exists(self._at(name)):
            self._fs.remove(self._at(name))

    def _at(self, name: str) -> str:
        return self._fs.join(self._base, *name.split("/"))


def open_side(root: Path = Path(".")) -> Side:
    """The side folder: BABELFACE_SIDE where it is set, else `babelface/` in DVC's default remote."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_objects.fs.local import LocalFileSystem

    shared = os.environ.get("BABELFACE_SIDE")
    if shared:
        return Side(LocalFileSystem(), str(Path(shared).expanduser().resolve()))
    try:
        with Repo(str(root)) as repo:
            remote = repo.cloud.get_remote()
            return Side(remote.fs, remote.fs.join(remote.path, SIDE))
    except DvcException as error:
        raise RemoteError(f"no remote to exchange checkpoints through ({error}); run: dvc remote add --default NAME URL, or set "
                          "BABELFACE_SIDE to a folder that all machines share") from error


def job_key(name: str, root: Path = Path(".")) -> str:
    """Of all that an instance depends on, as DVC counts it: data and code by hash, params by value. The same on every machine."""
    from dvc.repo import Repo

    with Repo(str(root), _wait_for_lock=True) as repo:
        stage = next((s for s in repo.index.stages if s.name == name), None)
        if stage is None:
            raise RemoteError(f"dvc.yaml has no stage {name!r}")
        deps = {d.def_path: d.get_hash().value for d in stage.deps}
    text = json.dumps({"cmd": stage.cmd, "deps": deps}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def lock_entry(name: str, root: Path = Path(".")) -> dict[str, Any] | None:
    """What dvc.lock says about one instance."""
    return _lock(root).get("stages", {}).get(name)


def merge_lock(entries: dict[str, Any], root: Path = Path(".")) -> None:
    """Lays entries of another machine's dvc.lock over ours."""
    lock = _lock(root) or {"schema": "2.0"}
    lock["stages"] = {**lock.get("stages", {}), **entries}
    temp = root / f".{LOCK}.{os.getpid()}"
    temp.write_text(yaml.safe_dump(lock, sort_keys=False, allow_unicode=True), encoding="utf-8")
    os.replace(temp, root / LOCK)


def _lock(root: Path) -> dict[str, Any]:
    path = root / LOCK
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def send_lock(side: Side, root: Path = Path(".")) -> None:
    """Leaves our dvc.lock for machines at the same commit."""
    side.put(root / LOCK, f"locks/{head(root)}.lock")


def take_lock(side: Side, root: Path = Path(".")) -> bool:
    """Lays the dvc.lock that was left for our commit over ours; False where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LOCK
        if not side.get(f"locks/{head(root)}.lock", path):
            return False
        merge_lock(_lock(Path(folder)).get("stages", {}), root)
    return True


def _dvc(root: Path, *words: str, env: dict[str, str] | None = None) -> str:
    return _run(root, [sys.executable, "-m", "dvc", "--wait-for-lock", *words], env=env)


def _run(root: Path, command: list[str], *, check: bool = True, env: dict[str, str] | None = None) -> str:
    ran = subprocess.run(command, cwd=root, env={**child_environment(), "GIT_TERMINAL_PROMPT": "0", **(env or {})},
                         capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False)
    if check and ran.returncode:
        shown = " ".join(w for w in command if w not in (sys.executable, "-m", "--wait-for-lock"))
        said = "\n".join((ran.stderr.strip() or ran.stdout.strip()).splitlines()[-6:])
        raise RemoteError(f"`{shown}` ended with status {ran.returncode}:\n{said}")
    return ran.stdout
