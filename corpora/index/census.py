"""How many entries an index has of every language, counted while one language of it is read, and which of them no corpus of
params.yaml asks for: rows of other languages, and rows that say none or cannot be read at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.records import Item, Rejected
from core.shards import write_json
from corpora.index.values import UNKNOWN, tag_of

if TYPE_CHECKING:
    from core.params import Params

KEPT = Path(".babelface/index")  # what a download saw; no output of the pipeline, for it changes with rows of other languages
PLACES = 3  # that are kept of every language and reason
NO_LANGUAGE = "no_language"  # of entries that could be used if somebody said what is spoken
_NAMED = 5  # languages that are named in a line


class Census:
    """The counts of one reading."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._places: dict[tuple[str, str], list[str]] = {}

    def add(self, entry: Item | Rejected) -> None:
        """Counts one entry, and keeps where it stands if it has no language and is one of the first for its reason."""
        rejected = type(entry) is Rejected
        key = entry.language, entry.reason if rejected else ""
        self._counts[key] += 1
        if entry.language == UNKNOWN and self._counts[key] <= PLACES:
            where = entry.detail if rejected else f"{entry.id}: says no language; options.language may"
            self._places.setdefault(key, []).append(where)

    def add_all(self, language: str, items: int, rejected: Iterable[Rejected]) -> None:
        """Counts all entries of one language: so many items, and these."""
        self._counts[language, ""] += items
        for entry in rejected:
            self.add(entry)

    def plain(self) -> dict[str, dict[str, Any]]:
        """tag -> {items, rejected by reason, places by reason ("" of items)}."""
        found: dict[str, dict[str, Any]] = {}
        for (tag, reason), n in sorted(self._counts.items()):
            cell = found.setdefault(tag, {"items": 0, "rejected": {}, "places": {}})
            if reason:
                cell["rejected"][reason] = n
            else:
                cell["items"] = n
            if (tag, reason) in self._places:
                cell["places"][reason] = self._places[tag, reason]
        return found


def census_for(params: Params, corpus: str) -> Census | None:
    """A new census; None for a corpus that makes its recordings, of the languages it is asked for, and has no index."""
    from corpora.registry import open_corpus

    return None if hasattr(open_corpus(params.corpora[corpus].adapter), "items") else Census()


def remember(corpus: str, seen: Census) -> dict[str, dict[str, Any]]:
    """`seen` as plain values, kept for the commands that show what nobody asked for."""
    KEPT.mkdir(parents=True, exist_ok=True)
    write_json(KEPT / f"{corpus}.json", seen.plain())
    return seen.plain()


def recall(corpus: str, root: Path = Path(".")) -> dict[str, dict[str, Any]] | None:
    """What `remember` kept of a corpus; None where no download ran here."""
    try:
        return json.loads((root / KEPT / f"{corpus}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def counts(params: Params, corpus: str, root: Path = Path(".")) -> dict[str, dict[str, Any]] | None:
    """What the last download here saw in the index of a corpus, else what it holds now; None without one that can be read."""
    from corpora.registry import entries, open_corpus

    seen, entry = census_for(params, corpus), params.corpora[corpus]
    kept = [recall(name, root) for name in same_index(params, corpus)]
    if seen is None or any(kept):
        return next((found for found in kept if found), None)
    try:
        for one in entries(open_corpus(entry.adapter), entry.model_dump(mode="json") | {"name": corpus}):
            seen.add(one)
    except (ValueError, OSError):
        return None
    return seen.plain()


def same_index(params: Params, corpus: str) -> list[str]:
    """The corpora of params that read the index of this one in the same way, itself among them."""
    mine = params.corpora[corpus]
    return [name for name, entry in params.corpora.items()
            if (entry.adapter, entry.path, entry.options) == (mine.adapter, mine.path, mine.options)]


def left_out(seen: Mapping[str, Mapping[str, Any]], params: Params, corpus: str) -> dict[str, Any]:
    """{entries, claimed, not_claimed, languages, unusable, places}: how many entries the index has, how many are of a language
    that params ask for, and of the others how many by language, or by reason where they have none."""
    asked = {tag_of(tag)[0] for name in same_index(params, corpus) for tag in params.corpora[name].languages}
    totals = {tag: size(cell) for tag, cell in seen.items()}
    blank = {} if UNKNOWN in asked else seen.get(UNKNOWN, {})
    unusable = {**({NO_LANGUAGE: blank["items"]} if blank.get("items") else {}), **blank.get("rejected", {})}
    languages = {tag: n for tag, n in sorted(totals.items()) if tag not in asked and tag != UNKNOWN}
    missed = sum(languages.values()) + sum(unusable.values())
    return {"entries": sum(totals.values()), "claimed": sum(totals.values()) - missed, "not_claimed": missed,
            "languages": languages, "unusable": dict(sorted(unusable.items())),
            "places": {reason or NO_LANGUAGE: places for reason, places in sorted(blank.get("places", {}).items())}}


def size(cell: Mapping[str, Any] | None) -> int:
    """How many entries one language of a census has."""
    return 0 if cell is None else cell["items"] + sum(cell["rejected"].values())


def why(left: Mapping[str, Any]) -> str:
    """What was left out, in words: `not in params: tr 5, fi 2; bad_language 1, no_language 3`."""
    ranked = sorted(left["languages"].items(), key=lambda one: (-one[1], one[0]))
    named = ", ".join(f"{tag} {n:,}" for tag, n in ranked[:_NAMED])
    rest = f" and {sum(n for _, n in ranked[_NAMED:]):,} of {len(ranked) - _NAMED} more" if len(ranked) > _NAMED else ""
    unusable = ", ".join(f"{reason} {n:,}" for reason, n in left["unusable"].items())
    return "; ".join(part for part in (f"not in params: {named}{rest}" if named else "", unusable) if part)


def lines(left: Mapping[str, Any], corpus: str) -> list[str]:
    """The same for a person, with the rows' places; nothing where every entry is of a language that params ask for."""
    if not left["not_claimed"]:
        return []
    text = [f"{corpus}: {left['not_claimed']:,} of {left['entries']:,} entries of the index are in no language of params "
            f"({why(left)})"]
    for reason, places in left["places"].items():
        more = left["unusable"][reason] - len(places)
        text += [f"  {reason}: {place}" for place in places] + ([f"  {reason}: and {more:,} more"] if more else [])
    return text
