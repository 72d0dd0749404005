"""A dataset of a few seconds, made by the real stages (but for the faces, which are fabricated): two languages, a copy,
rejects."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from core import media, shards
from tests.stages.sync_clips import fabricated_track, inside, rows_of, workspace

SECONDS = 3.0
BOX = (16.0, 0.0, 112.0, 96.0)
# file -> (language, speaker, gender); "copy.mp4" is a stretch of "a1.mp4", smaller and of less quality, under another name
FILES = {"a1.mp4": ("en", "ann", "female"), "a2.mp4": ("en", "ann", "female"), "b1.mp4": ("en", "bob", "M"),
         "d1.mp4": ("en", "dan", ""),
         "c1.mp4": ("fi", "cai", ""), "copy.mp4": ("fi", "", ""), "f1.mp4": ("fi", "", "")}


def person(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(frames, samples) of somebody: a picture of their own that moves in its own way, and a voice of its own pitch and
    colour."""
    rng = np.random.default_rng(seed)
    n, rate = round(SECONDS * 25), 16000
    y, x = np.mgrid[0:96, 0:128]
    waves = rng.uniform(0.02, 0.12, (6, 2)) * rng.choice([-1, 1], (6, 2))
    drift = np.cumsum(rng.normal(0, 0.25, (n, 6)), 0)
    colours = rng.uniform(0.3, 1.0, 3)
    pictures = [127 + sum(22 * np.sin(a * x + b * y + d) for (a, b), d in zip(waves, k, strict=True)) for k in drift]
    frames = np.stack([np.clip(p, 0, 255)[..., None] * colours for p in pictures]).astype(np.uint8)
    t = np.arange(round(SECONDS * rate)) / rate
    pitch = rng.uniform(110, 240) * np.exp(np.interp(t, np.linspace(0, SECONDS, 16), np.cumsum(rng.normal(0, 0.06, 16))))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    level = [np.interp(t, np.linspace(0, SECONDS, 30), rng.uniform(0.05, 1, 30)) / k for k in range(1, 12)]
    gate = ((t % 1.0) < 0.8) & (t > 0.2)
    voice = sum(v * np.sin(k * phase) for k, v in enumerate(level, start=1)) * gate
    return frames, np.rint(6000 * voice / np.abs(voice).max() * 3).astype(np.int16)


def write_files(folder: Path) -> None:
    """The recordings, and files that cannot be used, with their index."""
    import cv2

    folder.mkdir(parents=True)
    for seed, name in enumerate(FILES):
        if name == "copy.mp4":
            frames, samples = person(0)
            small = [cv2.resize(f, (96, 72), interpolation=cv2.INTER_AREA) for f in frames[9:]]
            media.write_video(folder / name, small, audio=samples[9 * 640:], crf=30)
        else:
            frames, samples = person(seed)
            media.write_video(folder / name, frames, audio=samples, crf=20)
    frames, samples = person(99)
    media.write_video(folder / "quiet.mp4", frames, audio=np.zeros_like(samples))
    media.write_video(folder / "brief.mp4", frames[:20], audio=samples[: 20 * 640])
    (folder / "junk.mp4").write_bytes(np.random.default_rng(1).bytes(5000))
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "language", "speaker", "gender"])
        writer.writerows([name, *said] for name, said in FILES.items())
        writer.writerows([name, "en", "", ""] for name in ("quiet.mp4", "brief.mp4", "junk.mp4", "gone.mp4"))


def make(folder: Path) -> Path:
    """A workspace built up to its splits, without DVC."""
    import stages.crop
    import stages.download
    import stages.inspect
    import stages.segment
    import stages.split

    source = folder / "source"
    write_files(source)
    workspace(folder, {"toy": {"adapter": "folder", "path": "source", "languages": {"en": {}, "fi": {}}}},
              crop={"store": ["mouth"]}, split={"test_share": 0.4})
    with inside(folder) as params:
        for name in ("toy-en", "toy-fi"):
            for stage in (stages.download, stages.segment):
                stage.main(name, params)
            rng = np.random.default_rng(0)
            clips = rows_of(folder, "segment", name, "clips")
            box = {c["clip_id"]: tuple(v * c["width"] / 128 for v in BOX) for c in clips}
            tracks = [fabricated_track(c, box[c["clip_id"]], rng) for c in sorted(clips, key=lambda c: c["clip_id"])]
            shards.write_table(shards.shard_path(folder / "data" / "track" / name, "tracks", 0), tracks, "tracks")
            for stage in (stages.inspect, stages.crop):
                stage.main(name, params)
        stages.split.main("all", params)
    return folder
