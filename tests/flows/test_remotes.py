"""The whole trip through a remote, a folder and a server, and what `dvc gc` leaves: docs/dataset.md says both."""

from __future__ import annotations

import hashlib
import shutil
import stat
from pathlib import Path

import pytest

from tests.flows.night_repo import NightRepo
from tests.flows.sftp import serve

pytestmark = pytest.mark.slow


def bytes_of(folder: Path) -> dict[str, str]:
    """Every file that DVC keeps of a project, by its hash."""
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for top in ("data", "results") for p in sorted((folder / top).rglob("*")) if p.is_file()}


def trip(repo: NightRepo) -> None:
    """Pushes, loses everything that is here, pulls, and has the same."""
    before = bytes_of(repo.path)
    assert len(before) == 3
    repo.call("dvc", "push")
    for name in (".dvc/cache", "data", "results"):
        shutil.rmtree(repo.path / name)
    repo.call("dvc", "pull")
    assert bytes_of(repo.path) == before
    assert repo.call("dvc", "status").stdout.strip() == "Data and pipelines are up to date."


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    repo = NightRepo(tmp_path_factory.mktemp("made") / "project")
    repo.call("dvc", "repro")
    return repo.path


@pytest.fixture
def built(made, tmp_path) -> NightRepo:
    """A copy that a test may change."""
    repo = NightRepo.__new__(NightRepo)
    repo.path = Path(shutil.copytree(made, tmp_path / "project", symlinks=True))
    return repo


def test_through_a_folder_and_back(built, tmp_path):
    built.call("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    trip(built)


def test_through_a_server_and_back(built, tmp_path):
    pytest.importorskip("dvc_ssh")
    store = tmp_path / "far"
    store.mkdir()
    with serve(store, tmp_path / "keys") as (port, key, known):
        built.call("dvc", "remote", "add", "--default", "far", f"ssh://babel@127.0.0.1:{port}/store")
        built.call("dvc", "remote", "modify", "--local", "far", "keyfile", str(key))
        home = tmp_path / "home"
        (home / ".ssh").mkdir(parents=True)
        shutil.copyfile(known, home / ".ssh" / "known_hosts")
        call = built.call
        built.call = lambda *words, **options: call(*words, HOME=str(home), **options)
        trip(built)
        assert any((store / "store/files/md5").rglob("*.dir")), "it went through the server"
        # A server that has none of it, and a key that it does not know, are said in one line each.
        stranger = tmp_path / "stranger"
        import asyncssh

        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(stranger))
        stranger.chmod(stat.S_IRUSR | stat.S_IWUSR)
        built.call("dvc", "remote", "modify", "--local", "far", "keyfile", str(stranger))
        refused = built.call("dvc", "fetch", check=False)
        assert refused.returncode != 0 and "ermission denied" in refused.stderr


def outputs(repo: NightRepo, place: str = ".dvc/cache") -> set[str]:
    """Which versions' outputs the cache or a remote holds, by the seed they were made with."""
    found = set()
    for path in (repo.path / place / "files/md5").rglob("*"):
        if path.is_file() and (b"the report of seed " in (data := path.read_bytes())):
            found.add(data.split(b"of seed ")[1].split(b"<")[0].decode())
    return found


def test_what_gc_keeps(built, tmp_path):
    """Seed 1: committed with its dvc.lock. 2: a saved experiment, as nights are. 3: neither. 4: what lies here."""
    built.call("git", "add", "-A")
    built.call("git", "add", "-f", "dvc.lock")
    built.call("git", "commit", "-qm", "one")
    built.call("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    built.call("dvc", "push")
    checkpoint = tmp_path / "store/babelface/train/x/checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("of a training under way")
    for seed in (2, 3, 4):
        built.set(seed=seed)
        built.call("dvc", "repro")
        if seed == 2:
            built.call("dvc", "exp", "save", "--force", "--name", "nightly-2026-01-02")
    assert outputs(built) == {"1", "2", "3", "4"}
    built.call("dvc", "gc", "--workspace", "--all-commits", "--all-experiments", "--force")
    assert outputs(built) == {"1", "2", "4"}, "a result that nothing names goes"
    built.call("dvc", "gc", "--workspace", "--all-commits", "--force")
    assert outputs(built) == {"1", "4"}, "without --all-experiments saved nights go too"
    built.call("dvc", "push")
    assert outputs(built, str(tmp_path / "store")) == {"1", "4"}
    built.call("dvc", "gc", "--workspace", "--cloud", "--force")
    assert outputs(built) == outputs(built, str(tmp_path / "store")) == {"4"}, "what lies here is always kept"
    assert checkpoint.is_file(), "what DVC did not put into a remote it does not take out"
