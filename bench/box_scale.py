"""How the boxes of our face finders stand to the S3FD boxes that SyncNet's crop is defined by.

    python -m bench.box_scale CROP... [--every 10] [--out FILE.json]

CROPs are videos that SyncNet's own pipeline cut (its demo clip; VoxCeleb's clips are cut alike). S3FD's weights are not among
ours, but such a crop tells where its box was: the pipeline cuts a square of 2.8 half boxes whose top edge is the box's own, so
the box lies in the middle of the upper part, 1 / 1.4 of the crop's side wide, its centre 1 / 2.8 of the side below the top. Each
finder is run on the crops; `scale` is the side of that box over the larger side of the finder's, `down` how far its centre lies
below the finder's, in sides of the finder's box; one value per clip (the median over its frames), then the median of the clips.
Blind spots: the pipeline's median filter over 13 frames and its whole pixels, a mouth that opens the box, and a finder that does
worse on a tight crop than in a whole frame.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SIDE, MIDDLE, TOP = 1 / 1.4, 0.5, 1 / 2.8  # of the crop's side: the box's side, and where its centre lies


def against(box: np.ndarray, crop_side: float) -> tuple[float, float, float]:
    """(scale, right, down) of the box that the crop was cut by, against `box` (4,) found in it."""
    larger = float((box[2:] - box[:2]).max())
    x, y = (box[:2] + box[2:]) / 2 + 0.5  # pixel centres to edges
    return SIDE * crop_side / larger, (MIDDLE * crop_side - x) / larger, (TOP * crop_side - y) / larger


def measure(clips: list[Path], every: int) -> dict[str, Any]:
    """{finder: {clips: {name: [scale, right, down, n_frames]}, scale, right, down, spread}}; spread: lowest and highest of
    each."""
    from core import media
    from core.weights import find
    from models.experts.finder import S3FD_BOX, open_finder

    out: dict[str, Any] = {}
    for name in sorted(S3FD_BOX):
        finder, per_clip = open_finder(find(name).path, name), {}
        for path in clips:
            found = []
            for f, frame in enumerate(media.read_frames(path)):
                hits = finder.find(frame) if f % every == 0 else []
                if hits:
                    found.append(against(hits[0].box, max(frame.shape[:2])))
            if found:
                per_clip[path.name] = [*(float(v) for v in np.median(found, axis=0)), len(found)]
        finder.close()
        table = np.array([v[:3] for v in per_clip.values()]).reshape(-1, 3)
        out[name] = {"clips": per_clip, "in_use": list(S3FD_BOX[name])}
        for k, key in enumerate(("scale", "right", "down") if len(table) else ()):
            out[name] |= {key: float(np.median(table[:, k])),
                          f"{key}_spread": [float(table[:, k].min()), float(table[:, k].max())]}
    return out


def main(argv: list[str] | None = None) -> int:
    """The exit status; prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.box_scale", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path, nargs="+", metavar="CROP")
    parser.add_argument("--every", type=int, default=10, help="frames between two samples")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    result = measure(args.crops, args.every)
    for name, found in result.items():
        for clip, (scale, right, down, n) in found["clips"].items():
            print(f"{name:>10} {clip:>24}: scale {scale:.3f}, right {right:+.3f}, down {down:+.3f} ({n} frames)")
        if "scale" in found:
            print(f"{name:>10} {'median of the clips':>24}: scale {found['scale']:.3f} [{found['scale_spread'][0]:.3f}, "
                  f"{found['scale_spread'][1]:.3f}], down {found['down']:+.3f} [{found['down_spread'][0]:+.3f}, "
                  f"{found['down_spread'][1]:+.3f}]; in use: {found['in_use'][0]:g}, {found['in_use'][1]:+g}")
    if args.out:
        args.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
