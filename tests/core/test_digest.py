from __future__ import annotations

import hashlib

import numpy as np
import pytest

from core.digest import digest_file, digest_of


def test_equal_content_has_equal_digests():
    assert digest_of({"b": [1, 2.5], "a": None}) == digest_of({"a": None, "b": (1, 2.5)})
    assert digest_of({"b", "a"}) == digest_of(["a", "b"])
    assert digest_of(b"x") == hashlib.sha256(b"x").hexdigest()
    assert digest_of("ü") == hashlib.sha256('"ü"'.encode()).hexdigest()


def test_digests_are_those_that_finished_ledgers_hold():
    said = ["clip-1", None, "real", ["page", "https://x.org/?v=ü", 10.5, 1e-07, None, 0],
            {"b": [0.1, True], "a": {"d": 1, "c": b"x"}}]
    text = ('["clip-1", null, "real", ["page", "https://x.org/?v=ü", 10.5, 1e-07, null, 0], {"a": {"c": "'
            + hashlib.sha256(b"x").hexdigest() + '", "d": 1}, "b": [0.1, true]}]')
    assert digest_of(said) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("a, b", [(1, "1"), ([1, 2], [2, 1]), ({"a": 1}, {"a": 2}), (None, ""),
                                  ({"a": b"x"}, {"a": b"y"}), (1, 1.5)])
def test_other_content_has_another_digest(a, b):
    assert digest_of(a) != digest_of(b)


def test_bytes_inside_count_by_their_own_hash():
    assert digest_of({"video": b"long"}) == digest_of({"video": hashlib.sha256(b"long").hexdigest()})


def test_what_cannot_be_hashed_is_refused():
    for value in (np.zeros(3), object(), np.float32(1)):
        with pytest.raises(TypeError, match="cannot hash"):
            digest_of({"a": value})


def test_a_file_is_hashed_by_content(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same" * 100_000)
    assert digest_file(tmp_path / "a") == digest_file(tmp_path / "b") == hashlib.sha256(b"same" * 100_000).hexdigest()
