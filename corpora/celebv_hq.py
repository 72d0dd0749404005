"""The corpus `celebv_hq`: one JSON file of stretches of YouTube videos with a crop box and attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.records import Card
from corpora.index import json_rows, values
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_path  # noqa: F401: part of the contract

CARD = Card(
    name="celebv_hq",
    title="CelebV-HQ: 35,666 clips of 15,653 people with 83 facial attributes",
    languages=(),
    licence="non-commercial research only, by its agreement",
    terms="not to be reproduced, sold or passed on; the videos belong to whoever put them online",
    consent="celebrities in public videos; nobody was asked; attributes such as age and gender are annotators' guesses",
    citation="Zhu et al., CelebV-HQ: A Large-Scale Video Facial Attributes Dataset, ECCV 2022",
    provenance="stretches, boxes and attributes by the authors and annotators; languages and who is who are not written down",
    access="the JSON file is public; the videos are fetched from their pages, as far as they still exist",
    index="github.com/CelebV-HQ/CelebV-HQ: celebvhq_info.json",
    hours=68.0,
    hours_note="as Di et al. count them, DH-FaceVid-1K, ICCV 2025; of those that are still online nobody knows",
    commercial=False,
)


def entries(config: Mapping) -> Iterator[Entry]:
    """Every clip of the file, in its order."""
    rows = json_rows.entries(index_path(config), inside="clips")
    return collect(CARD, config, rows, _build, name=lambda raw: raw["key"])


def _build(raw: Mapping[str, Any]) -> dict[str, Any]:
    video = values.text(raw, "ytb_id")
    start_s, end_s = values.span(values.need(raw, "duration", "start_sec"), values.need(raw, "duration", "end_sec"))
    sides = (values.need(raw, "bbox", side) for side in ("left", "top", "right", "bottom"))
    extra = {"attributes": raw["attributes"]} if isinstance(raw.get("attributes"), dict) else {}
    return {"source": values.youtube(video, start_s, end_s), "video": video, "start_s": start_s, "end_s": end_s,
            "box": values.box(*sides),
            "extra": extra}
