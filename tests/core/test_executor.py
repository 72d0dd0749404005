from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import executor, shards
from core.executor import Work, check_funnel, recover, run_stage
from core.params import Executor
from core.workers import WorkerError
from tests.core.mappers import InHere

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(work, *, workers=1, seal=1, timeout_s=60, mapper="Loud", **more):
    tables = ("recordings",) if mapper == "Writer" else ("features",)
    return run_stage("features", "toy-en", work, f"tests.core.mappers:{mapper}", config={"log": "calls.log"}, tables=tables,
                     fingerprint={"seal": seal}, n_shards=3, executor=Executor(workers=workers, timeout_s=timeout_s), **more)


def items(n, **special):
    return [Work(f"c{i:02d}", "d", {"id": f"c{i:02d}", **special.get(f"c{i:02d}", {})}, {"language": "en", "speaker": "s"})
            for i in range(n)]


def tree(folder="data/features/toy-en"):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def calls():
    return sorted(Path("calls.log").read_text().split()) if Path("calls.log").exists() else []


def forget_calls():
    Path("calls.log").unlink(missing_ok=True)


def test_same_bytes_for_any_number_of_workers():
    seen = []
    for workers in (1, 2, 4):
        stats = run(items(9, c03={"reject": "no_face"}, c05={"rows": 0}), workers=workers, seal=workers * 0)
        seen.append(tree())
        subprocess.run(["rm", "-rf", "data"], check=True)
    assert seen[0] == seen[1] == seen[2]
    assert (stats["items_in"], stats["kept"], stats["rejected"], stats["rows"]["features"]) == (9, 8, 1, 14)


def test_rows_come_back_in_shard_order_with_their_rejects():
    run(items(7, c02={"reject": "too_short"}))
    rows = shards.read_rows(Path("data/features/toy-en"), "features")
    assert sorted(r["clip_id"] for r in rows) == sorted(2 * [f"c{i:02d}" for i in range(7) if i != 2])
    assert [(r["item_id"], r["reason"], r["detail"], r["speaker"])
            for r in shards.read_rows(Path("data/features/toy-en"), "rejects")] == [
        ("c02", "too_short", "asked for", "s")]


def test_unchanged_items_are_not_computed_again_and_keep_their_files():
    run(items(9))
    inodes = {p: p.stat().st_ino for p in Path("data").rglob("shard-*")}
    forget_calls()
    run(items(9))
    assert calls() == []
    whole = tree()
    changed = [Work(w.id, "new" if w.id == "c04" else w.digest, w.payload, w.row) for w in items(10)]
    run(changed)
    assert calls() == ["c04", "c09"]
    touched = {shards.shard_of(i, 3) for i in ("c04", "c09")}
    for path, inode in inodes.items():
        if int(path.stem[-3:]) not in touched:
            assert path.stat().st_ino == inode, f"{path} was written again"
    run(items(9))  # back to the first set: c04 is computed again, c09 goes
    assert tree() == whole


def test_another_fingerprint_computes_everything_again():
    run(items(4), seal=1)
    forget_calls()
    run(items(4), seal=2)
    assert calls() == ["c00", "c01", "c02", "c03"]


def test_another_fingerprint_leaves_no_old_file():
    run([], seal=1)
    before = {p: p.stat().st_ino for p in Path("data").rglob("shard-*")}
    run([], seal=2)
    assert before and all(p.stat().st_ino != inode for p, inode in before.items()), "its schema may have changed with the code"


def test_hanging_item_is_killed_and_rejected():
    stats = run(items(4, c01={"sleep": 60}), timeout_s=1.5, workers=2)
    assert stats["by_language"]["en"]["rejected"] == {"timeout": 1} and stats["kept"] == 3


def test_item_whose_process_dies_is_tried_once_more():
    stats = run(items(4, c01={"die": True}, c02={"die_once": "died.flag"}), workers=2)
    assert stats["by_language"]["en"]["rejected"] == {"worker_died": 1} and stats["kept"] == 3
    assert calls().count("c01") == 2 and calls().count("c02") == 2


def test_programming_error_stops_the_run_and_shows_where():
    with pytest.raises(WorkerError, match=r"c02.*\n(.*\n)*ZeroDivisionError"):
        run(items(4, c02={"bug": True}))
    assert not Path("data/features/toy-en").exists()
    run(items(4))  # what was done before the error is kept
    assert calls().count("c00") == 1 and calls().count("c02") == 2


