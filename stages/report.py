"""Writes the HTML report: one folder that opens from disk, with its videos, its style and its script, and needs no network."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.params import Params
from core.shards import read_json, write_bytes
from core.stage import UserError, out_folder, run_cli
from core.workers import cores

OUT = Path("results/report")
MOST_PX = 256  # longer side of a gallery video
CRF = 23
MOST_THREADS = 8  # each holds the frames of one clip
SAMPLES_PER_FRAME = 640


def main(instance: str, params: Params) -> None:
    """Writes results/report/: index.html, report.md, tables/, static/ and media/, in place of the last one."""
    path = out_folder("aggregate", "all") / "report.json"
    if not path.is_file():
        raise UserError(f"{path}: no figures here yet; run: babelface evaluate aggregate")
    document = read_json(path)
    write_page(document, OUT, Shelf(document["gallery"], params))


def write_page(document: dict[str, Any], folder: Path, shelf: Any) -> None:
    """Writes a report's folder in place of the last one. shelf: where the gallery's frames and sounds are, as `Shelf` has
    them."""
    from core.executor import recover, swap
    from report.markdown import markdown
    from report.page import HERE, STATIC, render
    from report.tables import files

    recover(folder)
    following = folder.with_name(f".{folder.name}.next")
    for name in ("media", "static", "tables"):
        (following / name).mkdir(parents=True)
    media = write_gallery(document["gallery"], following, shelf)
    for name in STATIC:
        shutil.copyfile(HERE / "static" / name, following / "static" / name)
    for name, text in files(document).items():
        write_bytes(following / "tables" / name, text.encode())
    write_bytes(following / "report.md", markdown(document).encode())
    write_bytes(following / "index.html", render(document, media).encode())
    swap(following, folder)


def write_gallery(gallery: list[dict[str, Any]], folder: Path, shelf: Any) -> dict[str, dict[str, str]]:
    """Writes every gallery video (H.264 and AAC) and its poster into folder/media; {generated_id: {video, poster}}. A small generated
    video is shown as it was scored, bit by bit; others are made small."""
    from concurrent.futures import ThreadPoolExecutor

    def write(job: tuple[dict[str, Any], dict[str, Any]]) -> tuple[str, dict[str, str]]:
        from core.media import encode_jpeg, read_frames, write_video

        clip, video = job
        digest = hashlib.sha256(video["generated_id"].encode()).hexdigest()[:12]
        name = f"{_safe(video['system'])}-{video['condition']}-{digest}"
        path, film, at = folder / "media" / f"{name}.mp4", shelf.film(video), video["n_frames"] // 3
        poster = None if film is None else next(read_frames(film, start=at, stop=at + 1), None)
        if poster is not None and max(poster.shape) <= MOST_PX:
            write_bytes(path, film)
        else:
            frames = [shrink(f) for f in shelf.frames(video, clip)]
            write_video(path, frames, audio=shelf.sound(video, clip, len(frames)), crf=CRF, profile="main")
            poster = frames[len(frames) // 3]
        write_bytes(path.with_suffix(".jpg"), encode_jpeg(poster, 80))
        return video["generated_id"], {"video": f"media/{name}.mp4", "poster": f"media/{name}.jpg"}

    # Decoding and encoding hold no lock of Python's, and nothing else runs beside the last stage.
    with ThreadPoolExecutor(min(cores(), MOST_THREADS)) as pool:
        return dict(pool.map(write, [(clip, video) for clip in gallery for video in clip["videos"]]))


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def shrink(frame: np.ndarray) -> np.ndarray:
    """The frame, uint8 HxWx3, made smaller where its longer side exceeds 256 pixels; sides even."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(1.0, MOST_PX / max(height, width))
    if scale == 1.0:
        return frame
    size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


