"""The corpus `mead`: a folder ACTOR/video/VIEW/EMOTION/level_1/001.mp4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract
from corpora.index.tables import Row
from corpora.index.values import BadIndex

CARD = Card(
    name="mead",
    title="MEAD: 60 actors, eight emotions at three levels, seven views at once",
    languages=("en",),
    licence="research only, by its page",
    terms="non-commercial research; not to be passed on",
    consent="actors, recorded for research",
    citation="Wang et al., MEAD: A Large-scale Audio-visual Dataset for Emotional Talking-face Generation, ECCV 2020",
    provenance="recorded in a studio; sound also lies apart (audio/EMOTION/level_1/001.m4a)",
    access="wywu.github.io/projects/MEAD: archives on a shared drive, unpacked into one folder; part 0 is public",
    index="the folder itself. Option `views`: which cameras, [front] by default; all seven show the same performance",
    hours=40.0,
    commercial=False,
)

OPTIONS = ("views",)

VIEWS = ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")
LAYOUT = r"(?P<actor>[MW]\d{3})/video/(?P<view>[a-z]+(?:_\d+)?)/(?P<emotion>[a-z]+)[/_](?P<level>level_\d)/(?P<clip>\d+)\.mp4"


def entries(config: Mapping) -> Iterator[Entry]:
    """Every video file of the wanted views, sorted by path."""
    views = (config.get("options") or {}).get("views") or ["front"]
    if not isinstance(views, list | tuple) or not set(views) <= set(VIEWS):
        raise BadIndex(f"mead: options.views is {views!r}, expected some of {', '.join(VIEWS)}")
    rows = layouts.files(index_folder(config), LAYOUT, expected="M003/video/front/angry/level_1/001.mp4")
    return collect(CARD, config, (row for row in rows if _wanted(row, views)), _build,
                   name=lambda raw: "_".join(raw[part] for part in ("actor", "view", "emotion", "level", "clip")))


def _wanted(row: Row, views: list[str]) -> bool:
    return not isinstance(row.raw, dict) or row.raw["view"].lower() in views


def _build(raw: Mapping[str, str]) -> dict:
    # All views of one performance are one recording.
    return {"source": Source("file", raw["path"]), "speaker": raw["actor"].upper(),
            "video": "_".join(raw[part] for part in ("actor", "emotion", "level", "clip")),
            "extra": {key: raw[key] for key in ("emotion", "level", "view")}
            | {"gender": "male" if raw["actor"][0].upper() == "M" else "female"}}
