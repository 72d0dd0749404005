from __future__ import annotations

import pytest

import core.progress
from core.progress import Progress


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_reject_is_in_the_log(tmp_path):
    progress = Progress("track toy-en", total=3)
    progress.step()
    progress.step("no_face", "c1", "no face\nin 50 frames")
    progress.step("no_face", "c2", "x")
    progress.close()
    lines = (tmp_path / ".babelface/logs/track-toy-en.log").read_text().splitlines()
    assert progress.log_path.name == "track-toy-en.log" and len(lines) == 4
    assert [line.split(" ", 1)[1] for line in lines[:3]] == ["start total=3 already_done=0", "reject item=c1 reason=no_face detail='no face\\nin 50 frames'",
                                                             "reject item=c2 reason=no_face detail='x'"]
    assert lines[3].split(" ", 1)[1].startswith("end seconds=")


def test_the_last_line_sums_up(capsys):
    progress = Progress("track toy-en", total=1200)
    by_language = {"en": {"rejected": {"no_face": 60}}, "fi": {"rejected": {"no_face": 30, "timeout": 10}}}
    progress.close({"kept": 1100, "rejected": 100, "by_language": by_language})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("track toy-en: 1,200 clips in ") and line.endswith("1,100 kept, 100 rejected (no_face 90, timeout 10)")


def test_a_resumed_run_says_so_and_a_finished_one_does_not(capsys):
    Progress("a b", total=10, done=4)
    assert capsys.readouterr().out == "a b: resuming, 4/10 clips done already\n"
    Progress("a b", total=10, done=10)
    assert capsys.readouterr().out == ""


def test_lines_come_now_and_then_with_rate_and_drops(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(core.progress.time, "monotonic", lambda: clock[0])
    progress = Progress("a b", total=100)
    for k in range(40):
        clock[0] += 1
        progress.step("no_face" if k == 5 else None, "x")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a b: 10/100 clips, 1.0/s, 90 s left, dropped no_face 1" and len(lines) == 4


def test_the_log_goes_on_in_the_same_file(tmp_path):
    for _ in range(2):
        Progress("a b", total=0).close()
    assert (tmp_path / ".babelface/logs/a-b.log").read_text().count("start total=0") == 2
