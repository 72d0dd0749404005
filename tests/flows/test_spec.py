"""The graph that params.yaml asks for: complete, committed, and the same for everybody else when a language is added."""

from __future__ import annotations

import ast
import copy
import shutil

import pytest
import yaml

from core.params import check_params, load_params
from flows import graph, spec
from flows.workspace import merged


@pytest.fixture(scope="module")
def raw(root):
    return yaml.safe_load((root / "params.yaml").read_text())


@pytest.fixture
def render(root):
    return lambda raw: graph.render_graph(check_params(raw), root)


def resolved(text, raw, folder):
    """name -> (command, deps, tracked params and their values) as DVC itself reads them."""
    from dvc.repo import Repo as DvcRepo

    shutil.rmtree(folder, ignore_errors=True)
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    (folder / "dvc.yaml").write_text(text)
    found = {}
    with DvcRepo(str(folder)) as repo:
        for stage in repo.index.stages:
            deps, values = set(), {}
            for dep in stage.deps:
                if getattr(dep, "params", None):
                    values |= dep.read_params()
                else:
                    deps.add(dep.def_path)
            found[stage.name] = (stage.cmd, deps, values, tuple(out.def_path for out in stage.outs))
    return found


def test_the_committed_graph_is_what_params_ask_for(root):
    asked = graph.render_graph(load_params(root / "params.yaml"), root)
    assert (root / "dvc.yaml").read_text() == asked, "run: babelface graph --write"


def test_rendering_twice_gives_the_same_text(render, raw):
    assert render(raw) == render(copy.deepcopy(raw))


def test_dvc_accepts_it_and_names_are_as_documented(render, raw, tmp_path):
    found = resolved(render(raw), raw, tmp_path / "r")
    instances = [i.name for i in check_params(raw).instances()]
    assert {f"{s}@{i}" for s in spec.DATA_STAGES for i in instances} < set(found)
    assert {"split", "train-syncnet", "generate-controls", "score-controls", "aggregate", "report"} < set(found)
    assert found["track@synthetic-x-gap"][0] == "python -m stages.track synthetic-x-gap"
    assert found["split"][0] == "python -m stages.split all"
    assert found["download@synthetic-x-gap"][2]["corpora.synthetic.languages.x-gap"]["twin_of"] == "tr"
    assert "corpora/languages/tr.yaml" in found["download@synthetic-x-gap"][1]


def changed(before, after):
    return {name for name in before.keys() & after.keys() if before[name] != after[name]}


def test_another_language_changes_no_other_instance(render, raw, tmp_path):
    before = resolved(render(raw), raw, tmp_path / "r")
    more = merged(raw, {"corpora": {"synthetic": {"languages": {"xx-new": {"twin_of": "en"}}}}})
    after = resolved(render(more), more, tmp_path / "r")
    assert "download@synthetic-xx-new" in after
    data = {n for n in before if n.split("@")[0] in spec.DATA_STAGES}
    assert len(data) == len(spec.DATA_STAGES) * len(check_params(raw).instances()) and not changed(before, after) & data
    assert not {n for n in changed(before, after) if n.startswith("train-")}, "a planted language is never trained on"
    fewer = merged(raw, {"corpora": {"synthetic": {"languages": {"ko": None}}}})
    before, after = resolved(render(fewer), fewer, tmp_path / "r"), before
    assert {n for n in changed(before, after) if n.startswith("train-")} == {"train-syncnet"}, "only what trains on all languages"
    reads = after["train-speech2vid-en"][1]
    assert "data/split/all/splits/shard-synthetic-en.parquet" in reads and "data/split/all" not in reads


def test_another_corpus_changes_no_other_instance(render, raw, tmp_path):
    before = resolved(render(raw), raw, tmp_path / "r")
    more = merged(raw, {"corpora": {"mine": {"adapter": "folder", "path": "/somewhere/clips",
                                             "languages": {"en": {}, "und": {}}}}})
    after = resolved(render(more), more, tmp_path / "r")
    assert "/somewhere/clips" in after["download@mine-en"][1] and "corpora/folder.py" in after["download@mine-en"][1]
    assert after["download@mine-en"][2].keys() >= {"corpora.mine.path", "corpora.mine.adapter", "corpora.mine.languages.en"}
    assert not any(".synthetic." in key for key in after["download@mine-en"][2])
    assert not changed(before, after) & {n for n in before if n.split("@")[0] in spec.DATA_STAGES}


