"""Two commits of a real git and DVC repository against each other, and everything else that can be compared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from core.params import load_params
from core.shards import read_rows, shard_path, write_table
from flows import changes
from flows.cli import main
from flows.compare import CompareError, check, compare, parse_pairs, show, write_page
from flows.graph import child_environment
from flows.revisions import RevisionError, open_run
from stages import aggregate
from tests.report.fabricate import LANGUAGES, fabricate

GRAPH = """stages:
  download:
    foreach: [{languages}]
    do:
      cmd: 'true'
      outs:
      - data/download/synthetic-${{item}}: {{persist: true}}
      - data/segment/synthetic-${{item}}: {{persist: true}}
      - data/track/synthetic-${{item}}: {{persist: true}}
  score:
    cmd: 'true'
    deps: [scorer.py]
    params: [score]
    outs:
    - data/score: {{persist: true}}
    - data/sets: {{persist: true}}
    - data/generate: {{persist: true}}
    - data/train: {{persist: true}}
    metrics:
    - results/summary.json: {{persist: true}}
"""


def call(folder: Path, *words: str) -> str:
    who = {f"GIT_{role}_{part}": "a@b" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    env = {**child_environment(), **who}
    command = [sys.executable, "-m", "dvc", *words[1:]] if words[0] == "dvc" else list(words)
    ran = subprocess.run(command, cwd=folder, env=env, text=True, capture_output=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def degrade(folder: Path, system: str, language: str, by: float) -> None:
    rows = read_rows(folder / "data/score" / system, "scores")
    for k, r in enumerate(rows):
        if r["language"] == language and r["condition"] == "self":
            r["opening_correlation"] -= by + 0.01 * (k % 3)
    write_table(shard_path(folder / "data/score" / system, "scores", 0), rows, "scores")


def summarise(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        aggregate.main("all", load_params())


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commits `good` and `bad` (Turkish got worse in one system, a knob and a file changed), an experiment `night` that is `bad`
    in Chinese too, and a commit `bare` without dvc.lock."""
    folder = fabricate(tmp_path_factory.mktemp("repo"), speakers=9, clips=1)
    call(folder, "git", "init", "-q")
    call(folder, "dvc", "init", "-q")
    (folder / ".gitignore").write_text("/data/\n/results/\n/.babelface/\n")
    (folder / "dvc.yaml").write_text(GRAPH.format(languages=", ".join(LANGUAGES)))
    (folder / "scorer.py").write_text("one\n")
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "no results yet")
    call(folder, "git", "tag", "bare")

    def commit(name: str) -> None:
        summarise(folder)
        call(folder, "dvc", "commit", "-q", "-f")
        call(folder, "git", "add", "-A")
        call(folder, "git", "commit", "-qm", f"results: {name}")
        call(folder, "git", "tag", name)

    commit("good")
    degrade(folder, "fake-en", "tr", 0.2)
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    raw["score"]["min_windows"] = 18
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    (folder / "scorer.py").write_text("two\n")
    (folder / "data/download/synthetic-ko/media/extra.txt").write_text("a new recording")
    commit("bad")
    degrade(folder, "fake-en", "zh", 0.3)
    summarise(folder)
    call(folder, "dvc", "commit", "-q", "-f")
    call(folder, "dvc", "exp", "save", "-n", "night")
    return folder


@pytest.fixture(scope="module")
def found(repo):
    return compare("good", "bad", root=repo)


def test_a_regression_between_two_commits_is_found(found):
    assert {(c.system, c.language, c.metric) for c in found.comparison.regressions} == {
        ("fake-en", tag, "opening_correlation") for tag in ("tr", "*")}
    assert found.document["a"]["detail"].endswith("results: good") and found.document["headline"] == "opening_correlation"
    assert found.document["findings"][0]["text"].startswith("Worse: fake-en in tr: opening r ")
    assert {c["language"] for c in found.document["worst"]} == {"tr"} and len(found.document["worst"]) == 9


