"""The dataset handed on: its card, its description for machines, the funnel in hours, and the two layouts of an export."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from core import media
from core.params import load_params
from core.shards import ViewStore, read_rows
from core.stage import UserError
from flows import dataset, export, funnel
from flows.card import markdown, write_card
from flows.export_sinks import key_of
from flows.hours import lost_hours
from tests.stages.sync_clips import inside


@pytest.fixture
def place(small, tmp_path):
    """A copy that a test may change."""
    copy = tmp_path / "place"
    shutil.copytree(small, copy, symlinks=True)
    return copy


@pytest.fixture(scope="module")
def exported(small, tmp_path_factory):
    """Both layouts, each written twice."""
    folder = tmp_path_factory.mktemp("exported")
    with inside(small) as params:
        for name in ("webdataset", "datasets"):
            for k in (1, 2):
                export.export(params, name, folder / f"{name}{k}")
    return folder


def digest(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*"))
            if p.is_file()}


# ---- card ----------------------------------------------------------------------------------------------------------------------

def test_the_card_says_what_there_is(small, tmp_path):
    with inside(small) as params:
        write_card(params, tmp_path)
    text, facts = (tmp_path / "README.md").read_text(), json.loads((tmp_path / "facts.json").read_text())
    en, fi = facts["languages"]
    assert (en["language"], en["recordings"], en["clips"], en["speakers"], en["unknown_speakers"]) == ("en", 6, 4, 3, 0)
    assert (fi["recordings"], fi["clips"], fi["speakers"], fi["unknown_speakers"]) == (3, 3, 3, 2)
    hours = {k: v * 3600 for k, v in en["genders"].items()}
    assert hours == pytest.approx({"female": 6.0, "male": 3.0, "unknown": 3.0}, abs=0.01)
    assert sum(s["tracks"] for s in en["splits"].values()) == 4 and en["largest_speaker"] == 0.5
    assert en["per_speaker"] == {"clips": {"median": 1, "most": 2, "largest_share": 0.5},
                                 "hours": {"median": pytest.approx(3 / 3600, abs=1e-5), "most": pytest.approx(6 / 3600, abs=1e-5),
                                           "largest_share": 0.5}}
    assert sum(s["hours"] for s in fi["splits"].values()) == pytest.approx(fi["hours"], abs=1e-5)
    for words in ("A folder of your own videos", "as the folder's owner says", "| toy | en | segment | no_speech | 1 |",
                  "1 by both", "| toy | en | 3 | 1 | 2 | 50% | 0.00083 | 0.00167 | 50% |",
                  "Fewer than 6 test speakers", "Of 6 speakers 2 are unknown", "gender of the speakers is known for 44%"):
        assert words in text, words
    assert facts["shared"] == {"leaks": 0, "links": {"both": 1}, "united": 2, "largest_group": 2}


def test_a_version_is_a_commit_and_the_hashes_of_its_outputs(tmp_path):
    from tests.flows.night_repo import NightRepo

    repo = NightRepo(tmp_path / "project")
    (repo.path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    outs:\n    - {path: data/a, md5: abc.dir}\n")
    found = dataset.version(repo.path)
    assert found["commit"] == repo.call("git", "rev-parse", "HEAD").stdout.strip() and not found["changed"]
    assert found["outputs"] == {"data/a": "abc.dir"} and len(found["lock"]) == 64 and len(found["date"]) == 10
    repo.set(seed=2)
    assert dataset.version(repo.path)["changed"]
    assert dataset.version(tmp_path)["commit"] is None


def test_what_limits_a_dataset():
    row = {"corpus": "c", "language": "en", "planted": False, "speakers": 8, "unknown_speakers": 0, "largest_speaker": 0.2,
           "genders": {"female": 1.0}, "splits": {"test": {"speakers": 6}}}
    found = {"languages": [row], "corpora": {"c": {"commercial": True}}, "gone": {},
             "version": {"changed": False, "commit": "abc"}}
    assert dataset.limits(found) == []
    worse = {"languages": [row | {"largest_speaker": 0.6, "genders": {"female": 1.0, "unknown": 3.0}, "splits": {}},
                           row | {"language": "x-gap", "planted": True, "splits": {}}],
             "corpora": {"c": {"commercial": False}}, "gone": {"c-en": {"gone": 3, "forgotten": 1}},
             "version": {"changed": True, "commit": "abc"}}
    said = " ".join(dataset.limits(worse))
    for words in ("x-gap", "en (c)", "en (c: 60%)", "for 25% of the hours", "licence of: c", "4 items", "in no commit"):
        assert words in said, words


@pytest.mark.parametrize("extra, wanted", [('{"gender": "Female"}', "female"), ('{"Gender": "m"}', "male"),
                                           ('{"Sex": "Man"}', "male"), ("{}", "unknown"),
                                           (None, "unknown"), ('{"gender": "?"}', "unknown")])
def test_gender_is_what_the_corpus_says(extra, wanted):
    assert dataset.gender_of(extra) == wanted


def test_a_pipe_in_a_name_does_not_break_a_table():
    found = {"languages": [], "funnel": [{"corpus": "a|b", "language": "en", "stage": "segment", "rejected": {"no_speech": 2},
                                          "hours": {"rejected": {"no_speech": 0.5}}}], "corpora": {}, "shared": {}, "gone": {},
             "version": {"commit": None, "changed": False, "lock": None, "outputs": {}}}
    assert "| a\\|b | en | segment | no_speech | 2 | 0.500 |" in markdown(found)


# ---- hours ---------------------------------------------------------------------------------------------------------------------

def test_the_funnel_counts_hours_that_add_up(small):
    with inside(small) as params:
        found = funnel.collect(params)
    steps = {(s["stage"], s["language"]): s["hours"] for s in found["steps"]}
    assert all(h["in"] == pytest.approx(h["kept"] + sum(h["rejected"].values()), abs=2e-6) for h in steps.values())
    assert steps["download", "en"]["unknown"] == 2 and steps["download", "en"]["out"] == steps["segment", "en"]["in"]
    seconds = {k: v * 3600 for k, v in steps["segment", "en"]["rejected"].items()}
    assert seconds == pytest.approx({"no_speech": 3.0, "too_short": 0.8}, abs=0.01)
    assert steps["segment", "fi"]["out"] == steps["inspect", "fi"]["in"] == steps["crop", "fi"]["in"]
    with inside(small):
        from rich.console import Console

        console = Console(width=200, file=io.StringIO(), record=True)
        console.print(funnel.table(found))
    text = console.export_text()
    assert "no_speech 1 (0.00083 h)" in text and "decode_error 1 (length unknown), missing_file 1 (length unknown)" in text


def test_what_could_not_be_fetched_is_as_long_as_the_index_says(place, monkeypatch):
    import flows.download
    from core.records import Item, Rejected

    known = [Item("junk", "c", "en", None, duration_s=36.0)], [Rejected("gone", "missing_file", "", "en", 72.0)]
    monkeypatch.setattr(flows.download, "entries_of", lambda params, who: known)
    with inside(place) as params:
        step = next(s for s in funnel.collect(params)["steps"] if (s["stage"], s["language"]) == ("download", "en"))
    assert step["hours"]["rejected"] == {"decode_error": 0.01, "missing_file": 0.02} and step["hours"]["unknown"] == 0
    assert step["hours"]["in"] == pytest.approx(step["hours"]["kept"] + 0.03, abs=2e-6)


def test_hours_lost_are_told_with_what_nobody_knows():
    hours = {"rejected": {"gone": 3.2, "forbidden": 0.0, "duplicate": 0.5}, "unknown_rejected": {"gone": 4, "forbidden": 7}}
    assert [lost_hours(hours, reason) for reason in ("gone", "forbidden", "duplicate", "no_face")] == [
        "3.200 h, 4 of unknown length", "length unknown", "0.500 h", ""]
    step = {"corpus": "c", "language": "en", "stage": "download", "rejected": {"gone": 9, "forbidden": 7}, "hours": hours}
    found = {"languages": [], "funnel": [step], "corpora": {}, "shared": {}, "gone": {},
             "version": {"commit": None, "changed": False, "lock": None, "outputs": {}}}
    text = markdown(found)
    assert "| gone | 9 | 3.200, 4 of unknown length |" in text and "| forbidden | 7 | length unknown |" in text


def test_the_funnel_has_the_other_experts(place):
    folder = place / "data/bias/other"
    folder.mkdir(parents=True)
    (folder / "stats.json").write_text(json.dumps({"by_language": {"en": {"in": 3, "kept": 2, "rejected": {"no_face": 1}}}}))
    with inside(place) as params:
        params = params.model_copy(update={"score": params.score.model_copy(update={"ablation_experts": ["other"]})})
        steps = [s for s in funnel.collect(params)["steps"] if s["stage"] == "bias"]
    assert [(s["instance"], s["in"], s["kept"], s["rejected"], s["hours"])
            for s in steps] == [("other", 3, 2, {"no_face": 1}, None)]


# ---- export --------------------------------------------------------------------------------------------------------------------

def test_the_same_dataset_gives_the_same_bytes(exported):
    for name in ("webdataset", "datasets"):
        first = digest(exported / f"{name}1")
        assert first == digest(exported / f"{name}2") and {"README.md", "croissant.json", "facts.json"} < set(first)


def stored(small: Path, name: str) -> list[bytes]:
    instance, track = name.split("/")
    return ViewStore(small / "data/crop" / instance).jpegs(track, "mouth")


def sound_of(small: Path, name: str) -> bytes:
    instance, track = name.split("/")
    return next(r["audio"] for r in read_rows(small / "data/segment" / instance, "clips") if track == f"{r['clip_id']}-t0")


def test_webdataset_reads_the_tar_files(exported, small):
    wds = pytest.importorskip("webdataset")
    files = sorted(map(str, (exported / "webdataset1").glob("*.tar")))
    samples = list(wds.WebDataset(files, shardshuffle=False).decode())
    assert len(samples) == 7 and {s["json"]["language"] for s in samples} == {"en", "fi"}
    for s in samples:
        about = s["json"]
        assert s["__key__"] == about["id"] and about["split"] in s["__url__"] and about["licence"] == "as the folder's owner says"
        assert s["flac"] == sound_of(small, about["id"]) and s["boxes.npy"].shape == (about["n_frames"], 4)
        frames = list(media.read_frames(s["mouth.avi"]))
        jpegs = stored(small, about["id"])
        assert len(frames) == len(jpegs) == about["n_frames"] and all(j in s["mouth.avi"] for j in jpegs), "the very JPEG files"
        assert np.abs(frames[5].astype(int) - media.decode_jpeg(jpegs[5])).mean() < 1.5


def test_datasets_reads_the_parquet_files(exported, small, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    found = datasets.load_dataset(str(exported / "datasets1"), cache_dir=str(tmp_path))
    assert sum(part.num_rows for part in found.values()) == 7 and "test" in found
    assert found["test"].features["audio"].sampling_rate == 16000
    for row in found["test"].cast_column("audio", datasets.Audio(decode=False)):
        assert row["audio"]["bytes"] == sound_of(small, row["id"]) and len(row["boxes"]) == len(row["mouth"]) == row["n_frames"]
        assert row["mouth"][0].size == (64, 48)
    raw = found["test"].select_columns(["id", "mouth"]).cast_column("mouth", datasets.List(datasets.Image(decode=False)))[0]
    assert [m["bytes"] for m in raw["mouth"]] == stored(small, raw["id"])


def test_the_largest_share_and_the_median_of_speakers():
    assert dataset.balance([3, 1, 8]) == {"median": 3, "most": 8, "largest_share": 0.6667}
    assert dataset.balance([]) == {"median": None, "most": None, "largest_share": None}
    assert dataset.balance([0.0])["largest_share"] is None


def test_croissant_describes_every_table_of_a_version(small, tmp_path):
    """By the specification's required properties; that mlcroissant agrees is tested below."""
    from core.records import columns

    with inside(small) as params:
        write_card(params, tmp_path / "card")
    made = json.loads((tmp_path / "card" / "croissant.json").read_text())
    ids = [thing["@id"] for thing in (*made["distribution"], *made["recordSet"])]
    files = {f["@id"]: f for f in made["distribution"] if f["@type"] == "cr:FileObject"}
    sets = {s["@id"]: s for s in made["distribution"] if s["@type"] == "cr:FileSet"}
    assert len(set(ids)) == len(ids) and len(files) == 1 + len(list((small / "data").glob("*/*/*/shard-*.parquet"))) - len(
        [p for t in ("truth", "rejects", "inspected", "turns", "links") for p in (small / "data").glob(f"*/*/{t}/*.parquet")])
    for name, file in files.items():
        path = tmp_path / "card" / file["contentUrl"]
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and not Path(file["contentUrl"]).is_absolute()
        assert file["contentSize"] == f"{path.stat().st_size} B" and file["encodingFormat"] and file["name"] == name
    for found in made["recordSet"]:
        assert [f["name"] for f in found["field"]] == columns(found["name"]) and found["key"]["@id"] in {
            f["@id"] for f in found["field"]}
        for field in [part for f in found["field"] for part in f.get("subField", [f])]:
            inside_of = sets[field["source"]["fileSet"]["@id"]]
            assert field["@type"] == "cr:Field" and field["dataType"].startswith("sc:") and field["description"]
            assert {c["@id"] for c in inside_of["containedIn"]} <= set(files) and field["source"]["extract"]["column"]
    kinds = {f["@id"]: f["dataType"] for r in made["recordSet"] for f in r["field"] if "dataType" in f}
    assert (kinds["tracks/n_frames"], kinds["tracks/face_px"], kinds["splits/split"]) == ("sc:Integer", "sc:Float", "sc:Text")


