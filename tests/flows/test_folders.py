"""Quick hashes of folders say what DVC would say, and notice what DVC would notice."""

from __future__ import annotations

import json
import os

import pytest

from flows import graph
from flows.folders import KNOWN, quick_hashes, signature
from flows.graph import Call


def reasons(repo):
    return {n.name: n.reasons for n in graph.load_graph(repo.path) if n.name.startswith("first@a") or n.name == "second@a"}


def test_the_plan_is_that_of_dvc_with_and_without_known_folders(repo):
    Call(["first@a", "second@a"], root=repo.path).run()
    assert reasons(repo) == {"first@a": (), "second@a": ()}
    known = json.loads((repo.path / KNOWN).read_text())
    assert {path.rpartition("/")[2] for path in known} == {"first-a", "second-a"}
    assert reasons(repo) == {"first@a": (), "second@a": ()}, "from what is known"
    item = repo.path / "data/first-a/item-3"
    text, times = item.read_text(), item.stat()
    item.write_text(text.replace("first", "fIrst"))  # as long as before
    assert "output modified: data/first-a" in reasons(repo)["first@a"]
    assert reasons(repo)["second@a"], "another content of the same size"
    item.write_text(text)
    os.utime(item, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert reasons(repo) == {"first@a": (), "second@a": ()}
    item.unlink()
    assert reasons(repo)["first@a"] and reasons(repo)["second@a"]
    (repo.path / KNOWN).write_text("torn {")
    assert reasons(repo)["first@a"] and reasons(repo)["second@a"]


def test_a_signature_changes_with_every_file(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/x", "a/b/y", "z"):
        (tmp_path / name).write_text(name)
    first = signature(str(tmp_path))
    assert first == signature(str(tmp_path)) != signature(str(tmp_path), b"data/*")
    os.utime(tmp_path / "a/b/y", ns=(1, 1))
    second = signature(str(tmp_path))
    (tmp_path / "a/new").touch()
    third = signature(str(tmp_path))
    (tmp_path / "a/new").rename(tmp_path / "a/other")
    assert len({first, second, third, signature(str(tmp_path))}) == 4
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert signature(str(tmp_path)) is None


def test_dvc_has_what_is_replaced_here():
    from dvc.output import Output
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta

    assert callable(Output._get_hash_meta) and HashInfo("md5", "0.dir").isdir and Meta(size=1, nfiles=2, isdir=True).nfiles == 2
    with pytest.raises(RuntimeError), quick_hashes():
        raise RuntimeError
    assert Output._get_hash_meta.__name__ == "_get_hash_meta", "put back whatever happens"
