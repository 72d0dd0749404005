"""HTTP against a server that truncates, stalls, resets, lies and refuses: the whole file or a reason, never half of one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from email.utils import formatdate

import pytest

from core.records import Reject
from corpora.fetch import http as fetching
from corpora.fetch.hosts import Hosts
from corpora.fetch.limits import Limits, Log, pause
from tests.corpora.fault_server import BODY, DIGEST, TAG, fault_server

QUICK = {"attempts": 4, "pause_s": 0.01, "stall_s": 0.3, "timeout_s": 5.0, "per_second": 1000.0, "per_host": 8}


@pytest.fixture(scope="module")
def shared_server():
    with fault_server() as server:
        yield server


@pytest.fixture
def server(shared_server):
    for record in (shared_server.hits, shared_server.ranges, shared_server.times, shared_server.files):
        record.clear()
    shared_server.retry_after, shared_server.most_busy = None, 0
    return shared_server


@pytest.fixture
def get(server, tmp_path):
    """get(path, **limits) -> (Got, bytes of the file); the folder holds nothing else afterwards."""

    def run(path, sha256=None, log=Log(None), **limits):
        bounds = Limits(**QUICK | limits)
        got = fetching.download(f"{server.address}/{path}", tmp_path / "out" / "v.mp4", bounds, Hosts(tmp_path / "hosts", bounds),
                                sha256=sha256, log=log)
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["v.mp4"]
        return got, (tmp_path / "out" / "v.mp4").read_bytes()

    return run


@pytest.fixture
def refused(get, tmp_path):
    """refused(path, ...) -> the Reject; no file has the target's name."""

    def run(path, **limits):
        with pytest.raises(Reject) as caught:
            get(path, **limits)
        assert not (tmp_path / "out" / "v.mp4").exists()
        return caught.value

    return run


@pytest.mark.parametrize("path", ["good", "truncate", "stall", "reset", "wrong-once", "changed", "liar", "chunked", "moved",
                                  "status-503-2",
                                  "status-429-1", "status-404-1", "status-403-1"])
def test_in_the_end_every_byte_is_there(get, path):
    got, data = get(path, sha256=DIGEST if path == "wrong-once" else None)
    assert data == BODY and (got.bytes, got.sha256) == (len(BODY), DIGEST)


@pytest.mark.parametrize("path, reason, hits, words", [
    ("never", "incomplete", 4, f"1000 of {len(BODY)}"), ("less", "incomplete", 2, "and more came"),
    ("more", "incomplete", 4, "bytes came"),
    ("stall-on", "unreachable", 4, "timed out"), ("status-404", "gone", 2, "404"), ("status-410", "gone", 2, "410"),
    ("status-403", "forbidden", 2, "403"), ("status-401", "forbidden", 2, "401"), ("status-500", "unreachable", 4, "500"),
    ("status-429", "unreachable", 4, "429"), ("status-400", "unreachable", 1, "400")])
def test_what_cannot_be_had_has_a_reason_after_so_many_attempts(refused, server, path, reason, hits, words):
    reject = refused(path)
    assert (reject.reason, server.hits[path]) == (reason, hits) and words in reject.detail and server.address in reject.detail


def test_wrong_bytes_are_refused_when_a_hash_is_promised(refused, server):
    reject = refused("wrong", sha256=DIGEST)
    assert reject.reason == "wrong_hash" and DIGEST in reject.detail and server.hits["wrong"] == 2


def test_what_is_there_is_not_asked_for_again(get, server):
    get("truncate")
    quarter = len(BODY) // 4
    assert [r for _, r in server.ranges] == [None, *(f"bytes={k * quarter}-" for k in (1, 2, 3))]


def test_a_later_call_goes_on_where_a_killed_one_was(get, server, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".v.mp4.part").write_bytes(BODY[:70_000])
    about = {"address": f"{server.address}/good", "etag": TAG, "validator": TAG, "total": len(BODY)}
    (tmp_path / "out" / ".v.mp4.part.json").write_text(json.dumps(about))
    assert get("good")[1] == BODY and [r for _, r in server.ranges] == ["bytes=70000-"]


@pytest.mark.parametrize("about", ['{"address": "http://elsewhere/", "etag": null, "validator": "x", "total": 9}', "{", "{}",
                                   None])
def test_a_part_that_nobody_can_vouch_for_is_not_used(get, server, tmp_path, about):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".v.mp4.part").write_bytes(b"something else")
    if about is not None:
        (tmp_path / "out" / ".v.mp4.part.json").write_text(about)
    assert get("good")[1] == BODY and [r for _, r in server.ranges] == [None]


