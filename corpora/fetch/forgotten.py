"""forgotten.yaml: items and speakers that no later version of the dataset may hold, and the tombstones of what was taken out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from core import shards
from core.records import Item, Rejected

FILE = Path("forgotten.yaml")
_KEYS = {"item", "video", "speaker", "corpus", "why"}
HEAD = """\
# What no later version may hold: `babelface forget ID` adds an entry, the download stage leaves out what one names.
# Entries have one of item, video, speaker; corpus narrows it down; why is for people. Commit this file: it is the tombstone.
"""


class BadList(ValueError):
    """forgotten.yaml cannot be read: going on without it would bring back what somebody asked us to forget."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: what it names (item, video, speaker), the name, and in which corpus (None: all)."""

    what: str
    name: str
    corpus: str | None = None
    why: str = ""


def read(path: Path = FILE) -> list[Entry]:
    """The entries of the list, in its order; none where there is no file. Raises BadList for a file that is not such a list."""
    if not path.is_file():
        return []
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except yaml.YAMLError as error:
        raise BadList(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, list):
        raise BadList(f"{path}: expected a list of entries such as `- item: NAME`")
    found = []
    for n, one in enumerate(raw, 1):
        named = [key for key in ("item", "video", "speaker") if isinstance(one, dict) and one.get(key) is not None]
        if len(named) != 1 or not set(one) <= _KEYS:
            raise BadList(f"{path}: entry {n} is {one!r}; expected one of item, video, speaker, and perhaps corpus and why")
        # A name made of digits is a number to YAML, and one like 007 is 7: it has to be in quotes.
        if not isinstance(one[named[0]], str) or not isinstance(one.get("corpus", ""), str):
            raise BadList(f"{path}: entry {n}: put the name in quotes: {one[named[0]]!r} is not text to YAML")
        found.append(Entry(named[0], one[named[0]], one.get("corpus"), str(one.get("why") or "")))
    return found


def add(entry: Entry, path: Path = FILE) -> bool:
    """Appends an entry, atomically; False where the list has it already."""
    known = read(path)
    if any((k.what, k.name, k.corpus) == (entry.what, entry.name, entry.corpus) for k in known):
        return False
    rows = [{k.what: k.name} | {key: value for key, value in (("corpus", k.corpus), ("why", k.why)) if value} for k in (*known,
                                                                                                                        entry)]
    text = yaml.safe_dump(rows, sort_keys=False, allow_unicode=True, default_flow_style=False)
    shards.write_bytes(path, (HEAD + text).encode())
    return True


def split(items: Iterable[Item], entries: list[Entry], corpus: str) -> tuple[list[Item], list[Rejected]]:
    """The items that no entry names, and a reject for each that one does. corpus: what the items' corpus is called in params."""
    mine = [entry for entry in entries if entry.corpus in (None, corpus)]
    by_name = {what: {entry.name for entry in mine if entry.what == what} for what in ("item", "video", "speaker")}
    kept, out = [], []
    for item in items:
        hit = next((what for what, name in (("item", item.id), ("video", item.video), ("speaker", item.speaker))
                    if name is not None and name in by_name[what]), None)
        if hit is None:
            kept.append(item)
        else:
            out.append(Rejected(item.id, "forgotten", f"{FILE} names its {hit}", item.language, item.length_s))
    return kept, out
