"""Computes the audio features of every track: mel as Wav2Lip, MFCC as SyncNet and as Speech2Vid.

INSTANCE is a corpus and a language, such as synthetic-en. Time is the first axis of every array; core/timing.py says which row
belongs to which frame.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from core.cells import filled
from core.digest import digest_of
from core.executor import Work, run_stage
from core.params import Params
from core.records import carry
from core.shards import pack, read_rows
from core.sound import kept_tracks, light_sounds
from core.stage import out_folder, run_cli, seal


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished feature extraction."""
    sound, kept = light_sounds(instance), kept_tracks(instance)
    tracks = read_rows(out_folder("track", instance), "tracks",
                       ["track_id", "clip_id", "corpus", "language", "speaker", "cluster", "n_frames"])
    work = []
    for row in [t for t in tracks if t["track_id"] in kept]:
        clip = sound[row["clip_id"]]
        work.append(Work(row["track_id"], digest_of([row, clip["audio"]]), row | clip, row))
    fixed = params.features.model_dump()
    return run_stage("features", instance, work, "stages.features:Mapper", config=fixed, tables=("features",),
                     fingerprint=seal("features", fixed), n_shards=params.shards, executor=params.executor)


class Mapper:
    """Features of one track's sound."""

    def __init__(self, config: dict[str, Any]):
        self._store = config["store"]

    def __call__(self, row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from core import audio, media, mfcc

        samples = media.decode_flac(filled(row["audio"]))
        made = {"mel": lambda: audio.mel_wav2lip(samples).T, "mfcc_syncnet": lambda: mfcc.mfcc_syncnet(samples),
                "mfcc_speech2vid": lambda: mfcc.mfcc_htk(samples)}
        arrays = {name: pack(np.ascontiguousarray(make(), np.float32)) if name in self._store else None
                  for name, make in made.items()}
        return {"features": [carry(row, "features") | arrays]}


if __name__ == "__main__":
    sys.exit(run_cli("features", main, doc=__doc__))
