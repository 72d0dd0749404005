"""DVC's own files after a kill or a full disk in the middle of their writing."""

from __future__ import annotations

import os

import pytest

from flows import graph
from flows.graph import Call
from flows.mend import KEPT, keep_lock, mend_lock

GOOD = "schema: '2.0'\nstages:\n  first@a:\n    cmd: python work.py first-a\n    deps:\n    - path: work.py\n      hash: md5\n      md5: " + "0c" * 16 + "\n      size: 3\n"


@pytest.mark.parametrize("torn", ["", "schema: '2.0'\nstag", GOOD[:37] + "cm", GOOD.replace("size: 3", "si")], ids=["empty", "head", "entry", "end"])
def test_a_torn_lock_file_is_replaced_by_the_last_whole_one(tmp_path, torn):
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    lock = tmp_path / "dvc.lock"
    keep_lock(tmp_path)
    assert not mend_lock(tmp_path) and not (tmp_path / KEPT).exists(), "nothing there yet"
    lock.write_text(torn)
    keep_lock(tmp_path)
    assert not (tmp_path / KEPT).exists(), "half a file is not kept"
    assert mend_lock(tmp_path) and not lock.exists() and (tmp_path / "dvc.lock.torn").read_text() == torn
    lock.write_text(GOOD)
    keep_lock(tmp_path)
    assert not mend_lock(tmp_path) and (tmp_path / KEPT).read_text() == GOOD
    lock.write_text(torn)
    assert mend_lock(tmp_path) and lock.read_text() == GOOD
    later = GOOD.replace("0c", "0d")
    lock.write_text(later)
    assert not mend_lock(tmp_path) and lock.read_text() == later, "what DVC wrote since is not touched"


@pytest.mark.slow
def test_a_full_disk_while_dvc_keeps_a_result(small_disk):
    """The stage ends well, DVC's copy into its cache and its lock file do not."""
    from tests.flows.fake import Repo

    place = small_disk(6)
    repo = Repo(place / "repo")
    large = (repo.path / "work.py").read_text().replace('{setting} {seed}")', '{setting} {seed}" * 700)')
    (repo.path / "work.py").write_text(large)
    assert Call(["first@b"], root=repo.path).run()["first@b"].status == "ran"
    free = os.statvfs(place)
    (place / "ballast").write_bytes(bytes(free.f_bavail * free.f_bsize - 450_000))  # for the result, but not for a copy of it
    failed = Call(["first@a"], root=repo.path).run()["first@a"]
    assert failed.status == "failed" and "no room left" in failed.why
    (place / "ballast").unlink()
    done = Call(["first@a", "first@b"], root=repo.path).run()
    # Which of the two it is hangs on whether DVC still had room for a whole dvc.lock.
    assert done["first@a"].status in ("ran", "cached") and done["first@b"].status == "cached", done
    assert {n.name for n in graph.load_graph(repo.path) if not n.reasons} == {"first@a", "first@b"}
    (repo.path / "data" / "first-a" / "item-0").unlink()
    assert repo.dvc("checkout", "first@a").returncode == 0 and (repo.path / "data/first-a/item-0").exists(), "the copy is whole"