def test_it_agrees_with_dvc_metrics_diff(repo, found):
    """Every mean that both show, before, after and the difference; and dvc lists no change that we do not."""
    said = json.loads(call(repo, "dvc", "metrics", "diff", "good", "bad", "--all", "--json"))["results/summary.json"]
    checked = 0
    for c in found.document["changes"]:
        name = f"{c['system']}.{c['language']}.{c['metric']}"
        for ours, theirs in (("mean", "mean"), ("gap", "gap")):
            entry = said.get(f"{name}.{theirs}")
            if entry is None or c["language"] == "*":
                continue
            assert (c[f"{ours}_a"], c[f"{ours}_b"]) == pytest.approx((entry["old"], entry["new"]), rel=1e-5)
            checked += 1
            if ours == "mean" and entry["diff"] and c["change"]["n_clips"] == c["n_a"] == c["n_b"]:
                assert c["change"]["mean"] == pytest.approx(entry["diff"], rel=1e-3)
        count = said.get(f"{name}.n")
        if count is not None and c["language"] != "*":
            assert (c["n_a"], c["n_b"]) == (count["old"], count["new"])
    moved = {k.rpartition(".")[0] for k, v in said.items() if v.get("diff") and k.endswith(".mean") and "shuffled" not in k}
    ours = {f"{c['system']}.{c['language']}.{c['metric']}" for c in found.document["changes"] if (c["change"] or {}).get("mean")}
    assert moved == {"fake-en.tr.opening_correlation"} == {name for name in ours if "*" not in name} and checked > 100


def test_what_differs_is_named(found):
    causes = found.document["causes"]
    assert causes["params"] == [{"key": "score.min_windows", "a": 20, "b": 18}]
    assert causes["code"] == [{"file": "scorer.py", "change": "changed", "stages": ["score"]}]
    (data,) = causes["data"]
    assert data["path"] == "data/download/synthetic-ko" and data["b"]["bytes"] > data["a"]["bytes"] and data["b"]["files"] == 7
    assert causes["weights"] == [] and causes["unknown"] == {}


def test_an_experiment_and_the_workspace_are_runs_too(repo):
    night = compare("bad", "night", root=repo)
    assert {(c.system, c.language) for c in night.comparison.regressions} == {("fake-en", "zh"), ("fake-en", "*")}
    here = compare("night", str(repo), root=repo)
    assert here.b.kind == "workspace" and {c.verdict for c in here.comparison.changes if c.change} == {"same"}
    assert here.document["findings"][0]["text"] == "Every score of every clip is the same in both."
    assert here.document["causes"]["code"] == here.document["causes"]["data"] == here.document["causes"]["params"] == []


def test_the_same_commits_give_the_same_document(repo, found):
    shutil.rmtree(repo / ".babelface", ignore_errors=True)
    assert compare("good", "bad", root=repo).document == found.document


def test_figures_of_sets_are_compared_too(repo, found, tmp_path, capsys):
    sets = found.document["sets"]
    known = [r for r in sets["rows"] if r["a"]["value"] is not None]
    assert known and {r["difference"] for r in known} == {0.0} and not sets["missing"]
    assert {r["metric"] for r in sets["rows"]} == {"fid", "fvd", "lip_diversity", "retrieval_recall"}
    place = tmp_path / "other"
    shutil.copytree(repo / "data", place / "data", ignore=shutil.ignore_patterns("media"), symlinks=True)
    shutil.copy(repo / "params.yaml", place)
    rows = read_rows(place / "data/sets/fake-en", "sets")
    for r in rows:
        if r["metric"] == "retrieval_recall" and r["k"] == 1 and r["condition"] == "self" and r["language"] in ("tr", "zh"):
            r |= {"value": r["value"] / 2} | ({"n": r["n"] - 1} if r["language"] == "zh" else {})
    write_table(shard_path(place / "data/sets/fake-en", "sets", 0), rows, "sets")
    other = compare(str(repo), str(place), root=repo)
    moved = {(r["language"], r["direction"]): r for r in other.document["sets"]["rows"] if r["difference"] != 0
             and r["a"]["value"]}
    assert {tag for tag, _ in moved} == {"tr", "zh"} and len(moved) == 4
    assert moved["tr", "audio_to_video"]["difference"] < 0 and moved["zh", "audio_to_video"]["not_comparable"] == ["other_n"]
    show(other.document)
    out = capsys.readouterr().out
    assert "Figures of sets, B minus A" in out and "no interval and no verdict; 4 of" in out and "n differs" in out
    only = compare(str(repo), str(place), root=repo, metrics=["retrieval_recall"])
    assert not only.document["changes"] and len(only.document["sets"]["rows"]) < len(other.document["sets"]["rows"])
    assert "R@1" in write_page(only, tmp_path / "page").read_text()
    show(only.document)
    assert compare("good", "bad", root=repo, metrics=["ssim"]).document["sets"] is None
    shutil.rmtree(place / "data/sets")
    assert {r["b"]["reason"] for r in compare(str(repo), str(place), root=repo).document["sets"]["rows"]} == {"not_in_this_run"}


