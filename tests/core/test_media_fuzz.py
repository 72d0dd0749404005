"""Damaged media files: frames, sound or a reject come of each, in a process of its own, within its time and its memory.

`python -m bench.fuzz` is the same for as long as one likes.
"""

from __future__ import annotations

import random

import pytest

from bench import fuzz

pytestmark = pytest.mark.slow


def test_damaged_media_are_frames_or_rejects(tmp_path):
    counts, findings = fuzz.hunt("media", tmp_path, seed=7, n=110)
    assert not findings, "\n".join(findings)
    assert counts["frames"] > 15 and counts["reject"] > 30 and counts.total() == 110


def test_damaged_indexes_are_rows_or_refused_as_a_whole(tmp_path):
    counts, findings = fuzz.hunt("index", tmp_path, seed=7, n=700)
    assert not findings, "\n".join(findings)
    assert counts["rows"] > 500 and counts["bad index"] > 10 and counts.total() == 700


def test_whole_files_are_read(tmp_path):
    seeds = fuzz.media_seeds(tmp_path)
    assert {path.suffix for path in seeds} >= {".mp4", ".mkv", ".mov", ".webm", ".avi", ".mpg", ".wav", ".flac"}
    said = {path.name: fuzz.read_media(path) for path in seeds}
    assert said == {name: "reject" if name.endswith((".wav", ".flac")) else "frames"
                    for name in said}, "sound alone has no frames"


def test_damage_is_the_same_for_the_same_seed():
    data = bytes(range(256)) * 40
    once, again = ([fuzz.damaged(data, random.Random(5)) for _ in range(3)] for _ in range(2))
    assert once == again and all(d != data for d in once)


CRASH = """
import os, sys, time
for line in sys.stdin:
    line = line.rpartition("/")[2]
    if "crash" in line: os.kill(os.getpid(), 11)
    if "hang" in line: time.sleep(60)
    if "bug" in line: print("said ZeroDivisionError: 'x' in y.py:1", flush=True)
    else: print("a library talks\\nsaid frames", flush=True)
"""


def test_what_crashes_hangs_or_fails_is_found(tmp_path, monkeypatch):
    import subprocess
    import sys

    real = subprocess.Popen
    monkeypatch.setattr(fuzz.subprocess, "Popen", lambda command, **more: real([sys.executable, "-c", CRASH], **more))
    read = fuzz.Reader("media", limit_s=4.0)
    try:
        assert [read(tmp_path / name) for name in ("fine", "crash", "fine", "hang", "bug", "fine")] == [
            "frames", "crash: SIGSEGV", "frames", "hang: not done in 4 s", "ZeroDivisionError: 'x' in y.py:1", "frames"]
    finally:
        read.close()
