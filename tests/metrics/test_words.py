"""Word and character errors against torchmetrics, by hand, and in scripts other than Latin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import words

SENTENCES = [("the cat sat on the mat", "the cat sat on a mat"), ("bin blue at f two now", "bin blue at s two"),
             ("we met at noon", "we met at noon"), ("one", "one two three four"), ("a b c", "")]


def test_rates_equal_torchmetrics():
    text = pytest.importorskip("torchmetrics.functional.text")
    said, heard = [a for a, _ in SENTENCES], [b for _, b in SENTENCES]
    total = words.Errors(0, 0)
    letters = words.Errors(0, 0)
    for a, b in SENTENCES:
        total += words.word_errors(a, b)
        letters += words.character_errors(a, b)
        assert words.word_errors(a, b).rate == pytest.approx(float(text.word_error_rate([b], [a])))
    assert total.rate == pytest.approx(float(text.word_error_rate(heard, said)))
    assert letters.rate == pytest.approx(float(text.char_error_rate(heard, said)))


@pytest.mark.parametrize(("a", "b", "n"), [("kitten", "sitting", 3), ("", "abc", 3), ("ab", "", 2), ("", "", 0), ("ab", "ba", 2)])
def test_edit_distances_of_textbooks(a, b, n):
    assert words.edit_distance(a, b) == n


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.text("abc", max_size=8))
@settings(max_examples=100, deadline=None)
def test_the_edit_distance_is_a_distance(a, b, c):
    assert words.edit_distance(a, b) == words.edit_distance(b, a)
    assert (words.edit_distance(a, b) == 0) == (a == b)
    assert words.edit_distance(a, c) <= words.edit_distance(a, b) + words.edit_distance(b, c)
    assert abs(len(a) - len(b)) <= words.edit_distance(a, b) <= max(len(a), len(b))


def test_what_does_not_count():
    assert words.word_errors("Don\u2019t stop, Anna!", "don't STOP anna").n_errors == 0
    assert words.word_errors("well-known", "well known").n_errors == 0
    assert words.normalised("  Stra\u00dfe\n\u2014 \uff21\uff22 ") == "strasse ab"


def test_marks_and_joiners_of_other_scripts():
    assert words.character_errors("\u0915\u093f", "\u0915\u0940").n_errors == 1  # another vowel sign is another word
    assert words.word_errors("\u0645\u06cc\u200c\u0631\u0648\u0645", "\u0645\u06cc\u0631\u0648\u0645").n_errors == 0
    assert words.word_errors("\u4f60\u597d\u3002", "\u4f60\u597d").n_errors == 0
    assert words.character_errors("\u4f60\u597d\u5417", "\u4f60\u597d").rate == pytest.approx(1 / 3)
    assert words.word_errors("cafe\u0301", "caf\u00e9").n_errors == 0


def test_scripts_without_spaces_are_known():
    assert [words.has_word_spaces(tag) for tag in ("en", "ko", "zh-Hans", "ja", "th")] == [True, True, False, False, False]


def test_an_empty_reference_has_no_rate_but_counts():
    nothing = words.word_errors("...", "hello there")
    assert nothing == words.Errors(2, 0) and nothing.rate is None
    assert (nothing + words.Errors(1, 6)).rate == 0.5