@pytest.mark.parametrize("word, match", [("bare", "has no dvc.lock.*dvc exp save"), ("nonsense", "neither a file of scores"),
                                         ("scorer.json", "neither a file")])
def test_what_cannot_be_read_says_why(repo, word, match):
    with pytest.raises(RevisionError, match=match):
        open_run(word, repo)


def test_without_a_repository_a_revision_cannot_be_found(tmp_path):
    with pytest.raises(RevisionError, match="no DVC repository here"):
        open_run("HEAD", tmp_path)


def test_results_that_are_nowhere_are_named(repo, tmp_path):
    clone = tmp_path / "clone"
    call(repo, "git", "clone", "-q", str(repo), str(clone))
    with pytest.raises(RevisionError, match="neither in the DVC cache nor in a remote.*dvc push"):
        open_run("bad", clone)


def test_the_page_shows_a_and_b_and_the_real_video(repo, found, tmp_path):
    index = write_page(found, tmp_path / "diff")
    text = index.read_text()
    assert text.count("<video") == 3 * 9 and "B: bad" in text and "Worse: fake-en in tr" in text
    assert len(list((tmp_path / "diff/media").glob("*.mp4"))) == 27
    assert json.loads((tmp_path / "diff/comparison.json").read_text())["n_regressions"] == 2
    first = {p.name: p.read_bytes() for p in sorted((tmp_path / "diff").rglob("*")) if p.is_file()}
    write_page(found, tmp_path / "diff")
    assert first == {p.name: p.read_bytes() for p in sorted((tmp_path / "diff").rglob("*")) if p.is_file()}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("precious")
    with pytest.raises(CompareError, match="holds something that is not a comparison"):
        write_page(found, tmp_path / "mine")


def rows_of(system: str = "s", **more) -> list[dict]:
    rng = np.random.default_rng(2)
    return [{"generated_id": f"{k}", "language": "en", "speaker": f"s{k % 8}", "system": system, "lse_d": 8 + rng.normal() / 9,
             "protocol": "p", "expert": "e", "expert_sha256": "0", "finder": None, **more} for k in range(16)]


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_files_of_scores(tmp_path, suffix):
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for name, by in (("old", 0.0), ("new", 0.5)):
        rows = [r | {"lse_d": r["lse_d"] + by + 0.001 * k * by} for k, r in enumerate(rows_of(name))]
        paths.append(tmp_path / f"{name}.{suffix}")
        if suffix == "json":
            paths[-1].write_text(json.dumps(rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), paths[-1])
    found = compare(*map(str, paths))
    assert [(c.system, c.metric, c.change.n_speakers) for c in found.comparison.regressions] == [("new", "lse_d", 8)]
    assert set(found.document["causes"]["unknown"]) == set(changes.CAUSES)
    assert "No videos of this clip are at hand." in write_page(found, tmp_path / "page").read_text()


