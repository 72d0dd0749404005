"""Verification: every damaged, missing or unexpected file is named, and DVC's own hashes are agreed with."""

from __future__ import annotations

import json
import shutil

import pytest

from core.shards import read_rows
from core.stage import UserError
from flows.verify import tree_hash, verify
from tests.flows.fake import Repo
from tests.flows.test_cli import babelface
from tests.stages.sync_clips import inside


@pytest.fixture(scope="module")
def locked(tmp_path_factory, small):
    """A project with outputs in DVC's cache, and the recordings of another beside them."""
    repo = Repo(tmp_path_factory.mktemp("locked") / "repo")
    assert repo.dvc("repro").returncode == 0
    shutil.copyfile(small / "params.yaml", repo.path / "params.yaml")
    shutil.copytree(small / "data/download", repo.path / "data/download")
    return repo.path


@pytest.fixture
def place(locked, tmp_path):
    shutil.copytree(locked, tmp_path / "place", symlinks=True)
    return tmp_path / "place"


def troubles(place) -> dict[str, str]:
    with inside(place) as params:
        return {t["file"]: t["what"] for t in verify(params)["troubles"]}


def test_all_as_recorded(place):
    with inside(place) as params:
        found = verify(params)
    assert found["troubles"] == [] and found["outputs"] == 6 and found["files"] == 6 * 8 + 9 and found["bytes"] > 100_000


def test_every_trouble_has_its_file(place):
    media = place / "data/download/toy-en/media"
    name = read_rows(place / "data/download/toy-en", "recordings", ["file"])[0]["file"]
    data = bytearray((media / name).read_bytes())
    data[len(data) // 2] ^= 1
    (media / name).write_bytes(data)
    other = read_rows(place / "data/download/toy-fi", "recordings", ["file"])[0]["file"]
    (place / "data/download/toy-fi/media" / other).unlink()
    (place / "data/first-a/item-3").write_text("something else")
    (place / "data/first-b/item-0").unlink()
    (place / "data/second-a/more").write_text("not ours")
    shutil.rmtree(place / "data/last")
    assert troubles(place) == {
        f"data/download/toy-en/media/{name}": "damaged", f"data/download/toy-fi/media/{other}": "missing",
        "data/first-a/item-3": "damaged",
        "data/first-b/item-0": "missing", "data/second-a/more": "unexpected", "data/last": "missing"}
    run = babelface("verify", cwd=place)
    assert run.returncode == 1 and "damaged: data/first-a/item-3: md5" in run.stdout and "6 not as recorded" in run.stdout
    assert json.loads(babelface("verify", "--json", cwd=place).stdout)["outputs"] == 6


def test_without_the_cache_a_folder_is_compared_as_a_whole(place):
    shutil.rmtree(place / ".dvc/cache")
    assert troubles(place) == {}
    (place / "data/first-a/item-3").write_text("something else")
    assert troubles(place) == {"data/first-a": "unlisted"}


def test_a_lock_that_is_none(place):
    (place / "dvc.lock").write_text("stages: [")
    with pytest.raises(UserError, match="dvc.lock: not a lock that DVC wrote"):
        troubles(place)


def test_nothing_to_verify(tmp_path, small):
    shutil.copyfile(small / "params.yaml", tmp_path / "params.yaml")
    with pytest.raises(UserError, match="nothing to verify"):
        troubles(tmp_path)


def test_the_hash_of_a_folder_is_that_of_dvc(locked):
    import yaml

    from flows.verify import _digests

    lock = yaml.safe_load((locked / "dvc.lock").read_text())["stages"]["last"]["outs"][0]
    assert tree_hash({p.name: _digests(p)[0] for p in (locked / lock["path"]).iterdir()}) == lock["md5"]
