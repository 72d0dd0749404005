"""Nights' names, records and verdicts, without Prefect: which night is the measure, what is published, what goes."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml

from flows import nights, remote
from flows.graph import Outcome
from flows.nights import FAILED, GOOD, REGRESSED, NightError
from tests.flows.night_repo import METRIC, ROOMS, ROOT, NightRepo


def test_a_night_is_named_by_its_date_where_the_schedule_counts():
    when = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    assert nights.name_of(when) == "nightly-2026-11-20"
    assert nights.name_of(when, "Europe/Berlin") == "nightly-2026-11-21"
    with pytest.raises(NightError, match="no time zone is called 'Berlin'"):
        nights.name_of(when, "Berlin")


def test_only_good_nights_before_tonight_are_measures():
    found = [nights.record(f"nightly-2026-11-0{d}", s) for d, s in ((1, GOOD), (2, REGRESSED), (3, FAILED), (4, GOOD))]
    assert nights.last_good(found, "nightly-2026-11-04")["name"] == "nightly-2026-11-01"
    assert nights.last_good(found, "nightly-2026-11-05")["name"] == "nightly-2026-11-04"
    assert nights.last_good(found, "nightly-2026-11-01") is None
    with pytest.raises(TypeError, match="a night has no mood"):
        nights.record("nightly-2026-11-01", GOOD, mood="fine")


def test_the_oldest_go_but_not_the_last_good_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day, status in ((1, GOOD), (2, GOOD), (3, FAILED), (4, FAILED), (5, REGRESSED)):
        nights.publish(nights.record(f"nightly-2026-11-0{day}", status), tmp_path / "out", keep=2)
    left = [n["name"][-2:] for n in nights.read_nights(tmp_path / "out")]
    assert left == ["02", "04", "05"]
    assert (tmp_path / "out/latest").resolve().name == "nightly-2026-11-05"
    again = nights.record("nightly-2026-11-05", GOOD, note="second run of the same date")
    nights.publish(again, tmp_path / "out", keep=5)
    assert nights.read_nights(tmp_path / "out")[-1] == again
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two states of one project, the first good, in the second Turkish worse, which is how it lies there. The first is saved by an
    account that git knows nothing of, as a service's often is."""
    from flows.graph import reproduce
    from flows.remote import save_experiment

    repo, commits = NightRepo(tmp_path_factory.mktemp("judged") / "project"), {}
    with pytest.MonkeyPatch.context() as account:
        account.setenv("HOME", str(tmp_path_factory.mktemp("nobody")))
        account.delenv("XDG_CONFIG_HOME", raising=False)
        for role in ("AUTHOR", "COMMITTER"):
            for part in ("NAME", "EMAIL"):
                account.delenv(f"GIT_{role}_{part}", raising=False)
        for day, wanted in (("01", {}), ("02", {"seed": 2, "tr": 0.2})):
            repo.set(**wanted)
            assert reproduce(["score-fake"], root=repo.path)["score-fake"].status == "ran"
            commits[day] = save_experiment(f"nightly-2026-11-{day}", repo.path)
            for key, value in (("user.name", "Somebody"), ("user.email", "some@body")):
                repo.call("git", "config", key, value)
    return repo, commits


def test_a_night_has_an_author_with_and_without_one_in_git(project):
    repo, commits = project
    authors = [repo.call("git", "log", "-1", "--format=%an <%ae> %cn", commits[day]).stdout.strip() for day in ("01", "02")]
    assert authors == ["babelface <babelface@localhost> babelface", "Somebody <some@body> Somebody"]


def good(day: str, commit: str | None) -> dict:
    return nights.record(f"nightly-2026-11-{day}", GOOD, commit=commit)


