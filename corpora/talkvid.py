"""The corpus `talkvid`: one JSON array (or one object a line) of stretches of video pages, with scores of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.records import Card
from corpora.index import json_rows, values
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_path  # noqa: F401: part of the contract

CARD = Card(
    name="talkvid",
    title="TalkVid: 1,244 hours of 7,729 speakers, filtered for quality",
    languages=("ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "th", "zh"),
    licence="CC BY-NC 4.0 for the annotations, Apache-2.0 for the code",
    terms="non-commercial research; the videos belong to whoever put them online",
    consent="nobody in the videos was asked; age, gender and ethnicity are guesses of the authors about real people",
    citation="Chen et al., TalkVid: A Large-Scale Diversified Dataset for Audio-Driven Talking Head Synthesis, arXiv 2508.13618",
    provenance="pages found by the authors, cut at shots, filtered by DOVER, CoTracker and head scores, kept as columns",
    access="the annotations are public; the videos are fetched from their pages, as far as they still exist",
    index="huggingface.co/datasets/FreedomIntelligence/TalkVid: a JSON file",
    hours=1244.0,
    commercial=False,
)


def entries(config: Mapping) -> Iterator[Entry]:
    """Every clip of the file, in its order."""
    path = index_path(config)
    rows = json_rows.lines(path) if path.suffix == ".jsonl" else json_rows.entries(path)
    return collect(CARD, config, rows, _build, name=lambda raw: values.text(raw, "id"), language=_language)


def _language(raw: Mapping[str, Any]) -> str:
    said = (raw.get("info") or {}).get("Language") if isinstance(raw.get("info"), dict | None) else None
    return values.named(said) if isinstance(said, str) else ""


def _build(raw: Mapping[str, Any]) -> dict[str, Any]:
    start_s, end_s = values.span(values.need(raw, "start-time"), values.need(raw, "end-time"))
    source = values.address(values.text(raw, "info", "Video Link"), start_s, end_s)
    info, head = raw["info"], raw.get("head_detail")
    person = info.get("Person ID")
    extra = {key: raw[key] for key in ("height", "width", "fps", "description", "dover_scores", "cotracker_ratio") if key in raw}
    extra |= {key: info[key] for key in ("Ethnicity", "Age Group", "Gender", "Video Category") if key in info}
    extra |= {"head": head["scores"]} if isinstance(head, dict) and "scores" in head else {}
    return {"source": source, "video": values.video_of(source.at), "start_s": start_s, "end_s": end_s,
            "extra": dict(sorted(extra.items())),
            "speaker": str(person) if person not in (None, "") else None}
