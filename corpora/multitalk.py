"""The corpus `multitalk`: 20 languages of video pages, a JSON file each; `path` is one of them, or the folder that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from core.records import Card
from corpora.index import json_rows, values
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_path  # noqa: F401: part of the contract
from corpora.index.values import BadIndex

CARD = Card(
    name="multitalk",
    title="MultiTalk: 293,812 clips of talking faces in 20 languages",
    languages=("ar", "ca", "cs", "de", "el", "en", "es", "fr", "hi", "hr", "it", "ja", "nl", "pl", "pt", "ru", "th", "tr", "uk",
               "zh"),
    licence="no licence file; the annotations' README allows non-commercial research only",
    terms="the videos belong to whoever put them online; each page's own terms hold",
    consent="nobody in the videos was asked; people who ask to be taken out must be",
    citation="Sung-Bin et al., MultiTalk: Enhancing 3D Talking Head Generation Across Languages with Multilingual Video Dataset, "
             "Interspeech 2024",
    provenance="pages found by the authors, one stretch and one crop box per clip, transcripts by speech recognition; nothing "
               "is checked by hand",
    access="the annotations are public; the videos are fetched from their pages, as far as they still exist",
    index="github.com/postech-ami/MultiTalk, MultiTalk_dataset/annotations: arabic.json and 19 more",
    hours=423.0,
    commercial=False,
)


def entries(config: Mapping) -> Iterator[Entry]:
    """Every clip of the annotation files, in their order."""
    path = index_path(config)
    paths = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not paths:
        raise BadIndex(f"{path}: holds no .json file such as arabic.json")
    rows = chain.from_iterable(map(json_rows.entries, paths))
    return collect(CARD, config, rows, _build, name=lambda raw: raw["key"],
                   language=lambda raw: values.named(values.text(raw, "language")))


def _build(raw: Mapping[str, Any]) -> dict[str, Any]:
    video = values.text(raw, "youtube_id")
    start_s, end_s = values.span(values.need(raw, "duration", "start_sec"), values.need(raw, "duration", "end_sec"))
    sides = (values.need(raw, "bbox", side) for side in ("left", "top", "right", "bottom"))
    return {"source": values.youtube(video, start_s, end_s), "video": video, "start_s": start_s, "end_s": end_s,
            "box": values.box(*sides),
            "extra": {"transcript": str(raw.get("transcript") or "")}}
