"""The corpus `synthetic`: rendered faces that speak real languages with synthetic voices; the truth of every frame is known.

Truth of a recording (`Fetched.truth`):
  phonemes        [{symbol, viseme, start_s, end_s}]: symbol and times as spoken; viseme as SHOWN, which differs from what is
                  said only under a planted swap
  speech          [[start_s, end_s], ...], stretches of phonemes without a pause
  gap, width      float32 (T,): the mouth that is on screen, whatever the audio says
  points          float32 (T, K, 2) pixels, and point_indices, their K indices in the mesh
  audio_late_ms   how much later the audio sounds than the clock of phonemes and speech, which is the picture's clock;
                  0 but for a planted twin
  identity_seed, voice, sentence
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.records import Card, Fetched, Item, Rejected
from corpora.synthetic.language import FOLDER, Language, known_languages, load_language
from corpora.synthetic.speech import SAMPLE_RATE, VARIANTS, Phoneme, Utterance, speak

if TYPE_CHECKING:
    import numpy as np

CARD = Card(
    name="synthetic",
    title="Synthetic multilingual talking faces with exact truth",
    languages=known_languages(),
    licence="CC0-1.0 for sentences, faces and truth; the audio is espeak-ng output (the synthesiser and its data are GPL-3)",
    terms="none; made on the reader's own machine",
    consent="nobody is depicted and nobody speaks: drawn faces, synthesised voices, sentences written for this corpus",
    citation="none; name babelface and espeak-ng",
    provenance="made from params.yaml: sentences of corpora/languages, espeak-ng voices, a drawn face driven by timed visemes",
    access="nothing to download; needs the package espeakng-loader",
)

FPS, SAMPLES_PER_FRAME = 25, 640
CRF = 18
HARD = ("timing_jitter_s", "viseme_gain", "amplitude", "head_motion", "lip_noise", "image_noise", "blur", "reverb",
        "audio_snr_db")
SPEECH_DBFS = (-28.0, -20.0)  # variants differ by 20 dB; a speaker's level is drawn from this range instead


def seed_of(*parts: object) -> int:
    """A 63-bit seed that depends on the parts alone, the same on every machine and in every process."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "big") >> 1


def entries(config: Mapping) -> Iterator[Item | Rejected]:
    """The recordings of every language that the config asks for."""
    for language in sorted(config["languages"]):
        yield from items(config, language)[0]


def spoken_language(config: Mapping, language: str) -> tuple[Language, Mapping]:
    """The language file whose text and voice a configured language uses (a twin uses another's), and its own options."""
    if language not in config["languages"]:
        near = get_close_matches(language, config["languages"], n=1)
        raise ValueError(f"synthetic: language {language!r} is not in params" + (f"; did you mean {near[0]!r}?" if near else ""))
    options = config["languages"][language] or {}
    known = ("twin_of", "swap", "audio_late_ms", "speakers", "clips_per_speaker")
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"synthetic: languages.{language} has unknown options {unknown}; expected {', '.join(known)}")
    unknown = sorted(set(config.get("hard") or {}) - set(HARD))
    if unknown:
        raise ValueError(f"synthetic: hard has unknown knobs {unknown}; expected some of {', '.join(HARD)}")
    return load_language(options.get("twin_of", language)), options


def sources(config: Mapping, language: str) -> list[Path]:
    """The files beside the code that this language's items are made from: the language's own, or its twin's."""
    options = config["languages"].get(language) or {}
    return [FOLDER / f"{options.get('twin_of', language)}.yaml"]


def speaker_identity(config: Mapping, language: str, speaker: str) -> dict[str, Any]:
    """One speaker's face seed and voice, drawn together from (seed, language, speaker): identity_seed, variant, rate_wpm, pitch,
    pitch_range, level_dbfs, manner_seed. Speakers of one language have different variants as long as there are enough."""
    import numpy as np

    index = int(speaker.rsplit("-s", 1)[1])
    order = np.random.default_rng(seed_of(config["seed"], language, "variants")).permutation(len(VARIANTS))
    rng = np.random.default_rng(seed_of(config["seed"], language, speaker))
    return {"identity_seed": int(rng.integers(2**31)), "manner_seed": int(rng.integers(2**31)),
            "variant": VARIANTS[order[index % len(VARIANTS)]], "rate_wpm": int(rng.integers(130, 171)),
            "pitch": int(rng.integers(25, 76)), "pitch_range": int(rng.integers(30, 71)),
            "level_dbfs": round(float(rng.uniform(*SPEECH_DBFS)), 2)}


