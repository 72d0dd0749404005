"""Rows of text tables, one at a time, with the line each stands on. A line that cannot be read is a row that holds a Reject."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.records import Reject
from corpora.index.values import BadIndex


class Row(NamedTuple):
    """One entry of an index: the file's name, where in it ("line 12"), and what it says, or why it cannot be read."""

    file: str
    at: str
    raw: Any


def delimited(path: Path, *, delimiter: str = ",", columns: Sequence[str] | None = None,
              required: Sequence[str] = ()) -> Iterator[Row]:
    """Rows of a CSV or TSV file as {column: stripped text}, streamed; a byte-order mark is no part of the first name.

    columns: their names where the file has no header; then every row must have that many cells. With a header, cells that are
    absent are empty and cells beyond it dropped. Raises BadIndex for a header without `required` or with a name twice,
    FileNotFoundError without the file.
    """
    with open_text(path) as handle:
        reader = csv.reader(handle, delimiter=delimiter, strict=True)  # strict: a quote left open is an error, not a long cell
        names = list(columns or ())
        if columns is None:
            try:
                names = [cell.strip() for cell in next(reader, [])]
            except csv.Error as error:
                raise BadIndex(f"{path}: not a CSV file: {error}") from error
            if unreadable("".join(names)):
                raise BadIndex(f"{path}: the header is not UTF-8; save the file as UTF-8")
            lost = [name for name in required if name not in names]
            if lost or len(set(names)) != len(names):
                needed = " and ".join(f"a column {name!r}" for name in required)
                raise BadIndex(f"{path}: expected a header with {needed or 'column names'} and no column twice, found {names}")
        file, n_names, before = path.name, len(names), reader.line_num
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                at = f"line {before + 1}" if reader.line_num <= before + 1 else f"lines {before + 1} to {reader.line_num}"
                before = reader.line_num
                yield Row(file, at, Reject("bad_row", f"not a CSV row: {error}"))
                continue
            before = reader.line_num
            if not cells:
                continue
            if columns is not None and len(cells) != n_names:
                raw: Any = Reject("bad_row", f"{len(cells)} cells, expected {n_names}: {', '.join(names)}")
            elif unreadable("".join(cells)):
                raw = Reject("bad_row", "not UTF-8")
            else:
                raw = dict(zip(names, map(str.strip, cells), strict=False))
                if len(cells) < n_names:
                    raw |= dict.fromkeys(names[len(cells):], "")
            yield Row(file, f"line {before}", raw)


def words(path: Path, least: int = 1) -> Iterator[Row]:
    """Lines of a text file as lists of the words in them; empty lines are none. Fewer than `least` words are a Reject."""
    with open_text(path) as handle:
        for line, content in enumerate(handle, start=1):
            cells = content.split()
            if not cells:
                continue
            if unreadable(content):
                cells = Reject("bad_row", "not UTF-8")
            elif len(cells) < least:
                cells = Reject("bad_row", f"{len(cells)} words, expected {least} or more")
            yield Row(path.name, f"line {line}", cells)


def open_text(path: Path):
    """A text file open for reading; bytes that are not UTF-8 come as lone surrogates, which `unreadable` sees."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def unreadable(content: str) -> bool:
    """Whether a text holds bytes that were not UTF-8."""
    if content.isascii():
        return False
    try:
        content.encode()
    except UnicodeEncodeError:
        return True
    return False
