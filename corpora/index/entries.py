"""From the rows of an index to items and rejects, each row exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from core.records import Card, Item, Reject, Rejected, Source
from corpora.index import files
from corpora.index.tables import Row
from corpora.index.values import UNKNOWN, item_id, tag_of

Entry = Item | Rejected

# What any adapter's `options` may hold; its own are named in its OPTIONS.
COMMON = {"media": "folder of files fetched already, called after the item or its video",
          "language": "what is spoken where the index does not say"}


def collect(card: Card, config: Mapping, rows: Iterable[Row], build: Callable[[Any], dict[str, Any]], *,
            name: Callable[[Any], str], language: Callable[[Any], str | None] | None = None,
            is_file: Callable[[Any], bool] | None = None,
            stretch: Callable[[Any], Mapping[str, Any]] | None = None) -> Iterator[Entry]:
    """An Item or a Rejected for every row, in the rows' order.

    build(raw) gives the Item's fields but id, corpus and language (source, speaker, kind, extra, video, start_s, end_s, box) or
    raises Reject. name(raw) identifies the entry: a second one of the same name is rejected as a duplicate; is_file(raw): that
    name is a file's. language(raw) is a tag, "" where the entry does not say, None where the index says it of no entry; then, and
    without the function, the option `language` holds, or the card's only language. stretch(raw): start_s and end_s, or
    duration_s, of an entry that is rejected: how much footage was lost; without it build is asked.
    """
    options = config.get("options") or {}
    spoken = options.get("language") or (card.languages[0] if len(card.languages) == 1 else "")
    copies = files.LocalCopies(files.media_root(config)) if options.get("media") else None
    taken: set[str] = set()
    seen: dict[str, str] = {}
    for file, at, raw in rows:
        tag, given = UNKNOWN, None
        try:
            if isinstance(raw, Reject):
                tag = tag_of(spoken)[0]
                raise raw
            said = language(raw) if language else None
            tag, problem = tag_of(spoken if said is None else said)
            given = name(raw)
            if problem:
                raise Reject("bad_language", problem)
            if given in seen:
                raise Reject("duplicate", f"{given!r} stands on {seen[given]} already")
            seen[given] = at
            fields = build(raw)
            if copies is not None and fields["source"].kind != "file":
                fields |= local(copies, given, fields)
            key = item_id(given, taken, is_file=is_file is not None and is_file(raw))
            entry: Entry = Item(key, card.name, tag, **(fields if "speaker" in fields else fields | {"speaker": None}))
        except Reject as reject:
            given = f"{file} {at}".strip() if given is None else given
            key = item_id(given, taken, is_file=bool(is_file and isinstance(raw, dict) and is_file(raw)))
            length_s = _length(stretch or build, raw)
            entry = Rejected(key, reject.reason, f"{file} {at}".strip() + f": {reject.detail}", tag, length_s)
        yield entry


def _length(stretch: Callable[[Any], Mapping[str, Any]], raw: Any) -> float | None:
    """How long a rejected row says it is; None where it does not, or cannot be read."""
    try:
        fields = {} if isinstance(raw, Reject) else stretch(raw)
    except Reject:
        return None
    start_s, end_s = fields.get("start_s"), fields.get("end_s")
    return fields.get("duration_s") if start_s is None or end_s is None else end_s - start_s


def local(copies: files.LocalCopies, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that change because the bytes are here already: a file of the item's name is the clip itself, cut and cropped;
    one of its video's name is the whole video. Raises Reject(missing_file) where there is neither."""
    clip = copies.find(name)
    if clip is not None:
        return {"source": Source("file", clip), "box": None}
    whole = copies.find(fields["video"]) if fields.get("video") else None
    if whole is None:
        raise Reject("missing_file", f"the media folder has no file called {name!r} nor one of its video {fields.get('video')!r}")
    return {"source": replace(fields["source"], kind="file", at=whole)}
