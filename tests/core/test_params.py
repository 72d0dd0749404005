from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from core.params import ParamsError, check_params, json_schema, load_params

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture()
def raw():
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def test_the_projects_own_file_is_valid():
    params = load_params(ROOT / "params.yaml")
    assert len([i for i in params.instances() if not i.planted]) >= 8
    assert {i.language for i in params.instances() if i.planted} == {"x-gap", "x-twin"}


def test_all_errors_at_once_with_path_and_suggestion(raw):
    raw["track"]["evry"] = 5
    raw["corpora"]["synthetic"]["spekers"] = 3
    raw["corpora"]["synthetic"]["hard"]["blurr"] = 1
    raw["segment"]["min_s"] = "long"
    with pytest.raises(ParamsError) as caught:
        check_params(raw, "params.yaml")
    text = str(caught.value)
    assert "params.yaml: 4 errors" in text
    for line in ("track.evry: unknown name; did you mean 'every'?", "corpora.synthetic.spekers: unknown name; did you mean "
                 "'speakers'?",
                 "corpora.synthetic.hard.blurr: unknown name; did you mean 'blur'?",
                 "segment.min_s: Input should be a valid number"):
        assert line in text


def test_names_that_must_agree(raw):
    raw["score"]["expert"] = "sincnet"
    raw["train"]["systems"]["speech2vid-en"]["languages"] = ["en", "x-gap"]
    raw["train"]["experts"]["syncnet"]["view"] = "plain96"
    with pytest.raises(ParamsError) as caught:
        check_params(raw)
    text = str(caught.value)
    assert "did you mean 'syncnet'" in text and "'x-gap' is not a language to train on" in text and "not in crop.store" in text


def test_twin_of_must_exist(raw):
    raw["corpora"]["synthetic"]["languages"]["x-gap"]["twin_of"] = "tk"
    with pytest.raises(ParamsError, match="twin_of names 'tk'"):
        check_params(raw)


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ParamsError, match="project's root"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(ParamsError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")


def test_yaml_cannot_run_code(tmp_path):
    (tmp_path / "params.yaml").write_text("!!python/object/apply:os.system ['touch hacked']")
    with pytest.raises(ParamsError):
        load_params(tmp_path / "params.yaml")


def test_schema_for_editors_knows_every_section(raw):
    assert set(json_schema()["properties"]) >= set(raw)
    written = json.loads((ROOT / "docs/params.schema.json").read_text(encoding="utf-8"))
    assert written == json_schema(), "run: babelface params --schema > docs/params.schema.json"


def test_all_means_all_but_planted(raw):
    params = check_params(copy.deepcopy(raw))
    tags = params.training_languages(params.train.experts["syncnet"])
    assert "tr" in tags and not {"x-gap", "x-twin"} & set(tags)


def test_folder_needs_a_path(raw):
    raw["corpora"]["mine"] = {"adapter": "folder", "languages": {"en": {}}}
    with pytest.raises(ParamsError, match="needs `path`"):
        check_params(raw)
