"""Visemes: the mapping has no silent default, and the targets lie apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from corpora.synthetic.state import MOUTH
from corpora.synthetic.visemes import VISEMES, base, segments, viseme_of, visemes_of


def test_targets_name_the_mouth_fields_within_their_ranges():
    for name, target in VISEMES.items():
        assert tuple(target) == MOUTH
        assert all((-1 if field == "wide" else 0) <= value <= 1 for field, value in target.items()), name


def test_targets_lie_apart():
    rows = {name: np.array(list(target.values())) for name, target in VISEMES.items()}
    near = {(a, b): float(np.linalg.norm(rows[a] - rows[b])) for a, b in combinations(rows, 2)}
    assert min(near.values()) > 0.4, min(near, key=near.get)


@pytest.mark.parametrize(("symbol", "expected"), [
    ("p", ["pp"]), ("ph", ["pp"]), ("pʼ", ["pp"]), ("ˈm̩", ["pp"]), ("p-", ["pp"]), ("mʲ", ["pp"]), ("f", ["ff"]), ("ð", ["th"]),
    ("t̪", ["dd"]), ("tʲ", ["dd"]), ("tʃʲ", ["ch"]), ("t͡ɕʰ", ["ch"]), ("dʒ", ["ch"]), ("tɕh", ["ch"]),
    ("ts", ["ss"]), ("tsh", ["ss"]),
    ("ts.h", ["ch"]), ("s.", ["ch"]), ("s-", ["ss"]), ("q-", ["kk"]), ("ħ", ["kk"]), ("dˤ", ["dd"]), ("ɫ", ["nn"]), ("ɹ", ["rr"]),
    ("iːː", ["ih"]), ("a˥˩", ["aa"]), ("ã", ["aa"]), ("u\"", ["ou"]), ("ˈaɪ", ["aa", "ih"]), ("iou", ["ih", "oh", "ou"]),
    ("ɔːɹ", ["oh", "rr"]), ("əl", ["eh", "nn"]), ("onɡ", ["oh", "nn", "kk"]), ("", []), ("ʲ", []),
])
def test_symbols_map_with_their_marks(symbol, expected):
    assert visemes_of(symbol) == expected
    assert viseme_of(symbol) == (expected[0] if expected else "sil")


def test_unmapped_letters_are_named_all_at_once():
    with pytest.raises(ValueError, match=r"'Q' \(U\+0051\), '☃' \(U\+2603\)"):
        visemes_of("Qa☃")


def test_segments_keep_marks_with_their_letter():
    assert segments("ˈtʃʲiːˌa") == ["ˈtʃʲ", "iː", "ˌa"]
    assert base("ˈtʃʲ") == "tʃ"
