"""The named protocols of LSE: everything about a score that must match before it may stand beside another one.

Pure data, and the one string that a score row carries. Definitions: syncnet_python and Wav2Lip's evaluation/scores_LSE; what each
protocol leaves out of them is said in `about`. docs/protocols.md has the figures they were checked against.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from core.params import suggest

LENGTHS_DIFFER = "lengths_differ"


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to bring a video before the sync expert.

    picture: the whole frame squashed onto the expert's input, or the expert's view cut along a face track. jpeg: frames pass
    through JPEG as in the published scorers. padded: beyond its ends the sound is zero vectors, which enter the means. view: the
    only view an expert may have; None for any. cuts: a face is followed within one shot only, and each shot is scored by itself.
    """

    name: str
    picture: Literal["whole frame", "track"]
    jpeg: bool
    padded: bool
    view: str | None
    needs: tuple[str, ...]
    about: str
    cuts: bool = False


_FILE = ("a video at 25 fps (others are resampled)", "its sound", "a sync expert of 224 x 224 pixels (SyncNet v2)")

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(
            "syncnet-v2-whole-frame", "whole frame", True, True, "syncnet", (*_FILE, "videos that are face crops already"),
            "the public LRS path: every frame through JPEG as ffmpeg dumps it, squashed to 224 x 224; zero vectors beyond the "
            "sound's ends",
        ),
        Protocol(
            "syncnet-v2-tracked", "track", True, True, "syncnet",
            (*_FILE, "a face finder and a face mesh"),
            "the public path for uncropped videos: scene cuts, finder, track, SyncNet's crop of 2.8 half boxes from frames at "
            "JPEG quality 2, JPEG at the default quality; zero vectors beyond the sound's ends. Ours finds cuts by scenedetect's "
            "AdaptiveDetector, has another finder than S3FD, looks for faces in the frames as decoded, follows them between its "
            "looks, keeps tracks shorter than 100 frames and writes no MPEG-4 file in between", True,
        ),
        Protocol(
            "syncnet-v2-decoded", "whole frame", False, True, "syncnet", (*_FILE, "videos that are face crops already"),
            "whole frames as decoded, without JPEG, squashed to 224 x 224; zero vectors beyond the sound's ends",
        ),
        Protocol(
            "syncnet-v2-direct", "track", False, False, None,
            ("a video", "its sound", "any sync expert", "a face finder and a face mesh"),
            "no JPEG, means over real pairs only, and one crop for real and generated video alike: that of the real track, where "
            "there is one. Our own tables use it",
        ),
    )
}  # fmt: skip
ALIASES = {"syncnet-direct": "syncnet-v2-direct"}


def protocol(name: str) -> Protocol:
    """The protocol of that name or old name. Raises KeyError that names the nearest known one."""
    name = ALIASES.get(name, name)
    if name not in PROTOCOLS:
        raise KeyError(f"no protocol is called {name!r}{suggest(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def describe(
    which: Protocol, *, view: str, height: int, width: int, vshift: int, min_windows: int, finder: str | None, box_scale: float,
    box_shift: float, sound: Literal["clip", "file"], precision: str = "float32", reader: str | None = None,
) -> str:  # fmt: skip
    """The string that a score row carries: two rows may be compared when it, the expert and the finder are equal.

    view, height, width: what the expert saw. finder: `kind:sha256` of the face finder, for protocols that use one. box_scale,
    box_shift: what its boxes are multiplied by and moved down by (in boxes) to be S3FD's. sound: lossless from the clip, or as
    the video file has it. precision: of the expert, which is said where it is not float32. reader: the lip reader's name and
    digest, where there is one.
    """
    parts = [f"view={view} {width}x{height}", f"vshift={vshift}", f"min_windows={min_windows}"]
    if which.picture == "track":
        kind, _, digest = (finder or "none").partition(":")
        parts += [f"finder={kind}{':' if digest else ''}{digest[:8]}", f"box={box_scale:g}{box_shift:+g}"]
    parts += [f"jpeg={'mjpeg' if which.jpeg else 'no'}", f"edges={'zeros' if which.padded else 'pairs'}", f"sound={sound}"]
    parts += ["cuts=shots"] if which.cuts else []
    parts += [] if precision == "float32" else [f"precision={precision}"]
    parts += [f"reader={reader}"] if reader else []
    return f"{which.name}({', '.join(parts)})"


def name_in(text: str | None) -> str:
    """The protocol's name in a score row's string."""
    return (text or "").partition("(")[0]


@lru_cache(maxsize=64)
def is_padded(text: str | None) -> bool:
    """Whether a score row's protocol string says that zero vectors enter the means."""
    found = re.search(r"edges=(\w+)", text or "")
    return found is not None and found[1] == "zeros"


def lengths_differ(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether LSE-C of these score rows may NOT be averaged: zero vectors enter its median in proportion to the clip's shortness
    (a third of all distances at 29 frames, 3 % at 10 s), so padded rows must be of one length."""
    lengths = {r.get("n_windows") for r in rows if r.get("lse_c") is not None and is_padded(r.get("protocol"))}
    return len(lengths) > 1
