"""Speech: the same bytes again, times that hold, and every sentence of every language spoken in its own language."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from corpora.synthetic.language import known_languages, load_language
from corpora.synthetic.speech import VARIANTS, check_voice, read_events, speak
from corpora.synthetic.visemes import visemes_of


@pytest.fixture(scope="module")
def spoken():
    """Every sentence of every language, spoken: {tag: [Utterance]}."""
    jobs = [(tag, sentence) for tag in known_languages() for sentence in load_language(tag).sentences]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda job: speak(job[1], load_language(job[0]).voice), jobs))
    found = {tag: [] for tag in known_languages()}
    for (tag, _), utterance in zip(jobs, said, strict=True):
        found[tag].append(utterance)
    return found


def test_languages_are_eight_of_six_families_with_24_sentences_in_native_script():
    entries = [load_language(tag) for tag in known_languages()]
    assert len(entries) >= 8 and len({entry.family for entry in entries}) >= 6
    assert all(len(entry.sentences) == 24 for entry in entries)
    ranges = {"Cyrl": (0x400, 0x4FF), "Arab": (0x600, 0x6FF), "Hans": (0x4E00, 0x9FFF), "Kore": (0xAC00, 0xD7A3),
              "Latn": (0x41, 0x24F)}
    for entry in entries:
        low, high = ranges[entry.script]
        letters = [char for sentence in entry.sentences for char in sentence if char.isalpha()]
        assert all(low <= ord(char) <= high for char in letters), (entry.tag, {c for c in letters if not low <= ord(c) <= high})


@pytest.mark.parametrize("tag", known_languages())
def test_every_sentence_is_spoken_in_its_language_with_every_sound_mapped(spoken, tag):
    for sentence, utterance in zip(load_language(tag).sentences, spoken[tag], strict=True):
        assert utterance.switches == (), sentence
        assert 2.5 <= utterance.end_s <= 7.0, (sentence, utterance.end_s)
        sounds = [p for p in utterance.phonemes if p.symbol]
        assert 5 <= len(sounds) / utterance.end_s <= 20, (sentence, len(sounds))
        assert all(len(visemes_of(p.symbol)) == 1 for p in sounds)


@pytest.mark.parametrize("tag", known_languages())
def test_times_are_monotone_without_gaps_and_end_with_the_audio(spoken, tag):
    for utterance in spoken[tag]:
        phonemes = utterance.phonemes
        assert phonemes[0].start_s >= 0 and all(p.end_s > p.start_s for p in phonemes)
        assert all(abs(a.end_s - b.start_s) < 1e-9 for a, b in zip(phonemes, phonemes[1:], strict=False))
        assert abs(phonemes[-1].end_s - utterance.end_s) < 1e-9
        assert utterance.samples.dtype == np.int16 and abs(len(utterance.samples) / 16_000 - utterance.end_s) < 1.1e-3


def test_vowels_are_louder_than_pauses_where_the_times_say_so(spoken):
    def level(utterance, wanted):
        parts = [utterance.samples[round(p.start_s * 16_000): round(p.end_s * 16_000)] for p in utterance.phonemes if wanted(p)]
        return np.sqrt(np.mean(np.concatenate(parts or [np.zeros(1)]).astype(float) ** 2))

    def pauses(utterance):
        return [p for p in utterance.phonemes if not p.symbol and p.end_s - p.start_s > 0.15]

    with_pauses = [u for said in spoken.values() for u in said if pauses(u)]
    assert len(with_pauses) > 20
    for u in with_pauses:
        vowel = level(u, lambda p: p.symbol and visemes_of(p.symbol)[0] in ("aa", "eh", "oh"))
        pause = level(u, lambda p: not p.symbol and p.end_s - p.start_s > 0.15)
        assert pause < 0.2 * vowel


def test_speaks_the_same_bytes_again_and_other_bytes_with_another_voice():
    first = speak("We met at noon.", "en-us", variant="f2", rate_wpm=140, pitch=60)
    again = speak("We met at noon.", "en-us", variant="f2", rate_wpm=140, pitch=60)
    other = speak("We met at noon.", "en-us", variant="m2", rate_wpm=140, pitch=60)
    slower = speak("We met at noon.", "en-us", variant="f2", rate_wpm=100, pitch=60)
    assert first.samples.tobytes() == again.samples.tobytes() and first.phonemes == again.phonemes
    assert first.samples.tobytes() != other.samples.tobytes()
    assert slower.end_s > 1.2 * first.end_s


def test_every_listed_variant_says_the_same_twice():
    for variant in VARIANTS:
        once, twice = (speak("We met at noon, and she walked home.", "en-us", variant=variant).samples.tobytes()
                       for _ in range(2))
        assert once == twice, variant


def test_an_echo_rings_on_after_the_last_phoneme():
    echo = speak("We met at noon.", "en-us", variant="f3")
    assert len(echo.samples) / 16_000 > echo.end_s + 0.05
    assert abs(echo.phonemes[-1].end_s - echo.end_s) < 1e-9


def test_an_unknown_variant_or_language_is_refused_not_replaced():
    with pytest.raises(ValueError, match="variant 'nosuch'"):
        speak("hello", "en-us", variant="nosuch")
    with pytest.raises(ValueError, match="language 'nosuch'"):
        speak("hello", "nosuch")
    with pytest.raises(ValueError, match="did you mean .*cmn"):
        speak("hello", "cmnn")
    with pytest.raises(ValueError, match="rate_wpm=20: expected 80..450"):
        speak("hello", "en-us", rate_wpm=20)


def test_the_child_process_reports_a_voice_that_does_not_load(monkeypatch):
    monkeypatch.setattr("corpora.synthetic.speech.check_voice", lambda voice, variant: None)
    with pytest.raises(RuntimeError, match="no voice 'nosuch' .code 2"):
        speak("hello", "nosuch")


def test_all_listed_variants_exist():
    assert len(set(VARIANTS)) == len(VARIANTS) >= 40
    for variant in VARIANTS:
        check_voice("en-us", variant)


def test_a_language_switch_is_reported():
    assert "en" in speak("Вчера я купил new window и стол.", "ru").switches


def test_events_share_time_merge_pauses_and_keep_closures():
    raw = [(0, ""), (100, "m"), (200, "aɪ"), (400, "l"), (400, "z"), (600, "ʲ"), (700, ""), (740, "th"), (1000, ""), (1500, ""),
           (1600, "(en)"), (1600, "a")]
    phonemes, switches = read_events(raw, 2000, 1000)
    assert switches == ("en",)
    assert [(p.symbol, p.start_s, p.end_s) for p in phonemes] == [
        ("", 0.0, 0.1), ("m", 0.1, 0.2), ("a", 0.2, 0.3), ("ɪ", 0.3, 0.4), ("l", 0.4, 0.55), ("z", 0.55, 0.7), ("th", 0.7, 1.0),
        ("", 1.0, 1.6), ("a", 1.6, 2.0)]


def test_a_language_file_that_is_wrong_is_named(tmp_path):
    (tmp_path / "qq.yaml").write_text("name: Q\nfamily: Q\nscript: Latn\nvoice: no\nsentences: [a]\n")
    with pytest.raises(ValueError, match=r"qq\.yaml: voice must be a text"):
        load_language("qq", tmp_path)
    (tmp_path / "rr.yaml").write_text("name: Q\nsentences: [a]\n")
    with pytest.raises(ValueError, match=r"rr\.yaml: expected exactly the fields"):
        load_language("rr", tmp_path)
    with pytest.raises(ValueError, match=r"no language 'eng'.*did you mean"):
        load_language("eng")
