"""The speech benchmark: perfect answers have no error, and what is joined keeps its truth."""

from __future__ import annotations

import numpy as np
import pytest

from bench import speech

RATE = speech.RATE


class Told:
    """A voice detector and a diarizer that are told the answer."""

    def __init__(self, answers):
        self._answers = answers

    def regions(self, samples):
        return [(a, b) for a, b, _ in self._answers[len(samples)]]

    def voices(self, samples, given):
        return self._answers[len(samples)]


def recording(seconds: int, spans, speaker):
    return np.zeros(seconds * RATE, np.int16), spans, speaker


def test_joining_keeps_who_speaks_when():
    samples, truth = speech.joined([recording(3, [(0.5, 2.5)], "a"), recording(4, [(1.0, 2.0), (2.5, 3.5)], "b")])
    assert len(samples) == 7 * RATE and truth == [(0.5, 2.5, "a"), (4.0, 5.0, "b"), (5.5, 6.5, "b")]
    items = [recording(3, [(0.5, 2.5)], s) for s in "abab"]
    mixed = speech.mixtures_of(items)
    assert [[who for _, _, who in truth] for _, truth in mixed] == [["a", "b", "a", "b"], ["a", "a"], ["b", "b"]]


def test_errors_are_shares_of_the_true_speech():
    items = [recording(10, [(1.0, 6.0)], "a")]
    right, half = Told({10 * RATE: [(1.0, 6.0, "A")]}), Told({10 * RATE: [(1.0, 3.5, "A"), (7.0, 8.0, "A")]})
    assert speech.detection(items, right)["error"] == 0
    found = speech.detection(items, half)
    assert found["missed"] == pytest.approx(0.5, abs=0.03) and found["false_alarm"] == pytest.approx(0.2, abs=0.03)
    assert found["all_speech"] == pytest.approx(1.0, abs=0.05)
    assert found["error"] == pytest.approx(found["missed"] + found["false_alarm"])
    sound, truth = speech.joined([recording(5, [(0.5, 4.5)], "a"), recording(6, [(1.0, 5.0)], "b")])
    perfect = Told({len(sound): [(0.5, 4.5, "B"), (6.0, 10.0, "A")]})
    scored = speech.diarization([(sound, truth)], perfect, perfect)
    assert (scored["given"], scored["found"], scored["voices_right"]) == (0, 0, 1) and scored["one_voice"] == pytest.approx(0.5)


def test_on_the_synthetic_corpus_both_beat_their_baselines(tmp_path):
    from models.experts.diarization import ClusterDiarizer
    from models.experts.voice import open_voice

    items = speech.recordings("en", 2, 77, True, tmp_path)
    assert len(items) == 4 and len({speaker for _, _, speaker in items}) == 2
    heard = speech.detection(items, open_voice("energy"))
    assert heard["error"] < 0.06 < heard["all_speech"]
    mixed = speech.diarization(speech.mixtures_of(items), ClusterDiarizer(), open_voice("energy"))
    assert mixed["given"] < 0.2 < mixed["one_voice"] and mixed["mixtures"] == 3