def test_videos_of_files_of_scores_are_found_beside_them(tmp_path):
    from core.media import read_frames, write_video

    shown = {name: np.full((64, 64, 3), level, np.uint8) for name, level in (("real", 40), ("old", 120), ("new", 200))}
    for name, picture in shown.items():
        (tmp_path / "films").mkdir(exist_ok=True)
        write_video(tmp_path / "films" / f"{name}.mp4", [picture] * 30, audio=np.zeros(30 * 640, np.int16))
    for name, by in (("old", 0.0), ("new", 0.5)):
        made = [r | {"track_id": f"t{k}", "lse_d": r["lse_d"] + by * (1 + 0.001 * k), "path": f"../films/{name}.mp4",
                     "n_frames": 20}
                for k, r in enumerate(rows_of(name))]
        real = [r | {"generated_id": f"real/{r['track_id']}", "system": "real", "lse_d": 5.0, "path": "../films/real.mp4"}
                for r in made]
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(json.dumps([*made, *real]))
    found = compare(str(tmp_path / "old" / "scores.json"), str(tmp_path / "new" / "scores.json"), n_worst=1)
    page = write_page(found, tmp_path / "page")
    assert "No videos of this clip are at hand." not in page.read_text()
    levels = {}
    for path in (tmp_path / "page" / "media").glob("*.mp4"):
        frames = list(read_frames(path))
        levels[path.name.partition("-")[0]] = float(np.mean(frames))
        assert len(frames) == 20
    assert levels == pytest.approx({"real": 40, "a": 120, "b": 200}, abs=3)


