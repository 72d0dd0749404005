"""Corpora that come as folders: every video file below the folder is an entry, and its path says what it is."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from core.records import Reject
from corpora.index.files import VIDEO_SUFFIXES, plain_name, safe_path, walk
from corpora.index.tables import Row, open_text
from corpora.index.values import BadIndex


def files(root: Path, layout: str, *, suffixes: tuple[str, ...] = VIDEO_SUFFIXES, expected: str) -> Iterator[Row]:
    """One row per file below `root` with one of `suffixes`, sorted by path: the groups of the regular expression `layout`, which
    must match the end of the path from the beginning of a name, and "path". Where it does not, a Reject that says what was
    `expected`. Links are followed only within the folder.
    """
    fits = re.compile(rf"(?:.*/)?{layout}", re.IGNORECASE)
    for path in walk(root, suffixes):
        try:
            plain_name(path)
            if (root / path).is_symlink():
                safe_path(root, path)
            found = fits.fullmatch(path)
            if not found:
                raise Reject("bad_name", f"{path!r} does not lie as {expected}")
            raw = {"path": path, **{key: value or "" for key, value in found.groupdict().items()}}
        except Reject as reject:
            raw = reject
        yield Row(path, "", raw)


def sidecar(root: Path, path: str) -> dict[str, str]:
    """The head of the .txt file beside a video, as the LRS and LRW corpora have it: {"text": ..., "conf": ...}, keys in small
    letters.

    Lines such as "Text:  SOME WORDS"; the tables of frames and words that follow are left alone. {} without such a file.
    """
    head: dict[str, str] = {}
    beside = (root / path).with_suffix(".txt")
    try:
        safe_path(root, beside.relative_to(root).as_posix())
    except Reject:
        return head
    with open_text(beside) as handle:
        for _, line in zip(range(12), handle, strict=False):
            key, colon, value = line.partition(":")
            if colon and key.strip().isascii() and len(key) < 30:
                head[key.strip().lower()] = value.encode("utf-8", "replace").decode().strip()
    return head


def labels(path: Path, key: str, delimiter: str = ",") -> dict[str, dict[str, str]]:
    """The rows of a small table by its column `key`, names and cells stripped; {} where there is no such table or column. BadIndex
    where it is no table."""
    if not path.is_file():
        return {}
    with open_text(path) as handle:
        reader = csv.reader(handle, delimiter=delimiter)
        try:
            rows = [[cell.strip().encode("utf-8", "replace").decode() for cell in row] for row in reader if row]
        except csv.Error as error:
            raise BadIndex(f"{path}: line {reader.line_num} is not a CSV row: {error}") from error
    if not rows or key not in rows[0]:
        return {}
    return {row[key]: row for row in (dict(zip(rows[0], cells, strict=False)) for cells in rows[1:]) if key in row}
