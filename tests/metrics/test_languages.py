"""Distances between languages: known families, unknown tags, and overlaps worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.languages import bare, distance, genealogical_distance, known, nearest, sound_counts, table, total_variation
from metrics.language_table import LICENCE, SOURCE, TABLE

TAGS = sorted(table())


def test_the_table_holds_what_the_corpora_have(root):
    from corpora.multitalk import CARD

    ours = {path.stem for path in (root / "corpora" / "languages").glob("*.yaml")}
    assert ours | set(CARD.languages) <= set(TAGS) and len(CARD.languages) == 20
    assert "Glottolog 5" == SOURCE and "CC BY" in LICENCE
    lines = [line.split("|")[0].strip() for line in TABLE.splitlines()]
    assert lines == sorted(lines) and len(lines) == len(set(lines)) == len(TAGS)


@given(st.sampled_from(TAGS), st.sampled_from(TAGS))
def test_it_is_a_distance_in_the_unit_interval(a, b):
    there, back = genealogical_distance(a, b), genealogical_distance(b, a)
    assert there == back and 0 <= there[0] <= 1 and (there[0] == 0) == (a == b)
    assert (there[0] == 1) == (known(a).family != known(b).family)


def test_nearer_relatives_are_nearer():
    def d(a, b):
        return genealogical_distance(a, b)[0]

    assert d("es", "pt") < d("es", "it") < d("es", "de") < d("es", "fi") == 1
    assert d("ru", "uk") < d("ru", "pl") < d("ru", "en") and d("fi", "et") < d("fi", "hu") < 1
    # Russian and Polish: three shared nodes of paths of 5 and 6
    assert d("ru", "pl") == pytest.approx(1 - 2 * 3 / (5 + 6))


def test_unknown_tags_give_a_reason():
    assert genealogical_distance("en", "x-gap") == genealogical_distance("en", "tlh") == (None, "unknown_language")
    assert known("corpus/pt-BR").tag == "pt" and known(None) is None
    assert known("zh-yue").tag == "yue" and known("cmn-Hans").tag == "zh"


def test_overlap_of_sounds():
    assert total_variation({"a": 1, "b": 1}, {"a": 30, "b": 10}) == pytest.approx(0.25)
    assert total_variation({"a": 2}, {"a": 5}) == 0 and total_variation({"a": 2}, {"b": 5}) == 1
    assert total_variation({}, {"a": 1}) is None


def test_counts_leave_silence_and_marks_out():
    said = [{"symbol": "ˈaː", "viseme": "aa", "start_s": 0.0, "end_s": 0.2},
            {"symbol": "a5", "viseme": "aa", "start_s": 0.2, "end_s": 0.3},
            {"symbol": "", "viseme": "sil", "start_s": 0.3, "end_s": 1.0}]
    found = sound_counts([said, None])
    assert found["phonemes"] == {"a": 2} and found["visemes"] == {"aa": pytest.approx(0.3)}
    assert bare("tʃʲ") == "tʃ" and bare("'") == ""


def test_the_nearest_training_language_counts():
    sounds = {"en": {"visemes": {"aa": 1}}, "zh": {"visemes": {"aa": 1, "ou": 1}}, "tr": {"visemes": {"ou": 1}}}
    assert nearest("visemes", "tr", ["en", "zh"], sounds) == (0.5, "zh", None)
    assert nearest("genealogical", "de", ["zh", "en"], {})[1] == "en"
    assert nearest("genealogical", "tr", ["tr", "x-a"], {}) == (0.0, "tr",
                                                                None), "a language is nearest to itself, whatever else is unknown"
    assert nearest("genealogical", "tr", ["en", "x-a"], {}) == (None, None, "unknown_language")
    assert nearest("visemes", "fi", ["en"], sounds) == (None, None, "no_truth")
    assert nearest("visemes", "fi", [], sounds)[2] == "unknown_training"
    assert distance("phonemes", "en", "tr", sounds) == (None, "no_truth")
