"""yt-dlp driven for real, against pages served on loopback, and what its words mean."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
import time

import pytest

from core import media
from core.records import Reject
from corpora.fetch import hosts, page
from corpora.fetch.hosts import Hosts
from corpora.fetch.limits import Again, Limits, Slower
from tests.core.media_clips import click_track, mux
from tests.corpora.fault_server import fault_server

QUICK = Limits(attempts=2, pause_s=0.01, stall_s=2.0, timeout_s=60.0, per_second=1000.0)
QUICK_BUT_5 = Limits(attempts=5, pause_s=0.01, stall_s=2.0, timeout_s=60.0, per_second=1000.0)


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


LIMITED = ("Video unavailable. This content isn't available, try again later. The current session has been rate-limited by "
           "YouTube for up to an hour. It is recommended to use `-t sleep` to add a delay between video requests to avoid "
           "exceeding the rate limit. For more information, refer to  "
           "https://github.com/yt-dlp/yt-dlp/wiki/Extractors#this-content-isnt-available-try-again-later")
COOKIES = ("Use --cookies-from-browser or --cookies for the authentication. See  "
           "https://github.com/yt-dlp/yt-dlp/wiki/FAQ#how-do-i-pass-cookies-to-yt-dlp  for how to manually pass cookies")


@pytest.mark.parametrize("said, reason", [
    (LIMITED, "slower"), (LIMITED.replace("The current session", "Your account"), "slower"),
    ("Video unavailable. YouTube is requiring a captcha challenge before playback", "slower"),
    (f"Sign in to confirm you\N{RIGHT SINGLE QUOTATION MARK}re not a bot. {COOKIES}", "slower"),
    (f"Sign in to confirm you're not a bot. {COOKIES}", "slower"),
    ("You have exceeded the rate limit. Try again later", "slower"),
    ("Unable to download API page: HTTP Error 429: Too Many Requests (caused by <HTTPError 429: Too Many Requests>)", "slower"),
    ("All player responses are invalid. Your IP is likely being blocked by Youtube", "slower"),
    ("Video unavailable", "gone"), ("Video unavailable. This video has been removed by the uploader", "gone"),
    ("Video unavailable. This video is no longer available because the YouTube account associated with this video has been "
     "terminated.", "gone"),
    ("Video unavailable. This video is no longer available because the uploader has closed their YouTube account.", "gone"),
    ("Video unavailable. This video is no longer available due to a copyright claim by Somebody", "gone"),
    ("Video unavailable. This video contains content from SME, who has blocked it on copyright grounds", "gone"),
    ("This video has been removed for violating YouTube's policy on hate speech. Learn more", "gone"),
    ("This video isn't available anymore", "gone"), ("Video 123 does not exist", "gone"),
    (f"Private video. Sign in if you've been granted access to this video. {COOKIES}", "forbidden"),
    (f"Sign in to confirm your age. This video may be inappropriate for some users. {COOKIES}", "forbidden"),
    ("Join this channel to get access to members-only content like this video, and other exclusive perks.", "forbidden"),
    ("This video is available to this channel's members on level: Fan (or any higher level). Join this channel to get access",
     "forbidden"),
    ("The uploader has not made this video available in your country\nThis video is available in Japan.\n"
     "You might want to use a VPN or a proxy server (with --proxy) to workaround.", "forbidden"),
    ("Video unavailable. The uploader has not made this video available in your country", "forbidden"),
    ("Video unavailable. This video contains content from UMG, who has blocked it in your country on copyright grounds",
     "forbidden"),
    ("This video is not available from your location due to geo restriction", "forbidden"),
    ("Video unavailable. This video is not available", "forbidden"),
    ("Video unavailable. Playback on other websites has been disabled by the video owner", "forbidden"),
    ("This video requires payment to watch.", "forbidden"), ("This video is DRM protected", "forbidden"),
    ("Video unavailable. This video is restricted. Please check the Google Workspace administrator and/or the network "
     "administrator restrictions.", "forbidden"),
    ("This video is only available for registered users", "forbidden"), ("This video is for subscribers only", "forbidden"),
    ("This live event will begin in 3 days.", "unreachable"), ("Premieres in 22 hours", "unreachable"),
    ("We're processing this video. Check back later.", "unreachable"), ("This live event has ended.", "unreachable"),
    ("Requested format is not available. Use --list-formats for a list of available formats", "no_video"),
    ("Unsupported URL: https://x.org/captcha/try-again-later", "no_video")])
def test_what_sites_say_is_the_reason_that_it_is(said, reason):
    """The words are those of yt-dlp 2026.10 and of YouTube; none but `gone` leaves a tombstone."""
    error = page.failure(f"WARNING: something\nERROR: [youtube] dQw4w9WgXcQ: {said}")
    assert ("slower" if isinstance(error, Slower) else error.reason) == reason and error.detail
    if reason == "slower":
        assert error.reason == "unreachable" and error.at_most is None


def test_these_words_are_still_the_installed_downloader_s():
    folder = page.Path(importlib.util.find_spec("yt_dlp").origin).parent / "extractor"
    text = (folder / "youtube" / "_video.py").read_text() + (folder / "common.py").read_text()
    for words in ("This content isn't available, try again later", "has been rate-limited by YouTube",
                  "requiring a captcha challenge",
                  "The uploader has not made this video available in your country", "Your IP is likely being blocked",
                  "not available from your location due to geo restriction", "This video is DRM protected"):
        assert words in text


def test_a_page_that_looks_gone_beside_a_warning_to_slow_down_is_not():
    error = page.failure("WARNING: [youtube] Unable to download webpage: HTTP Error 429: Too Many Requests\n"
                         "ERROR: [youtube] a: Video unavailable")
    assert isinstance(error, Slower)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """site(*answers): a page downloader that says these one after the other, "" for a film; gives the list of addresses asked."""
    def make(*answers):
        left, asked = list(answers), []

        def command(address, folder, limits, cookies):
            asked.append(address)
            said = left.pop(0)
            script = ("import json, sys; said = sys.argv[2]\nif said: sys.exit('ERROR: [youtube] x: ' + said)\n"
                      "open(sys.argv[1], 'wb').write(b'x')\n"
                      "print(json.dumps({'filepath': sys.argv[1], 'format_id': '18', 'vcodec': 'avc1'}))")
            return [sys.executable, "-S", "-c", script, str(folder / "18.mp4"), said]

        monkeypatch.setattr(page, "command", command)
        return asked

    return make


def fetch_all(tmp_path, limits, *names, run="r"):
    """The reject's reason and detail of each page, None where it came; one Hosts for each, as each process has its own."""
    found = []
    for name in names:
        try:
            page.download(f"http://127.0.0.1/{name}", tmp_path / "out", limits, Hosts(tmp_path / "hosts", limits, run))
            found.append(None)
        except Reject as reject:
            found.append((reject.reason, reject.detail))
    return found


