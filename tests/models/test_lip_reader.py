"""Lip readers are plugged in by name; one that says what it is told, through to the word error rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.words import word_errors
from models.experts.lip_reader import LipReader, known_as, open_lip_reader, source_of

HERE = "tests.models.test_lip_reader"


class Told:
    """Reads the words written into the first pixels: enough to see that frames arrive."""

    name, languages, view = "told-1", ("en", "pt"), "mouth"

    def __init__(self, weights=None, words: str = "bin blue at f"):
        self.weights, self._words = weights, words.split()

    def read(self, frames: np.ndarray, language: str) -> str:
        return " ".join(self._words[i] for i in frames[:, 0, 0, 0])


class Halfway:
    name = "no-read"


def test_a_reader_is_made_by_name_and_read_with(tmp_path):
    reader = open_lip_reader(f"{HERE}:Told", tmp_path / "weights.pt", words="one two three")
    assert isinstance(reader, LipReader) and reader.weights == tmp_path / "weights.pt"
    assert open_lip_reader(f"{HERE}:Told").weights is None
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    frames[:, 0, 0, 0] = 0, 2, 2
    heard = reader.read(frames, "en")
    assert heard == "one three three" and word_errors("one two three", heard).rate == pytest.approx(1 / 3)


def test_languages_by_their_main_part():
    reader = Told()
    assert [known_as(reader, tag) for tag in ("en", "pt-BR", "ja", "x-gap", None)] == ["en", "pt", None, None, None]


def test_the_file_of_a_reader_is_found():
    assert source_of(f"{HERE}:Told").resolve() == Path(__file__).resolve()


@pytest.mark.parametrize(("target", "match"), [
    ("nothing", "package.module:name"), ("no_such_package:Reader", "cannot be imported"),
    (f"{HERE}:Nobody", "cannot be imported"), (f"{HERE}:Halfway", "languages, view, read")])
def test_what_is_no_reader_is_refused(target, match):
    with pytest.raises(ValueError, match=match):
        open_lip_reader(target)
