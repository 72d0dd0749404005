"""From an item whose source is an address to its one file: the whole, linked, or its stretch, cut out of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.records import SAFE_ID, Fetched, Item, Reject
from corpora.fetch.limits import Limits, Log
from corpora.fetch.store import Store
from corpora.index.files import cut, link

KINDS = ("http", "page")


class Fetcher:
    """`fetch(item, config, folder)` as adapters have it, for the items that no adapter fetches.

    settings: the section `fetch` of params.yaml as plain values. instance: whose log the attempts go to. run: see Store.
    """

    def __init__(self, settings: Mapping[str, Any], instance: str, run: str):
        self._store = Store(Path(settings["store"]), Limits.of(settings), run, Log(log_path(instance)))

    def fetch(self, item: Item, config: Mapping[str, Any], folder: Path) -> Fetched:
        """The item's file `<id><suffix>` in `folder`. Raises Reject where it cannot be had."""
        source = item.source
        if source is None or source.kind not in KINDS:
            raise ValueError(f"{item.id}: {item.where} is no address; its adapter fetches it")
        if not SAFE_ID.fullmatch(item.id):
            raise Reject("bad_name", f"id {item.id!r} is not safe as a file name")
        whole = self._store.whole(source)
        if whole.sound is not None or source.start_s is not None:
            path = cut(whole.path, folder / f"{item.id}.mkv", source.start_s or 0.0, source.end_s, sound=whole.sound)
        else:
            path = link(whole.path, folder / (item.id + whole.path.suffix))
        return Fetched(path=path, facts=whole.facts)


def log_path(instance: str) -> Path:
    """Where the attempts and times of one instance's fetches are written down; no output of the pipeline."""
    return Path(".babelface/logs") / f"download-{instance}.jsonl"


def is_remote(item: Item) -> bool:
    """Whether the item's bytes lie at an address."""
    return item.source is not None and item.source.kind in KINDS
