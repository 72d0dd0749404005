"""The order of fetches: one item of each address before a second of any."""

from __future__ import annotations

from core.records import Item, Source
from corpora.fetch.order import turns


def items_of(*said):
    """Items as (id, kind, address)."""
    return [Item(id=i, corpus="toy", language="en", speaker=None, source=Source(kind, at) if kind else None) for i, kind, at in said]


def test_one_item_of_each_address_goes_before_a_second_of_any():
    items = items_of(("a0", "http", "u"), ("a1", "http", "u"), ("a2", "http", "u"), ("b0", "page", "v"), ("b1", "page", "v"),
                     ("c0", "http", "w"), ("d", None, ""))
    order = [item.id for _, item in sorted(zip(turns(items), items, strict=True), key=lambda x: x[0])]
    assert order == ["a0", "b0", "c0", "d", "a1", "b1", "a2"]


def test_where_no_address_comes_twice_all_go_at_once():
    assert list(turns(items_of(("a", "http", "u"), ("b", "page", "v"), ("c", None, ""), ("d", None, "")))) == [0] * 4
    assert list(turns(items_of(("a", "file", "x.mp4"), ("b", "file", "x.mp4")))) == [0, 0], "nobody waits for a file that is here"


def test_turns_are_counted_per_address():
    assert list(turns(items_of(*((f"{k:03d}", "page", f"u{k % 7}") for k in range(100))))) == [k // 7 for k in range(100)]
