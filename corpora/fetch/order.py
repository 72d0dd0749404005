"""In which order items go to the workers: one of each address first, because the others of an address wait until it is here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.records import Item
from corpora.fetch.fetcher import is_remote


def turns(items: Iterable[Item]) -> Iterator[int]:
    """How many items before each one are of its address: 0 for the first of every address, and where there is none. In the order
    of these numbers, workers do not stand in line for one film while others are not begun; and since they say nothing about
    what an item becomes, what a stage leaves is the same."""
    seen: dict[str, int] = {}
    for item in items:
        turn = 0
        if is_remote(item):
            turn = seen.get(item.source.at, 0)
            seen[item.source.at] = turn + 1
        yield turn
