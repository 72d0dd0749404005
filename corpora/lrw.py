"""The corpus `lrw`: a folder WORD/{train,val,test}/WORD_00001.mp4 with a .txt beside each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract

CARD = Card(
    name="lrw",
    title="LRW: 500 English words, up to 1,000 times each, from British television",
    languages=("en",),
    licence="the BBC's agreement, signed person by person",
    terms="academic research only; nothing may be shown or passed on beyond what the agreement says",
    consent="people on television; nobody was asked for this use",
    citation="Chung and Zisserman, Lip Reading in the Wild, ACCV 2016",
    provenance="face tracks of 256 x 256 pixels, 29 frames (1.16 s) around one word; who speaks is not written down. Shorter "
               "than the default "
               "segment.min_s of 2 s: lower it, or every clip is rejected as too_short",
    access="sign the BBC's agreement (robots.ox.ac.uk/~vgg/data/lip_reading/lrw1.html) and download with its password; set "
           "`path` to your copy",
    index="the folder itself",
    hours=173.0,
    hours_note="as Afouras et al. count them, LRS3-TED, 2018: 165 to train and validate, 8 to test; 29 frames for each word",
    commercial=False,
)

CLIP_S = 29 / 25
LAYOUT = r"(?P<word>[A-Z]+)/(?P<split>train|val|test)/(?P<clip>[A-Z]+_\d+)\.mp4"


def entries(config: Mapping) -> Iterator[Entry]:
    """Every video file of the folder, sorted by path."""
    root = index_folder(config)

    def build(raw: Mapping[str, str]) -> dict:
        head = layouts.sidecar(root, raw["path"])
        extra = {"duration": head.get("duration", ""),
                 "reference": head.get("disk reference") or head.get("disc reference") or "",
                 "split": raw["split"], "transcript": raw["word"]}
        return {"source": Source("file", raw["path"]), "video": raw["clip"], "start_s": 0.0, "end_s": CLIP_S,
                "extra": {key: value for key, value in extra.items() if value}}

    return collect(CARD, config, layouts.files(root, LAYOUT, expected="WORD/{train,val,test}/WORD_00001.mp4"), build,
                   name=lambda raw: f"{raw['split']}/{raw['clip']}")
