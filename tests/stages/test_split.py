"""Split: nobody in two places, planted languages and generated video never trained on, and no language dealt by another's
doing."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import stages.split
from core.params import Split, check_params
from core.stage import UserError
from stages.split import _quota, deal, leakage
from tests.stages.sync_clips import BASE, ROOT, inside, rows_of

SPLITS = {"train", "validation", "test", "expert_train", "expert_validation"}
TRAINED = {"train", "validation", "expert_train", "expert_validation"}
TAGS = ("en", "fi", "ru", "tr", "zh")


def params_for(languages=TAGS, planted=(), trained=("en", "zh"), seed=7):
    corpus = {"adapter": "synthetic", "languages": {t: {} for t in languages} | {t: {"twin_of": "tr"} for t in planted}}
    system = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]["systems"]["speech2vid-en"]
    raw = BASE | {"corpora": {"toy": corpus}, "split": {"seed": seed, "test_share": 0.34, "validation_share": 0.15,
                                                        "expert_share": 0.34}}
    raw["train"] = {"experts": {"syncnet": {"view": "mouth"}},
                    "systems": {"s": system | {"view": "mouth", "languages": [t for t in trained if t in languages]}}}
    return check_params(raw)


def row(language, speaker, recording, k=0, kind="real", mesh=1.0):
    recording = f"{language}-{recording}"
    cluster = f"speaker:{speaker}" if speaker else f"recording:{recording}"
    return {"track_id": f"{recording}-c0-t{k}", "clip_id": f"{recording}-c0", "recording_id": recording, "corpus": "toy",
            "language": language, "speaker": speaker, "cluster": cluster, "kind": kind, "n_frames": 100, "mesh_share": mesh}


@st.composite
def tracks(draw, languages=TAGS):
    made = []
    for tag in languages:
        for s in range(draw(st.integers(0, 9))):
            known = draw(st.booleans())
            for r in range(draw(st.integers(1, 3))):
                kind = draw(st.sampled_from(["real", "real", "real", "generated"]))
                mesh = draw(st.sampled_from([1.0, 1.0, 0.4]))
                made.append(row(tag, f"{tag}-s{s}" if known else None, f"s{s}r{r}", kind=kind, mesh=mesh))
    return made


@given(tracks((*TAGS, "x-twin")), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_nobody_is_in_two_splits_and_nothing_forbidden_is_trained_on(rows, seed):
    dealt = deal(rows, {("toy", "x-twin")}, params_for(planted=["x-twin"], seed=seed))
    assert [d["track_id"] for d in dealt] == sorted(r["track_id"] for r in rows)
    where: dict[str, set[str]] = {}
    source = {r["track_id"]: r for r in rows}
    for d in dealt:
        from_row = source[d["track_id"]]
        if from_row["kind"] == "generated":
            assert d["split"] == "generated"
        elif from_row["mesh_share"] < 0.9:
            assert d["split"] == "unmeshed"
        else:
            assert d["split"] in SPLITS
            where.setdefault(d["cluster"], set()).add(d["split"])
        if d["language"] == "x-twin":
            assert d["split"] not in TRAINED and d["fold"] == "planted"
        else:
            assert d["fold"] == "real"
        if d["split"] in ("train", "validation"):
            assert d["language"] in ("en", "zh"), "no system trains on this language"
    assert all(len(splits) == 1 for splits in where.values())
    assert leakage(dealt)["leaks"] == []


@given(tracks(), st.sampled_from(TAGS))
@settings(max_examples=80, deadline=None)
def test_another_language_changes_nobody_elses_split(rows, extra):
    without = [r for r in rows if r["language"] != extra]
    few = deal(without, set(), params_for([t for t in TAGS if t != extra],
                                          trained=[t for t in ("en", "zh") if t != extra] or ["fi"]))
    many = {d["track_id"]: d for d in deal(rows, set(), params_for())}
    assert all(many[d["track_id"]] == d for d in few)


@given(tracks())
@settings(max_examples=50, deadline=None)
def test_the_order_of_rows_does_not_matter(rows):
    assert deal(rows[::-1], set(), params_for()) == deal(rows, set(), params_for())


@given(st.integers(0, 300), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_every_speaker_gets_one_place(n, test, validation, expert, trained):
    quota = _quota(n, Split(test_share=test, validation_share=validation, expert_share=expert), trained)
    count = Counter(quota)
    assert len(quota) == n and set(count) <= SPLITS
    assert n == 0 or count["test"] >= 1, "every language is tested"
    assert trained or not (count["train"] or count["validation"])
    assert not count["validation"] or count["train"], "no one is held out of nothing"
    assert not count["expert_validation"] or count["expert_train"]


@pytest.mark.parametrize("n, trained, wanted", [
    (1, True, {"test": 1}),
    (2, True, {"test": 1, "expert_train": 1}),
    (6, True, {"test": 2, "expert_train": 1, "expert_validation": 1, "train": 2}),
    (6, False, {"test": 2, "expert_train": 3, "expert_validation": 1}),
    (20, True, {"test": 7, "expert_train": 6, "expert_validation": 1, "train": 5, "validation": 1}),
])
def test_shares_in_figures(n, trained, wanted):
    assert Counter(_quota(n, Split(test_share=0.34, validation_share=0.15, expert_share=0.34), trained)) == wanted


def test_who_is_tested_follows_the_seed():
    rows = [row("en", f"en-s{k}", f"s{k}r0") for k in range(12)]
    chosen = {seed: tuple(d["track_id"] for d in deal(rows, set(), params_for(seed=seed)) if d["split"] == "test")
              for seed in range(6)}
    assert len(set(chosen.values())) > 3 and all(len(c) == 4 for c in chosen.values())


def test_a_speaker_of_two_languages_keeps_one_split():
    rows = [row(tag, f"s{k}", f"s{k}r0") for tag in ("en", "zh") for k in range(9)]
    dealt = deal(rows, set(), params_for())
    where = {(d["language"], d["speaker"]): d["split"] for d in dealt}
    assert all(where["en", f"s{k}"] == where["zh", f"s{k}"] for k in range(9)) and leakage(dealt)["leaks"] == []


def test_a_planted_twins_speaker_is_never_trained_on_elsewhere():
    rows = [row(tag, f"s{k}", f"s{k}r0") for tag in ("en", "x-twin") for k in range(9)]
    dealt = deal(rows, {("toy", "x-twin")}, params_for(planted=["x-twin"]))
    assert {d["split"] for d in dealt} == {"test"}


def test_a_constructed_leak_is_seen():
    rows = [row("en", f"en-s{k}", f"s{k}r0") for k in range(6)]
    dealt = deal(rows, set(), params_for())
    assert leakage(dealt)["clusters_checked"] == 6
    same_speaker = dealt + [dealt[0] | {"track_id": "x", "recording_id": "elsewhere",
                                        "split": "train" if dealt[0]["split"] == "test" else "test"}]
    assert [leak.split(":")[0] for leak in leakage(same_speaker)["leaks"]] == ["cluster speaker"]
    same_recording = dealt + [dealt[0] | {"track_id": "x", "cluster": "speaker:new",
                                          "split": "train" if dealt[0]["split"] == "test" else "test"}]
    assert [leak for leak in leakage(same_recording)["leaks"] if leak.startswith("recording_id toy/en/en-s0r0")]
    hidden = dealt + [dealt[0] | {"track_id": "x", "split": "generated"}]
    assert leakage(hidden)["leaks"] == []


def test_the_stage_writes_its_check_beside_the_splits(talkers):
    folder = talkers / "data" / "split" / "all"
    dealt = rows_of(talkers, "split", "all", "splits")
    assert len(dealt) == 2 and {d["split"] for d in dealt} == {"test"}
    check, stats = json.loads((folder / "leakage.json").read_text()), json.loads((folder / "stats.json").read_text())
    assert check["leaks"] == [] and check["clusters_checked"] == 2
    assert [(c["language"], c["split"], c["speakers"], c["tracks"]) for c in check["cells"]] == [("en", "test", 2, 2)]
    assert stats["items_in"] == stats["kept"] == 2


def test_the_stage_stops_at_a_leak(talkers, monkeypatch, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(talkers, copy, symlinks=True, ignore=shutil.ignore_patterns("media", "crop"))

    def careless(rows, planted, params, group_of=None):
        made = deal(rows, planted, params, group_of)
        return made + [made[0] | {"track_id": "again", "split": "train"}]

    monkeypatch.setattr(stages.split, "deal", careless)
    with inside(copy) as params, pytest.raises(UserError, match="in two splits"):
        stages.split.main("all", params)
