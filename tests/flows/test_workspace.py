"""A workspace is the project with params of its own, and nothing of the project is written."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from core.params import ParamsError, check_params, load_params
from flows import graph
from flows.workspace import (
    WorkspaceError,
    create_workspace,
    merged,
    open_workspace,
    override,
    overrides_for_folder,
    place_of_folder,
    replaced,
)


def test_merged_lays_changes_over_and_takes_keys_out():
    base = {"a": {"b": 1, "c": 2}, "d": [1, 2], "e": "x"}
    assert merged(base, {"a": {"c": 3}, "d": [5], "e": {"w": 1}}) == {"a": {"b": 1, "c": 3}, "d": [5], "e": {"w": 1}}
    assert merged(base, {"a": {"b": None}, "e": None}) == {"a": {"c": 2}, "d": [1, 2]}
    assert merged(base, {"a": replaced(base["a"], {"z": 9})})["a"] == {"z": 9}
    assert base == {"a": {"b": 1, "c": 2}, "d": [1, 2], "e": "x"}


def test_override_words():
    assert override(["train.seed=3", "corpora.a=null", "train.x.languages=[en, tr]"]) == {
        "train": {"seed": 3, "x": {"languages": ["en", "tr"]}}, "corpora": {"a": None}}
    with pytest.raises(WorkspaceError, match="KEY=VALUE"):
        override(["train.seed"])


def test_a_workspace_is_whole_and_committed(workspace, root):
    before = (root / "params.yaml").read_bytes(), (root / "dvc.yaml").read_bytes()
    place = workspace({"corpora": {"synthetic": {"speakers": 3}}, "train": {"systems": {"lost": None}}})
    params = load_params(place / "params.yaml")
    assert params.corpora["synthetic"].speakers == 3
    graph.check_graph(params, place)
    assert [n.name for n in graph.load_graph(place, stale=False)] == [n.name for n in graph.load_graph(root, stale=False)]
    assert not (place / "data").exists() and not (place / "tests").exists() and (place / "stages" / "track.py").is_file()
    status = subprocess.run(["git", "-C", str(place), "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    assert status == ""
    assert before == ((root / "params.yaml").read_bytes(), (root / "dvc.yaml").read_bytes())


def test_it_is_found_when_the_project_is_no_git_clone(workspace, tmp_path):
    place = workspace()
    subprocess.run(["rm", "-rf", str(place / ".git")], check=True)
    again = create_workspace(tmp_path / "again", root=place)

    def files(folder):
        return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and ".git/" not in p.as_posix()}

    assert {f for f in files(place) if "/tmp/" not in f} == {f for f in files(again) if "/tmp/" not in f}


def test_wrong_params_leave_nothing_behind(tmp_path, root):
    with pytest.raises(ParamsError, match="speeker"):
        create_workspace(tmp_path / "w", {"corpora": {"synthetic": {"speekers": 3}}}, root=root)
    assert not (tmp_path / "w").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path, root):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(WorkspaceError, match="not empty"):
        create_workspace(tmp_path, root=root)


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "index.csv").write_text("file,language,speaker,kind\na.mp4,en,s1,real\nb.mp4,tr,,real\nc.mp4,,,real\n")
    return folder


def test_a_folder_of_videos_is_scored_and_nothing_is_trained(clips, tmp_path, root):
    expert = tmp_path / "model.pt"
    expert.write_bytes(b"x")
    raw = merged(yaml.safe_load((root / "params.yaml").read_text()), overrides_for_folder(clips, expert, root))
    params = check_params(raw)
    assert sorted(i.name for i in params.instances()) == ["real-en", "real-tr", "real-und"]
    assert not params.train.systems and not params.train.experts
    place = create_workspace(tmp_path / "w", overrides_for_folder(clips, expert, root), root=root)
    names = [n.name for n in graph.load_graph(place, stale=False)]
    assert not any(n.startswith("train") for n in names)
    assert [n for n in names if n.startswith(("generate", "score"))] == ["generate-controls", "score-controls"]
    text = (place / "dvc.yaml").read_text()
    assert str(expert) in text and str(clips) in text
    with open(clips / "index.csv", "a") as index:
        index.write("d.mp4,fi,s2,real\n")
    open_workspace(place, overrides_for_folder(clips, expert, root), root)
    assert "download@real-fi" in [n.name for n in graph.load_graph(place, stale=False)], "a language that came later"


def test_a_workspace_goes_on_with_the_code_of_now_and_keeps_what_it_made(tmp_path, root):
    project = create_workspace(tmp_path / "project", root=root)
    place = open_workspace(tmp_path / "w", {"shards": 3}, root=project)
    made = place / "data" / "download" / "x"
    made.parent.mkdir(parents=True)
    made.write_text("made")
    params = project / "core" / "params.py"
    params.write_text(params.read_text().replace("    shards: int", "    new_knob: int = 1\n    shards: int", 1))
    (project / "params.yaml").write_text("new_knob: 2\n" + (project / "params.yaml").read_text())
    (project / "core" / "newer.py").write_text("")
    (project / "core" / "garbage.py").unlink()
    code = "from pathlib import Path; from flows.workspace import open_workspace as o; o(Path('../w'), {'shards': 4}, Path('.'))"
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True)
    said = yaml.safe_load((place / "params.yaml").read_text())
    assert (said["new_knob"], said["shards"]) == (2, 4) and "new_knob" in (place / "core" / "params.py").read_text()
    assert (place / "core" / "newer.py").is_file() and not (place / "core" / "garbage.py").exists()
    assert made.read_text() == "made"


def test_two_folders_of_one_name_have_a_place_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = tmp_path / "a" / "clips", tmp_path / "b" / "clips"
    assert place_of_folder(first) == place_of_folder(second)
    place = place_of_folder(first)
    place.mkdir(parents=True)
    (place / "params.yaml").write_text(yaml.safe_dump({"corpora": {"real": {"path": str(first)}}}))
    assert place_of_folder(first) == place and place_of_folder(second) not in (place, first)
    assert place_of_folder(second) == place_of_folder(second) and place_of_folder(second).parent == place.parent


def test_what_is_missing_is_named(clips, tmp_path, root):
    with pytest.raises(WorkspaceError, match="--expert"):
        overrides_for_folder(clips, tmp_path / "nothing.pt", root)
    (tmp_path / "model.pt").write_bytes(b"x")
    (clips / "index.csv").unlink()
    with pytest.raises(FileNotFoundError, match="index.csv"):
        overrides_for_folder(clips, tmp_path / "model.pt", root)
