"""The store of whole sources: what is doubted is fetched once more, what is dropped is gone at every height."""

from __future__ import annotations

import pytest

from core import shards
from core.records import Reject, Source
from corpora.fetch.limits import Limits
from corpora.fetch.store import Store
from tests.corpora.fault_server import BODY, DIGEST, fault_server

QUICK = Limits(attempts=1, pause_s=0.01, stall_s=2.0, timeout_s=10.0, per_second=1000.0)


@pytest.fixture
def server():
    with fault_server() as server:
        yield server


def test_what_is_doubted_is_asked_for_once_more_and_stays_where_that_fails(server, tmp_path):
    store, film = Store(tmp_path, QUICK, "one"), Source("http", f"{server.address}/served/v.mp4")
    server.files["v.mp4"] = b"old"
    assert store.whole(film).path.read_bytes() == b"old" and store.has(film) == 3
    assert store.doubt([film, film]) == 1 and store.has(film) is None
    server.files["v.mp4"] = b"a new one"
    assert store.whole(film).path.read_bytes() == b"a new one" == store.whole(film).path.read_bytes()
    assert server.hits["served"] == 2
    del server.files["v.mp4"]
    store.doubt([film])
    for _ in range(2):
        with pytest.raises(Reject, match="gone"):
            store.whole(film)
    assert server.hits["served"] == 3, "all items of that run hear the same"
    assert Store(tmp_path, QUICK, "two").whole(film).path.read_bytes() == b"a new one" and server.hits["served"] == 3


def test_what_is_not_here_or_has_the_promised_hash_is_not_doubted(server, tmp_path):
    store, good = Store(tmp_path, QUICK), Source("http", f"{server.address}/good", sha256=DIGEST)
    assert store.doubt([good]) == 0
    store.whole(good)
    assert store.doubt([good]) == 0 == store.doubt([Source("http", "http://x.org/v.mp4")]) and store.has(good) == len(BODY)


def test_dropping_an_address_takes_all_heights_kinds_and_halves_of_it(tmp_path):
    for kind, height, left in (("page", 720, ""), ("page", 1080, ".next"), ("http", 1080, ""), ("page", 360, "")):
        store = Store(tmp_path, Limits(height=height))
        at = "https://x.org/v" if height != 360 else "https://x.org/w"
        place = store._place(Source(kind, at))
        place = place.with_suffix(left) if left else place
        place.mkdir(parents=True)
        (place / "whole.mp4").write_bytes(bytes(10))
        if not left:
            shards.write_json(place / "source.json", {"at": at, "kind": kind, "files": ["whole.mp4"], "bytes": 10, "sha256": "0"})
    assert store.addresses() == {"https://x.org/v": 20, "https://x.org/w": 10}
    assert store.drop(["https://x.org/v", "https://x.org/u"]) == {"https://x.org/v": 30}
    assert [p.name for p in (tmp_path / "wholes").iterdir()] == [store._place(Source("page", "https://x.org/w")).name]
    assert Store(tmp_path / "none", Limits()).drop(["https://x.org/v"]) == {} == Store(tmp_path / "none", Limits()).addresses()
