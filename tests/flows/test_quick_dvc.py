"""dvc.lock written a stage at a time: the same bytes as DVC writes, and what DVC reads."""

import os
import subprocess
import sys

import pytest
import yaml
from dvc.utils.serialize import dumps_yaml, parse_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import graph, quick_dvc
from flows.graph import child_environment
from tests.conftest import ROOT
from tests.flows.fake import NAMES, Repo

QUICK = [sys.executable, "-P", str(ROOT / "flows" / "quick_dvc.py")]
# Words that a rule of YAML takes for a number, a truth value, a date or nothing, and text that is folded or quoted when written.
WORDS = st.one_of(st.text(max_size=12), st.sampled_from(["on", "no", "0o7", "010", "1e3", "1:30", "2026-01-02", "~", "null", "",
                                                         " x", "a: b", "#", "é", "ل",
                                                         "a " * 60, "x" * 100, "- a", "{", "two\nlines\n"]))
VALUES = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), WORDS),
                      lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
                      max_leaves=8)
STAGES = st.dictionaries(st.from_regex(r"[a-z]+(@[a-z]+(-[a-z]+)?)?", fullmatch=True),
                         st.fixed_dictionaries({"cmd": WORDS, "params": VALUES}), min_size=1, max_size=4)


def quick(repo: Repo, *words: str) -> None:
    subprocess.run([*QUICK, *words], cwd=repo.path, env=child_environment(), check=True, capture_output=True)


def test_the_command_is_dvc_and_the_lock_has_the_bytes_that_dvc_writes(tmp_path):
    """A build from nothing in three calls, a change and all in one, nothing to do: in one folder by DVC and in one by this."""
    plain, ours = Repo(tmp_path / "plain"), Repo(tmp_path / "ours")
    changed = ("params.yaml", "setting: 2\n")
    for change, calls in ((None, [NAMES[:1], NAMES[1:2], NAMES[2:]]), (changed, [NAMES]), (None, [NAMES])):
        for repo in (plain, ours):
            if change:
                (repo.path / change[0]).write_text(change[1])
        for names in calls:
            assert plain.dvc("repro", "--single-item", *names).returncode == 0
            quick(ours, "repro", "--single-item", *names)
            assert (ours.path / "dvc.lock").read_bytes() == (plain.path / "dvc.lock").read_bytes(), names
    assert not list(ours.path.glob(".dvc.lock*")), "no temporary file stays"
    assert "up to date" in ours.dvc("status").stdout


@settings(max_examples=80, deadline=None)
@given(before=STAGES, after=STAGES)
def test_stages_put_in_place_read_as_dvc_would_have_written_them(before, after):
    old = dumps_yaml({"schema": "2.0", "stages": before})
    new = quick_dvc.spliced(old, after)
    if new is not None:
        assert new == dumps_yaml({"schema": "2.0", "stages": {**before, **after}})
    else:
        assert "\n\n" in old or "\n" not in old.strip() or any(not line.startswith("  ") for line in old.splitlines()[2:])


@settings(max_examples=150, deadline=None)
@given(value=VALUES)
def test_the_quick_reader_reads_what_dvcs_own_reads(value):
    text = dumps_yaml({"value": value})
    assert yaml.load(text, quick_dvc._loader()) == parse_yaml(text, "dvc.lock")


def test_a_plan_parses_params_once(tmp_path, monkeypatch):
    from dvc.dependency import param

    repo, calls, real = Repo(tmp_path / "r"), [], param.load_path
    assert repo.dvc("repro", "first@a", "first@b", "first@c").returncode == 0
    monkeypatch.setattr(param, "load_path", lambda *words, **more: calls.append(words) or real(*words, **more))
    for n, setting in enumerate((2, 3), 1):
        (repo.path / "params.yaml").write_text(f"setting: {setting}\n")
        assert graph.load_graph(repo.path) and len(calls) == n, "and again for the next plan: it may have changed"


@pytest.mark.parametrize("text", ["", "schema: '2.0'\n", "stages:\n  a:\n    cmd: b\nschema: '2.0'\n", "schema: '2.0'\nstages: "
                                  "{a: {cmd: b}}\n",
                                  "schema: '2.0'\nstages:\n  a:\n    cmd: b",
                                  "schema: '2.0'\nstages:\n  a:\n    cmd: b\nmore: 1\n",
                                  "schema: '2.0'\nstages:\n  a:\n    cmd: b\n  a:\n    cmd: c\n"])
def test_what_dvc_would_not_have_written_is_left_to_dvc(text):
    assert quick_dvc.spliced(text, {"b": {"cmd": "c"}}) is None


def test_a_broken_lock_gets_dvcs_own_message(tmp_path):
    repo = Repo(tmp_path / "r")
    (repo.path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  first@a: [\n")
    said = [subprocess.run([*command, "repro", "last"], cwd=repo.path, env=child_environment(), capture_output=True, text=True)
            for command in (QUICK, [sys.executable, "-m", "dvc"])]
    assert said[0].returncode == said[1].returncode != 0 and said[0].stderr == said[1].stderr and "dvc.lock" in said[0].stderr


def test_a_lock_that_cannot_be_replaced_stays_whole(tmp_path, monkeypatch):
    path = tmp_path / "dvc.lock"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        quick_dvc._replace(str(path), "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["dvc.lock"]
