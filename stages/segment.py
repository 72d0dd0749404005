"""Cuts recordings into clips: one shot, 2 to 10 s around speech, on decoded frames of a constant 25 fps.

INSTANCE is a corpus and a language, such as synthetic-en. A recording that is one shot of that length stays whole. No pixel is
stored: a clip is a stretch of its recording, its sound, lossless, and the fingerprints by which copies of it are found.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from core.digest import digest_of
from core.errors import UserError
from core.executor import Work, run_stage
from core.params import Params
from core.records import Reject, carry
from core.shards import pack, read_rows
from core.stage import out_folder, run_cli, seal
from core.timing import FPS, SAMPLES_PER_FRAME

SHOT_SIDE = 128  # pixels: shots are looked for in pictures no larger


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished segmentation."""
    source = out_folder("download", instance)
    config = params.segment.model_dump() | {"media": str(source / "media"), "threads": params.executor.codec_threads}
    weights = {}
    if params.segment.voice == "pyannote" and params.segment.voice_model:
        # Found here and not in the workers, so that the licence guard sees it and what comes out depends on its bytes.
        from core.weights import use_file
        from models.experts.voice import checkpoint_file

        try:
            found = use_file(checkpoint_file(params.segment.voice_model, "segmentation"))
        except ValueError as error:
            raise UserError(f"segment.voice_model: {error}") from error
        config["voice_model"], weights = str(found.path), {"voice": found.sha256}
    work = [Work(r["recording_id"], digest_of(r), r, r) for r in read_rows(source, "recordings")]  # all of r: its identity goes on into the clips
    return run_stage("segment", instance, work, "stages.segment:Mapper", config=config, tables=("clips",),
                     fingerprint=seal("segment", params.segment.model_dump(), weights), n_shards=params.shards,
                     executor=params.executor)


class Mapper:
    """Cuts one recording."""

    def __init__(self, config: dict[str, Any]):
        from models.experts.voice import open_voice

        self._c = config
        self._voice = open_voice(config["voice"], config["voice_model"])

    def __call__(self, row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from core import audio, media
        from metrics import prints

        path = Path(self._c["media"]) / row["file"]
        samples = media.read_audio(path)
        thumbs: list[Any] = []
        small = media.read_small_frames(path, SHOT_SIDE, threads=self._c["threads"])
        n_frames, shots, size = find_shots(_seen(small, thumbs), self._c["shot_threshold"])
        if n_frames < self._c["min_s"] * FPS:
            raise Reject("too_short", f"{row['source'] or row['file']}: {n_frames} frames, {n_frames / FPS:.2f} s; "
                         f"the minimum is {self._c['min_s']:g} s")
        speech = self._voice.regions(samples)
        spans = cut_spans(n_frames, shots, speech, self._c)
        if not spans:
            raise Reject("no_speech", f"{row['source'] or row['file']}: no stretch of speech of {self._c['min_s']:g} s in one shot")
        clips = []
        for k, (start, stop) in enumerate(spans):
            sound = samples[start * SAMPLES_PER_FRAME:stop * SAMPLES_PER_FRAME]
            inside = [(max(a, start / FPS) - start / FPS, min(b, stop / FPS) - start / FPS) for a, b in speech
                      if b > start / FPS and a < stop / FPS]
            clips.append(carry(row, "clips") | {
                "clip_id": f"{row['recording_id']}-c{k}", "start_frame": start, "n_frames": stop - start, "n_samples": len(sound),
                "width": size[0], "height": size[1], "speech": [{"start_s": a, "end_s": b} for a, b in inside],
                "speech_s": float(sum(b - a for a, b in inside)), "loudness_db": audio.loudness_db(sound),
                "audio": media.encode_flac(sound), "picture_print": pack(prints.picture_print(thumbs[start:stop])),
                "sound_print": pack(prints.sound_print(sound))})
        return {"clips": clips}


def _seen(frames, thumbs: list[Any]):
    """The same frames, of which every tiny picture is kept: for fingerprints, without decoding twice."""
    from metrics.prints import thumb

    for small, size in frames:
        thumbs.append(thumb(small))
        yield small, size


def find_shots(frames, threshold: float) -> tuple[int, list[int], tuple[int, int]]:
    """(number of frames, first frame of every shot but the first, (width, height)) of what media.read_small_frames gives.

    Shots by scenedetect's AdaptiveDetector, which shrinks large frames itself where it opens the video.
    """
    import cv2
    from scenedetect import AdaptiveDetector, FrameTimecode

    detector = AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=FPS // 2)
    cuts, n, size = [], 0, (0, 0)
    for n, (small, size) in enumerate(frames, start=1):  # noqa: B007
        cuts += detector.process_frame(FrameTimecode(n - 1, float(FPS)), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    if n:
        cuts += detector.post_process(FrameTimecode(n - 1, float(FPS)))
    return n, sorted({int(c.frame_num) for c in cuts}), size


def cut_spans(n_frames: int, shots: list[int], speech: list[tuple[float, float]], c: dict[str, Any]) -> list[tuple[int, int]]:
    """Clips as (first frame, end frame): whole where a lone shot of fitting length speaks, else around merged, padded speech."""
    least, most = round(c["min_s"] * FPS), round(c["max_s"] * FPS)
    speech = [(a, min(b, n_frames / FPS)) for a, b in speech if a < n_frames / FPS]  # sound may go on after the last picture
    bounds = [0, *[s for s in shots if 0 < s < n_frames], n_frames]
    if len(bounds) == 2 and n_frames <= most:
        return [(0, n_frames)] if n_frames >= least and speech else []
    spans = []
    for first, end in zip(bounds, bounds[1:], strict=False):
        inside = [(max(a, first / FPS), min(b, end / FPS)) for a, b in speech if b > first / FPS and a < end / FPS]
        merged: list[list[float]] = []
        for a, b in inside:
            if merged and a - merged[-1][1] <= c["merge_gap_s"]:
                merged[-1][1] = b
            else:
                merged.append([a, b])
        for a, b in merged:
            start = max(first, int((a - c["pad_s"]) * FPS))
            stop = min(end, -int(-(b + c["pad_s"]) * FPS // 1))
            spans += [s for s in _split(start, stop, inside, most) if s[1] - s[0] >= least]
    # Padding must not make two clips share frames.
    return [(max(a, spans[k - 1][1] if k else 0), b) for k, (a, b) in enumerate(spans)
            if b - max(a, spans[k - 1][1] if k else 0) >= least]


def _split(start: int, stop: int, speech: list[tuple[float, float]], most: int) -> list[tuple[int, int]]:
    """A stretch cut at its longest pause, again and again, until no part is longer than `most` frames."""
    if stop - start <= most:
        return [(start, stop)]
    middle = [(b0 - a1, round((a1 + b0) / 2 * FPS)) for (_, a1), (b0, _) in zip(speech, speech[1:], strict=False)]
    inner = [(gap, at) for gap, at in middle if start + FPS < at < stop - FPS]
    at = max(inner)[1] if inner else (start + stop) // 2
    return _split(start, at, speech, most) + _split(at, stop, speech, most)


if __name__ == "__main__":
    sys.exit(run_cli("segment", main, doc=__doc__))