def test_worse_beyond_the_interval_is_a_regression_and_accepted_it_is_not(project):
    repo, commits = project
    before = [good("01", commits["01"])]
    compared, facts = nights.judge("nightly-2026-11-02", before, [METRIC], root=repo.path)
    assert facts["status"] == REGRESSED and facts["baseline"] == "nightly-2026-11-01"
    assert [c["language"] for c in facts["regressions"]] == ["tr", "*"] and compared.comparison.regressions
    _, facts = nights.judge("nightly-2026-11-02", before, [METRIC], accept=True, root=repo.path)
    assert facts["status"] == GOOD and "accepted" in facts["note"] and facts["regressions"]
    night = nights.record("nightly-2026-11-02", REGRESSED, **{k: v for k, v in facts.items() if k not in ("status", "note")},
                          **nights.figures(repo.path))
    assert nights.sentence(night) == (
        "nightly-2026-11-02: tr and all languages together got worse beyond noise against nightly-2026-11-01")
    said = nights.markdown(night, "http://x")
    assert "| **tr** | fake | Opening correlation |" in said and "| **all languages together** | fake | Opening" in said
    assert "offset" not in said and not night["too_few"], "this metric is no LSE, and nine speakers are enough for two languages"
    assert {(f["language"], f["n_speakers"]) for f in night["figures"]} == {("en", 9), ("tr", 9)} and night["headline"] == METRIC


def test_a_collapse_of_every_language_is_a_regression_and_a_good_night_says_who_has_too_few_speakers(monkeypatch):
    """Eight languages of seven speakers: no language by itself can pass the correction for eight."""
    from flows import compare as comparing
    from flows.revisions import Run
    from tests.metrics.test_comparison import run

    tags = tuple("en zh tr ko ru ar fi sw".split())
    shown = {"figures": [], "metrics": [], "systems": ["s"], "languages": list(tags), "headline": METRIC, "expert": {}}
    before, real = [good("01", "abc")], comparing.compare

    def judged(seed: int, loss: float) -> dict:
        def rows(seed: int, loss: float) -> list[dict]:
            made = run(dict.fromkeys(tags, loss), speakers=7, clips=1, seed=seed, languages=tags)
            return [r | {"lse_d": 20 - 10 * r[METRIC], "offset_frames": round(10 * loss)} for r in made]

        a, b = Run("night", "revision", "", rows(1, 0.0)), Run("tonight", "workspace", "", rows(seed, loss))
        monkeypatch.setattr("flows.revisions.open_run", lambda *_: b)
        monkeypatch.setattr(comparing, "compare", lambda _, now, **options: real(a, now, **options))
        facts = nights.judge("nightly-2026-11-02", before, [METRIC, "lse_d"], shown=shown)[1]
        return nights.record("nightly-2026-11-02", **facts)

    night = judged(2, 0.5)
    assert night["status"] == REGRESSED and {c["language"] for c in night["regressions"]} == {"*"}
    assert nights.sentence(night).endswith("-02: all languages together got worse beyond noise against nightly-2026-11-01")
    said = nights.markdown(night, "http://x")
    assert "| **all languages together** | s | lse_d |" in said and "< 0.001 | 56 | 56 |" in said
    assert "| mean \\|offset\\|, within 1 frame |" in said and "| 0.00, 100\u202f% \u2192 5.00, 0\u202f% |" in said
    quiet = judged(3, 0.0)
    few = ("Too few speakers to claim a change of one language, however large: ar, en, fi, ko, ru, sw, tr and zh (7 speakers, it "
           "takes 9); only all languages together can show one.")
    assert (quiet["status"], quiet["too_few"]) == (GOOD, few) and few in nights.markdown(quiet, "http://x")
    assert nights.sentence(quiet) == (
        "nightly-2026-11-02 is good against nightly-2026-11-01; some languages have too few speakers to tell")


def test_the_same_results_are_no_regression_and_the_first_night_is_good(project):
    repo, commits = project
    assert nights.judge("nightly-2026-11-03", [good("02", commits["02"])], [METRIC], root=repo.path)[1]["status"] == GOOD
    compared, facts = nights.judge("nightly-2026-11-01", [], [METRIC], root=repo.path)
    assert compared is None and facts["status"] == GOOD and "first good night" in facts["note"]


