"""The corpus `lrs2`: a folder {main,pretrain}/PROGRAMME/CLIP.mp4 with a .txt of words beside each, and lists of the splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from core.records import Card, Reject, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract
from corpora.index.tables import Row, words

CARD = Card(
    name="lrs2",
    title="LRS2-BBC: sentences from British television",
    languages=("en",),
    licence="the BBC's agreement, signed person by person",
    terms="academic research only; nothing may be shown or passed on beyond what the agreement says",
    consent="people on television; nobody was asked for this use",
    citation="Afouras et al., Deep audio-visual speech recognition, TPAMI 2018",
    provenance="face tracks of 160 x 160 pixels at 25 fps, subtitles aligned by machine; who speaks is not written down",
    access="sign the BBC's agreement (robots.ox.ac.uk/~vgg/data/lip_reading/lrs2.html) and download with its password; set "
           "`path` to your copy",
    index="the folder itself, and train.txt, val.txt, test.txt, pretrain.txt in it or above it",
    hours=224.0,
    commercial=False,
)

LAYOUT = r"(?P<part>main|pretrain)/(?P<video>[^/]+)/(?P<clip>\d+)\.mp4"
LISTS = {"train": "main", "val": "main", "test": "main", "pretrain": "pretrain"}


def entries(config: Mapping) -> Iterator[Entry]:
    """Every video file of the folder, sorted by path, then every line of a list that names a file which is not there."""
    root = index_folder(config)
    return collect(CARD, config, _rows(root), lambda raw: _build(root, raw),
                   name=lambda raw: f"{raw['part']}/{raw['video']}/{raw['clip']}")


def _rows(root: Path) -> Iterator[Row]:
    """Files and lists joined."""
    listed: dict[str, tuple[str, Row]] = {}
    for split, part in LISTS.items():
        path = next((folder / f"{split}.txt" for folder in (root, root.parent) if (folder / f"{split}.txt").is_file()), None)
        for row in words(path) if path else ():
            if isinstance(row.raw, Reject):
                yield row
                continue
            key = f"{part}/{row.raw[0]}"
            if key in listed:
                yield row._replace(raw=Reject("duplicate", f"{key[:200]!r} is listed in {listed[key][0]}.txt already"))
            listed.setdefault(key, (split, row))
    for row in layouts.files(root, LAYOUT, expected="{main,pretrain}/PROGRAMME/00001.mp4"):
        if not isinstance(row.raw, Reject):
            split, _ = listed.pop(f"{row.raw['part'].lower()}/{row.raw['video']}/{row.raw['clip']}", ("", None))
            row.raw["split"] = split
        yield row
    for name, (_, row) in listed.items():
        yield row._replace(raw=Reject("missing_file", f"{name[:200]!r} is listed and not in the folder"))


def _build(root: Path, raw: Mapping[str, str]) -> dict:
    extra = {"split": raw["split"], "transcript": layouts.sidecar(root, raw["path"]).get("text", "")}
    return {"source": Source("file", raw["path"]), "video": raw["video"],
            "extra": {key: value for key, value in extra.items() if value}}
