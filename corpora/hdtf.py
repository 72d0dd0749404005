"""The corpus `hdtf`: three groups (RD, WDA, WRA) of four tables each that must be joined, and do not quite fit one another.

Every video, every stretch of time and every crop of the tables is an item or a reject: a video without times, a stretch without a
crop, a crop without a stretch, times without a video.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.records import Card, Reject
from corpora.index import values
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract
from corpora.index.tables import Row, words
from corpora.index.values import BadIndex

CARD = Card(
    name="hdtf",
    title="HDTF: high-definition talking faces",
    languages=("en",),
    licence="GPL-3.0 for the repository; of the tables nothing else is said",
    terms="the videos belong to whoever put them online; each page's own terms hold",
    consent="politicians' public addresses and radio hosts; nobody was asked for this use",
    citation="Zhang et al., Flow-guided One-shot Talking Face Generation with a High-resolution Audio-visual Dataset, CVPR 2021",
    provenance="video addresses, times and crop boxes by the authors; the tables contradict one another in 21 places",
    access="the tables are public; the videos are fetched from their pages, as far as they still exist",
    index="github.com/MRzzm/HDTF, HDTF_dataset: {RD,WDA,WRA}_{video_url,annotion_time,crop_wh,resolution}.txt",
    hours=15.8,
    commercial=None,
)

GROUPS = ("RD", "WDA", "WRA")
TABLES = ("video_url", "annotion_time", "crop_wh", "resolution")


def entries(config: Mapping) -> Iterator[Entry]:
    """Every stretch of time with its crop, then what is left over, group after group."""
    root = index_folder(config)
    groups = [group for group in GROUPS if (root / f"{group}_video_url.txt").is_file()]
    if not groups:
        raise BadIndex(f"{root}: holds none of {', '.join(f'{group}_video_url.txt' for group in GROUPS)}")
    return collect(CARD, config, (row for group in groups for row in _rows(root, group)), _build,
                   name=lambda raw: raw["name"], stretch=_stretch)


def _rows(root: Path, group: str) -> Iterator[Row]:
    """One row per stretch of time, and one per thing that has no counterpart or cannot be read."""
    lost = [f"{group}_{table}.txt" for table in TABLES if not (root / f"{group}_{table}.txt").is_file()]
    if lost:
        raise BadIndex(f"{root}: {', '.join(lost)} is missing; the tables of one group belong together")
    tables: dict[str, dict[str, Row]] = {}
    for table, least in zip(TABLES, (2, 2, 5, 2), strict=True):
        rows = tables[table] = {}
        for row in words(root / f"{group}_{table}.txt", least):
            if not isinstance(row.raw, Reject):
                key = row.raw[0].removesuffix(".mp4")
                if key not in rows:
                    rows[key] = row
                    continue
                row = row._replace(raw=Reject("duplicate", f"{key!r} stands on {rows[key].at} already"))
            yield row
    urls, times, crops, heights = (tables[table] for table in TABLES)
    for name, row in times.items():
        for k, stretch in enumerate(row.raw[1:]):
            clip = f"{name}_{k}"
            yield row._replace(raw={"name": clip, "video": name, "group": group, "stretch": stretch, "url": urls.get(name),
                                    "crop": crops.pop(clip, None), "height": heights.get(name)})
    for name, row in urls.items():
        if name not in times:
            yield row._replace(raw=Reject("no_match", f"{name!r} has no times in {group}_annotion_time.txt"))
    for clip, row in crops.items():
        yield row._replace(raw=Reject("no_match", f"{clip!r} has no stretch of time in {group}_annotion_time.txt"))


def _stretch(raw: Mapping[str, Any]) -> dict[str, float]:
    start, dash, end = raw["stretch"].partition("-")
    if not dash:
        raise Reject("bad_time", f"{raw['stretch']!r} is not a stretch such as 00:05-04:40")
    start_s, end_s = values.span(values.clock(start), values.clock(end))
    return {"start_s": start_s, "end_s": end_s}


def _build(raw: Mapping[str, Any]) -> dict[str, Any]:
    group, name = raw["group"], raw["name"]
    if raw["url"] is None:
        raise Reject("no_match", f"{raw['video']!r} has no address in {group}_video_url.txt")
    if raw["crop"] is None:
        raise Reject("no_match", f"{name!r} ({raw['stretch']}) has no crop in {group}_crop_wh.txt")
    times = _stretch(raw)
    x, width, y, height = (values.number(cell, "a side of the crop", "bad_box") for cell in raw["crop"].raw[1:5])
    listed = raw["height"].raw[1] if raw["height"] else ""
    rows = int(listed) if listed.isdecimal() else 0
    # Five crops reach below the frame whose height the tables list: then nobody knows in what frame their pixels count.
    known = rows >= y + height
    extra = {"group": group,
             "listed_height": listed} | ({} if known else {"box_doubt": f"reaches row {y + height:g} of {listed or 'unknown'}"})
    address = values.address(raw["url"].raw[1], times["start_s"], times["end_s"])
    speaker = re.sub(r"\d+$", "", raw["video"])
    return {"source": address, "video": values.video_of(address.at), **times,
            "speaker": None if group == "RD" else speaker, "extra": extra,
            "box": values.box(x, y, x + width, y + height, unit="px", frame_height=rows if known else None)}