def test_croissant_is_valid_and_leads_to_the_rows(exported, small, tmp_path, monkeypatch):
    mlc = pytest.importorskip("mlcroissant")
    with inside(small) as params:
        write_card(params, tmp_path)
    for folder in (exported / "datasets1", exported / "webdataset1", tmp_path):
        made = mlc.Dataset(jsonld=str(folder / "croissant.json"))
        issues = made.metadata.ctx.issues
        assert not issues.errors and all("datePublished" in w
                                         for w in issues.warnings), "the only gap is a date, where there is no commit"
        for file in made.metadata.file_objects:
            assert hashlib.sha256((folder / file.content_url).read_bytes()).hexdigest() == file.sha256
    rows = {r["tracks/id"].decode(): r
            for r in mlc.Dataset(jsonld=str(exported / "datasets1" / "croissant.json")).records("tracks")}
    assert sorted(rows)[:2] == ["toy-en/a1-c0-t0", "toy-en/a2-c0-t0"] and len(rows) == 7
    for name, row in rows.items():
        assert row["tracks/audio"] == sound_of(small, name) and len(row["tracks/boxes"]) == row["tracks/n_frames"]
        assert row["tracks/mouth"][0].size == (64, 48) and row["tracks/licence"].decode() == "as the folder's owner says"
    extract = importlib.import_module("mlcroissant._src.operation_graph.operations.extract")
    monkeypatch.setattr(extract, "EXTRACT_PATH", extract.epath.Path(tmp_path / "tars"))  # not its cache, which outlives the test
    tars = mlc.Dataset(jsonld=str(exported / "webdataset1" / "croissant.json"))
    about = {r["about/key"].decode(): json.loads(r["about/content"]) for r in tars.records("about")}
    assert {k: a["id"] for k, a in about.items()} == {key_of(name): name for name in rows}
    assert {r["audio/key"].decode(): r["audio/content"] for r in tars.records("audio")} == {
        key_of(name): sound_of(small, name) for name in rows}


