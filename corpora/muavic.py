"""The corpus `muavic`: the mTEDx talks that MuAViC is cut from: LANG-LANG/data/SPLIT/txt/segments and the transcripts beside it.

The video of a talk is a page of the talk's id. MuAViC's own processed files are mouths without sound and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from core.records import Card, Reject
from corpora.index import values
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract
from corpora.index.tables import Row, open_text, words
from corpora.index.values import BadIndex

CARD = Card(
    name="muavic",
    title="MuAViC / mTEDx: TEDx talks in eight languages with transcripts (MuAViC's English is LRS3)",
    languages=("ar", "de", "el", "es", "fr", "it", "pt", "ru"),
    licence="mTEDx CC BY-NC-ND 4.0; MuAViC CC BY-NC 4.0",
    terms="non-commercial; no derivatives of the talks may be passed on",
    consent="speakers agreed to TEDx's terms when they gave the talk, not to synthesis of their face or voice",
    citation="Salesky et al., The Multilingual TEDx Corpus for Speech Recognition and Translation, Interspeech 2021; Anwar et "
             "al., MuAViC, 2023",
    provenance="segments and transcripts of mTEDx, hours as MuAViC counts its training part; a talk has one speaker, so the "
               "talk's id stands for the speaker",
    access="the tables are public (openslr.org/100); the videos are fetched from their pages, or from options.media as TALK.mp4",
    index="openslr.org/100: mtedx_ar.tgz and seven more, unpacked into one folder",
    hours=708.0,
    commercial=False,
)


def entries(config: Mapping) -> Iterator[Entry]:
    """Every segment of every language and split, in the files' order."""
    root = index_folder(config)
    root = root / "mtedx" if (root / "mtedx").is_dir() else root
    pairs = sorted(path for path in root.glob("*-*") if path.name.partition("-")[0] == path.name.partition("-")[2])
    files = [(pair.name.partition("-")[0], split, path) for pair in pairs for split in ("train", "valid", "test")
             if (path := pair / "data" / split / "txt" / "segments").is_file()]
    if not files:
        raise BadIndex(f"{root}: holds no LANG-LANG/data/SPLIT/txt/segments, as the unpacked mTEDx archives do")
    rows = (row for tag, split, path in files for row in _rows(tag, split, path))
    return collect(CARD, config, rows, _build, name=lambda raw: f"{raw['tag']}_{raw['segment']}", language=lambda raw: raw["tag"])


def _rows(tag: str, split: str, path: Path) -> Iterator[Row]:
    """The segments of one split, each with the line of the transcript file that belongs to it."""
    spoken = path.with_name(f"{split}.{tag}")
    lines: list[str] = []
    if spoken.is_file():
        with open_text(spoken) as handle:
            lines = [line.encode("utf-8", "replace").decode().strip() for line in handle]
    where = f"{tag}-{tag}/{split}/segments"
    for row, line in zip_longest(words(path, 4), lines):
        if row is None:
            yield Row(where, "", Reject("no_match", f"{spoken.name} has more lines than there are segments: {line[:60]!r}"))
        elif isinstance(row.raw, Reject):
            yield row._replace(file=where)
        else:
            segment, talk, start, end = row.raw[:4]
            yield Row(where, row.at, {"tag": tag, "split": split, "segment": segment, "talk": talk, "start": start, "end": end,
                                      "text": line or ""})


def _build(raw: Mapping[str, str]) -> dict:
    start_s, end_s = values.span(raw["start"], raw["end"])
    return {"source": values.youtube(raw["talk"], start_s, end_s), "video": raw["talk"], "speaker": raw["talk"],
            "start_s": start_s,
            "end_s": end_s, "extra": {"split": raw["split"], "transcript": raw["text"]}}
