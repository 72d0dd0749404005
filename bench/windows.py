"""Random windows of 5 frames per CPU second, from each layout that views are stored in, against JPEG files opened one by one.

    python -m bench.windows [--sizes 224 96] [--tracks 8] [--batches 20] [--rounds 3] [--clip FILE] [--json FILE]

Every arm fills one contiguous uint8 batch of 32 windows, the same windows in the same run, the arms in turns, best round each:
    files    one .jpg a frame, opened with OpenCV and brought to RGB, as many training sets lie
    stored   data/crop as the crop stage leaves it: JPEG frames in a memory-mapped Arrow file (core.shards.ViewStore)
    raw      what training reads from the second time on: the raw copy that stages.train keeps of frames it has seen
All files are in the system's cache. Frames are cut from --clip, or made up: smooth, with a camera's noise. Also printed: the
size of an hour in each layout.

The raw copy has to be filled: every frame is decoded when training first asks for it, and the copy goes with the process, so
each training pays once. `times files` is without that, as a long training sees it. What filling costs is timed apart: after how
many windows it has paid against `files`, as many passes over the frames (a pass is one window per 5 frames), and how many times
as fast raw is over 1, 10 and 100 passes with the filling in it. Exit status 1 where `raw`, filled, is less than 3 times as fast
as `files` at 224 pixels, or 15 times at 96.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WINDOW, BATCH, N_FRAMES, QUALITY = 5, 32, 200, 92
LEAST = {224: 3.0, 96: 15.0}
PASSES = (1, 10, 100)
HOUR = 90_000  # frames
INSTANCE, VIEW = "bench-en", "face"
Windows = list[tuple[str, int]]  # track, first frame


def pictures(size: int, clip: Path | None) -> list[np.ndarray]:
    """N_FRAMES frames of a square view."""
    import cv2

    if clip is not None:
        from core import media

        shown = [cv2.resize(f[:min(f.shape[:2]), :min(f.shape[:2])], (size, size), interpolation=cv2.INTER_AREA)
                 for f in media.read_frames(clip, stop=N_FRAMES)]
        return [shown[k % len(shown)] for k in range(N_FRAMES)]
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:size, 0:size] * (224 / size)
    waves = [np.stack([np.sin((x * a + k) / 21), np.cos((y * b - k) / 17), np.sin((x + y + k) / 29)], -1) for k in range(8)
             for a, b in ((1, 1.4),)]
    return [np.clip(128 + 80 * waves[k % 8] + rng.normal(0, 3, (size, size, 3)), 0, 255).astype(np.uint8)
            for k in range(N_FRAMES)]


def lay_out(folder: Path, size: int, tracks: int, clip: Path | None) -> tuple[list[str], dict[str, float]]:
    """(track ids, gigabytes an hour by layout): the same frames below `folder` as files and as the crop stage's shard."""
    from core import shards
    from core.media import encode_jpeg

    names = [f"t{k}" for k in range(tracks)]
    coded = [encode_jpeg(f, QUALITY) for f in pictures(size, clip)]
    for name in names:
        (folder / "files" / name).mkdir(parents=True)
        for k, data in enumerate(coded):
            (folder / "files" / name / f"{k:06d}.jpg").write_bytes(data)
    rows = [{"track_id": n, "clip_id": n, "language": "en", "view": VIEW, "height": size, "width": size, "n_frames": N_FRAMES,
             "transforms": shards.pack(np.zeros((N_FRAMES, 2, 3), np.float32)), "frames": coded} for n in names]
    path = shards.shard_path(folder / "data" / "crop" / INSTANCE, "views", 0)
    shards.write_table(path, rows, "views")
    on_disk = sum(p.stat().st_blocks * 512 for p in (folder / "files" / names[0]).iterdir())
    per_hour = {"files": on_disk / N_FRAMES, "stored": path.stat().st_size / (tracks * N_FRAMES), "raw": size * size * 3}
    return names, {layout: per_frame * HOUR / 1e9 for layout, per_frame in per_hour.items()}