def test_a_choice_of_splits_and_views_over_several_files(small, tmp_path):
    with inside(small) as params:
        found = export.export(params, "webdataset", tmp_path / "out", views=[], splits=["test"], file_bytes=1)
    names = sorted(p.name for p in (tmp_path / "out").glob("*.tar"))
    assert found["samples"] == {"test": 3} and names == [f"test-0000{k}.tar" for k in range(3)]
    members = [m.name for name in names for m in tarfile.open(tmp_path / "out" / name)]
    assert len(members) == 9 and not any("mouth" in m for m in members)


def test_an_export_is_whole_or_not_there(small, tmp_path, monkeypatch):
    from flows.export_sinks import TarSink

    out, add, n = tmp_path / "out", TarSink.add, []

    def failing(self, sample):
        n.append(sample)
        if len(n) == 3:
            raise OSError(28, "No space left on device")
        add(self, sample)

    with inside(small) as params:
        with monkeypatch.context() as patch:
            patch.setattr(TarSink, "add", failing)
            with pytest.raises(OSError):
                export.export(params, "webdataset", out)
        assert list(tmp_path.iterdir()) == []
        (tmp_path / ".out.part").mkdir()
        (tmp_path / ".out.part" / "rest").write_text("of an export that was killed")
        export.export(params, "webdataset", out)
        assert not (out / "rest").exists() and [p.name for p in tmp_path.iterdir()] == ["out"]
        with pytest.raises(UserError, match="exists already; an export is written whole"):
            export.export(params, "webdataset", out)