def test_the_files_that_an_index_names_are_dependencies_too(render, raw, tmp_path):
    more = {"net": {"adapter": "hdtf", "path": "indexes/hdtf", "languages": {"en": {}}, "options": {"media": "films"}},
            "table": {"adapter": "csv", "path": "mine/clips.csv", "languages": {"en": {}}}}
    more = merged(raw, {"corpora": more})
    found = resolved(render(more), more, tmp_path / "r")
    assert {"indexes/hdtf", "films", "corpora/hdtf.py", "corpora/index/tables.py"} <= found["download@net-en"][1]
    assert {"mine/clips.csv", "mine", "corpora/csv.py"} <= found["download@table-en"][1]
    assert found["download@net-en"][2]["corpora.net.options"] == {"media": "films"}


def test_a_corpus_setting_reaches_its_own_downloads_only(render, raw, tmp_path):
    more = merged(raw, {"corpora": {"mine": {"adapter": "folder", "path": "clips", "languages": {"en": {}}}}})
    before = resolved(render(more), more, tmp_path / "r")
    other = merged(more, {"corpora": {"synthetic": {"seed": 99}}})
    after = resolved(render(other), other, tmp_path / "r")
    hit = changed(before, after)
    assert "download@synthetic-en" in hit and "download@mine-en" not in hit and "segment@synthetic-en" not in hit


def test_the_number_of_workers_changes_no_instance(render, raw, tmp_path):
    before = resolved(render(raw), raw, tmp_path / "r")
    more = merged(raw, {"executor": {"workers": 7, "kind": "dask", "address": "tcp://cluster:8786"}})
    assert not changed(before, resolved(render(more), more, tmp_path / "r"))


def test_a_planted_language_is_tested_and_never_trained_on(render, raw, tmp_path):
    found = resolved(render(raw), raw, tmp_path / "r")
    for name, (_, deps, _, _) in found.items():
        if name.startswith("train-"):
            assert not any("x-gap" in d or "x-twin" in d for d in deps), name
        if name.startswith("generate-"):
            assert "data/track/synthetic-x-gap" in deps, name


def test_every_module_a_stage_imports_is_a_dependency(root, render, raw, tmp_path):
    found = resolved(render(raw), raw, tmp_path / "r")
    for name, (command, deps, _, _) in found.items():
        stage = command.split()[2].removeprefix("stages.")
        missing = [f for f in spec.code(stage, root) if f not in deps]
        assert not missing, f"{name}: {missing}"
        assert f"stages/{stage}.py" in deps
    assert "models/systems/speech2vid.py" in found["train-speech2vid-en"][1]
    assert "models/systems/speech2vid.py" not in found["train-syncnet"][1]
    assert "report/templates" in found["report"][1]


def _reads(path):
    """Chains of attributes on a name `params`, as in params.track.every, in one file."""
    chains = set()
    for node in ast.walk(ast.parse(path.read_text())):
        parts, at = [], node
        while isinstance(at, ast.Attribute):
            parts.insert(0, at.attr)
            at = at.value
        if parts and isinstance(at, ast.Name) and at.id == "params":
            chains.add(".".join(parts))
    return {c for c in chains if not any(o.startswith(c + ".") for o in chains)}


# What results do not depend on, and functions of Params over corpora, which the graph answers with dependencies.
# How patient a fetch is and where it keeps files changes no byte of what arrives.
# Where items are worked on neither; of `executor`, which stages hand on whole, codec_threads alone counts, where media are
# written.
NOT_TRACKED = ("executor.timeout_s", "fetch.keep", "fetch.store", "fetch.timeout_s", "instances", "instance",
               "training_instances", "training_languages")


