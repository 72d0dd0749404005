"""Which language is spoken: windows of sound in, tags with probabilities out, by an identifier that the params name.

`inspect.language_identifier: "module:Class"` names any class with the two members of `LanguageIdentifier`. `WhisperLanguages` is
one, for the package faster-whisper, which is not among this project's requirements.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

RATE = 16000
LEAST_S, PAUSE_S = 1.0, 0.7
"""Stretches of speech with shorter pauses between them are one; one that is shorter than the first is not asked about."""
OLD_TAGS = {"iw": "he", "in": "id", "ji": "yi", "jw": "jv", "no": "nb", "cmn": "zh", "yue": "zh"}
"""Tags that mean the same as another, and macrolanguages: labels and answers are compared after this."""


class LanguageIdentifier(Protocol):
    """What `inspect.language_identifier` must name. Made once per process: Class(language_model), or Class() without one."""

    name: str

    def identify(self, samples: np.ndarray) -> dict[str, float]:
        """BCP-47 tag -> probability for one window: int16 mono, 16 kHz. An empty dict where it cannot say."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """language: the tag that most time was given to, None where no window could be asked; share: of that time; `shares` of each."""

    language: str | None
    share: float
    shares: dict[str, float]

    def second(self) -> float:
        """The share of the language after the first, 0 without one."""
        return sorted(self.shares.values(), reverse=True)[1] if len(self.shares) > 1 else 0.0


def open_identifier(named: str, model: str | None = None) -> LanguageIdentifier:
    """The identifier that "module:Class" names. ValueError says what is wrong with the name, or which member it lacks."""
    module, _, name = named.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"inspect.language_identifier {named!r}: cannot be opened ({error}); write package.module:Class, and "
                         "install what it needs") from error
    found = made(model) if model is not None else made()
    for member in ("name", "identify"):
        if not hasattr(found, member):
            raise ValueError(f"inspect.language_identifier {named!r} has no `{member}`; see models/experts/language.py")
    return found


def primary(tag: str | None) -> str | None:
    """The language subtag of a BCP-47 tag, old and macro tags made one; None for unknown ("und") and private ("x-...") ones."""
    first = (tag or "und").lower().split("-")[0]
    return None if first in ("und", "x", "mul", "zxx", "mis") else OLD_TAGS.get(first, first)


def spoken_language(identifier: LanguageIdentifier, samples: np.ndarray, speech: list[tuple[float, float]],
                    window_s: float = 3.0) -> Spoken:
    """What language is spoken how much of the time: speech in windows of about `window_s`, the best tag of each.

    samples: int16 mono, 16 kHz. speech: (start_s, end_s) in them, sorted. Short pauses count as speech, stretches below a second
    do not.
    """
    stretches: list[tuple[float, float]] = []
    for start_s, end_s in speech:
        if stretches and start_s - stretches[-1][1] < PAUSE_S:
            stretches[-1] = stretches[-1][0], end_s
        else:
            stretches.append((start_s, end_s))
    time_s: dict[str, float] = {}
    for start_s, end_s in stretches:
        end_s = min(end_s, len(samples) / RATE)
        if end_s - start_s < LEAST_S:
            continue
        n = max(1, round((end_s - start_s) / window_s))
        edges = np.linspace(start_s, end_s, n + 1)
        for a, b in zip(edges, edges[1:], strict=False):
            said = identifier.identify(samples[round(a * RATE):round(b * RATE)])
            best = min(said, key=lambda tag: (-said[tag], tag), default=None)
            tag = primary(best)
            if tag is not None:
                time_s[tag] = time_s.get(tag, 0.0) + float(b - a)
    total = sum(time_s.values())
    shares = {tag: t / total for tag, t in sorted(time_s.items())}
    best = min(shares, key=lambda tag: (-shares[tag], tag), default=None)
    return Spoken(best, shares.get(best, 0.0) if best else 0.0, shares)


class WhisperLanguages:
    """Whisper's language head through faster-whisper, on the CPU: a folder with a converted model, or a name that it knows."""

    name = "whisper"

    def __init__(self, model: str = "tiny"):
        try:
            whisper: Any = importlib.import_module("faster_whisper")
        except ImportError as error:
            raise ValueError("inspect.language_identifier: WhisperLanguages needs the package faster-whisper; install it into "
                             ".venv (pip install faster-whisper), or name another identifier") from error
        try:
            self._model = whisper.WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=1)
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"inspect.language_model {model!r}: not a Whisper model that faster-whisper can open ({error}); "
                             "name a folder with a converted model, or one of its sizes where the network is allowed") from error
        self.name = f"whisper:{model}"

    def identify(self, samples: np.ndarray) -> dict[str, float]:
        _, _, every = self._model.detect_language(samples.astype(np.float32) / 32768)
        return {tag: float(p) for tag, p in every}
