"""Near-duplicates: how well copies of real clips are found and other clips told apart, and what looking through many clips costs.

    python -m bench.duplicates [--clips 100000] [--real FOLDER]

--real: a folder of videos. Each is written again at 160 pixels, CRF 34 and AAC, from its 4th and from its 19th frame on.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from metrics.duplicates import LOOKS_ALIKE, MOVES_ALIKE, PICTURES, SOUND_ERROR, SOUND_STEPS, near_duplicates
from metrics.prints import bit_error, looks, moves, picture_print, sound_print, thumb

TARGET_S = 60.0
SIDE, CRF, MOST_FRAMES = 160, 34, 200
STARTS = (3, 18)


def made(n: int, copies: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Prints of n clips of 5 s, a tenth of them in one of 20 studios; the last `copies` are stretches of the first, a little
    worse."""
    rng = np.random.default_rng(seed)
    walls = rng.normal(8000, 1500, (20, 8, 9))
    sounds, pictures = [], []
    for k in range(n):
        # Real words are far from uniform: bits of a step follow those before it.
        flips = rng.integers(0, 2**32, 200, dtype=np.uint32) & rng.integers(0, 2**32, 200, dtype=np.uint32)
        sounds.append((np.bitwise_xor.accumulate(flips) | np.uint32(1)).astype(np.uint32))
        wall = walls[rng.integers(20)] if k % 10 == 0 else rng.normal(8000, 1500, (8, 9))
        pictures.append(np.clip(wall + np.cumsum(rng.normal(0, 64, (25, 8, 9)), 0), 0, 16000).astype(np.uint16))
    for k in range(copies):
        wrong = (np.uint32(2) << rng.integers(0, 31, 160).astype(np.uint32)) * (rng.random(160) < 0.8).astype(np.uint32)
        sounds[n - 1 - k] = sounds[k][40:] ^ wrong
        pictures[n - 1 - k] = np.clip(pictures[k][5:] + rng.normal(0, 20, (20, 8, 9)), 0, 16000).astype(np.uint16)
    return pictures, sounds


def scale(n: int) -> bool:
    """Prints seconds and memory of looking through n clips; whether all copies were found, nothing else was, and in time."""
    copies = n // 100
    pictures, sounds = made(n, copies)
    began = time.process_time()
    found = {(p.a, p.b) for p in near_duplicates(pictures, sounds)}
    took = time.process_time() - began
    right = {(k, n - 1 - k) for k in range(copies)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{n:,} clips of 5 s, {copies:,} of them copies: {len(found & right):,} found, "
          f"{len(found - right):,} pairs that are none, "
          f"{took:.1f} s of CPU (target {TARGET_S:g}), peak {peak:.2f} GiB with the prints")
    return found == right and took <= TARGET_S


def prints_of(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """The prints of a whole file, or None where it has no picture."""
    from core import media
    from core.records import Reject

    try:
        picture = picture_print([thumb(small) for small, _ in media.read_small_frames(path, 128)])
    except Reject:
        return None
    try:
        return picture, sound_print(media.read_audio(path))
    except Reject:
        return picture, np.zeros(0, np.uint32)


def copy(path: Path, to: Path, start: int) -> None:
    """Writes a worse copy of a stretch of a video."""
    import cv2

    from core import media
    from core.records import Reject

    frames = []
    for f in media.read_frames(path, start=start, stop=start + MOST_FRAMES):
        scale = SIDE / max(f.shape[:2])
        frames.append(cv2.resize(f, (round(f.shape[1] * scale / 2) * 2, round(f.shape[0] * scale / 2) * 2),
                                 interpolation=cv2.INTER_AREA))
    try:
        samples = media.read_audio(path)[start * 640 :][: len(frames) * 640]
    except Reject:
        samples = None
    media.write_video(to, frames, audio=samples, crf=CRF)


def real(folder: Path) -> bool:
    """Prints how far copies and others are apart; whether every copy is found, by sound or by picture."""
    paths = sorted(p for p in folder.iterdir() if p.is_file())
    seen = {p.name: found for p in paths if (found := prints_of(p)) is not None and len(found[0]) >= PICTURES}
    copies: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as temp:
        for name, (picture, _) in seen.items():
            for start in STARTS:
                if (len(picture) * 5 - start) // 5 >= PICTURES:
                    copy(folder / name, Path(temp) / "copy.mp4", start)
                    copies[name, start] = prints_of(Path(temp) / "copy.mp4")
    near, far = [], []
    for (name, start), mine in copies.items():
        near.append((f"{name} from frame {start}", *apart(seen[name], mine)))
    names = sorted(seen)
    for i, a in enumerate(names):
        far += [(f"{a}, {b}", *apart(seen[a], seen[b])) for b in names[i + 1 :]]
    is_near = lambda row: row[1] <= SOUND_ERROR or (row[2] >= MOVES_ALIKE and row[3] <= LOOKS_ALIKE)  # noqa: E731
    heard = [row for row in near if row[1] < 1.0]
    print(f"{len(near)} copies of {len(seen)} clips: wrong bits of sound at most {max(r[1] for r in heard):.3f}, "
          f"movement at least {min(r[2] for r in near):.3f}, looks at most {max(r[3] for r in near):.3f}; "
          f"{sum(r[1] <= SOUND_ERROR for r in near)} found by sound, "
          f"{sum(r[2] >= MOVES_ALIKE and r[3] <= LOOKS_ALIKE for r in near)} by picture, {sum(map(is_near, near))} by either")
    alike = [row for row in far if is_near(row)]
    others = [row for row in far if not is_near(row)]
    print(f"{len(far)} pairs of clips: {len(alike)} share footage: " + "; ".join(row[0] for row in alike))
    print(f"the others: wrong bits of sound at least {min(r[1] for r in others):.3f}, "
          f"movement at most {max(r[2] for r in others):.3f}")
    return all(map(is_near, near))


def apart(one: tuple[np.ndarray, np.ndarray], two: tuple[np.ndarray, np.ndarray]) -> tuple[float, float, float]:
    """(wrong bits of sound at the best of all shifts, 1.0 without sound; movement; looks there, 1.0 without movement)."""
    shifts = range(SOUND_STEPS - len(two[1]), len(one[1]) - SOUND_STEPS + 1)
    errors = [error for s in shifts for error, n in [bit_error(one[1], two[1], s)] if n >= SOUND_STEPS]
    alike, shift, n = moves(one[0], two[0], PICTURES)
    return min(errors, default=1.0), alike, looks(one[0], two[0], shift) if n else 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--real", type=Path)
    args = parser.parse_args()
    fine = scale(args.clips)
    if args.real:
        fine &= real(args.real)
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
