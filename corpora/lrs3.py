"""The corpus `lrs3`: a folder {pretrain,trainval,test}/TALK/CLIP.mp4 with a .txt of words beside each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract

CARD = Card(
    name="lrs3",
    title="LRS3-TED: sentences from TED and TEDx talks",
    languages=("en",),
    licence="TED's terms of use (CC BY-NC-ND 4.0)",
    terms="non-commercial; no derivatives of the talks may be passed on",
    consent="speakers agreed to TED's terms when they gave the talk, not to synthesis of their face or voice",
    citation="Afouras et al., LRS3-TED: a large-scale dataset for visual speech recognition, 2018",
    provenance="face tracks of 224 x 224 pixels at 25 fps, subtitles aligned by machine; a talk has one speaker, so its id "
               "stands for the speaker",
    access="the makers no longer give it out on their page: ask them (robots.ox.ac.uk/~vgg/data/lip_reading); set `path` to "
           "your copy",
    index="the folder itself",
    hours=438.0,
    commercial=False,
)

LAYOUT = r"(?P<split>pretrain|trainval|test)/(?P<video>[^/]+)/(?P<clip>\d+)\.mp4"


def entries(config: Mapping) -> Iterator[Entry]:
    """Every video file of the folder, sorted by path."""
    root = index_folder(config)

    def build(raw: Mapping[str, str]) -> dict:
        head = layouts.sidecar(root, raw["path"])
        extra = {"split": raw["split"], "transcript": head.get("text", ""), "reference": head.get("ref", "")}
        return {"source": Source("file", raw["path"]), "video": raw["video"], "speaker": raw["video"],
                "extra": {key: value for key, value in sorted(extra.items()) if value}}

    return collect(CARD, config, layouts.files(root, LAYOUT, expected="{pretrain,trainval,test}/TALK/00001.mp4"), build,
                   name=lambda raw: f"{raw['split']}/{raw['video']}/{raw['clip']}")