def test_killed_run_goes_on_at_its_item_and_ends_with_the_same_bytes():
    run(items(8))
    whole = tree()
    subprocess.run(["rm", "-rf", "data", "calls.log"], check=True)
    code = ("from tests.core.test_executor import run, items\n"
            "if __name__ == '__main__':\n run(items(8, **{f'c{i:02d}': {'sleep': 0.4} for i in range(8)}))\n")
    Path("child.py").write_text(code)
    child = subprocess.Popen([sys.executable, "child.py"], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(calls()) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    child.kill()
    child.wait()
    time.sleep(0.3)
    before = calls()
    assert 4 <= len(before) < 8
    time.sleep(1)
    assert calls() == before, "a worker outlived its parent"
    run(items(8))
    assert tree() == whole
    assert len(calls()) <= 9, "at most the item at hand was computed twice"


def test_crash_between_the_two_renames_is_mended():
    run(items(3))
    whole = tree()
    os.replace("data/features/toy-en", "data/features/.toy-en.old")
    recover(Path("data/features/toy-en"))
    assert tree() == whole


def test_files_follow_their_rows():
    run(items(5), mapper="Writer", files="recordings")
    forget_calls()
    run(items(6)[1:], mapper="Writer", files="recordings")
    assert calls() == ["c05"]
    media = Path("data/features/toy-en/media")
    assert sorted(p.name for p in media.iterdir()) == [f"c{i:02d}.txt" for i in range(1, 6)]


@pytest.fixture
def in_here(monkeypatch):
    """No process is started and nothing is waited for."""
    monkeypatch.setattr(executor, "WorkerPool", InHere)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def test_only_files_that_changed_are_touched_and_what_is_nobodys_goes(in_here):
    run(items(5), mapper="Writer", files="recordings")
    media = Path("data/features/toy-en/media")
    folder, inodes = media.stat().st_ino, {p.name: p.stat().st_ino for p in media.iterdir()}
    (media / "c04.txt").write_text("else")
    (media / "stray").write_text("")
    (media / "strays").mkdir()
    (media / "strays" / "one").write_text("")
    now = [Work(w.id, "new" if w.id == "c04" else w.digest, w.payload, w.row) for w in items(6)[1:]]
    run(now, mapper="Writer", files="recordings")
    assert {p.name: p.read_text() for p in media.iterdir()} == {f"c{i:02d}.txt": f"c{i:02d}" for i in range(1, 6)}
    assert media.stat().st_ino == folder
    assert all((media / name).stat().st_ino == inodes[name] for name in ("c01.txt", "c02.txt", "c03.txt"))


def test_a_file_that_is_lost_is_named_and_the_last_run_stays(in_here):
    run(items(3), mapper="Writer", files="recordings")
    Path("data/features/toy-en/media/c01.txt").unlink()
    before = tree()
    with pytest.raises(FileNotFoundError, match="c01.txt: gone since the last run; delete data/features/toy-en, run again"):
        run(items(4), mapper="Writer", files="recordings")
    assert tree() == before and [p.name for p in Path("data/features").iterdir()] == ["toy-en"]


@pytest.mark.parametrize("mapper", ["Loud", "Writer"])
def test_what_ran_before_changes_no_byte(in_here, mapper):
    files, rng = "recordings" if mapper == "Writer" else None, random.Random(0)
    for _ in range(5):
        work = []
        for k in sorted(rng.sample(range(30), rng.choice([3, 25]))):
            about = rng.choice([{"rows": 0}, {"rows": 1}, {"rows": 1}, {"rows": 5}, {"reject": "no_face"}])
            work.append(Work(f"c{k:02d}", str(about), {"id": f"c{k:02d}", **about}, {"language": rng.choice(["en", None])}))
        run(work, mapper=mapper, files=files)
        run(work, mapper=mapper, files=files, out=Path("data/features/first-en"))
        assert tree() == tree("data/features/first-en")
        shutil.rmtree("data/features/first-en")


def test_index_rejects_count_in_the_funnel():
    stats = run(items(2), rejected=[({"item_id": "x", "language": "en", "corpus": "toy", "speaker": None}, "bad_name", "../x")])
    assert (stats["items_in"], stats["kept"], stats["by_language"]["en"]["rejected"]) == (3, 2, {"bad_name": 1})


def test_empty_and_wholly_rejected_instances_have_readable_tables():
    run([])
    assert shards.read_rows(Path("data/features/toy-en"), "features") == []
    run(items(2, c00={"reject": "no_face"}, c01={"reject": "no_face"}))
    assert shards.read_rows(Path("data/features/toy-en"), "features") == []


def test_duplicate_ids_are_refused():
    with pytest.raises(ValueError, match="c00"):
        run([*items(1), *items(1)])


def test_funnel_that_does_not_add_up_is_a_bug():
    with pytest.raises(RuntimeError, match="does not add up"):
        check_funnel({"stage": "s", "instance": "i", "items_in": 2, "kept": 1, "rejected": 1,
                      "by_language": {"en": {"in": 2, "kept": 1, "rejected": {}}}})
