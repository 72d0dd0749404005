"""The corpus `vocaset`: sounds of 12 subjects, SUBJECT/sentence01.wav, and the 60 fps face meshes that go with them.

There is no video in it: every item is rejected as no_video when it is fetched. It is here for its index: mesh metrics need its
sounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from core.records import Card, Fetched, Item, Reject, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import index_folder

CARD = Card(
    name="vocaset",
    title="VOCASET: 12 speakers, 40 sentences each, as 4D face scans with sound",
    languages=("en",),
    licence="its own, for non-commercial research",
    terms="non-commercial scientific research; not to be passed on",
    consent="volunteers, recorded for research, who signed for it",
    citation="Cudeiro et al., Capture, Learning, and Synthesis of 3D Speaking Styles, CVPR 2019",
    provenance="meshes of the FLAME topology (5,023 vertices) at 60 fps with sound; no pictures of the speakers, so nothing can "
               "be built from it here",
    access="register at voca.is.tue.mpg.de; set `path` to the unpacked folder",
    index="the folder itself: SUBJECT/sentence01.wav, or SUBJECT_sentence01.wav",
    hours=0.5,
    commercial=False,
)

LAYOUT = r"(?P<speaker>FaceTalk_\d{6}_\d{5}_TA)[/_](?P<clip>sentence\d{2})\.wav"


def entries(config: Mapping) -> Iterator[Entry]:
    """Every sound of the folder, sorted by path."""
    rows = layouts.files(index_folder(config), LAYOUT, suffixes=(".wav",), expected="FaceTalk_170725_00137_TA/sentence01.wav")
    return collect(CARD, config, rows, _build, name=lambda raw: f"{raw['speaker']}_{raw['clip']}")


def _build(raw: Mapping[str, str]) -> dict:
    return {"source": Source("file", raw["path"]), "video": f"{raw['speaker']}_{raw['clip']}", "speaker": raw["speaker"],
            "extra": {"sentence": int(raw["clip"][-2:])}}


def fetch(item: Item, config: Mapping, folder: Path) -> Fetched:
    """Nothing: raises Reject(no_video)."""
    raise Reject("no_video", f"{item.where}: VOCASET has meshes and sound and no video")
