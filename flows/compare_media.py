"""The videos of a comparison's worst clips: real, A and B of the same clip, each with the sound it was made for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flows.revisions import Run, RevisionError, table_rows

SAMPLES_PER_FRAME = 640
VIDEO_COLUMNS = ("video", "path", "file", "generated")  # where a row of a file of scores may name its video
CRF = 23


def write_videos(compared: Any, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Writes media/*.mp4 (H.264 and AAC) and their posters; report.comparison.key_of(clip) -> videos for the page. What a run
    does not have at hand is left out."""
    from core.media import encode_jpeg, write_video
    from core.shards import write_bytes
    from report.comparison import key_of
    from stages.report import shrink

    (folder / "media").mkdir(parents=True, exist_ok=True)
    clips = {key_of(c): c for c in compared.comparison.clips}
    shown = [clips[key_of(c)] for c in compared.document["worst"]]
    shelves = [Shelf(run, [row for row in (getattr(clip, side) for clip in shown) if row])
               for side, run in (("a", compared.a), ("b", compared.b))]
    out: dict[str, list[dict[str, Any]]] = {}
    for clip in shown:
        rows = (clip.a, clip.b)
        real = next((f for shelf, row in zip(shelves, rows, strict=True) if row and (f := shelf.real(row)) is not None), None)
        found = [("real", "real video", real), *((side, f"{label}: {run.label}", shelf.made(row) if row else None)
                 for side, label, run, shelf, row in zip("ab", "AB", (compared.a, compared.b), shelves, rows, strict=True))]
        sounds = [shelf.sound(row) if row else None for shelf, row in zip(shelves, rows, strict=True)]
        for side, title, frames in found:
            if frames is None or not len(frames):
                continue
            name = f"{side}-{hashlib.sha256(key_of(clip).encode()).hexdigest()[:12]}"
            sound = sounds["ab".index(side)] if side != "real" else next((s for s in sounds[::-1] if s is not None), None)
            if sound is not None:
                sound = sound[: len(frames) * SAMPLES_PER_FRAME]
                sound = np.pad(sound, (0, len(frames) * SAMPLES_PER_FRAME - len(sound)))
            small = [shrink(f) for f in frames]
            write_video(folder / "media" / f"{name}.mp4", small, audio=sound, crf=CRF)
            write_bytes(folder / "media" / f"{name}.jpg", encode_jpeg(small[len(small) // 3], 80))
            out.setdefault(key_of(clip), []).append({"title": title, "side": side, "video": f"media/{name}.mp4",
                                                     "poster": f"media/{name}.jpg", "n_frames": len(frames)})
    return out


class Shelf:
    """The videos and sounds of some score rows of one run, found in the outputs of its earlier stages."""

    def __init__(self, run: Run, rows: list[dict[str, Any]]):
        self._run = run
        self._made: dict[str, dict[str, Any]] = {}
        self._tracks: dict[str, dict[str, Any]] = {}
        self._clips: dict[str, dict[str, Any]] = {}
        if run.tree is None:
            return
        for source in sorted({r["source"] for r in rows}):
            wanted = {r["generated_id"] for r in rows if r["source"] == source}
            while wanted:  # a row may share the video of another
                found = self._rows(f"data/generate/{source}/generated", ["generated_id", "video", "video_of"], "generated_id",
                                   wanted)
                self._made |= {r["generated_id"]: r for r in found}
                wanted = {r["video_of"] for r in found if r["video_of"] and not r["video"]} - self._made.keys()
        places = sorted({(f"{r['corpus']}-{_tag(r[k])}") for r in rows for k in ("language", "audio_language") if r.get(k)})
        for place in places:
            tracks = self._rows(f"data/track/{place}/tracks", ["track_id", "file", "start_frame", "n_frames"], "track_id",
                                {r["track_id"] for r in rows})
            self._tracks |= {t["track_id"]: {**t, "place": place} for t in tracks}
            wanted = {r[k] for r in rows for k in ("clip_id", "audio_clip_id")}
            clips = self._rows(f"data/segment/{place}/clips", ["clip_id", "start_frame", "audio"], "clip_id", wanted)
            self._clips |= {c["clip_id"]: c for c in clips}

    def _rows(self, folder: str, columns: list[str], key: str, wanted: set[str]) -> list[dict[str, Any]]:
        try:
            return table_rows(self._run, folder, columns, key, wanted)
        except RevisionError:  # scores are in the cache and videos are not: the page says so beside the clip
            return []

    def made(self, row: dict[str, Any]) -> list[np.ndarray] | None:
        """The frames that were scored, RGB; None where they are not at hand."""
        from core.media import read_frames

        if self._run.tree is None:
            path = self._named(row)
            return None if path is None else list(_cut(read_frames(path), row.get("n_frames")))
        made = self._made.get(row["generated_id"]) or {}
        video = made.get("video") or (self._made.get(made.get("video_of") or "") or {}).get("video")
        if video:
            return list(_cut(read_frames(video), row.get("n_frames")))
        return self.real(row) if row["system"] == "real" else None

    def real(self, row: dict[str, Any]) -> list[np.ndarray] | None:
        """The frames of the real clip, RGB; None where the recording is not at hand."""
        from core.media import read_frames

        if self._run.tree is None:
            own = next((r for r in self._run.rows if (r.get("system"), r.get("condition", "self"), r.get("track_id"))
                        == ("real", "self", row["track_id"])), None)
            path = None if own is None else self._named(own)
            return None if path is None else list(_cut(read_frames(path), row.get("n_frames")))
        track = self._tracks.get(row["track_id"])
        if track is None:
            return None
        try:
            path = self._run.path(f"data/download/{track['place']}/media/{track['file']}")
        except RevisionError:
            return None
        if path is None:
            return None
        n = min(track["n_frames"], row.get("n_frames") or track["n_frames"])
        return list(read_frames(path, start=track["start_frame"], stop=track["start_frame"] + n))

    def sound(self, row: dict[str, Any]) -> np.ndarray | None:
        """int16 sound from the first frame on; None where it is not at hand."""
        from core.media import decode_flac, read_audio
        from core.records import Reject

        if self._run.tree is None:
            path = self._named(row)
            try:
                return None if path is None else read_audio(path)
            except Reject:  # a silent film is still a film
                return None
        clip = self._clips.get(row["audio_clip_id"])
        if clip is None:
            return None
        track = self._tracks.get(row["track_id"])
        own = row["audio_clip_id"] == row["clip_id"] and track is not None
        first = (track["start_frame"] - clip["start_frame"]) * SAMPLES_PER_FRAME if own else 0
        return decode_flac(clip["audio"])[first:]

    def _named(self, row: dict[str, Any]) -> Path | None:
        """The video that a row of a file of scores names, beside that file or from the current folder."""
        names = [row[c] for c in VIDEO_COLUMNS if isinstance(row.get(c), str)]
        places = [Path(self._run.label).expanduser().parent / n for n in names] + [Path(n) for n in names]
        return next((p for p in places if p.is_file()), None)


def _tag(language: str) -> str:
    return language.rpartition("/")[2]


def _cut(frames: Iterator[np.ndarray], n: int | None) -> Iterator[np.ndarray]:
    for k, frame in enumerate(frames):
        if n is not None and k >= n:
            return
        yield frame