@pytest.mark.parametrize("stage", spec.STAGES)
def test_every_param_a_stage_reads_is_tracked(root, raw, stage):
    other = {**raw["train"]["experts"]["syncnet"], "languages": ["en"]}  # without one there is no instance of bias
    params = check_params(merged(raw, {"train": {"experts": {"other": other}}, "score": {"ablation_experts": ["other"]}}))
    groups = [g for g in spec.groups(params, root) if g.stage == stage]
    tracked = {k for s in [*groups, *(s for s in spec.singles(params, root) if s.stage == stage)] for k in s.params}
    # A system or expert is tracked entry by entry; a download by its own corpus.
    tracked |= {"train.experts", "train.systems"} if stage in ("train", "generate", "score", "aggregate", "report") else set()
    tracked |= {"corpora"} if stage == "download" else set()
    reads = {c for c in _reads(root / "stages" / f"{stage}.py") if not c.startswith(NOT_TRACKED) and c != "executor"}
    methods = ("model_dump", "model_copy", "items", "keys", "values", "get")
    reads = {".".join(p for p in c.split(".") if p not in methods) for c in reads}
    lost = {c for c in reads if not any(t == c or c.startswith(t + ".") or t.startswith(c + ".") for t in tracked)}
    only_decode = ("segment", "track", "inspect", "crop", "score", "sets", "bias", "report")
    lost -= {"executor", "executor.codec_threads"} if stage in only_decode else set()
    lost -= {"score.ablation_experts"} if stage == "bias" else set()  # whether its own name stands there
    assert not lost, f"stages/{stage}.py reads {sorted(lost)}; add them to flows/spec.py"


def test_an_ablation_adds_its_own_instances_and_changes_no_score(render, raw, tmp_path):
    before = resolved(render(raw), raw, tmp_path / "r")
    expert = {**raw["train"]["experts"]["syncnet"], "languages": ["en"]}
    more = merged(raw, {"train": {"experts": {"syncnet-en": expert}}, "score": {"ablation_experts": ["syncnet-en"]}})
    after = resolved(render(more), more, tmp_path / "r")
    assert set(after) - set(before) == {"train-syncnet-en", "bias-syncnet-en"}
    assert {n.split("-")[0] for n in changed(before, after)} <= {"aggregate", "report", "split"}
    assert {"data/generate/controls", "data/train/syncnet-en", "data/track/synthetic-x-gap"} <= after["bias-syncnet-en"][1]
    assert "data/bias/syncnet-en" in after["aggregate"][1] and "bias" not in {n.split("-")[0] for n in before}


def test_the_files_of_a_lip_reader_are_dependencies_of_every_score(render, raw, tmp_path):
    before = resolved(render(raw), raw, tmp_path / "r")
    more = merged(raw, {"score": {"lip_reader": "tests.stages.stand_in_reader:Reader", "lip_reader_weights": "models/lips.pt"}})
    after = resolved(render(more), more, tmp_path / "r")
    assert {n.split("-")[0] for n in changed(before, after)} == {"score"}
    for name in (n for n in after if n.startswith("score-")):
        assert {"tests/stages/stand_in_reader.py", "models/lips.pt"} <= after[name][1]
        assert after[name][2]["score.lip_reader"] == "tests.stages.stand_in_reader:Reader"


def test_a_key_left_to_its_default_is_not_tracked(render, raw, tmp_path):
    less = {k: v for k, v in raw.items() if k != "track"}
    found = resolved(render(less), less, tmp_path / "r")
    assert not any(k.startswith("track") for k in found["track@synthetic-en"][2])


def test_a_name_that_dvc_cannot_take_is_refused(raw, root):
    bad = merged(raw, {"corpora": {"synthetic": {"languages": {"en.us": {"twin_of": "en"}}}}})
    with pytest.raises(spec.SpecError, match=r"synthetic-en\.us.*letters, digits"):
        spec.groups(check_params(bad), root)


def test_check_says_what_to_run(tmp_path, root, raw):
    from flows.workspace import create_workspace

    place = create_workspace(tmp_path / "w", root=root)
    params = check_params(yaml.safe_load((place / "params.yaml").read_text()))
    graph.check_graph(params, place)
    (place / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(graph.GraphError, match="babelface graph --write"):
        graph.check_graph(params, place)
    assert graph.write_graph(params, place) and not graph.write_graph(params, place)
    (place / "dvc.yaml").unlink()
    with pytest.raises(graph.GraphError, match="missing"):
        graph.check_graph(params, place)
