"""The ledger of a download: its own tables, read together. A row per item, tombstones of what is gone, and what to try again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core import shards

TOMBSTONES = "tombstones.jsonl"
FINAL = ("gone", "forgotten")
_HAD = ("source", "bytes", "sha256")
_PENDING = Path(".babelface/tombstones")


def rows(out: Path) -> list[dict[str, Any]]:
    """One row per index entry of a finished download, sorted by id: item_id, state (kept or rejected), reason, detail, bytes, sha256,
    source, etag. FileNotFoundError before the first run."""
    found = {}
    for r in shards.read_rows(out, "recordings", ["recording_id", "bytes", "sha256", "source", "extra"]):
        fetched = json.loads(r["extra"] or "{}").get("fetched", {})
        found[r["recording_id"]] = {"item_id": r["recording_id"], "state": "kept", "reason": None, "detail": None, "bytes": r["bytes"],
                                    "sha256": r["sha256"], "source": r["source"], "etag": fetched.get("etag")}
    for r in (*shards.read_rows(out, "rejects"), *shards.read_shard(out / "rejects_early.parquet").to_pylist()):
        found[r["item_id"]] = {"item_id": r["item_id"], "state": "rejected", "reason": r["reason"], "detail": r["detail"], "bytes": None,
                               "sha256": None, "source": None, "etag": None}
    return [found[name] for name in sorted(found)]


def counts(out: Path) -> dict[str, Any]:
    """items, kept, rejected by reason, bytes of the recordings and how many tombstones of one finished download."""
    ledger = rows(out)
    return {"items": len(ledger), "kept": sum(r["state"] == "kept" for r in ledger), "bytes": sum(r["bytes"] or 0 for r in ledger),
            "rejected": dict(sorted(Counter(r["reason"] for r in ledger if r["reason"]).items())), "tombstones": len(tombstones(out))}


def tombstones(out: Path) -> list[dict[str, Any]]:
    """What a download once had or was told of and is gone for good: item_id, reason, detail, and source, bytes and sha256 of its last
    recording (null where it never was here). Sorted by id."""
    path = out / TOMBSTONES
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def remember(out: Path, instance: str) -> dict[str, dict[str, Any]]:
    """What the last version had, by item, before a run replaces it. Written down beside it, because a run can be killed between
    the new folder and its tombstones."""
    pending = _PENDING / f"{instance}.json"
    known: dict[str, dict[str, Any]] = shards.read_json(pending) if pending.is_file() else {}
    try:
        known |= {t["item_id"]: {k: t[k] for k in _HAD} | {"kept": False} for t in tombstones(out)}
        known |= {r["item_id"]: {k: r[k] for k in _HAD} | {"kept": True} for r in rows(out) if r["state"] == "kept"}
    except FileNotFoundError:  # no version yet
        pass
    if known:
        shards.write_json(pending, known)
    return known


def bury(out: Path, instance: str, known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Writes the tombstones of a finished download into its folder and gives those of items that the last version still had."""
    lost = [r for r in rows(out) if r["reason"] in FINAL]
    stones = [{"item_id": r["item_id"], "reason": r["reason"], "detail": r["detail"]}
              | {k: known.get(r["item_id"], {}).get(k) for k in _HAD} for r in lost]
    if stones:
        text = "".join(json.dumps(stone, sort_keys=True, ensure_ascii=False) + "\n" for stone in stones)
        shards.write_bytes(out / TOMBSTONES, text.encode())
    (_PENDING / f"{instance}.json").unlink(missing_ok=True)
    return [stone for stone in stones if known.get(stone["item_id"], {}).get("kept")]


def again(out: Path, reasons: Iterable[str]) -> int:
    """Marks the items that a download rejected for one of `reasons`, so that the next run takes them up again; how many."""
    path = out / "items.parquet"
    items = shards.read_shard(path).to_pylist()
    hit = [item for item in items if item["status"] in set(reasons)]
    for item in hit:
        item["digest"] = ""  # that of no item
    if hit:
        shards.write_table(path, items, "items")
    return len(hit)
