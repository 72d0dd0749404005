"""A download that is several at a time, and a page that asks for a cookie and has picture and sound in two files."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request

import pytest

import stages.download
from core import executor, media
from tests.core.mappers import InHere
from tests.core.media_clips import clicks_in, mux, number_of
from tests.corpora.fault_server import fault_server
from tests.stages.sync_clips import SHORT, hum, inside, rows_of, workspace

FETCH = {"attempts": 2, "pause_s": 0.01, "stall_s": 5.0, "timeout_s": 60.0, "per_second": 1000.0}
OUT = "data/download/net-en"
JAR = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tkey\topen\n"
MANIFEST = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT3S"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="picture" codecs="avc1.42c00d" width="160" height="64" bandwidth="90000">
<BaseURL>picture.mp4</BaseURL></Representation></AdaptationSet>
<AdaptationSet mimeType="audio/mp4"><Representation id="sound" codecs="mp4a.40.2" bandwidth="64000">
<BaseURL>sound.m4a</BaseURL></Representation></AdaptationSet>
</Period></MPD>"""


def made(folder, server, **fetch):
    """A workspace with two films that the server holds back until both are asked for, a stretch of the first whose id comes
    before the second's, and two stretches of one page's video."""
    (folder / "index").mkdir(parents=True)
    at = server.address
    (folder / "index" / "t.csv").write_text("\n".join([
        "id,url,fetch,start_s,end_s,language", f"a1,{at}/pair-1/film.mp4,http,,,en",
        f"a1b,{at}/pair-1/film.mp4,http,0,1,en", f"a2,{at}/pair-2/film.mp4,http,,,en",
        f"apart,{at}/member/apart.html,page,1,2.4,en", f"whole,{at}/member/apart.html,page,,,en"]) + "\n")
    return workspace(folder, {"net": {"adapter": "csv", "path": "index/t.csv", "languages": {"en": {}}}}, fetch=FETCH | fetch)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """(folder, server) after a download by two processes."""
    folder = tmp_path_factory.mktemp("wide")
    times_s, heard = [i / 25 for i in range(75)], [{"codec": "aac", "samples": hum(SHORT)}]
    with fault_server() as server:
        for name, what in (("film.mp4", {"times_s": times_s, "tracks": heard}), ("picture.mp4", {"times_s": times_s}),
                           ("sound.m4a", {"tracks": heard})):
            server.files[name] = mux(folder / name, **what).read_bytes()
        server.files["apart.html"] = b'<!doctype html><title>A film</title><video><source src="film.mpd" ' \
                                     b'type="application/dash+xml"></video>'
        server.files["film.mpd"] = MANIFEST.encode()
        (folder / "jar.txt").write_text(JAR)
        with inside(made(folder / "two", server, parallel=2, cookies=str(folder / "jar.txt"))) as params:
            assert params.executor.workers == 1, "cores and hosts are counted apart"
            stages.download.main("net-en", params)
        yield folder, server


def tree(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_fetches_are_under_way_at_once(wide):
    _, server = wide
    assert server.met.is_set() and server.hits["pair-1"] == server.hits["pair-2"] == 1


def test_a_page_with_picture_and_sound_apart_becomes_one_recording(wide):
    folder, server = wide
    out = folder / "two" / OUT
    rows = {r["recording_id"]: r for r in rows_of(folder / "two", "download", "net-en", "recordings")}
    assert set(rows) == {"a1", "a1b", "a2", "apart", "whole"}
    assert json.loads(rows["apart"]["extra"])["fetched"]["format"].split("+") == ["picture", "sound"]
    assert server.hits["pair-1"] and {r["file"] for r in rows.values()} >= {"apart.mkv", "whole.mkv"}
    for name, first, n, clicks in (("apart", 25, 35, (0.15, 1.15)), ("whole", 0, 75, (1.15, 2.15))):
        assert [number_of(frame) for frame in media.read_frames(out / "media" / f"{name}.mkv")] == list(range(first, first + n))
        heard = clicks_in(media.read_audio(out / "media" / f"{name}.mkv"), clicks)
        assert heard == pytest.approx(clicks, abs=0.003)


def test_the_cookies_of_the_file_reached_the_server_and_are_as_they_were(wide):
    folder, server = wide
    assert server.hits["member"] == 4 and (folder / "jar.txt").read_text() == JAR, "the page, the manifest, picture and sound"
    with pytest.raises(urllib.error.HTTPError, match="403"):  # as anybody without them
        urllib.request.urlopen(f"{server.address}/member/apart.html")


def test_how_many_are_under_way_changes_no_byte(wide, monkeypatch):
    folder, server = wide
    monkeypatch.setattr(executor, "WorkerPool", InHere)
    hits = dict(server.hits)
    with inside(made(folder / "one", server, parallel=1, store=str(folder / "two" / ".babelface" / "fetched"))) as params:
        stages.download.main("net-en", params)
    assert tree(folder / "one" / OUT) == tree(folder / "two" / OUT) and server.hits == hits
