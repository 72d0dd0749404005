from __future__ import annotations

import subprocess
import sys

import pytest

from core.codehash import NoSuchModule, closure, digest


@pytest.fixture
def repo(tmp_path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    for package in ("core", "stages", "corpora", "models", "models/systems"):
        (tmp_path / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / package / "__init__.py").write_text("")
    return write


def names(found):
    return [f for f in found if not f.endswith("__init__.py")]


def test_follows_imports_of_every_form(repo):
    root = repo(stages__a="import json, core.one\nfrom core import two\nfrom core.three import thing\ndef f():\n    from core "
                "import four\n",
                core__one="", core__two="import core.five\n", core__three="thing = 1\n", core__four="", core__five="",
                core__unused="")
    assert names(closure("stages.a", root)) == ["core/five.py", "core/four.py", "core/one.py", "core/three.py", "core/two.py",
                                                "stages/a.py"]


def test_counts_the_init_files_on_the_way_and_what_they_import(repo):
    root = repo(stages__a="import models.systems.base\n", models__systems__base="", core__hidden="")
    (root / "models" / "__init__.py").write_text("import core.hidden\n")
    assert set(closure("stages.a", root)) >= {"models/__init__.py", "models/systems/__init__.py", "core/hidden.py",
                                              "core/__init__.py"}


def test_follows_relative_imports_and_circles(repo):
    root = repo(models__systems__base="from . import other\nfrom ..top import x\n", models__systems__other="from models.systems "
                "import base\n",
                models__top="x = 1\n")
    assert names(closure("models.systems.base", root)) == ["models/systems/base.py", "models/systems/other.py", "models/top.py"]


def test_a_string_that_spells_a_module_counts(repo):
    root = repo(stages__a='M = "stages.b:Mapper"\nN = "a sentence about core.one"\n', stages__b="", core__one="")
    assert names(closure("stages.a", root)) == ["stages/a.py", "stages/b.py"]


def test_names_made_at_run_time(repo):
    root = repo(stages__a='from importlib import import_module\ndef f(n):\n    return import_module(f"corpora.{n}")\n',
                corpora__x="")
    assert names(closure("stages.a", root)) == ["stages/a.py"], "an adapter is named by whoever chooses it"
    root = repo(stages__c='import importlib\ndef f(n):\n    return importlib.import_module(f"core.{n}")\n', core__x="")
    with pytest.raises(ValueError, match=r"stages/c.py: line 3 imports core\.<name>"):
        closure("stages.c", root)


def test_sees_a_change_of_imports_in_the_same_process(repo):
    root = repo(stages__a="", core__one="")
    assert names(closure("stages.a", root)) == ["stages/a.py"]
    repo(stages__a="import core.one\n")
    assert names(closure("stages.a", root)) == ["core/one.py", "stages/a.py"]


def test_no_such_module(repo):
    with pytest.raises(NoSuchModule, match="stages/nothing.py"):
        closure("stages.nothing", repo())


def test_digest_depends_on_names_and_contents_alone(repo):
    root = repo(core__one="1", core__two="2")
    first = digest(["core/one.py", "core/two.py"], root)
    assert digest(["core/two.py", "core/one.py"], root) == first
    assert digest(["core/one.py"], root) != first
    (root / "core" / "one.py").touch()
    assert digest(["core/one.py", "core/two.py"], root) == first
    repo(core__one="2", core__two="1")
    assert digest(["core/one.py", "core/two.py"], root) != first


def test_digest_of_a_folder_ignores_caches(repo):
    root = repo(core__one="1")
    first = digest(["core"], root)
    (root / "core" / "__pycache__").mkdir()
    (root / "core" / "__pycache__" / "one.pyc").write_text("x")
    assert digest(["core"], root) == first
    repo(core__new="")
    assert digest(["core"], root) != first


@pytest.mark.parametrize("stage", ["download", "segment", "crop", "split", "aggregate"])
def test_nothing_that_python_imports_is_missing(root, stage):
    """Against Python itself: what importing the stage loads from this repository must be in the closure."""
    code = (f"import sys, pathlib; import stages.{stage}; here = pathlib.Path.cwd()\n"
            "for m in list(sys.modules.values()):\n    f = getattr(m, '__file__', None)\n"
            "    if f and pathlib.Path(f).is_relative_to(here) and '.venv' not in f: "
            "print(pathlib.Path(f).relative_to(here).as_posix())")
    loaded = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout.split()
    assert loaded and set(loaded) <= set(closure(f"stages.{stage}", root))