@pytest.mark.parametrize("options, said", [
    ({"kind": "zip"}, "--format zip: expected one of webdataset, datasets"),
    ({"views": ["mout"]}, "--view mout; did you mean 'mouth'"), ({"splits": ["tests"]}, "--split tests; did you mean 'test'"),
    ({"splits": ["generated"]}, "no track is in generated")])
def test_what_cannot_be_exported_is_said(small, tmp_path, options, said):
    with inside(small) as params, pytest.raises(UserError, match=said):
        export.export(params, **{"kind": "webdataset", "out": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_what_was_forgotten_is_not_exported(place, tmp_path):
    for entry in ("- speaker: bob", "- item: a1\n  corpus: toy"):
        (place / "forgotten.yaml").write_text(entry + "\n")
        with inside(place) as params, pytest.raises(UserError,
                                                    match="forgotten.yaml names (a1|b1) of toy-en, which is still in data/"):
            export.export(params, "datasets", tmp_path / "out")
    (place / "forgotten.yaml").write_text("- speaker: somebody else\n")
    with inside(place) as params:
        export.export(params, "datasets", tmp_path / "out")


def test_a_closed_licence_is_not_exported(place, tmp_path, monkeypatch):
    from dataclasses import replace

    import corpora.folder

    monkeypatch.setattr(corpora.folder, "CARD", replace(corpora.folder.CARD, commercial=False))
    with inside(place) as params, pytest.raises(UserError, match="not for commercial use: corpus toy"):
        export.export(params, "datasets", tmp_path / "out")


def test_keys_of_tar_files():
    assert key_of("c-en/a.b%c-t0") == "c-en/a%2Eb%25c-t0"


def test_sound_follows_the_track(small):
    clip = {"start_frame": 10, "n_frames": 40}
    samples = np.arange(40 * 640, dtype=np.int16)
    whole = media.encode_flac(samples)
    assert export._cut(whole, clip, {"start_frame": 10, "n_frames": 40}) is whole
    assert np.array_equal(media.decode_flac(export._cut(whole, clip, {"start_frame": 15, "n_frames": 20})),
                          samples[5 * 640 : 25 * 640])


def test_before_the_first_build(workspace):
    place = workspace()
    with contextlib.chdir(place), pytest.raises(FileNotFoundError, match="no splits here; run first: babelface build"):
        dataset.facts(load_params())
