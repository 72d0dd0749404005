"""The funnel in hours: how long what went into every stage is, what came out, and what was lost for which reason."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from core.params import Params
from core.shards import read_rows, read_shard, shard_paths
from core.stage import UserError

FPS = 25
# what a stage's items are -> the folder and table that say how long each is, and its id there
TABLES = {"recordings": ("download", "recordings", "recording_id"), "clips": ("segment", "clips", "clip_id"),
          "tracks": ("track", "tracks", "track_id")}


def add_hours(steps: list[dict[str, Any]], params: Params, root: Path = Path(".")) -> list[dict[str, Any]]:
    """The steps of a funnel, each with `hours`: {in, kept, rejected by reason, out, unknown, unknown_rejected by reason}, or None
    where its items are no footage.

    unknown: items whose length nobody knows, which count as none: of what could not be fetched, and of what an index names and
    nobody could use, only the index says how long it is. unknown_rejected: those of them that were rejected. in = kept +
    rejected holds by counting, but for rounding to 1e-6 h; what one stage hands on, `out`, is in of the next. Rejected as
    `short_source` is also what the source of a kept recording did not hold of its stretch.
    """

    lengths: dict[tuple[str, str], dict[str, int | None]] = {}

    def of(instance: str, unit: str) -> dict[str, int | None]:
        if (instance, unit) not in lengths:
            folder, table, name = TABLES[unit]
            place = root / "data" / folder / instance
            rows = read_rows(place, table, [name, "n_frames"]) if (place / table).is_dir() else []
            lengths[instance, unit] = {r[name]: r.get("n_frames") for r in rows}
        return lengths[instance, unit]

    told: dict[str, dict[str, float | None]] = {}
    found = []
    for step in steps:
        place = root / "data" / step["stage"] / step["instance"]
        if step["unit"] not in TABLES or not (place / "items.parquet").is_file():
            found.append(step | {"hours": None})
            continue
        known, index, short = of(step["instance"], step["unit"]), {}, {}
        if step["stage"] == "download":
            short = _short(place)
        if step["stage"] == "download" and step["rejected"]:
            index = told.setdefault(step["instance"], _by_index(params, step["instance"]))
        cell: dict[str, Any] = {"kept": 0.0, "rejected": defaultdict(float), "unknown": 0}
        blank: Counter[str] = Counter()
        for item, language, status in _items(place):
            if language != step["language"]:
                continue
            frames = known.get(item)
            seconds = frames / FPS if frames is not None else index.get(item)
            cell["unknown"] += seconds is None
            if status == "kept":
                cell["kept"] += seconds or 0.0
                if item in short:
                    cell["rejected"]["short_source"] += short[item]
            else:
                cell["rejected"][status] += seconds or 0.0
                blank[status] += seconds is None
        total = round((cell["kept"] + sum(cell["rejected"].values())) / 3600, 6)
        rejected = {reason: round(s / 3600, 6) for reason, s in sorted(cell["rejected"].items())}
        kept = round(cell["kept"] / 3600, 6)
        out = None
        if step["out"] is not None:
            handed = {"download": "recordings", "segment": "clips", "track": "tracks"}.get(step["stage"])
            out = kept if handed is None else round(sum(n or 0 for n in of(step["instance"], handed).values()) / FPS / 3600, 6)
        found.append(step | {"hours": {"in": total, "kept": kept, "rejected": rejected, "out": out,
                                       "unknown": cell["unknown"],
                                       "unknown_rejected": {reason: n for reason, n in sorted(blank.items()) if n}}})
    return found


def _items(place: Path) -> list[tuple[str, str, str]]:
    """(id, language, status) of every item of a stage, index entries that never became one included."""
    rows = [(r["item_id"], r["language"] or "und", r["status"])
            for r in read_shard(place / "items.parquet", ["item_id", "language", "status"]).to_pylist()]
    early = read_shard(place / "rejects_early.parquet", ["item_id", "language", "reason"]).to_pylist()
    return rows + [(r["item_id"], r["language"] or "und", r["reason"]) for r in early]


def _short(place: Path) -> dict[str, float]:
    """recording -> seconds of its stretch that its source did not hold, of the recordings that a download marked so."""
    if not (place / "recordings").is_dir():
        return {}
    import pyarrow.compute as pc

    said = {}
    for path in shard_paths(place, "recordings"):
        rows = read_shard(path, ["recording_id", "extra"])
        rows = rows.filter(pc.match_substring(rows["extra"], '"short_s"')).to_pylist()
        said |= {r["recording_id"]: json.loads(r["extra"]).get("short_s") for r in rows}
    return {name: float(seconds) for name, seconds in said.items() if isinstance(seconds, int | float)}


def lost_hours(hours: dict[str, Any], reason: str) -> str:
    """What a reason cost, in words: `3.2 h`, `3.2 h, 4 of unknown length`, `length unknown`; empty where it cost nothing."""
    known, blank = hours["rejected"].get(reason, 0.0), hours.get("unknown_rejected", {}).get(reason, 0)
    said = [f"{in_words(known)} h"] if known else []
    return ", ".join([*said, *([f"{blank:,} of unknown length" if known else "length unknown"] if blank else [])])


def in_words(value: float | None) -> str:
    """Hours with as many digits as they need: 12.3, 0.021; empty for None."""
    if value is None:
        return ""
    return f"{value:,.1f}" if value >= 10 else f"{value:.3f}" if value >= 0.01 or not value else f"{value:.5f}"


def _by_index(params: Params, instance: str) -> dict[str, float | None]:
    """item -> seconds, as the index says; empty where it cannot be read any more."""
    from flows.download import entries_of

    try:
        items, rejected = entries_of(params, params.instance(instance))
        return {entry.id: entry.length_s for entry in (*rejected, *items)}
    except (UserError, FileNotFoundError):
        return {}
