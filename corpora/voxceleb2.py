"""The corpus `voxceleb2`: a folder {dev,test}/mp4/SPEAKER/VIDEO/CLIP.mp4, with vox2_meta.csv beside it where one has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract

CARD = Card(
    name="voxceleb2",
    title="VoxCeleb2: more than a million utterances of 6,112 celebrities",
    languages=(),
    licence="CC BY 4.0 for the annotations",
    terms="research; the videos' copyright stays with their owners",
    consent="celebrities' interviews found by machine; nobody was asked; the makers take out whoever asks",
    citation="Chung et al., VoxCeleb2: Deep Speaker Recognition, Interspeech 2018",
    provenance="face tracks of 224 x 224 pixels at 25 fps, speakers by face recognition; many languages, none written down: "
               "identify them, "
               "or set options.language",
    access="the makers no longer give out the videos on their page: ask them (robots.ox.ac.uk/~vgg/data/voxceleb); set `path` "
           "to your copy",
    index="the folder itself; genders from vox2_meta.csv",
    hours=2442.0,
    commercial=None,
)

LAYOUT = r"(?:(?P<split>dev|test)/)?(?:mp4/)?(?P<speaker>id\d{5})/(?P<video>[A-Za-z0-9_-]{11})/(?P<clip>\d+)\.mp4"


def entries(config: Mapping) -> Iterator[Entry]:
    """Every video file of the folder, sorted by path."""
    root = index_folder(config)
    known = layouts.labels(root / "vox2_meta.csv", "VoxCeleb2 ID")
    rows = layouts.files(root, LAYOUT, expected="{dev,test}/mp4/id00012/VIDEO/00001.mp4")

    def build(raw: Mapping[str, str]) -> dict:
        who = known.get(raw["speaker"], {})
        extra = {"clip": raw["clip"], "gender": who.get("Gender", ""), "split": raw["split"] or who.get("Set", "")}
        return {"source": Source("file", raw["path"]), "video": raw["video"], "speaker": raw["speaker"],
                "extra": {key: value for key, value in extra.items() if value}}

    return collect(CARD, config, rows, build, name=lambda raw: f"{raw['speaker']}/{raw['video']}/{raw['clip']}")