def test_a_host_that_asks_to_slow_down_is_left_alone_and_asked_again(tmp_path, site, monkeypatch, capsys):
    monkeypatch.setattr(hosts, "FIRST_HOLD_S", 0.4)
    asked = site(LIMITED, LIMITED, "", "")
    began = time.monotonic()
    assert fetch_all(tmp_path, QUICK_BUT_5, "a", "b") == [None, None]
    assert time.monotonic() - began >= 0.4 + 0.8 and [a[-1] for a in asked] == ["a", "a", "a", "b"]
    assert capsys.readouterr().err.count("127.0.0.1 asks us to slow down") == 2
    assert not list((tmp_path / "hosts").glob("*/slower.json")), "it has come to itself"


def test_a_host_that_goes_on_asking_is_given_up_for_the_run_without_a_request_and_without_a_tombstone(tmp_path, site):
    asked = site(LIMITED, "", LIMITED, LIMITED)
    first, second = fetch_all(tmp_path, QUICK_BUT_5, "a", "b")
    assert len(asked) == 1, "the first hold is longer than all this run's patience"
    for reason, detail in (first, second):
        assert reason == "unreachable" and all(w in detail for w in ("--retry unreachable", "fetch.cookies", "rate-limited"))
    [(reason, detail)] = fetch_all(tmp_path, QUICK_BUT_5, "c", run="next")
    assert reason == "unreachable" and "pause, longer than is left" in detail and len(asked) == 1, "held for all who share it"
    (tmp_path / "jar.txt").write_text("# Netscape HTTP Cookie File\n")
    other = dataclasses.replace(QUICK_BUT_5, cookies=str(tmp_path / "jar.txt"))
    assert fetch_all(tmp_path, other, "d", run="with cookies") == [None], "they may see somebody else in us"
    [path] = (tmp_path / "hosts").glob("*/slower.json")
    held = json.loads(path.read_text())
    path.write_text(json.dumps(held | {"told": held["told"] - 7200, "until": held["until"] - 7200}))  # two hours later
    assert [r[0] for r in fetch_all(tmp_path, QUICK_BUT_5, "e", "f", run="later")] == ["unreachable"] * 2
    assert [a[-1] for a in asked] == ["a", "d", "e"]


def test_what_was_on_its_way_when_the_host_asked_to_slow_down_counts_once(tmp_path):
    turns = Hosts(tmp_path, Limits())
    began = time.time()
    waits = [turns.slower("http://x.org/", began, "slow").wait_s for _ in range(3)]
    assert all(hosts.FIRST_HOLD_S - 5 < wait_s <= hosts.FIRST_HOLD_S for wait_s in waits)
    turns.well("http://x.org/", began)  # a film that was on its way as well
    assert turns._held(tmp_path / "x.org")["times"] == 1
    assert turns.slower("http://x.org/", time.time(), "slow").wait_s > 1.9 * hosts.FIRST_HOLD_S


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
