"""Whether the files here still are what was recorded: media against the ledger, outputs against dvc.lock. Reads, changes
nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from core.params import Params
from core.shards import read_rows
from core.stage import UserError, out_folder

PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Trouble:
    """One file that is not as recorded. what: damaged, missing, unexpected, or unlisted: a folder whose list of files is not in
    the DVC cache, of which only the hash over all files can be compared, and differs."""

    file: str
    what: str
    detail: str


def verify(params: Params, root: Path = Path(".")) -> dict[str, Any]:
    """{files, bytes, outputs, troubles}: how much was read, how many outputs dvc.lock names, and what is wrong, sorted by file.

    Every file is read once. UserError where there is neither a dvc.lock nor a download to compare with.
    """
    from core.progress import Progress

    media, outputs = _media(params, root), _outputs(root)
    if not media and not outputs:
        raise UserError("nothing to verify: no dvc.lock and no data/download here; run first: babelface build")
    wanted = sorted({*media, *(f for out in outputs for f in _files(root / out["path"], root))})
    progress = Progress("verify", total=len(wanted), unit="files")
    md5s, troubles, n_bytes = {}, [], 0
    for name in wanted:
        path = root / name
        if not path.is_file():
            troubles.append(Trouble(name, "missing", "the ledger has it"))
            progress.step("missing", name)
            continue
        md5, sha256, size = _digests(path)
        md5s[name], n_bytes = md5, n_bytes + size
        if name in media and media[name] != (sha256, size):
            troubles.append(Trouble(name, "damaged", f"sha256 {sha256[:12]}, {size} bytes; the ledger "
                                    f"says {media[name][0][:12]}, {media[name][1]} bytes"))
        progress.step()
    progress.close()
    known = {t.file for t in troubles}
    for out in outputs:
        troubles += [t for t in _against(out, md5s, root) if t.file not in known]
    return {"files": len(md5s), "bytes": n_bytes, "outputs": len(outputs),
            "troubles": [asdict(t) for t in sorted(troubles, key=lambda t: t.file)]}


def _media(params: Params, root: Path) -> dict[str, tuple[str, int]]:
    """Every recording's file with its sha256 and bytes, by the ledgers."""
    found = {}
    for who in params.instances():
        place = root / out_folder("download", who.name)
        if (place / "recordings").is_dir():
            for r in read_rows(place, "recordings", ["file", "sha256", "bytes"]):
                found[(place / "media" / r["file"]).relative_to(root).as_posix()] = (r["sha256"], r["bytes"])
    return found


def _outputs(root: Path) -> list[dict[str, Any]]:
    """path and md5 of every output in dvc.lock, one each. UserError for a lock that cannot be read."""
    path = root / "dvc.lock"
    if not path.is_file():
        return []
    try:
        lock = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        found = {out["path"]: out for stage in lock.get("stages", {}).values() for out in stage.get("outs", []) if out.get("md5")}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a lock that DVC wrote ({type(error).__name__}); take it from git again") from error
    return [found[name] for name in sorted(found)]


def _files(path: Path, root: Path) -> Iterator[str]:
    """Files of an output as DVC sees them, by their path in the project."""
    inside = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    for file in inside:
        parts = file.relative_to(root).parts
        if "__pycache__" not in parts and not any(p.startswith(".") and p.endswith((".old", ".next")) for p in parts):
            yield file.relative_to(root).as_posix()


def _against(out: dict[str, Any], md5s: dict[str, str], root: Path) -> Iterator[Trouble]:
    """What is wrong with one output."""
    from flows.remote import cached

    base, md5 = out["path"], out["md5"]
    if not (root / base).exists():
        yield Trouble(base, "missing", "dvc.lock has it; bring it back with: dvc checkout, or dvc pull")
    elif not md5.endswith(".dir"):
        if md5s.get(base) != md5:
            yield Trouble(base, "damaged", f"md5 {md5s.get(base, 'none')[:12]}; dvc.lock says {md5[:12]}")
    else:
        here = {name[len(base) + 1 :]: md5s[name] for name in md5s if name.startswith(f"{base}/")}
        if tree_hash(here) == md5:
            return
        listing = cached(md5, root)
        if listing is None:
            yield Trouble(base, "unlisted", f"the folder is not what dvc.lock says ({md5[:12]}), and its list of files is not in "
                          "the cache; dvc fetch brings it")
            return
        then = {entry["relpath"]: entry["md5"] for entry in json.loads(listing)}
        for name in sorted({*here, *then}):
            if name not in here:
                yield Trouble(f"{base}/{name}", "missing", "dvc.lock has it")
            elif name not in then:
                yield Trouble(f"{base}/{name}", "unexpected", "dvc.lock does not have it")
            elif here[name] != then[name]:
                yield Trouble(f"{base}/{name}", "damaged", f"md5 {here[name][:12]}; dvc.lock says {then[name][:12]}")


def tree_hash(files: dict[str, str]) -> str:
    """DVC's hash of a folder, from its files' md5 by path in it: of their list as JSON, sorted by path."""
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files, key=lambda n: tuple(n.split("/")))]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _digests(path: Path) -> tuple[str, str, int]:
    """md5, sha256 and size of a file, read once."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            md5.update(piece)
            sha256.update(piece)
            size += len(piece)
    return md5.hexdigest(), sha256.hexdigest(), size
