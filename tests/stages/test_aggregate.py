"""The aggregate stage, on fabricated outputs of the stages before it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from core.params import load_params
from core.shards import read_json, read_rows, shard_path, write_json, write_table
from core.stage import UserError
from flows.spec import plots
from stages import aggregate
from tests.report.fabricate import LANGUAGES, fabricate


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate(tmp_path_factory.mktemp("project"))


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = fabricate(tmp_path, speakers=2, clips=1)
    monkeypatch.chdir(folder)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def change_rows(name: str, change) -> None:
    rows = read_rows(Path("data/score") / name, "scores")
    for row in rows:
        change(row)
    write_table(shard_path(Path("data/score") / name, "scores", 0), rows, "scores")


def test_finds_the_planted_gap_and_not_the_twin(here):
    document = aggregate.main("all", load_params())
    assert document["twins"]["languages"] == ["x-gap", "x-twin"]
    assert document["twins"]["found"] == ["x-gap"]
    assert read_json(Path("results/summary.json"))["planted"] == {"x-gap": {"found": 1}, "x-twin": {"found": 0}}


def test_where_the_expert_hears_nothing_its_scores_are_null(here):
    document = aggregate.main("all", load_params())
    verdict = {v["language"]: v for v in document["validity"]}
    assert [tag for tag, v in verdict.items() if not v["valid"]] == ["ko"]
    assert verdict["ko"]["reason"] == "expert_not_valid_here" and verdict["ko"]["n_clips"] == 14
    for cell in document["cells"]:
        if cell["language"] == "ko" and cell["metric"] in ("lse_c", "lse_d", "abs_offset"):
            assert cell["value"]["mean"] is None
            assert cell["nulls"]["expert_not_valid_here"] > 0
    lips = [c for c in document["cells"] if (c["language"], c["metric"], c["condition"]) == ("ko", "opening_correlation", "self")]
    assert any(c["value"]["n_clips"] == 14 for c in lips), "what the expert did not judge stands"


def test_two_runs_write_the_same_bytes(here):
    aggregate.main("all", load_params())
    first = files_of(here / "results"), files_of(here / "data/aggregate")
    aggregate.main("all", load_params())
    assert (files_of(here / "results"), files_of(here / "data/aggregate")) == first
    text = b"".join(first[1].values()).decode()
    assert str(here) not in text


def test_the_summary_is_rounded_sorted_and_counts(here):
    aggregate.main("all", load_params())
    text = Path("results/summary.json").read_text()
    summary = json.loads(text)
    assert text == json.dumps(summary, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    leaf = summary["fake-en"]["tr"]["opening_correlation"]
    rows = [r for r in read_rows(Path("data/score/fake-en"), "scores") if (r["language"], r["condition"]) == ("tr", "self")]
    mean = sum(r["opening_correlation"] for r in rows) / len(rows)
    assert leaf == {"mean": float(f"{mean:.6g}"), "n": 14, "n_speakers": 7, "gap": float(f"{1 - mean:.6g}")}


def test_the_plots_have_a_row_for_every_figure(here):
    document = aggregate.main("all", load_params())
    read = {n: list(csv.DictReader(open(f"results/plots/{n}.csv", encoding="utf-8"))) for n in ("gap", "matrix", "lag", "losses")}
    assert {(r["trained_on"], r["tested_on"]) for r in read["matrix"]} >= {("en+zh", "x-gap"), ("en", "en")}
    assert len(read["gap"]) == sum(c["gap"] is not None for c in document["cells"])
    assert {int(r["lag_frames"]) for r in read["lag"]} == set(range(-15, 16))
    assert len(read["losses"]) == 4 * 300 * 2
    for name, how in plots(load_params()).items():
        drawn = list(csv.DictReader(open(name, encoding="utf-8")))
        assert drawn and all(row[how["x"]] and row[how["y"]] for row in drawn), "what dvc.yaml tells `dvc plots` to draw is there"


def test_the_funnel_adds_up(here):
    found = aggregate.main("all", load_params())["funnel"]
    assert found["adds_up"] and {s["language"] for s in found["steps"]} == set(LANGUAGES)
    assert sum(s["in"] for s in found["steps"] if s["stage"] == "download") == 90
    assert sum(s["kept"] for s in found["steps"] if s["stage"] == "score") == sum(
        len(read_rows(Path("data/score") / n, "scores")) for n in ("fake-en", "fake-mix", "controls")
    )


def test_mixed_protocols_are_refused_naming_both(small):
    change_rows("fake-en", lambda row: row.update(expert="syncnet_v2", expert_sha256="99" * 32))
    with pytest.raises(UserError) as error:
        aggregate.main("all", load_params())
    assert "syncnet_v2" in str(error.value) and "small:abababab" in str(error.value) and "99" * 32 in str(error.value)


def test_only_the_pinned_weights_give_the_plain_name(small):
    from core.weights import lookup

    labels = {m["name"]: m["label"] for m in aggregate.main("all", load_params())["metrics"]}
    assert (labels["lse_d"], labels["lse_c"]) == ("LSE-D*", "LSE-C*")
    for name in ("fake-en", "fake-mix", "controls"):
        change_rows(name, lambda row: row.update(expert_sha256=lookup("syncnet_v2").sha256[0]))
    labels = {m["name"]: m["label"] for m in aggregate.main("all", load_params())["metrics"]}
    assert (labels["lse_d"], labels["lse_c"]) == ("LSE-D", "LSE-C")


def test_few_speakers_make_no_claim(small):
    document = aggregate.main("all", load_params())
    assert document["twins"]["found"] == []
    assert {c["reason"] for c in document["twins"]["comparisons"]} <= {"too_few_speakers", "no_scores"}
    for cell in document["cells"]:
        assert cell["value"]["low"] is None and cell["p_unseen"] is None
        if cell["value"]["n_clips"]:
            assert cell["value"]["reason"] == "too_few_speakers" and cell["value"]["n_speakers"] == 2


def test_a_stage_whose_counts_do_not_add_up_is_named(small):
    path = Path("data/track/synthetic-tr/stats.json")
    stats = read_json(path)
    stats["by_language"]["tr"]["kept"] -= 1
    write_json(path, stats)
    with pytest.raises(UserError, match="track synthetic-tr, language tr"):
        aggregate.main("all", load_params())


def test_without_scores_it_says_so(small):
    for name in ("fake-en", "fake-mix", "controls"):
        write_table(shard_path(Path("data/score") / name, "scores", 0), [], "scores")
    with pytest.raises(UserError, match="no score rows"):
        aggregate.main("all", load_params())
