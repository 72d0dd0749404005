"""yt-dlp driven for real, against pages served on loopback, and what its words mean."""

from __future__ import annotations

import pytest

from core import media
from core.records import Reject
from corpora.fetch import page
from corpora.fetch.hosts import Hosts
from corpora.fetch.limits import Again, Limits
from tests.core.media_clips import click_track, mux
from tests.corpora.fault_server import fault_server

QUICK = Limits(attempts=2, pause_s=0.01, stall_s=2.0, timeout_s=60.0, per_second=1000.0)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    mux(folder / "film.mp4", times_s=[i / 25 for i in range(75)], tracks=[{"codec": "aac", "samples": click_track([1.0], 3.0)}])
    with fault_server() as server:
        server.files["film.mp4"] = (folder / "film.mp4").read_bytes()
        server.files["page.html"] = b'<!doctype html><title>A film</title><video controls src="film.mp4"></video>'
        server.files["empty.html"] = b"<!doctype html><title>No film</title><p>Nothing here.</p>"
        yield server


@pytest.fixture
def fetch(served, tmp_path):
    def run(name, limits=QUICK):
        return page.download(f"{served.address}/served/{name}", tmp_path / "out", limits, Hosts(tmp_path / "hosts", limits))

    return run


def test_the_video_of_a_page_arrives_whole(fetch, served, tmp_path):
    found = fetch("page.html")
    assert found.video.read_bytes() == served.files["film.mp4"] and found.sound is None and found.video.parent == tmp_path / "out"
    assert [p.name for p in (tmp_path / "out").iterdir()] == [found.video.name] and media.frame_count(found.video) == 75


def test_a_page_that_is_gone_is_gone(fetch):
    with pytest.raises(Reject, match="gone.*404.*1 attempt"):
        fetch("absent.html", Limits(attempts=1, stall_s=2, timeout_s=60, per_second=1000))


def test_a_page_that_hangs_is_ended(served, tmp_path):
    limits = Limits(attempts=1, stall_s=60.0, timeout_s=1.0, per_second=1000.0)
    with pytest.raises(Reject, match="unreachable"):
        page.download(f"{served.address}/stall-on", tmp_path / "out", limits, Hosts(tmp_path / "hosts", limits))


@pytest.mark.parametrize("said, reason, at_most", [
    ("ERROR: [youtube] abc: Video unavailable", "gone", 2),
    ("ERROR: [youtube] abc: This video has been removed by the uploader", "gone", 2),
    ("ERROR: [youtube] abc: Private video. Sign in if you've been granted access", "forbidden", 2),
    ("ERROR: [youtube] abc: Sign in to confirm your age", "forbidden", 2),
    ("ERROR: unable to download video data: HTTP Error 403: Forbidden", "forbidden", 2),
    ("ERROR: [generic] Unable to download webpage: HTTP Error 404: Not Found", "gone", 2),
    ("ERROR: [youtube] abc: HTTP Error 429: Too Many Requests", "unreachable", None),
    ("ERROR: Unsupported URL: http://x/", "no_video", None),
    ("WARNING: things\nTraceback", "unreachable", None), ("", "unreachable", None)])
def test_words_of_the_downloader_become_reasons(said, reason, at_most):
    error = page.failure(said)
    assert error.reason == reason and getattr(error, "at_most", None) == at_most


def test_without_a_runtime_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(page.shutil, "which", lambda name: None)
    assert page.runtime() is None and "--js-runtimes" not in page.command("http://x/", page.Path("f"), QUICK)
    error = page.failure("WARNING: [youtube] No supported JavaScript runtime could be found.\n"
                         "ERROR: [youtube] a: Requested format is not available")
    assert isinstance(error, Reject) and error.reason == "no_runtime" and "deno" in error.detail and "node" in error.detail


def test_a_runtime_that_is_there_is_named_to_the_downloader(monkeypatch):
    monkeypatch.setattr(page.shutil, "which", lambda name: "/bin/qjs" if name == "qjs" else None)
    words = page.command("http://x/", page.Path("f"), QUICK)
    assert words[words.index("--js-runtimes") + 1] == "quickjs:/bin/qjs" and words[-2:] == ["--", "http://x/"]


def test_a_page_without_a_video_is_no_video_and_cookies_are_a_copy_and_must_be_there(fetch, tmp_path):
    jar = tmp_path / "jar.txt"
    jar.write_text("# Netscape HTTP Cookie File\n")
    before = jar.read_bytes()
    with pytest.raises(Reject, match="no_video") as caught:
        fetch("empty.html", Limits(attempts=1, stall_s=2, timeout_s=60, per_second=1000, cookies=str(jar)))
    assert jar.read_bytes() == before and "Unsupported URL" in caught.value.detail and not list((tmp_path / "out").iterdir())
    with pytest.raises(FileNotFoundError, match="fetch.cookies"):
        fetch("page.html", Limits(attempts=1, stall_s=2, timeout_s=60, per_second=1000, cookies=str(tmp_path / "none")))


def test_two_files_are_told_apart(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"x")
    rows = [{"filepath": str(tmp_path / "a"), "format_id": "140", "vcodec": "none"},
            {"filepath": str(tmp_path / "b"), "format_id": "137", "vcodec": "avc1"}]
    assert page._files(rows, "") == page.Page(tmp_path / "b", tmp_path / "a", "140+137")
    with pytest.raises(Reject, match="no_video"):
        page._files(rows[:1], "")
    with pytest.raises(Again, match="incomplete"):
        page._files([], "")
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(Again, match="incomplete"):
        page._files(rows, "")
