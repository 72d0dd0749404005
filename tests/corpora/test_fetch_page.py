"""yt-dlp driven for real, against pages served on loopback, and what its words mean."""

from __future__ import annotations

import sys

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


N_FAILED = "WARNING: [youtube] abc: n challenge solving failed: Some formats may be missing."
NO_RUNTIME = "WARNING: [youtube] No supported JavaScript runtime could be found. Only deno is enabled by default"


@pytest.mark.parametrize("said, reason, at_most", [
    ("ERROR: [youtube] abc: Video unavailable", "gone", 2),
    ("ERROR: [youtube] abc: This video has been removed by the uploader", "gone", 2),
    ("ERROR: [youtube] abc: Private video. Sign in if you've been granted access", "forbidden", 2),
    ("ERROR: [youtube] abc: Sign in to confirm your age", "forbidden", 2),
    ("ERROR: unable to download video data: HTTP Error 403: Forbidden", "forbidden", 2),
    ("ERROR: [generic] Unable to download webpage: HTTP Error 404: Not Found", "gone", 2),
    ("ERROR: [youtube] abc: HTTP Error 429: Too Many Requests", "unreachable", None),
    ("ERROR: Unsupported URL: http://x/", "no_video", None),
    ("WARNING: things\nTraceback", "unreachable", None), ("", "unreachable", None),
    (f"{N_FAILED}\nERROR: [youtube] abc: Requested format is not available", "no_runtime", None),
    (f"{N_FAILED}\nERROR: unable to download video data: HTTP Error 403: Forbidden", "no_runtime", None),
    (f"{NO_RUNTIME}\nERROR: [youtube] abc: Video unavailable", "gone", 2),
    (f"{NO_RUNTIME}\nERROR: [youtube] abc: Private video", "forbidden", 2),
    (f"{NO_RUNTIME}\nERROR: [youtube] abc: HTTP Error 429: Too Many Requests", "unreachable", None)])
def test_words_of_the_downloader_become_reasons(said, reason, at_most):
    error = page.failure(said)
    assert error.reason == reason and getattr(error, "at_most", None) == at_most


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """put(name, said, status): a program on PATH, where there is nothing else, that says this of itself."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(page.sysconfig, "get_path", lambda name: str(tmp_path / "none"))

    def put(name, said, status=0):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
        path.chmod(0o755)
        return str(path)

    return put


def test_without_a_runtime_the_message_says_what_to_install(programs):
    assert page.runtime() is None and "--js-runtimes" not in page.command("http://x/", page.Path("f"), QUICK)
    error = page.failure(f"{NO_RUNTIME}\nERROR: [youtube] a: Requested format is not available")
    assert isinstance(error, Reject) and error.reason == "no_runtime"
    assert "deno (2.3 or later" in error.detail and "node (22 or later" in error.detail


def test_a_runtime_that_is_too_old_is_passed_over_and_named(programs):
    programs("node", "v20.1.0")
    assert page.runtime() is None and "--js-runtimes" not in page.command("http://x/", page.Path("f"), QUICK)
    assert "node 20.1.0 is passed over, yt-dlp takes 22 or later" in page.runtime_words()
    path = programs("qjs", "QuickJS-ng version 0.10.1", 1)
    words = page.command("http://x/", page.Path("f"), QUICK)
    assert words[words.index("--js-runtimes") + 1] == f"quickjs:{path}" and words[-2:] == ["--", "http://x/"]
    assert "quickjs 0.10.1" in page.runtime_words()


@pytest.mark.parametrize("name, program, said, status, usable", [
    ("node", "node", "v22.0.0", 0, True), ("node", "node", "v21.7.3", 0, False), ("node", "node", "v22.3.0", 1, False),
    ("node", "node", "what?", 0, False), ("deno", "deno", "deno 2.3.1 (stable, release)", 0, True),
    ("deno", "deno", "deno 1.46.3 (stable)", 0, False), ("bun", "bun", "1.2.11", 0, True), ("bun", "bun", "1.2.9", 0, False),
    ("quickjs", "qjs", "QuickJS version 2025-09-13", 1, True), ("quickjs", "qjs", "QuickJS version 2021-03-27", 1, False)])
def test_a_runtime_is_usable_where_the_installed_downloader_says_so(programs, name, program, said, status, usable):
    import yt_dlp.utils._jsruntime as theirs

    path = programs(program, said, status)
    known = {"node": theirs.NodeJsRuntime, "deno": theirs.DenoJsRuntime, "bun": theirs.BunJsRuntime,
             "quickjs": theirs.QuickJsRuntime}[name]
    info = known(path=path).info
    assert [(r.name, r.path, r.usable) for r in page.runtimes()] == [(name, path, usable)]
    assert bool(info and info.supported) is usable and known.MIN_SUPPORTED_VERSION == page.RUNTIMES[name][3]


def test_the_scripts_that_solve_challenges_are_here_and_missed_where_they_are_not(programs, monkeypatch):
    programs("node", "v22.3.0")
    assert page.solver() and page.runtime_words() == "JavaScript runtime for pages that need one: node 22.3.0"
    monkeypatch.setattr(page, "SOLVER", "no-such-package")
    assert page.solver() is None and "pip install no-such-package" in page.runtime_words()


def test_a_challenge_that_was_not_solved_is_told_of_although_a_file_came(programs, tmp_path, monkeypatch, capsys):
    programs("node", "v20.1.0")
    script = ("import json, sys; open(sys.argv[1], 'wb').write(b'x'); print(sys.argv[2], file=sys.stderr); "
              "print(json.dumps({'filepath': sys.argv[1], 'format_id': '18', 'vcodec': 'avc1'}))")
    monkeypatch.setattr(page, "command", lambda address, folder, limits, cookies: [sys.executable, "-c", script,
                                                                                  str(folder / "18.mp4"), N_FAILED])
    page._tell.cache_clear()
    lines = []
    for _ in range(2):
        found = page.download("http://127.0.0.1/", tmp_path / "out", QUICK, Hosts(tmp_path / "hosts", QUICK),
                              log=lambda **facts: lines.append(facts))
    assert found.format == "18" and [line["outcome"] for line in lines] == ["fewer_formats", "done"] * 2
    assert "n challenge solving failed" in lines[0]["detail"] and "node 20.1.0 is passed over" in lines[0]["detail"]
    assert capsys.readouterr().err.count("fewer formats") == 1, "once is enough where thousands of pages are fetched"


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
