from __future__ import annotations

import copy
import json
import pkgutil
from pathlib import Path

import pytest
import yaml

from core.params import ParamsError, check_params, json_schema, load_params
from core.params_names import _adapters, _systems, _written
from corpora.registry import adapter_name, adapters
from corpora.synthetic.language import known_languages

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


WRONG_NAMES = [  # where it stands, what stands there, what is said
    ("corpora.synthetic.adapter", "syntetic", "there is no adapter 'syntetic'; did you mean 'synthetic'?"),
    ("corpora.synthetic.languages.x-gap.twin_of", "trr", "'trr' is not a language of this corpus; did you mean 'tr'?"),
    ("corpora.synthetic.languages.x-twin.twin_of", "x-gap", "'x-gap' is a twin itself; known: ar, en, "),
    ("corpora.synthetic.languages.x-gap.swap.ppp", "aa", "'ppp' is not a viseme; did you mean 'pp'?"),
    ("corpora.synthetic.languages.x-gap.swap.ou", "ehh", "'ehh' is not a viseme; did you mean 'eh'?"),
    ("corpora.synthetic.languages.enn", {}, "there is no corpora/languages/enn.yaml; did you mean 'en'?"),
    ("segment.min_s", 12, "12 is more than segment.max_s, which is 10"),
    ("crop.store.0", "mouht", "'mouht' is not one of crop.views; did you mean 'mouth'?"),
    ("crop.store.1", "speech2vidd", "'speech2vidd' is not one of crop.views; did you mean 'speech2vid'?"),
    ("train.experts.syncnet.view", "plain96", "'plain96' is not in crop.store; known: mouth, speech2vid"),
    ("train.systems.speech2vid-en.languages.0", "eng", "'eng' is not a language to train on; did you mean 'en'?"),
    ("train.systems.speech2vid-mix.languages.1", "x-gap", "'x-gap' is not a language to train on; known: ar, en, "),
    ("train.systems.speech2vid-en.system", "speech2vd", "there is no models/systems/speech2vd.py; did you mean 'speech2vid'?"),
    ("train.systems.controls", "=speech2vid-en", "the controls are called so; take another name"),
    ("train.systems.syncnet", "=speech2vid-en", "an expert is called so; take another name"),
    ("score.expert", "sincnet", "'sincnet' is not one of train.experts; did you mean 'syncnet'?"),
    ("score.ablation_experts", ["synctent"], "'synctent' is not one of train.experts; did you mean 'syncnet'?"),
]


def put(raw, place, value):
    """Puts a value at a place; =NAME stands for a copy of what is called so beside it."""
    *above, last = place.split(".")
    for part in above:
        raw = raw[part]
    copied = isinstance(value, str) and value.startswith("=")
    raw[int(last) if isinstance(raw, list) else last] = copy.deepcopy(raw[value[1:]]) if copied else value


def said_of(raw):
    with pytest.raises(ParamsError) as caught:
        check_params(raw)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("place", "value", "says"), WRONG_NAMES)
def test_a_wrong_name_is_told_with_its_place(raw, place, value, says):
    put(raw, place, value)
    first, line = said_of(raw)
    index = ".0" if isinstance(value, list) else ""
    assert first == "params: 1 error" and line.startswith(f"  {place}{index}: {says}")


def test_wrong_names_are_told_along_with_wrong_fields_all_at_once(raw):
    raw["segment"]["min_ss"] = 3
    raw["generate"]["clips_per_speaker"] = "many"
    del raw["features"]
    alone = said_of(raw)
    assert len(alone) == 4
    for place, value, _ in reversed(WRONG_NAMES[1:]):  # without its adapter nothing can be said of a corpus's languages
        put(raw, place, value)
    lines = said_of(raw)
    assert set(alone[1:]) < set(lines) and lines[0] == f"params: {3 + len(WRONG_NAMES) - 1} errors"
    for place, value, says in WRONG_NAMES[1:]:
        assert any(line.startswith(f"  {place}{'.0' if isinstance(value, list) else ''}: {says}") for line in lines), place


def test_what_is_misspelt_is_wrong_once(raw):
    """A view, and a language, that others name right."""
    raw["crop"]["store"][0] = "mouht"
    languages = raw["corpora"]["synthetic"]["languages"]
    languages["zhh"] = languages.pop("zh")
    assert [line.split(":")[0].strip() for line in said_of(raw)[1:]] == ["corpora.synthetic.languages.zhh", "crop.store.0"]


@pytest.mark.parametrize("junk", [None, 3, [], {"x": [None]}])
def test_no_part_of_another_type_hides_the_others_or_ends_in_a_traceback(raw, junk):
    for above in (raw, *raw.values()):
        for key in list(above) if isinstance(above, dict) else ():
            kept, above[key] = above[key], junk
            try:
                check_params(raw)
            except ParamsError as error:
                assert "error" in str(error)
            above[key] = kept
    check_params(raw)


@pytest.mark.parametrize("name", ["LRW-1000", "mTEDx", "CelebV_HQ", "voxceleb2"])
def test_adapters_go_by_the_names_that_the_registry_takes(raw, name):
    raw["corpora"]["mine"] = {"adapter": name, "path": "x", "languages": {"und": {}}}
    assert adapter_name(check_params(raw).corpora["mine"].adapter)
    assert _adapters() == set(adapters()) and _written() == set(known_languages())
    assert _systems() == {m.name for m in pkgutil.iter_modules([str(ROOT / "models" / "systems")])} - {"base"}


def test_the_files_of_a_workspace_count_too(raw, tmp_path, monkeypatch):
    raw["train"]["systems"]["speech2vid-en"]["system"] = "mine"
    assert "models/systems/mine.py" in said_of(raw)[1]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "systems").mkdir(parents=True)
    (tmp_path / "models" / "systems" / "mine.py").touch()
    check_params(raw)


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
    with pytest.raises(ParamsError, match="x-gap.twin_of: 'tk' is not a language of this corpus"):
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
