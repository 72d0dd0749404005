"""What an index of videos holds, read by the adapter of its corpus: counts, hours and rejects, without fetching anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.records import Item, Rejected

if TYPE_CHECKING:
    from core.params import Params


def cards(name: str | None = None) -> list[dict[str, Any]]:
    """The cards of all corpora, or of one, as plain values. UserError for a name that is none."""
    from core.stage import UserError
    from corpora.registry import adapters, open_corpus

    try:
        return [asdict(open_corpus(adapter).CARD) for adapter in ([name] if name else adapters())]
    except ValueError as error:
        raise UserError(str(error)) from error


def read(adapter: str, path: Path, language: str | None = None,
         options: dict[str, Any] | None = None) -> Iterator[Item | Rejected]:
    """Every item and reject of an index, one by one. language: only this one; and what an index is in that says nothing of it.

    Raises core.stage.UserError for an unknown adapter, an index that is none, or a language that is no tag.
    """
    from core.params import Corpus
    from core.stage import UserError
    from corpora.index.values import tag_of
    from corpora.registry import adapter_name, entries, open_corpus

    try:
        name = adapter_name(adapter)
        wanted, wrong = tag_of(language or "")
        if wrong:
            raise ValueError(wrong)
        options = {**({"language": wanted} if language else {}), **(options or {})}
        languages = {wanted: {}} if language else {}
        config = Corpus(adapter=name, languages=languages, path=str(path),
                        options=options).model_dump(mode="json") | {"name": name}
        for entry in entries(open_corpus(name), config):
            if not language or entry.language == wanted:
                yield entry
    except ValueError as error:
        raise UserError(str(error)) from error


def summary(found: Iterator[Item | Rejected]) -> dict[str, Any]:
    """items, recordings (videos they are stretches of), hours (of the items whose length the index gives), items_without_length,
    rejects (by reason), and the same of each language."""
    languages: dict[str, _Count] = {}
    for entry in found:
        languages.setdefault(entry.language, _Count()).add(entry)
    whole = _Count()
    for one in languages.values():
        whole.join(one)
    return whole.plain() | {"languages": {tag: languages[tag].plain() for tag in sorted(languages)}}


class _Count:
    def __init__(self):
        self.items, self.seconds, self.unknown, self.videos, self.rejects = 0, 0.0, 0, set(), Counter()

    def add(self, entry: Item | Rejected) -> None:
        if isinstance(entry, Rejected):
            self.rejects[entry.reason] += 1
            return
        self.items += 1
        self.videos.add(entry.video or entry.id)
        if entry.length_s is None:
            self.unknown += 1
        else:
            self.seconds += entry.length_s

    def join(self, other: _Count) -> None:
        self.items += other.items
        self.seconds += other.seconds
        self.unknown += other.unknown
        self.videos |= other.videos
        self.rejects += other.rejects

    def plain(self) -> dict[str, Any]:
        return {"items": self.items, "recordings": len(self.videos), "hours": round(self.seconds / 3600, 4),
                "items_without_length": self.unknown,
                "rejects": dict(sorted(self.rejects.items()))}


def lines(found: dict[str, Any]) -> list[str]:
    """The summary for a person to read."""
    unknown = found["items_without_length"]
    text = [f"items: {found['items']:,}", f"recordings: {found['recordings']:,}",
            f"hours: {found['hours']:,.2f}" + (f" (and {unknown:,} items of which the index gives no length)" if unknown else ""),
            f"rejects: {sum(found['rejects'].values()):,}", *(f"  {reason}: {n:,}" for reason, n in found["rejects"].items())]
    if len(found["languages"]) > 1:
        text += ["languages:", *(f"  {tag}: {one['items']:,} items, {one['recordings']:,} recordings, {one['hours']:,.2f} hours, "
                                 f"{sum(one['rejects'].values()):,} rejects" for tag, one in found["languages"].items())]
    return text


def left_out(params: Params, names: Iterable[str], root: Path = Path(".")) -> list[dict[str, Any]]:
    """For every index of these corpora that can be read {corpora, entries, claimed, not_claimed, languages, unusable, places}: what
    no language of params asks for (corpora.index.census), and `seen`, entries per language."""
    from corpora.index import census

    found, done = [], set()
    for name in names:
        together = census.same_index(params, name)
        if name not in done and (seen := census.counts(params, name, root)) is not None:
            found.append({"corpora": together, **census.left_out(seen, params, name),
                          "seen": {tag: census.size(cell) for tag, cell in seen.items()}})
        done |= set(together)
    return found
