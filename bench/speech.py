"""Voice activity and diarization against the synthetic corpus's truth, scored by pyannote.metrics.

    python -m bench.speech [--languages en tr zh] [--speakers 6] [--seed 77] [--diarizer clusters] [--hard] [--distances 1 2 3]

Renders recordings (two of each speaker, small pictures), finds speech in each, then joins those of two speakers in turn and finds
their voices. The baselines: everything is speech; all speech is one voice. Printed per language: detection error (false alarm +
missed), diarization error with the true speech given and with the one found, and how often the number of voices is right.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

RATE = 16000
COLLAR_S = 0.25
"""Width of the zone around each true border that is not scored, as pyannote.metrics counts it."""
Recording = tuple[np.ndarray, list[tuple[float, float]], str]
"""int16 samples, true speech (start_s, end_s), speaker."""


def recordings(language: str, speakers: int, seed: int, hard: bool, folder: Path) -> list[Recording]:
    """Two recordings of each speaker of one language of the synthetic corpus, with the truth about their speech."""
    from core import media
    from core.params import Hard
    from corpora.synthetic import adapter

    strengths = Hard(reverb=0.3, audio_snr_db=15.0) if hard else Hard(reverb=0.0, audio_snr_db=None)
    config = {"languages": {language: {}}, "size": 96, "speakers": speakers, "clips_per_speaker": 2, "seed": seed,
              "hard": strengths.model_dump()}
    found = []
    for item in adapter.items(config, language)[0]:
        made = adapter.fetch(item, config, folder)
        found.append((media.read_audio(made.path), [(a, b) for a, b in made.truth["speech"]], item.speaker))
    return found


def joined(parts: Iterable[Recording]) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    """Recordings one after the other: (samples, who speaks when)."""
    samples, truth, at = [], [], 0.0
    for sound, speech, speaker in parts:
        truth += [(a + at, b + at, speaker) for a, b in speech]
        samples.append(sound)
        at += len(sound) / RATE
    return np.concatenate(samples), truth


def detection(items: list[Recording], voice: Any) -> dict[str, float]:
    """false_alarm, missed and their sum (shares of the true speech) of a voice detector; all_speech: the sum of a lazy one."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.detection import DetectionErrorRate

    ours, all_of_it = DetectionErrorRate(collar=COLLAR_S), DetectionErrorRate(collar=COLLAR_S)
    for samples, speech, _ in items:
        end_s = len(samples) / RATE
        truth, said, everything = Annotation(), Annotation(), Annotation()
        for to, spans in ((truth, speech), (said, voice.regions(samples)), (everything, [(0.0, end_s)])):
            for a, b in spans:
                to[Segment(a, b)] = "speech"
        whole = Timeline([Segment(0, end_s)])
        ours(truth, said, uem=whole)
        all_of_it(truth, everything, uem=whole)
    total = ours[:]["total"]
    return {"false_alarm": ours[:]["false alarm"] / total, "missed": ours[:]["miss"] / total, "error": abs(ours),
            "all_speech": abs(all_of_it)}


def diarization(mixtures: list[tuple[np.ndarray, list[tuple[float, float, str]]]], diarizer: Any, voice: Any) -> dict[str, float]:
    """Diarization error with the true speech given and with the detector's, that of one voice for all, and how often the number
    of voices was right (with the true speech)."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    names = ("given", "found", "one_voice")
    errors = {name: DiarizationErrorRate(collar=COLLAR_S) for name in names}
    right = 0
    for samples, truth in mixtures:
        speech = [(a, b) for a, b, _ in truth]
        given = diarizer.voices(samples, speech)
        right += len({v for _, _, v in given}) == len({v for _, _, v in truth})
        said = {"given": given, "found": diarizer.voices(samples, voice.regions(samples)),
                "one_voice": [(a, b, "A") for a, b in speech]}
        notes = {}
        for name, spans in (said | {"truth": truth}).items():
            notes[name] = Annotation()
            for k, (a, b, who) in enumerate(spans):
                notes[name][Segment(a, b), k] = who
        for name in names:
            errors[name](notes["truth"], notes[name], uem=Timeline([Segment(0, len(samples) / RATE)]))
    return {name: abs(errors[name]) for name in names} | {"voices_right": right / len(mixtures), "mixtures": len(mixtures)}


def mixtures_of(items: list[Recording], most: int = 15) -> list[tuple[np.ndarray, list[tuple[float, float, str]]]]:
    """Recordings of two speakers in turn (a, b, a, b), for at most `most` pairs, and as many of one speaker alone (a, a)."""
    by_speaker: dict[str, list[Recording]] = {}
    for item in items:
        by_speaker.setdefault(item[2], []).append(item)
    pairs = list(itertools.combinations(sorted(by_speaker), 2))[:most]
    two = [joined([by_speaker[a][0], by_speaker[b][0], by_speaker[a][1], by_speaker[b][1]]) for a, b in pairs]
    return two + [joined(by_speaker[a][:2]) for a in sorted(by_speaker)]


def line(r: dict[str, Any], n_recordings: int) -> str:
    """One language's figures in words."""
    distance = "" if r["distance"] is None else f" distance {r['distance']:g}"
    return (f"{r['language']:>4}{distance} recordings {n_recordings}: detection "
            f"error {r['error']:.1%} (false alarm {r['false_alarm']:.1%}, missed {r['missed']:.1%}; all of it speech "
            f"{r['all_speech']:.1%}). mixtures {r['mixtures']}: diarization error {r['given']:.1%} given the true speech, "
            f"{r['found']:.1%} with the found one (one voice {r['one_voice']:.1%}), number of voices right "
            f"{r['voices_right']:.0%}")


def main(argv: list[str] | None = None) -> int:
    from models.experts.diarization import ClusterDiarizer, open_diarizer
    from models.experts.voice import open_voice

    parser = argparse.ArgumentParser(prog="python -m bench.speech", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=["en", "tr", "zh"])
    parser.add_argument("--speakers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--diarizer", default="clusters", help="clusters, or a pyannote pipeline: its folder or hub name")
    parser.add_argument("--distances", nargs="+", type=float, help="try these distances of `clusters` instead of its own")
    parser.add_argument("--hard", action="store_true", help="reverberation, and noise 15 dB below the speech")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    voice, rows = open_voice("energy"), []
    with tempfile.TemporaryDirectory() as folder:
        for language in args.languages:
            items = recordings(language, args.speakers, args.seed, args.hard, Path(folder))
            heard = detection(items, voice)
            mixed = mixtures_of(items)
            for distance in args.distances or [None]:
                diarizer = open_diarizer(args.diarizer) if distance is None else ClusterDiarizer(distance)
                rows.append({"language": language, "distance": distance, **heard, **diarization(mixed, diarizer, voice)})
                if not args.json:
                    print(line(rows[-1], len(items)))
    if args.json:
        print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
