"""Speech with known times: a sentence in, 16 kHz samples and phonemes out.

espeak-ng (GPL-3, from the wheel `espeakng-loader`) speaks in a process of its own, once per sentence; nothing here links to it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from corpora.synthetic.visemes import segments

if TYPE_CHECKING:
    import numpy as np

SAMPLE_RATE = 16_000
# An empty event shorter than this before a sound is that sound's closure (Mandarin and Turkish stops have them), not a pause.
CLOSURE_S = 0.08
TIMEOUT_S = 60
_ROOT = Path(__file__).resolve().parents[2]
_SWITCH = re.compile(r"\(([^)]*)\)?")

# Variants that sound like people: no robots, whispers or croaks. Variants with an echo (f2, f3, m2 ...) and two others are left out:
# they read memory that is not theirs, and now and then give other samples for the same sentence.
VARIANTS = (
    "Alex", "Andrea", "Andy", "Annie", "Denis", "Gene", "Gene2", "Jacky", "Lee", "Mario", "Michael", "Mike", "Nguyen",
    "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "david", "ed", "edward", "f1", "grandma",
    "grandpa", "iven", "john", "linda", "m1", "m3", "m4", "m5", "m6", "m7", "m8", "max", "norbert", "paul", "pedro",
    "quincy", "rob", "robert", "shelby", "steph", "travis", "zac",
)


@dataclass(frozen=True, slots=True)
class Phoneme:
    """One sound and its time in the audio, seconds. A pause has the symbol ""."""

    symbol: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """int16 mono samples at 16 kHz and the phonemes that cover them up to `end_s`; some variants ring on after it (an echo).

    `switches` names every language the synthesiser fell into on the way ("en"); empty for text in the voice's own language.
    """

    samples: np.ndarray
    phonemes: list[Phoneme]
    end_s: float
    switches: tuple[str, ...] = ()


@cache
def _installed() -> tuple[str, str, frozenset[str], frozenset[str]]:
    """Paths of espeak-ng's library and data, and the names of its languages and variants."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise RuntimeError("the synthetic corpus speaks through espeak-ng: pip install espeakng-loader") from error
    data = Path(espeakng_loader.get_data_path())
    languages = set()
    for path in sorted((data / "lang").rglob("*")):
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            languages.update(line.split()[1].lower() for line in lines if re.match(r"language\s+\S", line))
    variants = {path.name for path in (data / "voices" / "!v").iterdir()}
    return str(espeakng_loader.get_library_path()), str(data), frozenset(languages), frozenset(variants)


