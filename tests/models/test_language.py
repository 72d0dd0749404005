"""The spoken language: windows of speech, tags made comparable, and identifiers that the params name."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from models.experts.language import Spoken, WhisperLanguages, open_identifier, primary, spoken_language

RATE = 16000


class ByLevel:
    """Loud windows are Turkish, others English; a silent one it cannot tell."""

    name = "by-level"

    def identify(self, samples: np.ndarray) -> dict[str, float]:
        level = np.abs(samples).mean()
        return {} if not level else {"tr": 0.9, "en": 0.1} if level > 1000 else {"en-GB": 0.6, "tr": 0.4}


def test_time_is_counted_per_language():
    samples = np.concatenate([np.full(6 * RATE, 2000), np.full(3 * RATE, 50), np.zeros(3 * RATE)]).astype(np.int16)
    said = spoken_language(ByLevel(), samples, [(0, 6), (6, 8.5), (9, 12)])
    assert said.language == "tr" and said.share == pytest.approx(2 / 3) and said.second() == pytest.approx(1 / 3)
    assert said.shares == {"en": pytest.approx(1 / 3), "tr": pytest.approx(2 / 3)}
    assert spoken_language(ByLevel(), samples, [(0, 0.5)]) == Spoken(None, 0.0, {})
    assert spoken_language(ByLevel(), samples[:RATE], [(0.5, 5)]).language is None, "less than a second is there"


@pytest.mark.parametrize("tag, same", [("en-GB", "en"), ("zh-Hant-TW", "zh"), ("cmn", "zh"), ("iw", "he"), ("und", None),
                                       (None, None), ("x-gap", None), ("no", "nb")])
def test_tags_are_compared_by_their_language(tag, same):
    assert primary(tag) == same


def test_identifiers_are_opened_by_name():
    assert open_identifier("tests.models.test_language:ByLevel").name == "by-level"
    for named, says in (("tests.models.test_language:Nobody", "cannot be opened"), ("no.such:Thing", "cannot be opened"),
                        ("tests.models.test_language:Spoken", None)):
        with pytest.raises((ValueError, TypeError), match=says):
            open_identifier(named)
    with pytest.raises(ValueError, match="no `name`"):
        open_identifier("builtins:dict")


def test_whisper_is_asked_as_faster_whisper_documents(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ValueError, match="pip install faster-whisper"):
        WhisperLanguages()
    seen = {}

    class WhisperModel:
        def __init__(self, path, **options):
            if path == "broken":
                raise RuntimeError("no model.bin")
            seen["options"] = options

        def detect_language(self, audio):
            seen["audio"] = audio
            return "tr", 0.8, [("tr", 0.8), ("az", 0.2)]

    fake = types.ModuleType("faster_whisper")
    fake.WhisperModel = WhisperModel
    monkeypatch.setitem(sys.modules, "faster_whisper", fake)
    model = open_identifier("models.experts.language:WhisperLanguages", "small")
    assert model.name == "whisper:small" and model.identify(np.full(8, 16384, np.int16)) == {"tr": 0.8, "az": 0.2}
    assert seen["audio"].dtype == np.float32 and np.allclose(seen["audio"], 0.5) and seen["options"]["device"] == "cpu"
    with pytest.raises(ValueError, match="'broken'.*no model.bin"):
        WhisperLanguages("broken")
