"""Entries of a JSON file, one at a time: of an object, an array, or one value a line; files of gigabytes are never held whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.records import Reject
from corpora.index.tables import Row, open_text, unreadable
from corpora.index.values import BadIndex

CHUNK = 1 << 18
_SPACE = " \t\r\n"


def entries(path: Path, inside: str | None = None) -> Iterator[Row]:
    """Rows whose `raw` is an entry, an object, with its key under "key" where it has one.

    inside: of the top level's object, only what stands under this name. Where the file breaks off or is no JSON any more, one
    row says so, and nothing follows it. Raises BadIndex for a file that does not begin as expected.
    """
    with open_text(path) as handle:
        reader = _Reader(handle)
        first = reader.peek()
        if first not in ("{", "["):
            raise BadIndex(f"{path}: expected JSON: an object or an array of entries, found {first!r}" if first else f"{path}: "
                                                                                                                     f"is empty")
        count = 0
        try:
            for key, value in reader.members(inside):
                count += 1
                label = f"entry {count}" if key is None else f"entry {key!r}"
                if isinstance(value, dict):
                    value = value if key is None else {"key": key, **value}
                    broken = unreadable(json.dumps(value, ensure_ascii=False)) if reader.odd else False
                else:
                    value, broken = Reject("bad_row", f"{type(value).__name__} where an object was expected"), False
                yield Row(path.name, label, Reject("bad_row", "not UTF-8") if broken else value)
        except _Broken as error:
            yield Row(path.name, f"after entry {count}", Reject("bad_row", f"the file breaks off or is no JSON here: {error}"))
            return
    if inside is not None and not reader.found:
        raise BadIndex(f"{path}: has no {inside!r}")


class _Broken(Exception):
    pass


class _Reader:
    """A window on a text: `members` moves it over the file and decodes one value after the other."""

    def __init__(self, handle):
        self._handle, self._text, self._at, self._more = handle, "", 0, True
        self._decode = json.JSONDecoder().raw_decode
        self.found = False
        self.odd = False  # whether any byte of the window was not UTF-8

    def _fill(self, size: int = CHUNK) -> bool:
        piece = self._handle.read(size) if self._more else ""
        self._more = bool(piece)
        self._text, self._at = self._text[self._at:] + piece, 0
        self.odd = unreadable(self._text)
        return self._more

    def peek(self) -> str:
        """The next character that is no space, or ""."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _expect(self, wanted: str) -> str:
        found = self.peek()
        if not found or found not in wanted:
            raise _Broken(f"expected {' or '.join(wanted)}, found {found!r}" if found else "it ends")
        self._at += 1
        return found

    def value(self) -> Any:
        """The value that begins here; the window grows, doubling, until it is whole."""
        self.peek()
        size = CHUNK
        while True:
            start = self._at
            try:
                value, end = self._decode(self._text, start)
            except (ValueError, RecursionError) as error:
                if not self._fill(size):
                    raise _Broken(str(error)) from None
            else:
                if end < len(self._text):
                    self._at = end
                    return value
                if not self._fill(size):  # at the end of the window a number might go on in the next piece
                    self._at = end - start
                    return value
            size *= 2

    def members(self, inside: str | None) -> Iterator[tuple[str | None, Any]]:
        """(key or None, value) of the object, the array, or the lines of values, at the window's place."""
        opening = self.peek()
        if opening == "[":
            self._at += 1
            yield from self._array()
        else:
            yield from self._object(inside)

    def _array(self) -> Iterator[tuple[None, Any]]:
        if self.peek() == "]":
            return
        while True:
            yield None, self.value()
            if self._expect(",]") == "]":
                return

    def _object(self, inside: str | None) -> Iterator[tuple[str | None, Any]]:
        self._at += 1
        if self.peek() == "}":
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise _Broken(f"expected a name, found {key!r}")
            self._expect(":")
            if inside is None:
                yield key, self.value()
            elif key == inside and not self.found:
                self.found = True
                if self.peek() == "[":
                    self._at += 1
                    yield from self._array()
                elif self.peek() == "{":
                    yield from self._object(None)
                else:
                    raise _Broken(f"{inside!r} holds neither an object nor an array")
            else:
                self.value()
            if self._expect(",}") == "}":
                return


def lines(path: Path) -> Iterator[Row]:
    """Rows of a file with one JSON object a line."""
    with open_text(path) as handle:
        for line, content in enumerate(handle, start=1):
            if not content.strip():
                continue
            try:
                value = json.loads(content)
            except (ValueError, RecursionError) as error:
                value = Reject("bad_row", f"no JSON: {error}")
            if unreadable(content):
                value = Reject("bad_row", "not UTF-8")
            elif not isinstance(value, dict | Reject):
                value = Reject("bad_row", f"{type(value).__name__} where an object was expected")
            yield Row(path.name, f"line {line}", value)