def check_voice(voice: str, variant: str | None) -> None:
    """None where the voice and variant exist; raises ValueError with the nearest names otherwise.

    Left to itself, espeak-ng speaks English for an unknown language and the default voice for an unknown variant.
    """
    _, _, languages, variants = _installed()
    for kind, name, known in (("language", voice.lower(), languages), ("variant", variant, variants)):
        if name is not None and name not in known:
            near = get_close_matches(name, sorted(known), n=3)
            raise ValueError(f"espeak-ng has no {kind} {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))


def speak(text: str, voice: str, *, variant: str | None = None, rate_wpm: int = 150, pitch: int = 50,
          pitch_range: int = 50) -> Utterance:
    """One spoken sentence: int16 (N,) at 16 kHz and its phonemes, times exact to one sample of the synthesiser (1/22,050 s).

    voice: an espeak-ng language ("en-us", "cmn"); variant: a voice variant ("f3"); rate_wpm 80..450; pitch and pitch_range
    0..100. The same arguments give the same bytes. Raises ValueError for an unknown voice, variant or value, RuntimeError when
    synthesis fails.
    """
    check_voice(voice, variant)
    limits = (("rate_wpm", rate_wpm, 80, 450), ("pitch", pitch, 0, 100), ("pitch_range", pitch_range, 0, 100))
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise ValueError(f"{name}={value}: expected {low}..{high}")
    library, data, _, _ = _installed()
    request = {"library": library, "data": data, "text": text, "voice": f"{voice}+{variant}" if variant else voice,
               "rate_wpm": int(rate_wpm), "pitch": int(pitch), "pitch_range": int(pitch_range)}
    # -S -E: the child needs no installed package, and starts in a third of the time without looking for them
    command = [sys.executable, "-S", "-E", "-m", "corpora.synthetic.speak"]
    done = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, cwd=_ROOT, timeout=TIMEOUT_S,
                          check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise RuntimeError(f"espeak-ng failed on {text!r} with voice {request['voice']!r}: {reason}")
    line, _, raw = done.stdout.partition(b"\n")
    header = json.loads(line)
    if len(raw) != 2 * header["n_samples"] or header["n_samples"] == 0:
        raise RuntimeError(f"espeak-ng gave {len(raw)} bytes for {header['n_samples']} samples of {text!r}")
    # the end event and the audio agree within 1 ms, except where an echo rings on: the audio is never the shorter one
    if header["n_samples"] < header["end_sample"] - header["sample_rate"] // 1000:
        raise RuntimeError(f"espeak-ng ended {text!r} at sample {header['end_sample']} of {header['n_samples']}")
    phonemes, switches = read_events(header["events"], header["end_sample"], header["sample_rate"])
    return Utterance(_to_16k(raw, header["sample_rate"]), phonemes, header["end_sample"] / header["sample_rate"], switches)


def read_events(events: list[tuple[int, str]], end_sample: int, sample_rate: int) -> tuple[list[Phoneme], tuple[str, ...]]:
    """Phonemes without gaps from the first event to the end, and the language switches, from espeak-ng's raw (sample, symbols)
    events.

    Sounds that share an event, or events that share a sample, share the time evenly. A bare mark ("ʲ") lengthens the sound
    before it. A short empty event belongs to the sound after it (its closure); longer ones and neighbours merge into one pause,
    symbol "".
    """
    switches: list[str] = []
    groups: list[tuple[int, list[str]]] = []
    for sample, symbols in events:
        switches += _SWITCH.findall(symbols)
        symbols = _SWITCH.sub("", symbols)
        sounds = segments(symbols)
        if symbols and not sounds and groups:
            continue
        if groups and groups[-1][0] == sample:
            groups[-1][1].extend(sounds)
        else:
            groups.append((sample, sounds))
    phonemes: list[Phoneme] = []
    pause_from: int | None = None
    for i, (start, sounds) in enumerate(groups):
        end = groups[i + 1][0] if i + 1 < len(groups) else end_sample
        if end <= start:
            continue
        if not sounds:
            pause_from = start if pause_from is None else pause_from
            continue
        if pause_from is not None:
            if phonemes and start - pause_from < CLOSURE_S * sample_rate:
                start = pause_from
            else:
                phonemes.append(Phoneme("", pause_from / sample_rate, start / sample_rate))
            pause_from = None
        edges = [start + (end - start) * k / len(sounds) for k in range(len(sounds) + 1)]
        spans = zip(sounds, edges[:-1], edges[1:], strict=True)
        phonemes += [Phoneme(sound, first / sample_rate, last / sample_rate) for sound, first, last in spans]
    if pause_from is not None:
        phonemes.append(Phoneme("", pause_from / sample_rate, end_sample / sample_rate))
    return phonemes, tuple(switches)


def _to_16k(raw: bytes, sample_rate: int) -> np.ndarray:
    """int16 samples at 16 kHz from little-endian int16 bytes: a zero-phase polyphase filter, so that times do not move."""
    import numpy as np
    from scipy.signal import resample_poly

    samples = np.frombuffer(raw, "<i2").astype(np.float64)
    divisor = int(np.gcd(SAMPLE_RATE, sample_rate))
    resampled = resample_poly(samples, SAMPLE_RATE // divisor, sample_rate // divisor)
    return np.clip(np.rint(resampled), -32768, 32767).astype(np.int16)
