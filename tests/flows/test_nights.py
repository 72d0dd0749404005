"""Nights' names, records and verdicts, without Prefect: which night is the measure, what is published, what goes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flows import nights
from flows.graph import Outcome
from flows.nights import FAILED, GOOD, REGRESSED, NightError
from tests.flows.night_repo import METRIC, NightRepo


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
    """Three states of one project: good, Turkish worse, and another protocol."""
    import os

    from flows.graph import reproduce
    from flows.remote import save_experiment

    repo, commits = NightRepo(tmp_path_factory.mktemp("judged") / "project"), {}
    for role in ("AUTHOR", "COMMITTER"):
        for part in ("NAME", "EMAIL"):
            os.environ.setdefault(f"GIT_{role}_{part}", "a@b")
    for day, wanted in (("01", {}), ("02", {"seed": 2, "tr": 0.2})):
        repo.set(**wanted)
        assert reproduce(["score-fake"], root=repo.path)["score-fake"].status == "ran"
        commits[day] = save_experiment(f"nightly-2026-11-{day}", repo.path)
    return repo, commits


def good(day: str, commit: str | None) -> dict:
    return nights.record(f"nightly-2026-11-{day}", GOOD, commit=commit)


def test_worse_beyond_the_interval_is_a_regression_and_accepted_it_is_not(project):
    repo, commits = project
    before = [good("01", commits["01"])]
    compared, facts = nights.judge("nightly-2026-11-02", before, [METRIC], root=repo.path)
    assert facts["status"] == REGRESSED and facts["baseline"] == "nightly-2026-11-01"
    assert [c["language"] for c in facts["regressions"]] == ["tr"] and compared.comparison.regressions
    _, facts = nights.judge("nightly-2026-11-02", before, [METRIC], accept=True, root=repo.path)
    assert facts["status"] == GOOD and "accepted" in facts["note"] and facts["regressions"]
    night = nights.record("nightly-2026-11-02", REGRESSED, **{k: v for k, v in facts.items() if k not in ("status", "note")},
                          **nights.figures(repo.path))
    assert nights.sentence(night) == "nightly-2026-11-02: tr got worse beyond noise against nightly-2026-11-01"
    assert "| **tr** | fake | Opening correlation |" in nights.markdown(night, "http://x")
    assert {(f["language"], f["n_speakers"]) for f in night["figures"]} == {("en", 9), ("tr", 9)} and night["headline"] == METRIC


def test_the_same_results_are_no_regression_and_the_first_night_is_good(project):
    repo, commits = project
    assert nights.judge("nightly-2026-11-03", [good("02", commits["02"])], [METRIC], root=repo.path)[1]["status"] == GOOD
    compared, facts = nights.judge("nightly-2026-11-01", [], [METRIC], root=repo.path)
    assert compared is None and facts["status"] == GOOD and "first good night" in facts["note"]


def test_a_good_night_that_cannot_be_read_is_said(project):
    repo, _ = project
    gone = [good("01", "0" * 40)]
    with pytest.raises(NightError, match="(?s)nightly-2026-11-01, the last good night, cannot be read.*--accept"):
        nights.judge("nightly-2026-11-02", gone, [METRIC], root=repo.path)
    assert nights.judge("nightly-2026-11-02", gone, [METRIC], accept=True, root=repo.path)[1]["status"] == GOOD


def test_another_protocol_is_a_new_start(project):
    from flows.graph import reproduce

    repo, commits = project
    repo.set(seed=2, protocol="another")
    reproduce(["score-fake"], root=repo.path)
    compared, facts = nights.judge("nightly-2026-11-03", [good("02", commits["02"])], [METRIC], root=repo.path)
    assert compared is None and facts["status"] == GOOD and facts["note"].startswith("not compared, and a new start: ")
    assert "p in A, another in B" in facts["note"]


def test_what_failed_is_told_with_its_last_lines():
    outcomes = [Outcome("score-a", "failed", why="exit status 1", tail=["one", "two"], log="x.txt"), Outcome("report", "skipped")]
    night = nights.record("nightly-2026-11-02", FAILED, failures=nights.failures(outcomes))
    said = nights.markdown(night, "http://x")
    assert "## score-a failed" in said and "two" in said and "1 instances that need them were skipped" in said
    assert nights.sentence(night) == "nightly-2026-11-02 failed: score-a"
