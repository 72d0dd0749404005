"""The command line: help that teaches, errors in one line, tables and JSON that agree."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from flows import doctor, funnel, show
from flows.graph import Outcome, child_environment
from tests.flows.fake import ROOT


def babelface(*words, cwd=ROOT):
    return subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=cwd, capture_output=True, text=True,
                          env={**child_environment(), "PYTHONPATH": str(ROOT), "COLUMNS": "160"})


COMMANDS = ("graph", "plan", "build", "evaluate", "funnel", "doctor", "real", "params", "corpora", "workspace", "score",
            "protocols", "card", "verify", "export", "rejects", "duplicates")


def test_help_names_every_command_and_ends_with_examples():
    text = babelface("--help").stdout
    assert all(f" {name} " in text for name in COMMANDS)
    assert "babelface plan" in text.split("Examples")[1] and "dvc repro" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples(name):
    from typer.testing import CliRunner

    from flows.cli import app

    text = CliRunner().invoke(app, [name, "--help"]).output
    assert f"babelface {name}" in text.split("Examples")[1]


def test_help_imports_nothing_heavy():
    code = ("import sys; from flows.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
            "print([m for m in ('torch', 'numpy', 'prefect', 'dvc', 'pydantic', 'pyarrow', 'pandas') if m in sys.modules])")
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_errors_come_as_one_line_with_status_2(tmp_path):
    run = babelface("plan", "trak")
    assert (run.returncode, run.stderr.strip()) == (2, "babelface: no instance or stage 'trak'; did you mean 'track'?")
    run = babelface("plan", cwd=tmp_path)
    assert run.returncode == 2 and "params.yaml: no such file" in run.stderr and "Traceback" not in run.stderr


@pytest.mark.parametrize("words", [["graph", "--write"], ["plan"], ["evaluate"]])
def test_a_system_without_a_file_is_told_in_one_line(tmp_path, monkeypatch, capsys, words):
    from core.codehash import closure
    from flows import cli

    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("system: speech2vid\n", "system: speech2vd\n", 1))
    monkeypatch.chdir(tmp_path)
    for command, says in ((cli.app, "params.yaml: 1 error\n  train.systems.speech2vid-en.system: there is no "
                                    "models/systems/speech2vd.py; did you mean 'speech2vid'?"),
                          (lambda: closure("models.systems.speech2vd"), "no module 'models.systems.speech2vd' under ")):
        monkeypatch.setattr("sys.argv", ["babelface", *words])
        monkeypatch.setattr(cli, "app", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert ended.value.code == 2 and said.startswith(f"babelface: {says}") and "Traceback" not in said


def test_graph_check_and_params(root):
    assert babelface("graph", "--check").stdout == "dvc.yaml fits params.yaml\n"
    assert babelface("graph").stdout == (root / "dvc.yaml").read_text()
    assert "corpora" in json.loads(babelface("params", "--schema").stdout)["properties"]


def test_corpora_shows_the_card():
    text = babelface("corpora", "synthetic").stdout
    assert text.startswith("synthetic: ") and "licence:" in text and "consent:" in text


def stats(stage, instance, cells, rows):
    total = {k: sum(c[k] for c in cells.values()) for k in ("in", "kept")}
    return {"stage": stage, "instance": instance, "items_in": total["in"], "kept": total["kept"],
            "rejected": total["in"] - total["kept"], "rows": rows, "tables": list(rows), "by_language": cells}


@pytest.fixture
def funnelled(workspace):
    """A workspace in which two stages of two languages have left their counts."""
    place = workspace()
    for stage, instance, language, n, rejected, rows in (
            ("download", "synthetic-en", "en", 5, {"missing_file": 2}, {"recordings": 3}),
            ("segment", "synthetic-en", "en", 3, {}, {"clips": 4}),
            ("download", "synthetic-tr", "tr", 4, {}, {"recordings": 4}), ("download", "old-xx", "xx", 9, {}, {"recordings": 9})):
        folder = place / "data" / stage / instance
        folder.mkdir(parents=True)
        cell = {"in": n, "kept": n - sum(rejected.values()), "rejected": rejected}
        (folder / "stats.json").write_text(json.dumps(stats(stage, instance, {language: cell}, rows)))
    return place


def test_the_funnel_counts_per_corpus_language_and_stage(funnelled):
    run = babelface("funnel", "--json", cwd=funnelled)
    found = json.loads(run.stdout)
    assert run.returncode == 0 and found["adds_up"]
    steps = {(s["corpus"], s["language"], s["stage"]): (s["in"], s["kept"], s["rejected"]) for s in found["steps"]}
    assert steps == {("synthetic", "en", "download"): (5, 3, {"missing_file": 2}), ("synthetic", "en", "segment"): (3, 3, {}),
                     ("synthetic", "tr", "download"): (4, 4, {})}, "a language that params no longer have is left out"
    text = babelface("funnel", cwd=funnelled).stdout
    assert "missing_file 2" in text and text.rstrip().endswith("adds up")


def test_a_funnel_that_does_not_add_up_is_an_error(funnelled):
    path = funnelled / "data/segment/synthetic-en/stats.json"
    path.write_text(json.dumps(stats("segment", "synthetic-en", {"en": {"in": 2, "kept": 2, "rejected": {}}}, {"clips": 2})))
    run = babelface("funnel", cwd=funnelled)
    assert run.returncode == 1 and "UNACCOUNTED" in run.stdout


def test_a_funnel_of_nothing(workspace):
    from core.params import load_params

    place = workspace()
    with pytest.raises(funnel.NothingYet, match="babelface build"):
        funnel.collect(load_params(place / "params.yaml"), place)


def test_markdown_has_a_row_per_instance():
    text = show.markdown([Outcome("track@c-en", "ran", seconds=1.25), Outcome("last", "skipped", why="after track@c-en failed")])
    assert text.splitlines()[2:] == ["| track@c-en | ran | 1.2 |  |", "| last | skipped | 0.0 | after track@c-en failed |"]


def test_doctor_names_what_lacks_and_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(doctor, "_loads", lambda name: name not in ("libGL.so.1", "libEGL.so.1"))
    missing = doctor.missing_libraries()
    assert missing == ["libGL.so.1", "libEGL.so.1"] or sys.platform != "linux"
    assert doctor.library_advice(["libGL.so.1", "libEGL.so.1"]).endswith("sudo apt-get install -y libgl1 libegl1")


@pytest.mark.parametrize("versions, topic", [({"fastapi": "0.155.0"}, "fastapi"), ({"sqlalchemy": "2.1.9"}, "sqlalchemy"),
                                             ({"torch": "2.15.0+cu132", "torchaudio": "2.11.0"}, "torch"),
                                             ({"mediapipe": "0.10.21"}, "mediapipe"),
                                             ({"opencv-python": "5.0.0.93", "opencv-contrib-python": "4.9.0"}, "opencv")])
def test_doctor_knows_versions_that_do_not_run_together(monkeypatch, versions, topic):
    monkeypatch.setattr(doctor, "_version", versions.get)
    assert [(f.level, f.topic) for f in doctor._known_bad()] == [("bad", topic)]


def test_doctor_finds_nothing_wrong_with_the_pinned_versions(monkeypatch, root):
    pins = dict(line.split("==") for line in (root / "constraints.txt").read_text().splitlines() if "==" in line)
    monkeypatch.setattr(doctor, "_version", pins.get)
    assert list(doctor._known_bad()) == []


def test_doctor_says_all_of_this_machine(workspace, tmp_path, monkeypatch):
    """Versions, models with where they are, GPU, DVC remote, Prefect; a damaged model is bad, and so is the status."""
    from core.weights_table import TABLE

    damaged = TABLE["blazeface"]
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / damaged.file).write_bytes(b"no model")
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    run = babelface("doctor", cwd=workspace())
    said = " ".join(run.stdout.split())
    for topic in ("python", "packages", "libraries", "model", "gpu", "dvc", "graph", "prefect"):
        assert topic in said, topic
    assert all(f"{name} " in said for name in ("prefect", "dvc", "torch", "pandas", "scikit-image", "lpips", "lightning", "scenedetect"))
    assert run.returncode == 1 and "blazeface" in said and "wrong hash" in said and "nothing answers at PREFECT_API_URL" in said


def test_constraints_hold_names_and_versions_only(root):
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) > 200 and all(line.count("==") == 1 and "/" not in line and "@" not in line for line in lines)
    assert not any(line.lower().startswith("babelface") for line in lines)
