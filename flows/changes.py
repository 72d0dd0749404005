"""What two runs were made with, side by side: params, code, data and weights, from params.yaml, dvc.lock, fingerprints and cards.

Pure functions over what those files hold. Only causes are listed: that scores and reports differ too goes without saying.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from flows.revisions import Run, settings

DATA_STAGES = ("download", "segment", "track", "inspect", "crop", "features", "split")
CAUSES = ("params", "code", "data", "weights")


def changes(a: Run, b: Run) -> dict[str, Any]:
    """{params, code, data, weights: rows of what differs; unknown: for which of these nothing can be said, and why}."""
    found: dict[str, Any] = {name: [] for name in CAUSES}
    files = ", ".join(r.label for r in (a, b) if r.tree is None)
    unknown = {name: f"{files}: a file of scores says nothing about it" for name in CAUSES if files}
    if unknown:
        return found | {"unknown": unknown}
    found["params"] = params(settings(a), settings(b))
    locks = [lock_of(run) for run in (a, b)]
    if all(locks):
        found["code"], found["data"] = code(*locks), data(*locks)
    else:
        why = f"no dvc.lock in {', '.join(r.label for r, lock in zip((a, b), locks, strict=True) if not lock)}"
        marks = [fingerprints(run) for run in (a, b)]
        found["code"], unknown["data"] = sealed_code(*marks), why
    found["weights"] = weights(*(known_weights(run) for run in (a, b)))
    return found | {"unknown": unknown}


def params(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per knob that differs: {key, a, b}; None where a run has no such knob."""
    flat = [dict(_leaves(x)) for x in (a, b)]
    return [{"key": key, "a": flat[0].get(key), "b": flat[1].get(key)} for key in sorted({*flat[0], *flat[1]})
            if flat[0].get(key, ...) != flat[1].get(key, ...)]


def _leaves(value: Any, at: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [leaf for key in sorted(value, key=str) for leaf in _leaves(value[key], f"{at}.{key}" if at else str(key))]
    return [(at, value)]


def code(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per file of code that differs: {file, change, stages: the instances that depend on it}."""
    sides = [_dependencies(x) for x in (a, b)]
    made = _outputs(a).keys() | _outputs(b).keys()
    out = []
    for file in sorted({*sides[0], *sides[1]} - made):
        (one, users_a), (two, users_b) = (side.get(file, (None, set())) for side in sides)
        if one != two and not file.startswith("data/"):
            change = "new" if one is None else "gone" if two is None else "changed"
            out.append({"file": file, "change": change, "stages": sorted(users_a | users_b)})
    return out


def _dependencies(lock: Mapping[str, Any]) -> dict[str, tuple[str | None, set[str]]]:
    found: dict[str, tuple[str | None, set[str]]] = {}
    for name, stage in lock.items():
        for dep in stage.get("deps") or ():
            digest, users = found.setdefault(dep["path"], (_digest(dep), set()))
            users.add(name)
    return found


def _outputs(lock: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    return {out["path"]: (name, out) for name, stage in lock.items() for out in stage.get("outs") or ()}


def _digest(entry: Mapping[str, Any]) -> str | None:
    return entry.get(entry.get("hash", "md5")) or entry.get("md5")


def data(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per output of a data stage that differs: {path, change, a, b: {digest, bytes, files}}, and per foreign input."""
    out = []
    sides = [{path: entry for path, (name, entry) in _outputs(x).items() if name.partition("@")[0] in DATA_STAGES}
             for x in (a, b)]
    for path in sorted({*sides[0], *sides[1]}):
        one, two = (side.get(path) for side in sides)
        if (one and _digest(one)) != (two and _digest(two)):
            change = "new" if one is None else "gone" if two is None else "changed"
            out.append({"path": path, "change": change, "a": _size(one), "b": _size(two)})
    return out


def _size(entry: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if entry is None else {"digest": _digest(entry), "bytes": entry.get("size"), "files": entry.get("nfiles")}


def fingerprints(run: Run) -> dict[str, dict[str, Any]]:
    """stage/instance -> fingerprint.json, of every output that has one."""
    out = {}
    for stage in run.names("data"):
        for instance in run.names(f"data/{stage}"):
            path = run.path(f"data/{stage}/{instance}/fingerprint.json")
            if path is not None:
                out[f"{stage}/{instance}"] = json.loads(path.read_text(encoding="utf-8"))
    return out


def sealed_code(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where no dvc.lock names the files: one row per stage whose sealed code differs."""
    users: dict[str, set[str]] = {}
    for name in sorted(a.keys() & b.keys()):
        if a[name].get("code") != b[name].get("code"):
            users.setdefault(name.partition("/")[0], set()).add(name)
    return [{"file": f"code of {stage}", "change": "changed", "stages": sorted(names)} for stage, names in sorted(users.items())]


def known_weights(run: Run) -> dict[str, str]:
    """What a run knows about the weights it used: name -> sha256, of models trained and of experts."""
    out = {}
    for name in run.names("data/train"):
        path = run.path(f"data/train/{name}/card.json")
        if path is not None:
            out[name] = json.loads(path.read_text(encoding="utf-8")).get("sha256")
    for stage in ("track", "score"):
        for instance in run.names(f"data/{stage}"):
            path = run.path(f"data/{stage}/{instance}/fingerprint.json")
            mark = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
            out |= {f"{name} of {stage}": digest for name, digest in (mark.get("weights") or {}).items()}
    return {name: digest for name, digest in out.items() if digest}


def weights(a: Mapping[str, str], b: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per model that differs: {name, a, b}, sha256 or None."""
    return [{"name": name, "a": a.get(name), "b": b.get(name)} for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def lock_of(run: Run) -> dict[str, Any]:
    """The stages of a run's dvc.lock; empty where it has none."""
    path = run.path("dvc.lock")
    return ((yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("stages") or {}) if path is not None else {}