@pytest.mark.parametrize(("name", "said"), [
    ("lip_gap", "no metric is called 'lip_gap'"), ("opening_corelation", "; did you mean 'opening_correlation'[?]"),
    ("fid", "fid cannot fail a night: it is one figure of many clips, without an interval.*metrics that can: lse_c, lse_d, "),
    ("lip_diversity", "cannot fail a night: it is one figure of many clips"),
    ("offset_frames", "offset_frames cannot fail a night: neither more nor less of it is better")])
def test_only_metrics_that_can_get_worse_beyond_noise_may_count(name, said):
    with pytest.raises(NightError, match=said):
        nights.check_metrics(["lse_c", name])


@pytest.mark.parametrize("command", ["nightly", "serve"])
def test_a_metric_is_asked_about_before_anything_runs(command, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from flows.cli_nights import app

    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, [command, "--metric", "lse_c", "--metric", "lip_gap"])
    assert isinstance(ran.exception, NightError) and "no metric is called 'lip_gap'" in str(ran.exception)
    assert not list(tmp_path.iterdir())


def test_the_metrics_that_the_help_names_can_count():
    from typer.testing import CliRunner

    from flows.cli_nights import app

    named = re.findall(r"--metric ([a-z_]+)", CliRunner().invoke(app, ["nightly", "--help"]).output.split("Examples")[1])
    assert len(named) == 2 and nights.check_metrics(named) == named


def test_what_counts_is_what_the_last_good_report_showed_first():
    lse, opening = ({"headline": name} for name in ("lse_c", METRIC))
    assert nights.counted([], lse, opening) == ["lse_c"], "tonight's first is another where the expert judges no more"
    assert nights.counted([METRIC], lse, lse) == [METRIC]
    assert nights.counted([], None, opening) == nights.counted([], {"headline": ""}, opening) == [METRIC]
    assert nights.counted([], {"headline": "of_old"}, {}) == []


def rewrite(repo: NightRepo, change) -> None:
    """Puts other score rows where tonight's lie."""
    from core.shards import read_shard, write_table

    path = repo.path / "data/score/fake/scores/shard-000.parquet"
    write_table(path, [new for row in read_shard(path).to_pylist() if (new := change(row)) is not None], "scores")


@pytest.fixture
def tonight(project):
    """The project as it is, put back afterwards."""
    repo, _ = project
    kept = repo.path.with_name("kept")
    shutil.copytree(repo.path / "data", kept)
    yield repo
    shutil.rmtree(repo.path / "data")
    kept.rename(repo.path / "data")


def test_a_language_whose_scores_vanish_fails_the_night_and_is_named(project, tonight):
    before = [good("02", project[1]["02"]) | nights.figures(tonight.path)]
    rewrite(tonight, lambda row: row if row["language"] != "tr" else None)
    shown = nights.figures(tonight.path)
    shown["figures"] = [f for f in shown["figures"] if f["language"] != "tr"]
    compared, facts = nights.judge("nightly-2026-11-03", before, [], shown=shown, root=tonight.path)
    assert (facts["status"], facts["note"]) == (FAILED, "missing tonight: language tr") and not facts["regressions"]
    assert facts["counted"] == [METRIC] and compared is not None
    night = nights.record("nightly-2026-11-03", comparison=True, **shown, **facts)
    assert nights.sentence(night) == "nightly-2026-11-03 failed: missing tonight: language tr"
    said = nights.markdown(night, "http://x")
    assert "## Missing\n\n- **language tr**: fake had figures in it, and nothing has now\n" in said
    assert "What counts: Opening correlation." in said and "does not count as good" in said and "--accept" in said
    assert nights.last_good([*before, night], "nightly-2026-11-04")["name"] == "nightly-2026-11-02"
    _, facts = nights.judge("nightly-2026-11-03", before, [], shown=shown, accept=True, root=tonight.path)
    assert (facts["status"], facts["note"]) == (GOOD, "accepted as the night to compare with; missing tonight: language tr")


