"""The rooms of the house and which way its arrows point: flows -> stages -> corpora, models, metrics, report -> core."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("core", "corpora", "models", "metrics", "report", "stages", "flows")
BELOW = {
    "core": {"core"},
    "corpora": {"corpora", "core"},
    "models": {"models", "core"},
    "metrics": {"metrics", "core"},
    "report": {"report", "metrics", "core"},
    "stages": {"corpora", "models", "metrics", "report", "core"},  # not stages: one never imports another
    "flows": {"flows", "stages", "corpora", "report", "core"},
    "commands": {"stages", "corpora", "models", "metrics", "report", "core"},
}
# what stages share: no stage itself, so that any may import it
SHARED = ("stages.figures", "stages.groups", "stages.judge", "stages.learnt", "stages.set_figures", "stages.speakers")
# the work of a command, and no stage of the pipeline: it may use what stages have
COMMANDS = ("stages/score_files.py", "stages/score_report.py")
# top-level packages that only some modules may import
ONLY = {
    "av": lambda f: f.startswith("core/media"),
    "torchcodec": lambda f: f.startswith("core/media"),
    "dvc": lambda f: f in ("flows/graph.py", "flows/folders.py", "flows/mend.py", "flows/quick_dvc.py", "flows/revisions.py",
                           "flows/remote.py"),
    "dvc_objects": lambda f: f == "flows/remote.py",
    "prefect": lambda f: f in ("flows/build.py", "flows/nightly.py", "flows/serve.py", "flows/train.py"),
    "torch": lambda f: not f.startswith("flows/"),
    "torchvision": lambda f: not f.startswith("flows/"),
    "lightning": lambda f: not f.startswith("flows/"),
    "requests": lambda f: False,
    "httpx": lambda f: False,
    "huggingface_hub": lambda f: f == "core/weights.py",
}
# urllib.request also asks our own Prefect API whether it is up; nothing is fetched there.
FETCHERS = {"core/weights.py", "flows/server.py", "corpora/fetch/http.py"}
LAZY = {"torch", "mediapipe", "av", "cv2", "prefect", "dvc", "pandas", "scipy", "pyannote", "lightning"}
LONGEST = 400


def files() -> list[Path]:
    return sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, top_level: bool = False) -> list[tuple[str, int]]:
    """(module, line) of every import in a file; with top_level only of those that run when the module is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skip: set[int] = set()
    for node in ast.walk(tree):
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if checking or (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            skip |= {id(n) for n in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if id(node) in skip:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: write imports in full"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def arrows_up(room: str, found: list[tuple[str, int]]) -> list[str]:
    """Imports of our own rooms that `room` must not make."""
    up = [(module, line) for module, line in found if module.split(".")[0] in ROOMS and module.split(".")[0] not in BELOW[room]]
    return [f"line {line}: {module}" for module, line in up if room != "stages"
            or not f"{module}.".startswith(tuple(f"{s}." for s in SHARED))]


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_no_arrow_points_up(path):
    room = name_of(path).split("/")[0]
    if name_of(path) in COMMANDS:
        room = "commands"
    assert not arrows_up(room, imports(path)), f"{name_of(path)} imports what stands above or beside it"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_one_place_each(path):
    name = name_of(path)
    for module, line in imports(path):
        allowed = ONLY.get(module.split(".")[0])
        assert allowed is None or allowed(name), f"{name}:{line} imports {module}"
        if module.startswith(("urllib.request", "http.client", "ftplib", "yt_dlp")):
            assert name in FETCHERS, f"{name}:{line} fetches; only core/weights.py and corpora/fetch do"


@pytest.mark.parametrize("path", [p for p in files() if name_of(p).split("/")[0] in ("stages", "flows")], ids=name_of)
def test_heavy_packages_are_imported_inside_functions(path):
    # the flows: imported when there is something to do
    if name_of(path) in ("flows/build.py", "flows/nightly.py", "flows/train.py"):
        return
    heavy = [f"line {line}: {m}" for m, line in imports(path, top_level=True) if m.split(".")[0] in LAZY]
    assert not heavy, f"{name_of(path)} makes everybody who imports it wait"


@pytest.mark.parametrize("path", [*files(), *sorted((ROOT / "bench").rglob("*.py"))], ids=name_of)
def test_no_module_is_long(path):
    n = len(path.read_text(encoding="utf-8").splitlines())
    assert n <= LONGEST, f"{name_of(path)} has {n} lines; which part is a module of its own?"


def test_an_arrow_that_points_up_is_seen(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from stages.track import Mapper\n    import metrics.stats\n")
    assert arrows_up("metrics", imports(bad)) == ["line 2: stages.track.Mapper"]
    assert arrows_up("stages", imports(bad)) == ["line 2: stages.track.Mapper"]
    assert not arrows_up("flows", [m for m in imports(bad) if m[1] == 2])


def test_function_bodies_and_type_checking_are_told_apart(tmp_path):
    one = tmp_path / "one.py"
    one.write_text("import json\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import av\n")
    assert [m for m, _ in imports(one)] == ["json", "typing.TYPE_CHECKING", "av"]
    assert [m for m, _ in imports(one, top_level=True)] == ["json", "typing.TYPE_CHECKING"]