class Shelf:
    """The frames and sounds of the gallery's clips, found in the outputs of earlier stages."""

    def __init__(self, gallery: list[dict[str, Any]], params: Params):
        videos = [v for clip in gallery for v in clip["videos"]]
        clip_ids = {clip["clip_id"] for clip in gallery} | {v["audio_clip_id"] for v in videos if v["audio_clip_id"]}
        track_ids = {clip["track_id"] for clip in gallery}
        self._clips: dict[str, dict[str, Any]] = {}
        self._tracks: dict[str, tuple[str, dict[str, Any]]] = {}
        for one in params.instances() if gallery else ():
            for row in rows_of(
                out_folder("segment", one.name), "clips", "clip_id", clip_ids, ["clip_id", "start_frame", "audio"]
            ):
                self._clips[row["clip_id"]] = row
            for row in rows_of(
                out_folder("track", one.name), "tracks", "track_id", track_ids, ["track_id", "file", "start_frame", "n_frames"]
            ):
                self._tracks[row["track_id"]] = (one.name, row)
        self._made: dict[str, dict[str, Any]] = {}
        for source in sorted({v["source"] for v in videos}):
            wanted = {v["generated_id"] for v in videos if v["source"] == source}
            for row in rows_of(
                out_folder("generate", source), "generated", "generated_id", wanted, ["generated_id", "video", "n_frames"]
            ):
                self._made[row["generated_id"]] = row

    def film(self, video: dict[str, Any]) -> bytes | None:
        """The file of a generated video, H.264 and AAC in mp4; None where the row has none of its own, or a longer one."""
        made = self._made.get(video["generated_id"]) or {}
        return made.get("video") if made.get("n_frames") == video["n_frames"] else None

    def frames(self, video: dict[str, Any], clip: dict[str, Any]) -> Iterator[np.ndarray]:
        """The frames of one gallery video: the generated ones, or those of the source where the row has none of its own."""
        from core.media import read_frames

        made = self._made.get(video["generated_id"]) or {}
        if made.get("video"):
            yield from read_frames(made["video"], stop=video["n_frames"])
            return
        instance, track = self._of(self._tracks, clip["track_id"], "track")
        path = out_folder("download", instance) / "media" / track["file"]
        if not path.is_file():
            raise UserError(f"{path}: not there, but the gallery shows {clip['clip_id']}; run download {instance} again")
        yield from read_frames(path, start=track["start_frame"], stop=track["start_frame"] + video["n_frames"])

    def sound(self, video: dict[str, Any], clip: dict[str, Any], n_frames: int) -> np.ndarray:
        """int16 sound of a gallery video, exactly as long as its picture; a clip's own sound starts where its track starts."""
        from core.media import decode_flac

        row = self._of(self._clips, video["audio_clip_id"] or clip["clip_id"], "segment")
        first = 0
        if row["clip_id"] == clip["clip_id"]:
            first = (self._of(self._tracks, clip["track_id"], "track")[1]["start_frame"] - row["start_frame"]) * SAMPLES_PER_FRAME
        samples = decode_flac(row["audio"])[first : first + n_frames * SAMPLES_PER_FRAME]
        return np.pad(samples, (0, n_frames * SAMPLES_PER_FRAME - len(samples)))

    def _of(self, found: dict[str, Any], key: str, stage: str) -> Any:
        if key not in found:
            raise UserError(f"{key}: scored, but not in data/{stage}; the outputs are of different runs: build them again")
        return found[key]


def rows_of(folder: Path, table: str, key: str, wanted: set[str], columns: list[str]) -> list[dict[str, Any]]:
    """The rows of a stage's table whose `key` is wanted, read shard by shard so that the other rows' bytes are let go."""
    import pyarrow.compute as pc

    from core.shards import read_shard

    out = []
    for path in sorted((folder / table).glob("shard-*")):
        data = read_shard(path, columns)
        out += data.filter(pc.is_in(data[key], value_set=_strings(wanted))).to_pylist()
    return out


def _strings(values: set[str]) -> Any:
    import pyarrow as pa

    return pa.array(sorted(values), pa.string())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(run_cli("report", main, doc=__doc__))