def test_clips_that_are_all_others_fail_the_night_and_so_does_a_system_of_another_name(project, tonight):
    before = [good("02", project[1]["02"])]
    rewrite(tonight, lambda row: row if row["language"] != "tr" else row | {"track_id": row["track_id"] + "x"})
    _, facts = nights.judge("nightly-2026-11-03", before, [METRIC], root=tonight.path)
    assert (facts["status"], facts["note"]) == (FAILED, "missing tonight: fake in tr")
    assert "0 of 18 clips could be compared; 18 were not scored now" in facts["missing"][0]["why"]
    rewrite(tonight, lambda row: row | {"system": "other"})
    _, facts = nights.judge("nightly-2026-11-03", before, [METRIC], root=tonight.path)
    assert (facts["status"], facts["note"]) == (FAILED, "missing tonight: fake in en, fake in tr")


def test_worse_and_missing_are_both_said(project, tonight):
    rewrite(tonight, lambda row: row | {"opening_correlation": None} if row["language"] == "en" else row)
    _, facts = nights.judge("nightly-2026-11-03", [good("01", project[1]["01"])], [METRIC], root=tonight.path)
    assert facts["status"] == REGRESSED and [c["language"] for c in facts["regressions"]] == ["tr"]
    assert nights.sentence(nights.record("nightly-2026-11-03", **facts)) == (
        "nightly-2026-11-03: tr got worse beyond noise against nightly-2026-11-01; missing tonight: fake in en")


def test_a_new_start_is_for_other_protocols_only(project):
    """A metric that there is none of must not look like one: the night fails."""
    from flows.compare import CompareError

    repo, commits = project
    with pytest.raises(CompareError, match="lip_gap"):
        nights.judge("nightly-2026-11-03", [good("02", commits["02"])], ["lip_gap"], root=repo.path)


def test_a_good_night_that_cannot_be_read_is_said(project):
    repo, _ = project
    gone = [good("01", "0" * 40)]
    with pytest.raises(NightError, match="(?s)nightly-2026-11-01, the last good night, cannot be read.*--accept"):
        nights.judge("nightly-2026-11-02", gone, [METRIC], root=repo.path)
    assert nights.judge("nightly-2026-11-02", gone, [METRIC], accept=True, root=repo.path)[1]["status"] == GOOD


def test_another_protocol_is_a_new_start(project, tonight):
    repo, commits = project
    rewrite(tonight, lambda row: row | {"protocol": "another"})
    compared, facts = nights.judge("nightly-2026-11-03", [good("02", commits["02"])], [METRIC], root=repo.path)
    assert compared is None and facts["status"] == GOOD and facts["note"].startswith("not compared, and a new start: ")
    assert "p in A, another in B" in facts["note"]
    # also under another protocol a language must not get lost
    before = good("02", commits["02"]) | {"figures": [{"system": "fake", "language": t} for t in ("de", "en", "tr")]}
    _, facts = nights.judge("nightly-2026-11-03", [before], [METRIC], root=repo.path)
    assert facts["status"] == FAILED and facts["note"].startswith("missing tonight: language de\nnot compared, and a new start: ")