def test_a_killed_process_leaves_no_file_and_the_next_one_ends_it(get, server, tmp_path, root):
    code = ("import sys; from pathlib import Path\nfrom corpora.fetch.http import download\n"
            "from corpora.fetch.hosts import Hosts\n"
            "from corpora.fetch.limits import Limits\nlimits = Limits(stall_s=30)\n"
            "download(sys.argv[1], Path(sys.argv[2]), limits, Hosts(Path(sys.argv[3]), limits))")
    child = subprocess.Popen([sys.executable, "-c", code, f"{server.address}/stall", str(tmp_path / "out" / "v.mp4"),
                              str(tmp_path / "hosts")],
                             cwd=root)
    part = tmp_path / "out" / ".v.mp4.part"
    try:
        end = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size >= 100_000) and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    assert part.stat().st_size == 100_000 and not (tmp_path / "out" / "v.mp4").exists()
    assert get("stall")[1] == BODY and server.ranges[-1] == ("stall", "bytes=100000-")


def test_time_is_bounded_even_where_bytes_keep_coming(refused):
    reject = refused("drip", timeout_s=0.5)
    assert reject.reason == "unreachable" and "0.5 s" in reject.detail


def test_retry_after_is_kept_to_and_given_up_on_where_it_is_too_late(get, server):
    server.retry_after = "0.4"
    assert get("status-429-1")[1] == BODY
    first, second = (t for _, t in server.times)
    assert second - first >= 0.4
    server.retry_after = formatdate(time.time() + 3000, usegmt=True)
    with pytest.raises(Reject, match="unreachable.*pause"):
        get("status-503")
    assert server.hits["status-503"] == 1


def test_retry_after_in_both_forms():
    assert fetching.retry_after("7") == 7 and fetching.retry_after("Fri, 31 Dec 1999 23:59:59 GMT", now=946684790.0) == 9
    assert [fetching.retry_after(v) for v in (None, "", "soon", "-3")] == [None] * 4
    assert fetching.retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0


def test_pauses_double_and_never_agree():
    for failed, longest in ((1, 2.0), (2, 4.0), (4, 16.0), (30, 120.0)):
        drawn = [pause(failed, 2.0) for _ in range(50)]
        assert longest / 2 <= min(drawn) and max(drawn) <= longest and len(set(drawn)) > 40


def test_too_large_a_file_is_not_even_begun(refused, server, tmp_path):
    assert refused("good", max_bytes=1000).reason == "too_large"
    assert refused("chunked", max_bytes=1000).reason == "too_large"
    assert server.hits["good"] == server.hits["chunked"] == 1


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://x.org/v.mp4", "http://", "https:///v.mp4", "//x.org/v",
                                     "http://x.org/a b",
                                     "http://[x/", "javascript:1", ""])
def test_only_web_addresses(address, tmp_path):
    with pytest.raises(Reject, match="bad_url"):
        fetching.download(address, tmp_path / "v", Limits(), Hosts(tmp_path, Limits()))


def test_a_redirect_to_a_file_is_not_followed(refused, server):
    assert refused("file").reason == "bad_url" and server.hits["file"] == 1


def test_a_host_sees_no_more_than_so_many_at_a_time_and_so_fast(tmp_path):
    with fault_server() as server:  # its own: the shared one may still be stalling for another test
        _so_many_at_a_time(server, tmp_path)


def _so_many_at_a_time(server, tmp_path):
    limits = Limits(**QUICK | {"per_host": 2, "per_second": 20.0})

    def one(k):
        fetching.download(f"{server.address}/good", tmp_path / f"{k}.mp4", limits, Hosts(tmp_path / "hosts", limits))

    threads = [threading.Thread(target=one, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((tmp_path / f"{k}.mp4").read_bytes() == BODY for k in range(6))
    times = sorted(t for _, t in server.times)
    assert server.most_busy <= 2 and times[-1] - times[0] >= 5 / 20 * 0.9


def test_every_attempt_leaves_a_line(get, tmp_path):
    get("status-503-2", log=Log(tmp_path / "logs" / "a.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "logs" / "a.jsonl").read_text().splitlines()]
    assert [(x["attempt"], x["outcome"], x.get("status")) for x in lines] == [(1, "unreachable", 503), (2, "unreachable", 503),
                                                                              (3, "done", None)]
    assert all(x["seconds"] >= 0 and x["time"].endswith("Z") for x in lines)


def test_a_full_disk_is_no_fault_of_the_item(get, server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching, "_copy", full)
    with pytest.raises(OSError, match="No space"):
        get("good")
    assert server.hits["good"] == 1


def test_a_server_that_is_not_there(tmp_path):
    limits = Limits(**QUICK)
    with pytest.raises(Reject, match="unreachable") as caught:
        fetching.download("http://127.0.0.1:9/v.mp4", tmp_path / "v", limits, Hosts(tmp_path, limits))
    assert "4 attempts" in caught.value.detail