def items(config: Mapping, language: str) -> tuple[list[Item], list[Rejected]]:
    """The recordings of one language, sorted by id: each speaker reads sentences drawn without replacement (all are used before
    any comes twice). Nothing is rejected. Raises ValueError for a language or option that is not known."""
    import numpy as np

    entry, options = spoken_language(config, language)
    n_speakers, n_clips = (int(options.get(name) or config[name]) for name in ("speakers", "clips_per_speaker"))
    found = []
    for k in range(n_speakers):
        speaker = f"{language}-s{k:02d}"
        who = speaker_identity(config, language, speaker)
        rng = np.random.default_rng(seed_of(config["seed"], language, speaker, "sentences"))
        n_rounds = -(-n_clips // len(entry.sentences))
        order = np.concatenate([rng.permutation(len(entry.sentences)) for _ in range(n_rounds)]) if n_rounds else []
        for c, sentence in enumerate(order[:n_clips]):
            extra = dict(sorted({**who, "sentence": int(sentence), "clip": c}.items()))
            found.append(Item(id=f"{speaker}-c{c:02d}", corpus=CARD.name, language=language, speaker=speaker, extra=extra))
    return found, []


def fetch(item: Item, config: Mapping, folder: Path) -> Fetched:
    """`<id>.mkv` in `folder` (H.264 at 25 fps, lossless audio of exactly 640 samples a frame) and its truth, as this module's
    head says.

    Speech starts 0.2 to 0.4 s after the beginning and ends 0.2 to 0.4 s (and a frame's rest) before the end.
    """
    import numpy as np

    from core.media import write_video
    from corpora.synthetic.degrade import spoil_frames
    from corpora.synthetic.face import sample_identity
    from corpora.synthetic.motion import draw_manner, face_motion, shown_visemes
    from corpora.synthetic.render import POINTS, render, truth_mouth, truth_points

    entry, options = spoken_language(config, item.language)
    who, hard = item.extra, {**(config.get("hard") or {}), "swap": options.get("swap") or {}}
    late_ms, size = float(options.get("audio_late_ms", 0)), int(config["size"])
    seeds = [seed_of(config["seed"], item.language, item.id, name) for name in ("motion", "image", "audio", "frame")]
    rngs = [np.random.default_rng(seed) for seed in seeds]
    spoken = speak(entry.sentences[who["sentence"]], entry.voice, variant=who["variant"], rate_wpm=who["rate_wpm"],
                   pitch=who["pitch"], pitch_range=who["pitch_range"])
    lead_s, tail_s = rngs[3].uniform(0.2, 0.4), rngs[3].uniform(0.2, 0.36)
    lead_s = round(lead_s * SAMPLE_RATE) / SAMPLE_RATE
    n_frames = int(np.ceil((lead_s + spoken.end_s + tail_s + max(late_ms, 0) / 1000) * FPS))
    phonemes = [Phoneme(p.symbol, p.start_s + lead_s, p.end_s + lead_s) for p in spoken.phonemes]
    manner = draw_manner(np.random.default_rng(who["manner_seed"]), hard)
    motion = face_motion(phonemes, n_frames, rngs[0], hard, manner)
    identity = sample_identity(np.random.default_rng(who["identity_seed"]))
    speech = speech_spans(phonemes)
    audio = _sound(spoken, lead_s + late_ms / 1000, n_frames, float(who["level_dbfs"]), hard, rngs[2])
    noise, blur = float(hard.get("image_noise", 0)), float(hard.get("blur", 0))
    frames = spoil_frames(render(identity, motion, size), rngs[1], noise=noise, blur=blur)
    path = folder / f"{item.id}.mkv"
    write_video(path, frames, audio=audio, fps=FPS, crf=CRF, audio_codec="flac")
    mouth = truth_mouth(identity, motion)
    truth = {
        "phonemes": [{"symbol": p.symbol, "viseme": v, "start_s": p.start_s, "end_s": p.end_s}
                     for p, v in zip(phonemes, shown_visemes(phonemes, hard["swap"]), strict=True)],
        "speech": speech, "gap": mouth["gap"], "width": mouth["width"],
        "points": truth_points(identity, motion, size), "point_indices": [int(i) for i in POINTS],
        "audio_late_ms": late_ms, "identity_seed": who["identity_seed"], "voice": f"{entry.voice}+{who['variant']}",
        "sentence": entry.sentences[who["sentence"]],
    }
    return Fetched(path=path, truth=truth)


def speech_spans(phonemes: list[Phoneme]) -> list[list[float]]:
    """[[start_s, end_s], ...] of phonemes that follow each other without a pause."""
    spans: list[list[float]] = []
    for phoneme in phonemes:
        if not phoneme.symbol:
            continue
        if spans and phoneme.start_s - spans[-1][1] < 1e-9:
            spans[-1][1] = phoneme.end_s
        else:
            spans.append([phoneme.start_s, phoneme.end_s])
    return spans


def _sound(spoken: Utterance, start_s: float, n_frames: int, level_dbfs: float, hard: Mapping,
           rng: np.random.Generator) -> np.ndarray:
    """int16 (640 n_frames,): the utterance from `start_s` on, at its speaker's level, in a room with its noise."""
    import numpy as np

    from corpora.synthetic.degrade import add_noise, reverberate

    first, total = round(start_s * SAMPLE_RATE), n_frames * SAMPLES_PER_FRAME
    audio = np.zeros(total)
    part = spoken.samples[max(-first, 0): max(total - first, 0)].astype(np.float64)
    audio[max(first, 0): max(first, 0) + len(part)] = part
    inside = np.zeros(total, bool)
    inside[max(first, 0): first + round(spoken.end_s * SAMPLE_RATE)] = True
    audio = reverberate(audio, rng, float(hard.get("reverb", 0)))
    audio *= 32768 * 10 ** (level_dbfs / 20) / max(np.sqrt(np.mean(audio[inside] ** 2)), 1e-9)
    audio = add_noise(audio, rng, hard.get("audio_snr_db"), speech=inside)
    return np.clip(np.rint(audio), -32768, 32767).astype(np.int16)
