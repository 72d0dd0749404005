"""Bias: another expert scores real video and its control, by the same protocol, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

import stages.bias
from core.params import ParamsError, check_params, load_params
from core.stage import UserError
from tests.stages.sync_clips import inside, rows_of, sha_of
from tests.stages.test_score import SYNC


@pytest.fixture(scope="module")
def place(controls, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bias") / "work"
    shutil.copytree(controls, folder, symlinks=True)
    sha = sha_of(folder)
    (folder / "data/train/syncnet").rename(folder / "data/train/other")
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    raw["train"]["experts"]["other"] = {**raw["train"]["experts"]["syncnet"], "languages": ["en"]}
    raw["score"]["ablation_experts"] = ["other"]
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    with inside(folder):
        params = load_params()
        stats = stages.bias.main("other", params)
    return folder, sha, params, stats


def test_real_video_and_its_control_are_scored_by_that_expert(place):
    folder, sha, _, stats = place
    made = {r["generated_id"]: r for r in rows_of(folder, "generate", "controls", "generated")}
    rows = rows_of(folder, "bias", "other", "scores")
    assert stats["kept"] == len(rows) and {r["generated_id"] for r in rows} == {i for i, r in made.items()
                                                                                if r["system"] == "real"}
    for row in rows:
        assert (row["expert"], row["expert_sha256"]) == (f"small:{sha[:8]}",
                                                         sha) and row["protocol"].startswith("syncnet-v2-direct(")
        why = {n["metric"] for n in row["null_reasons"]}
        assert all((row[m] is None) == (m in why) for m in SYNC) and row["ssim"] is None
    assert any(row["lse_c"] is not None for row in rows)


def test_an_expert_that_is_not_there_is_trained_first(place):
    folder, _, params, _ = place
    with inside(folder):
        Path("data/train/other/model.pt").rename("data/train/other/away.pt")
        with pytest.raises(UserError, match="train it first: babelface evaluate train-other$"):
            stages.bias.main("other", params)


@pytest.mark.parametrize("names, message", [(["syncnet"], "scores already"), (["sincnet-en"], "not one of train.experts")])
def test_params_name_other_experts_only(root, names, message):
    raw = yaml.safe_load((root / "params.yaml").read_text())
    raw["score"]["ablation_experts"] = names
    with pytest.raises(ParamsError, match=message):
        check_params(raw)
