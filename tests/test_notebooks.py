"""The notebooks run from top to bottom on a finished workspace, and what they say agrees with what the stages wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}

# What a notebook is asked once it has run: an expression over its variables that gives something JSON can hold.
QUESTIONS = {
    "corpus": '{"recordings": len(recordings), "clips": len(clips), "steps": found["steps"], "adds_up": found["adds_up"], '
              '"in_two_splits": in_two_splits, "strip": list(strip.shape), "r": agreement["r"].tolist()}',
    "run": '{"cells": len(cells), "findings": len(told), "systems": systems, "worst": measured["opening_correlation"].tolist(), '
           '"own": len(own), "models": sorted(set(losses["model"]))}',
    "compare": '{"pairs": pairs, "n_pairs": n_pairs, "table": len(table), "metrics": sorted(set(table["metric"])), '
               '"worse": moved["worse_by"].tolist(), "speakers": table["speakers"].tolist(), "reasons": sorted(set(table["no '
               'interval"]))}',
}


def run(name: str, workspace: Path, **environment: str) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
    """The executed notebook and its answer. Fails with the cell and its traceback where one raises."""
    from nbclient import NotebookClient

    book = nbformat.read(NOTEBOOKS[name], as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({QUESTIONS[name]}))"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("BABELFACE_RUN_")}
    path = os.pathsep.join(filter(None, [str(workspace), kept.get("PYTHONPATH")]))  # the workspace's own copy of the code
    client = NotebookClient(book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(workspace)}})
    client.execute(env={**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
                        "BABELFACE_WORKSPACE": str(workspace), **environment})
    said = "".join(out["text"] for out in book.cells[-1].outputs if out.get("name") == "stdout")
    return book, json.loads(said.strip().splitlines()[-1])


def stats(workspace: Path, stage: str) -> dict[str, dict[str, Any]]:
    """stats.json of every instance of a stage, by instance."""
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8"))
            for path in sorted((workspace / "data" / stage).glob("*/stats.json"))}


def shown(book: nbformat.NotebookNode) -> set[str]:
    """The kinds of output that a notebook displays."""
    return {kind for cell in book.cells for out in cell.get("outputs", []) for kind in out.get("data", {})}


def test_no_outputs_are_committed() -> None:
    assert set(NOTEBOOKS) == set(QUESTIONS)
    for path in NOTEBOOKS.values():
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
        for cell in book.cells:
            if cell.cell_type == "code":
                assert not cell.outputs
                assert cell.execution_count is None, f"{path.name}, cell {cell.id}: clear the outputs before committing"


@pytest.mark.slow
def test_corpus(built: Path) -> None:
    book, answer = run("corpus", built)
    assert answer["recordings"] == sum(s["rows"]["recordings"] for s in stats(built, "download").values())
    assert answer["clips"] == sum(s["rows"]["clips"] for s in stats(built, "segment").values())
    for stage in ("download", "segment", "track", "crop", "features", "generate", "score"):
        in_notebook = {k: sum(step[k] for step in answer["steps"] if step["stage"] == stage) for k in ("in", "kept")}
        written = stats(built, stage).values()
        assert in_notebook == {"in": sum(s["items_in"] for s in written), "kept": sum(s["kept"] for s in written)}, stage
    assert answer["adds_up"] and answer["in_two_splits"] == 0
    assert len(answer["r"]) == sum(s["rows"]["tracks"] for s in stats(built, "track").values())  # truth is known of every clip
    assert sorted(answer["r"])[len(answer["r"]) // 2] > 0.7  # a strip of the wrong frames, or a shifted truth, does not reach it
    assert answer["strip"][1] == 8 * answer["strip"][0] and answer["strip"][2] == 3  # eight square frames in a row
    assert {"image/jpeg", "text/html"} <= shown(book)


@pytest.mark.slow
def test_run(built: Path) -> None:
    book, answer = run("run", built)
    summary = json.loads((built / "results" / "summary.json").read_text(encoding="utf-8"))
    trained = [name for name in summary if name not in ("real", "real-shuffled", "still", "planted")]
    assert answer["systems"] == sorted(trained)
    assert answer["cells"] == sum(len(summary[name]) for name in ("real", "still", *trained))
    assert answer["findings"] >= 2 and answer["worst"] == sorted(answer["worst"]) and len(answer["worst"]) <= answer["own"]
    assert set(answer["models"]) == {path.parent.name for path in (built / "data" / "train").glob("*/losses.csv")}
    assert "image/svg+xml" in shown(book)


@pytest.mark.slow
def test_compare_two_systems_of_one_run(built: Path) -> None:
    book, answer = run("compare", built)
    (pair,) = answer["pairs"]
    assert pair[0] != pair[1] and answer["n_pairs"] > 0 and answer["table"] > 0
    assert any(answer["worse"]), "a system and the still face do not score the same"
    assert "image/svg+xml" in shown(book)


@pytest.mark.slow
def test_compare_a_run_with_itself(built: Path) -> None:
    _, answer = run("compare", built, BABELFACE_RUN_A=str(built), BABELFACE_RUN_B=str(built))
    assert answer["pairs"] and all(a == b for a, b in answer["pairs"])
    assert answer["n_pairs"] > 0 and set(answer["worse"]) == {0.0}
    assert all(n < 6 for n in answer["speakers"]) and answer["reasons"] == ["too_few_speakers"]


@pytest.mark.slow
@pytest.mark.parametrize("column", ["expert", "finder"])
def test_compare_runs_of_two_protocols(built: Path, tmp_path: Path, column: str) -> None:
    """Another expert leaves what needs none; another face finder leaves nothing."""
    import shutil

    from nbclient.exceptions import CellExecutionError

    from core.shards import read_shard, write_table

    shutil.copytree(built / "results", tmp_path / "results")
    for path in sorted((built / "data" / "score").glob("*/scores/*")):
        changed = {"expert": ("expert_sha256", "f" * 64), "finder": ("finder", "another:1")}[column]
        rows = [row | dict([changed]) for row in read_shard(path).to_pylist()]
        write_table(tmp_path / path.relative_to(built), rows, "scores")
    if column == "finder":
        with pytest.raises(CellExecutionError, match="two protocols"):
            run("compare", built, BABELFACE_RUN_A=str(built), BABELFACE_RUN_B=str(tmp_path))
    else:
        _, answer = run("compare", built, BABELFACE_RUN_A=str(built), BABELFACE_RUN_B=str(tmp_path))
        assert {"ssim", "psnr"} <= set(answer["metrics"])  # so few steps of training may leave no face that landmarks fit
        assert not {"lse_c", "lse_d", "abs_offset"} & set(answer["metrics"])