def test_a_night_pulls_code_and_results_and_pushes_its_own(project, tmp_path, monkeypatch):
    """An upstream that moved, and a remote with the results of its new commit: another folder has both after its night, and had
    nothing to run. Tasks are called as plain functions; saving and collecting are tested elsewhere."""
    home, store = project[0], tmp_path / "store"
    place = NightRepo.__new__(NightRepo)
    place.path = tmp_path / "place"
    settings = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {store}\n"

    # the upstream has the first commit, and the other folder is a clone of it
    home.call("git", "init", "-q", "--bare", str(tmp_path / "up.git"))
    branch = home.call("git", "branch", "--show-current").stdout.strip()
    home.call("git", "push", "-q", str(tmp_path / "up.git"), branch)
    home.call("git", "clone", "-q", "--branch", branch, str(tmp_path / "up.git"), str(place.path))
    for room in ROOMS:
        (place.path / room).symlink_to(ROOT / room)
    assert not remote.git_pull(place.path), "nothing is new yet"

    # a commit upstream, and its results in the remote
    for repo in (home, place):
        (repo.path / ".dvc/config.local").write_text(settings)
    home.call("git", "add", "-f", "params.yaml", "dvc.lock")
    home.call("git", "commit", "-qm", "worse")
    home.call("git", "push", "-q", str(tmp_path / "up.git"), branch)
    lock = yaml.safe_load((home.path / "dvc.lock").read_text())
    for out in lock["stages"]["score-fake"]["outs"]:  # a folder is a list of its files
        listing = f"files/md5/{out['md5'][:2]}/{out['md5'][2:]}"
        for name in (listing, *(f"files/md5/{f['md5'][:2]}/{f['md5'][2:]}"
                                for f in json.loads((home.path / ".dvc/cache" / listing).read_text()))):
            (store / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(home.path / ".dvc/cache" / name, store / name)
    kept = {p.relative_to(store): p.read_bytes() for p in (store / "files").rglob("*") if p.is_file()}

    monkeypatch.chdir(place.path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    from flows import nightly

    fetched, collected, bring = [], [], nightly.pull.fn

    def pull(git: bool) -> None:
        bring(git)
        fetched.append((place.path / "results/report/index.html").read_text())
        shutil.rmtree(store / "files")  # what --push has to bring back

    monkeypatch.setattr(nightly, "pull", SimpleNamespace(with_options=lambda **_: pull))
    monkeypatch.setattr(nightly, "save", nightly.save.fn)
    monkeypatch.setattr(nightly.remote, "save_experiment", lambda name: f"saved as {name}")
    monkeypatch.setattr(nightly.node, "collect", lambda say: collected.append(say))
    wishes = nightly._Wishes([METRIC], git_pull=True, push=True, accept=False, attempts=1, retry_delay_s=0.0, jobs=1)
    night, _ = nightly._night("nightly-2026-11-09", wishes, tmp_path / "published")
    assert (night["status"], night["ran"], place.starts) == (GOOD, 0, 0)
    assert night["code"] == remote.head(place.path) == remote.head(home.path)
    assert fetched == [(home.path / "results/report/index.html").read_text()]
    assert len(collected) == 1 and night["commit"] == "saved as nightly-2026-11-09"
    assert {p.relative_to(store): p.read_bytes() for p in (store / "files").rglob("*") if p.is_file()} == kept
    assert (store / f"babelface/locks/{night['code']}.lock").read_text() == (place.path / "dvc.lock").read_text()

    # a branch that went another way is not merged
    for repo in (home, place):
        repo.call("git", "commit", "-q", "--allow-empty", "-m", f"of {repo.path.name}")
    home.call("git", "push", "-q", str(tmp_path / "up.git"), branch)
    with pytest.raises(remote.RemoteError, match="`git pull --ff-only --quiet` ended with status"):
        remote.git_pull(place.path)


def test_what_failed_is_told_with_its_last_lines():
    outcomes = [Outcome("score-a", "failed", why="exit status 1", tail=["one", "two"], log="x.txt"), Outcome("report", "skipped")]
    night = nights.record("nightly-2026-11-02", FAILED, failures=nights.failures(outcomes))
    said = nights.markdown(night, "http://x")
    assert "## score-a failed" in said and "two" in said and "1 instances that need them were skipped" in said
    assert nights.sentence(night) == "nightly-2026-11-02 failed: score-a"
