"""The corpus `biwi` (B3D(AC)^2): 14 speakers, 40 sentences twice; films of the rendered scans with the original sound.

The films show meshes, not people: they are of kind "generated", scored and never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card, Reject, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import VIDEO_SUFFIXES, fetch, index_folder  # noqa: F401: part of the contract
from corpora.index.tables import Row

CARD = Card(
    name="biwi",
    title="BIWI 3D Audiovisual Corpus of Affective Communication, B3D(AC)^2",
    languages=("en",),
    licence="an agreement with ETH Zurich",
    terms="academic research only; not to be passed on",
    consent="volunteers, recorded for research, who signed for it",
    citation="Fanelli et al., A 3-D Audio-Visual Corpus of Affective Communication, IEEE Transactions on Multimedia 2010",
    provenance="face scans at 25 fps (23,370 vertices) with sound; the films are renderings of the scans",
    access="ask for it with the form at data.vision.ee.ethz.ch/cvl/datasets/b3dac2.en.html; set `path` to the unpacked folder",
    index="the folder itself: F1_e01.flv, F1/e01.flv, or .wav of these names",
    hours=1.4,
    commercial=False,
)

LAYOUT = r"(?P<speaker>[FM]\d)[/_](?P<clip>e?\d{2})(?:_cut)?\.(?P<suffix>flv|avi|mp4|wav)"


def entries(config: Mapping) -> Iterator[Entry]:
    """Every sentence of every speaker, sorted by path: its film, or its sound where there is no film, which is rejected as
    no_video."""
    root = index_folder(config)
    rows = list(layouts.files(root, LAYOUT, suffixes=(*VIDEO_SUFFIXES, ".wav"), expected="videos/F1_e01.flv"))
    films = {_name(row.raw) for row in rows if isinstance(row.raw, dict) and row.raw["suffix"].lower() != "wav"}
    return collect(CARD, config, (row for row in rows if not _has_film(row, films)), _build, name=_name)


def _name(raw: Mapping[str, str]) -> str:
    return f"{raw['speaker']}_{raw['clip']}"


def _has_film(row: Row, films: set[str]) -> bool:
    return isinstance(row.raw, dict) and row.raw["suffix"].lower() == "wav" and _name(row.raw) in films


def _build(raw: Mapping[str, str]) -> dict:
    if raw["suffix"].lower() == "wav":
        raise Reject("no_video", f"{raw['path']!r} is the sound of a sentence whose film is not in the folder")
    return {"source": Source("file", raw["path"]), "video": _name(raw), "speaker": raw["speaker"], "kind": "generated",
            "extra": {"emotional": raw["clip"].lower().startswith("e"), "sentence": int(raw["clip"][-2:])}}
