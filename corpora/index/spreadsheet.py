"""What a row of one's own table may say: the columns that the corpora `csv` and `folder` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from core.records import Reject, Source
from corpora.index import values
from corpora.index.files import safe_path

COLUMNS = ("id", "file", "url", "video", "start_s", "end_s", "x0", "y0", "x1", "y1", "box_unit", "box_frame_height", "language",
           "speaker", "kind", "sha256", "fetch", "duration_s")
_OURS = frozenset(COLUMNS) - {"duration_s"}  # a fact of the recording too


def name_of(raw: Mapping[str, str]) -> str:
    """What identifies a row: its id, else its file, address or video, with the stretch where one is given."""
    if raw.get("id"):
        return raw["id"]
    name = raw.get("file") or raw.get("url") or raw.get("video") or ""
    if raw.get("file") and ("./" in name or "//" in name):
        name = str(PurePosixPath(name))
    return f"{name}_{raw['start_s']}_{raw.get('end_s', '')}" if raw.get("start_s") else name


def is_file(raw: Mapping[str, str]) -> bool:
    """Whether `name_of` a row is a file's name and no more."""
    return bool(raw.get("file")) and not raw.get("id") and not raw.get("start_s")


def builder(root: Path | None) -> Callable[[Mapping[str, str]], dict[str, Any]]:
    """A function from a row to an item's fields; files are looked for below `root`."""
    root = root and root.resolve()
    further: dict[tuple[str, ...], list[str]] = {}  # the columns of a row that are not ours: all rows of a table have the same

    def build(raw: Mapping[str, str]) -> dict[str, Any]:
        get, times = raw.get, stretch(raw)
        start_s, end_s = times["start_s"], times["end_s"]
        source = _source(raw, root, start_s, end_s)
        kind = get("kind") or "real"
        if kind not in values.KINDS:
            raise Reject("bad_row", f"kind {kind!r}: expected one of {', '.join(values.KINDS)}")
        columns = tuple(raw)
        if columns not in further:
            further[columns] = sorted(raw.keys() - _OURS)
        x0, y0, x1, y1, crop = get("x0"), get("y0"), get("x1"), get("y1"), None
        if x0 or y0 or x1 or y1:
            high = get("box_frame_height")
            crop = values.box(x0, y0, x1, y1, unit=get("box_unit") or "share",
                              frame_height=int(values.number(high, "box_frame_height", "bad_box")) if high else None)
        return {"source": source, "speaker": get("speaker") or None, "kind": kind, "start_s": start_s, "end_s": end_s,
                "duration_s": times["duration_s"], "video": get("video") or _video(source), "box": crop,
                "extra": {key: raw[key] for key in further[columns]}}

    return build


def stretch(raw: Mapping[str, str]) -> dict[str, float | None]:
    """start_s and end_s of a row, and duration_s; Reject(bad_time) for a stretch that is none."""
    start, end, said = raw.get("start_s"), raw.get("end_s"), raw.get("duration_s")
    start_s, end_s = values.span(start, end) if start or end else (None, None)
    return {"start_s": start_s, "end_s": end_s, "duration_s": _seconds(said) if said else None}


def _seconds(said: str) -> float | None:
    """A length above 0; None for anything else: nothing hangs on it but a count."""
    try:
        found = values.number(said, "duration_s")
    except Reject:
        return None
    return found if found > 0 else None


def _video(source: Source) -> str | None:
    """What rows that are stretches of one file or page have in common; a whole file is a recording of its own."""
    if source.kind == "file":
        return source.at if source.start_s is not None else None
    return values.video_of(source.at)


def _source(raw: Mapping[str, str], root: Path | None, start_s: float | None, end_s: float | None) -> Source:
    file, url, video, sha256 = raw.get("file"), raw.get("url"), raw.get("video"), raw.get("sha256") or None
    if sha256 is not None and (len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef")):
        raise Reject("bad_row", f"sha256 {sha256[:80]!r}: expected 64 hexadecimal digits")
    if file or not (url or video):
        if root is not None:
            safe_path(root, file or "")
        return Source("file", file or "", start_s, end_s, sha256)
    if url:
        return values.address(url, start_s, end_s, kind=raw.get("fetch"), sha256=sha256)
    return values.youtube(video, start_s, end_s)
