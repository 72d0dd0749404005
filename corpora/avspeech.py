"""The corpus `avspeech`: a CSV without a header, one stretch of a YouTube video a row, and where the speaker's face is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.records import Card, Reject
from corpora.index import values
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_path  # noqa: F401: part of the contract
from corpora.index.tables import delimited

CARD = Card(
    name="avspeech",
    title="AVSpeech: 3 to 10 s of one visible speaker without interfering sounds, from 290,000 videos",
    languages=(),
    licence="CC BY 4.0 for the table",
    terms="the videos belong to whoever put them online; each page's own terms hold",
    consent="nobody in the videos was asked",
    citation="Ephrat et al., Looking to Listen at the Cocktail Party, SIGGRAPH 2018",
    provenance="found and filtered by machine; languages are many and are not written down: identify them, or set "
               "options.language",
    access="the tables are public; the videos are fetched from their pages, as far as they still exist",
    index="looking-to-listen.github.io/avspeech: avspeech_train.csv, avspeech_test.csv",
    hours=4700.0,
    commercial=None,
)

COLUMNS = ("video", "start_s", "end_s", "x", "y")


def entries(config: Mapping) -> Iterator[Entry]:
    """Every row of the table, in its order."""
    rows = delimited(index_path(config), columns=COLUMNS)
    return collect(CARD, config, rows, _build, name=lambda raw: f"{raw['video']}_{raw['start_s']}_{raw['end_s']}")


def _build(raw: Mapping[str, str]) -> dict[str, Any]:
    start_s, end_s = values.span(raw["start_s"], raw["end_s"])
    x, y = (values.number(raw[side], f"{side} of the face", "bad_box") for side in ("x", "y"))
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise Reject("bad_box", f"the face's centre {x:g} {y:g} is outside the frame")
    # The centre of the face where the stretch begins, as shares of width and height: which of several faces is meant.
    return {"source": values.youtube(raw["video"], start_s, end_s), "video": raw["video"], "start_s": start_s, "end_s": end_s,
            "extra": {"face_x": x, "face_y": y}}
