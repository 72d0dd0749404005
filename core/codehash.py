"""Which files of this repository a module runs, found without importing it, and one digest over their contents.

A result depends on the code that made it. DVC hashes files, so each stage lists as dependencies all that `closure` finds; a
forgotten one is how results go stale in silence.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?::[A-Za-z_]\w*)?")
# Folders of which a module opens one file by name: whoever chooses the name adds that file (`closure` of it) himself.
OPENED_BY_NAME = ("corpora", "models.systems")


class NoSuchModule(ValueError):
    """A module was asked for that is not in the repository."""


def closure(module: str, root: Path | str = ".") -> tuple[str, ...]:
    """Repository-relative paths of `module` and of all repository modules it imports, transitively, sorted.

    Counts imports inside functions, `from package import module`, the __init__ of every package on the way, and strings that
    spell a module of the repository ("stages.track:Mapper"). A name put together at run time in a folder of OPENED_BY_NAME is
    left out; anywhere else it raises ValueError, because nobody could say what the code depends on.
    """
    root = Path(root).resolve()
    first = module_file(module, root)
    if first is None:
        raise NoSuchModule(f"no module {module!r} under {root.name}/: expected {module.replace('.', '/')}.py")
    found: set[Path] = set()
    names: set[str] = {module}  # each is looked for on the disk once
    todo = [*_packages(module, root), first]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        new = set(_mentioned(str(path), path.stat().st_mtime_ns, str(root))) - names
        names |= new
        for name in new:
            target = module_file(name, root)
            todo += [*_packages(name, root), *([target] if target else [])]
    return tuple(sorted(path.relative_to(root).as_posix() for path in found))


def digest(paths: Iterable[str | Path], root: Path | str = ".") -> str:
    """sha256 hex over names and contents of repository-relative `paths`; folders count with all files in them but caches."""
    total = hashlib.sha256()
    for name in sorted({str(p) for p in paths}):
        path = Path(root) / name
        files = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts) if path.is_dir() else [path]
        for file in files:
            inside = file.relative_to(path).as_posix() if path.is_dir() else ""
            total.update(f"{name}\0{inside}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def module_file(module: str, root: Path) -> Path | None:
    """The file of a dotted module name under `root`, or None: standard library, installed package, or a mere attribute."""
    base = f"{root}/{module.replace('.', '/')}"  # strings: a plan asks ten thousand times
    return next((Path(path) for path in (f"{base}.py", f"{base}/__init__.py") if os.path.isfile(path)), None)


def _packages(module: str, root: Path) -> list[Path]:
    """The __init__ files that Python runs on the way to a module."""
    parts = module.split(".")
    inits = ["/".join([str(root), *parts[:n], "__init__.py"]) for n in range(1, len(parts))]
    return [Path(path) for path in inits if os.path.isfile(path)]


@lru_cache(maxsize=4096)
def _mentioned(path: str, _mtime_ns: int, root: str) -> tuple[str, ...]:
    """Names of this repository that one file's syntax tree mentions: modules, and things in them, which lead to no file."""
    file = Path(path)
    inside = file.relative_to(root).parent.parts
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes(), filename=path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _DOTTED.fullmatch(node.value):
            names.add(node.value.split(":")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            _check_run_time_name(node, file, Path(root))
    ours = {top: (Path(root) / top).is_dir() or (Path(root) / f"{top}.py").is_file()
            for top in {n.partition(".")[0] for n in names} if top}
    return tuple(sorted(name for name in names if ours.get(name.partition(".")[0])))


def _check_run_time_name(call: ast.Call, file: Path, root: Path) -> None:
    """Lets import_module(f"package.{name}") pass for a folder whose files are opened by name, and names given by the caller."""
    if not call.args or not isinstance(call.args[0], ast.JoinedStr):
        return
    start = call.args[0].values[0]
    prefix = start.value if isinstance(start, ast.Constant) else ""
    folder = prefix.rpartition(".")[0]
    if folder and root.joinpath(*folder.split(".")).is_dir() and folder not in OPENED_BY_NAME:
        raise ValueError(f"{file.relative_to(root)}: line {call.lineno} imports {prefix}<name> at run time; "
                         "name the modules in full, or add the folder to core.codehash.OPENED_BY_NAME")
