"""What must not be torn apart when speakers are dealt into splits: copies of one file, one video, near-duplicates. Work of the
split stage, and the check of what it dealt."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import numpy as np

from core.params import Params
from core.shards import read_rows, unpack
from core.stage import out_folder
from metrics.duplicates import near_duplicates, unite
from metrics.prints import COLUMNS, ROWS

# A page's video id says which video it is whatever corpus names it; other names are a corpus's own.
_PAGE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
DEALT = ("train", "validation", "test", "expert_train", "expert_validation")
_SIDES = ("corpus", "language", "recording_id", "cluster")


def links(rows: list[dict[str, Any]], params: Params) -> list[dict[str, Any]]:
    """Rows of the links table without their splits, sorted: what two clusters share, and every near-duplicate.

    rows: tracks. Generated video is left out: it is never trained on. Of what many share, not every pair is listed, but all of
    them hang together.
    """
    mine = {_recording(r): r for r in sorted(rows, key=lambda r: r["track_id"]) if r["kind"] != "generated"}
    found = _same_source(mine, params)
    if params.split.near_duplicates:
        found += _alike(mine, rows, params)
    return sorted(found, key=lambda x: (x["kind"], x["a"], x["b"], x["corpus_a"], x["language_a"], x["corpus_b"],
                                        x["language_b"]))


def groups(found: list[dict[str, Any]]) -> dict[str, str]:
    """cluster -> the first cluster of all that links tie it to, for clusters that are tied to another."""
    return unite([(x["cluster_a"], x["cluster_b"]) for x in found if x["cluster_a"] != x["cluster_b"]])


def place(found: list[dict[str, Any]], dealt: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The links with the splits of both sides, null where a side is in none. dealt: rows of the splits table."""
    where: dict[tuple[str, ...], str] = {}
    for row in dealt:
        if row["split"] in DEALT:
            where[(*_recording(row), "")] = where[(*_recording(row), row["clip_id"])] = row["split"]

    def split(x: dict[str, Any], side: str) -> str | None:
        clip = x[side] if x["kind"] not in ("file", "video") else ""
        return where.get((x[f"corpus_{side}"], x[f"language_{side}"], x[f"recording_id_{side}"], clip))

    return [x | {"split_a": split(x, "a"), "split_b": split(x, "b")} for x in found]


def summary(placed: list[dict[str, Any]], group_of: dict[str, str]) -> dict[str, Any]:
    """Links by kind, clusters that they unite, the largest group, and every link that joins two splits, in words."""
    torn = [x for x in placed if x["split_a"] and x["split_b"] and x["split_a"] != x["split_b"]]
    return {"links": dict(sorted(Counter(x["kind"] for x in placed).items())), "united": len(group_of),
            "largest_group": max(Counter(group_of.values()).values(), default=1),
            "torn": sorted(f"{x['kind']} {x['a']} and {x['b']}: {x['split_a']}, {x['split_b']}" for x in torn)}


def _recording(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["corpus"], row["language"], row["recording_id"]


def _link(kind: str, a: str, b: str, one: dict[str, Any], other: dict[str, Any], **facts: float | None) -> dict[str, Any]:
    sides = {f"{name}_{side}": row[name] for side, row in (("a", one), ("b", other)) for name in _SIDES}
    return {"kind": kind, "a": a, "b": b, **sides, "sound_error": None, "movement": None, "overlap_s": None, **facts}


def _same_source(mine: dict[tuple[str, str, str], dict[str, Any]], params: Params) -> list[dict[str, Any]]:
    """Recordings of different clusters that are one file, or stretches of one video."""
    sharing: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for who in params.instances():
        for r in read_rows(out_folder("download", who.name), "recordings", ["recording_id", "sha256", "extra"]):
            track = mine.get((who.corpus, who.language, r["recording_id"]))
            if track is None:
                continue
            video = json.loads(r["extra"] or "{}").get("video")
            keys = [("file", r["sha256"])] if r["sha256"] else []
            if isinstance(video, str) and video:
                keys.append(("video", video) if _PAGE_ID.fullmatch(video) else ("video", who.corpus, video))
            for key in keys:
                sharing.setdefault(key, {}).setdefault(track["cluster"], track)
    found = []
    for key, clusters in sorted(sharing.items()):
        first, *others = (clusters[name] for name in sorted(clusters))
        found += [_link(key[0], first["recording_id"], other["recording_id"], first, other) for other in others]
    return found


def _alike(mine: dict[tuple[str, str, str], dict[str, Any]], rows: list[dict[str, Any]], params: Params) -> list[dict[str, Any]]:
    """Clips that share a stretch of picture or sound."""
    tracked = {(*_recording(r), r["clip_id"]) for r in rows}
    clips, pictures, sounds = [], [], []
    for who in params.instances():
        names = ["clip_id", "recording_id", "picture_print", "sound_print"]
        for r in sorted(read_rows(out_folder("segment", who.name), "clips", names), key=lambda r: r["clip_id"]):
            track = mine.get((who.corpus, who.language, r["recording_id"]))
            if track is None or (*_recording(track), r["clip_id"]) not in tracked:
                continue
            clips.append((r["clip_id"], track))
            pictures.append(unpack(r["picture_print"] or b"", np.uint16, (-1, ROWS, COLUMNS)))
            sounds.append(unpack(r["sound_print"] or b"", np.uint32, (-1,)))
    found = []
    for pair in near_duplicates(pictures, sounds):
        (a, one), (b, other) = clips[pair.a], clips[pair.b]
        kind = "both" if None not in (pair.sound_error, pair.movement) else "sound" if pair.movement is None else "picture"
        found.append(_link(kind, a, b, one, other, sound_error=pair.sound_error, movement=pair.movement,
                           overlap_s=pair.overlap_s))
    return found
