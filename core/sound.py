"""The sound of clips, and the tracks that go on after inspection: the one place that knows whether a sound was put in step."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from core.cells import light_rows
from core.shards import read_rows
from core.stage import out_folder
from core.timing import SAMPLES_PER_FRAME


def kept_tracks(instance: str) -> set[str]:
    """The ids of the tracks that `inspect` kept, of one corpus and language."""
    return {r["track_id"] for r in read_rows(out_folder("inspect", instance), "kept", ["track_id"])}


def light_sounds(instance: str, wanted: Container[str] | None = None) -> dict[str, dict[str, Any]]:
    """clip id -> {clip_id, n_samples, audio} of one corpus and language; audio is a core.cells.Cell of FLAC, in step where
    `inspect` corrected it. wanted: ids of clips; None is all of them."""
    names, where = ["clip_id", "n_samples", "audio"], None if wanted is None else ("clip_id", wanted)
    sounds = {r["clip_id"]: r for r in light_rows(out_folder("segment", instance), "clips", names, where)}
    return sounds | {r["clip_id"]: r for r in light_rows(out_folder("inspect", instance), "kept", names, where)
                     if r["audio"] is not None}


def in_step(recording: np.ndarray, start_frame: int, n_frames: int, offset_frames: int) -> np.ndarray:
    """The sound of a clip put in step: int16 samples of `recording` for its frames, taken `offset_frames` earlier.

    offset_frames as metrics.sync counts it: > 0 means that the sound comes earlier in the file than the mouth. What lies before
    the file's first sample is silence; what lies after its last is not there, so the result may be shorter than 640 n_frames.
    """
    first = (start_frame - offset_frames) * SAMPLES_PER_FRAME
    stop = first + n_frames * SAMPLES_PER_FRAME
    part = recording[max(0, first):max(0, stop)]
    return np.concatenate([np.zeros(max(0, min(-first, stop - first)), recording.dtype), part])