@pytest.mark.parametrize("text, match", [("{", "not JSON"), *((t, "expected a list") for t in ("[]", '{"rows": 3}', "[1]"))])
def test_damaged_files_are_refused(tmp_path, text, match):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(RevisionError, match=match):
        open_run(str(path))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`babelface compare WORDS` in an empty folder: (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call_it(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["babelface", "compare", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return call_it


def test_the_command_prints_checks_and_refuses(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    Path("a.json").write_text(json.dumps(rows_of()))
    Path("b.json").write_text(json.dumps([r | {"lse_d": r["lse_d"] + 1 + 0.01 * k} for k, r in enumerate(rows_of())]))
    Path("c.json").write_text(json.dumps(rows_of(expert_sha256="1")))
    code, out, _ = run("a.json", "b.json")
    assert code == 0 and "Worse: s in en: LSE-D*" in out and "B minus A" in out
    assert run("a.json", "b.json", "--check")[0] == 1 and run("b.json", "a.json", "--check")[0] == 0
    code, out, _ = run("a.json", "b.json", "--json")
    assert code == 0 and json.loads(out)["n_regressions"] == 1
    code, out, _ = run("a.json", "b.json", "--html", "page")
    assert code == 0 and Path("page/index.html").is_file() and "page: page/index.html" in out
    code, _, err = run("a.json", "c.json")
    assert code == 2 and "expert_sha256: 0 in A, 1 in B" in err
    code, _, err = run("a.json", "b.json", "--metric", "ssmi")
    assert code == 2 and "no metric is called 'ssmi'" in err
    code, _, err = run("a.json", "b.json", "--system", "s")
    assert code == 2 and "expected OLD=NEW" in err


def test_a_check_fails_where_nothing_is_left_to_judge(run):
    full = [r | {"ssim": 0.5, "offset_frames": 0} for r in rows_of()]
    why = {"lse_d": None, "offset_frames": None, "null_reasons": [{"metric": "lse_d", "reason": "no_face"}]}
    none = [r | why for r in full]
    turkish = [r | {"generated_id": f"tr{k}", "language": "tr"} for k, r in enumerate(full)]
    more = [{**r, "generated_id": f"o{k}", "system": "o"} for k, r in enumerate(full)]
    for name, rows in (("a", full), ("none", none), ("two", [*full, *turkish]), ("systems", [*full, *more])):
        Path(f"{name}.json").write_text(json.dumps(rows))
    code, out, err = run("a.json", "none.json", "--metric", "lse_d", "--check", "--json")
    assert code == 1 and json.loads(out)["n_regressions"] == 0
    assert "missing in B: s in en: LSE-D*: 0 of 16 clips could be compared; 16 have no score now (no face)" in err
    assert run("a.json", "none.json")[0] == 0, "without --check nothing fails"
    for extra in (["--check"], []):
        code, _, err = run("none.json", "none.json", "--metric", "lse_d", *extra)
        assert code == 2 and err.count("has 0 rows of 16 with a score of lse_d (no face)") == 2

    def checked(a: str, b: str, *metrics: str, **options) -> list[str]:
        return check(compare(f"{a}.json", f"{b}.json", metrics=metrics or None, **options), metrics)

    assert checked("a", "a", "lse_d") == checked("a", "a") == []
    for metrics in (("lse_d",), ()):
        assert any(s.startswith("missing in B: s in tr: ") for s in checked("two", "a", *metrics))
        assert any(s.startswith("missing in B: o in en: ") for s in checked("systems", "a", *metrics))
    assert checked("a", "a", "ssim", "wer")[0].startswith("missing in B: metric wer: it was asked for by name")
    for words, options, match in ((("a", "a"), {"conditions": ["cross-audio"]}, "none of them is of the sound asked for"),
                                  (("none", "a", "lse_d"), {}, "A. has 0 rows of 16 .*B. has 16 rows of 16"),
                                  (("a", "a", "fid"), {}, "fid alone cannot be checked")):
        with pytest.raises(CompareError, match=match):
            checked(*words, **options)


def test_an_expert_that_cannot_judge_in_b_fails_the_check(tmp_path):
    from tests.metrics.test_robustness import row

    for name, shuffled in (("a", 1.0), ("b", 9.0)):
        rows = [row(s, c, track=str(i), speaker=str(i), lse_c=v + 0.1 * i) for i in range(8)
                for s, c, v in (("s", "self", 3.0), ("real", "self", 5.0), ("real", "shuffled", shuffled))]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    a, b = (str(tmp_path / f"{name}.json") for name in "ab")
    assert check(compare(a, a)) == [] and any("the sync expert in tr" in s for s in check(compare(a, b)))
    with pytest.raises(CompareError, match="the sync expert cannot judge tr"):
        check(compare(b, b))


def test_rows_that_nothing_names_are_refused_with_the_file(run):
    Path("bad.json").write_text('[{"lse_d": 1.0}]')
    code, _, err = run("bad.json", "bad.json")
    assert code == 2 and "bad.json: row 1 has none of generated_id, track_id, clip_id" in err


def test_the_table_has_the_offsets_beside_an_lse(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "220")
    for name, (by, lag) in (("a", (0, 0)), ("b", (1, 4))):
        rows = [r | {"lse_d": r["lse_d"] + by + 0.01 * k, "ssim": 0.5, "offset_frames": lag} for k, r in enumerate(rows_of())]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    a, b = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    show(compare(a, b, metrics=["lse_d"]).document)
    out = capsys.readouterr().out
    assert "|offset|, within 1" in out and "0.00, 100\u202f% \u2192 4.00, 0\u202f%" in out.split("B minus A")[1]
    show(compare(a, b, metrics=["ssim"]).document)
    assert "|offset|" not in capsys.readouterr().out


def test_pairs_of_names():
    assert parse_pairs([]) is None and parse_pairs(["a=b"]) == {"a": "b"}


def test_params_and_locks_are_told_apart():
    assert changes.params({"a": {"b": 1, "c": None}}, {"a": {"b": 1}, "d": [1]}) == [
        {"key": "a.c", "a": None, "b": None}, {"key": "d", "a": None, "b": [1]}]
    stage = {"download@x": {"deps": [{"path": "core/a.py", "md5": "1"}], "outs": [{"path": "data/download/x", "md5": "2"}]},
             "score-y": {"deps": [{"path": "core/a.py", "md5": "1"}, {"path": "data/download/x", "md5": "2"}]}}
    other = {**stage, "score-y": {"deps": [{"path": "core/b.py", "md5": "1"}, {"path": "data/download/x", "md5": "9"}]}}
    assert changes.code(stage, other) == [{"file": "core/b.py", "change": "new", "stages": ["score-y"]}]
    before = {"digest": "2", "bytes": None, "files": None}
    assert changes.data(stage, {}) == [{"path": "data/download/x", "change": "gone", "a": before, "b": None}]
    assert changes.sealed_code({"score/y": {"code": "1"}}, {"score/y": {"code": "2"}})[0]["stages"] == ["score/y"]
    assert changes.weights({"m": "1", "n": "2"}, {"m": "1", "n": "3"}) == [{"name": "n", "a": "2", "b": "3"}]


def test_the_terminal_shows_what_matters(found, capsys):
    show(found.document)
    out = capsys.readouterr().out
    assert "A: good" in out and "Worse: fake-en in tr" in out and "--all shows all" in out
    show(found.document, everything=True)
    assert capsys.readouterr().out.count("\n") > out.count("\n")