def arms(folder: Path, names: list[str]) -> tuple[dict[str, Callable[[np.ndarray, Windows], None]], float]:
    """By layout: a function that fills a batch with some windows; and the CPU seconds that filling the raw copy took. Run from
    `folder`."""
    import cv2

    from core.shards import ViewStore
    from models.windows import Footage
    from stages.train import Frames

    store = ViewStore(Path("data") / "crop" / INSTANCE)
    raw = Frames([Footage(n, "en", n, N_FRAMES) for n in names], dict.fromkeys(names, INSTANCE), VIEW, None)
    began = time.process_time()
    for name in names:
        for first in range(0, N_FRAMES, WINDOW):
            raw.frames(name, first + np.arange(WINDOW))  # what training does as it first comes by
    fill_s = time.process_time() - began

    def from_files(batch: np.ndarray, windows: Windows) -> None:
        for k, (name, first) in enumerate(windows):
            for f in range(WINDOW):
                batch[k, f] = cv2.cvtColor(cv2.imread(str(folder / "files" / name / f"{first + f:06d}.jpg")), cv2.COLOR_BGR2RGB)

    def from_store(batch: np.ndarray, windows: Windows) -> None:
        for k, (name, first) in enumerate(windows):
            batch[k] = store.frames(name, VIEW, first, first + WINDOW)

    def from_raw(batch: np.ndarray, windows: Windows) -> None:
        for k, (name, first) in enumerate(windows):
            batch[k] = raw.frames(name, first + np.arange(WINDOW))

    return {"files": from_files, "stored": from_store, "raw": from_raw}, fill_s


def filling(windows_per_s: dict[str, float], fill_s: float, n_frames: int) -> dict[str, Any]:
    """When a raw copy of n_frames, filled in fill_s (its first windows among them), has paid against JPEG files: after how many
    windows and passes over the frames, None for never; and times as fast as files over PASSES, the filling included."""
    a_pass = n_frames / WINDOW
    saved_s = 1 / windows_per_s["files"] - 1 / windows_per_s["raw"]
    after = a_pass + max(0.0, fill_s - a_pass / windows_per_s["files"]) / saved_s if saved_s > 0 else None
    times = {n: n * a_pass / windows_per_s["files"] / (fill_s + (n - 1) * a_pass / windows_per_s["raw"]) for n in PASSES}
    return {"fill_s": fill_s, "n_frames": n_frames, "pays_after_windows": after, "pays_after_passes": after and after / a_pass,
            "times_with_filling": times}


def measure(size: int, *, tracks: int = 8, batches: int = 20, rounds: int = 3, clip: Path | None = None) -> dict[str, Any]:
    """Windows per CPU second and gigabytes an hour, by layout. AssertionError where two layouts give other pixels."""
    import cv2

    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        names, per_hour = lay_out(Path(place), size, tracks, clip)
        fill, fill_s = arms(Path(place), names)
        rng = np.random.default_rng(1)
        draws = [[(names[rng.integers(tracks)], int(rng.integers(N_FRAMES - WINDOW + 1))) for _ in range(BATCH)]
                 for _ in range(batches)]
        batch = {arm: np.zeros((BATCH, WINDOW, size, size, 3), np.uint8) for arm in fill}
        for arm, function in fill.items():
            function(batch[arm], draws[0])
        assert all(np.array_equal(batch["files"], other) for other in batch.values()), "the layouts do not hold the same pictures"
        best: dict[str, float] = {}
        for _ in range(rounds):
            for arm, function in fill.items():
                began = time.process_time()
                for windows in draws:
                    function(batch[arm], windows)
                best[arm] = min(best.get(arm, np.inf), time.process_time() - began)
    speed = {arm: batches * BATCH / seconds for arm, seconds in best.items()}
    return {"size": size, "windows_per_s": speed, "times": {arm: speed[arm] / speed["files"] for arm in speed},
            "gb_per_hour": per_hour, "filling": filling(speed, fill_s, tracks * N_FRAMES)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=sorted(LEAST, reverse=True))
    parser.add_argument("--tracks", type=int, default=8)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    clip = given.clip.resolve() if given.clip else None
    results = [measure(size, tracks=given.tracks, batches=given.batches, rounds=given.rounds, clip=clip) for size in given.sizes]
    print(f"{'pixels':>6} {'layout':>7} {'windows/s':>10} {'times files':>11} {'GB an hour':>10}")
    for r in results:
        for arm in r["windows_per_s"]:
            print(f"{r['size']:>6} {arm:>7} {r['windows_per_s'][arm]:>10.0f} {r['times'][arm]:>11.1f} "
                  f"{r['gb_per_hour'][arm]:>10.2f}")
    for r in results:
        f = r["filling"]
        pays = "never pays" if f["pays_after_windows"] is None else (
            f"has paid after {f['pays_after_windows']:,.0f} windows, {f['pays_after_passes']:.2f} passes over the frames")
        times = ", ".join(f"{t:.1f} over {n}" for n, t in f["times_with_filling"].items())
        print(f"{r['size']:>6} filling raw: {f['fill_s']:.2f} s of CPU for {f['n_frames']:,} frames, once a training; {pays}; "
              f"times files with it: {times} passes")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    return int(any(r["times"]["raw"] < LEAST.get(r["size"], 0) for r in results))


if __name__ == "__main__":
    sys.exit(main())
