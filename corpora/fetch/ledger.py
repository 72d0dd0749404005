"""The ledger of a download: its own tables, read together. A row per item, tombstones of what is gone, and what to try again."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import shards

if TYPE_CHECKING:
    import pyarrow as pa

TOMBSTONES = "tombstones.jsonl"
FINAL = ("gone", "forgotten")
_HAD = ("source", "bytes", "sha256")
_PENDING = Path(".babelface/tombstones")


def rows(out: Path) -> list[dict[str, Any]]:
    """One row per index entry of a finished download, sorted by id: item_id, state (kept or rejected), reason, detail, bytes,
    sha256, source, etag. FileNotFoundError before the first run."""
    found = {}
    for r in shards.read_rows(out, "recordings", ["recording_id", "bytes", "sha256", "source", "extra"]):
        fetched = json.loads(r["extra"] or "{}").get("fetched", {})
        found[r["recording_id"]] = {"item_id": r["recording_id"], "state": "kept", "reason": None, "detail": None,
                                    "bytes": r["bytes"],
                                    "sha256": r["sha256"], "source": r["source"], "etag": fetched.get("etag")}
    for r in (*shards.read_rows(out, "rejects"), *shards.read_shard(out / "rejects_early.parquet").to_pylist()):
        found[r["item_id"]] = {"item_id": r["item_id"], "state": "rejected", "reason": r["reason"], "detail": r["detail"],
                               "bytes": None,
                               "sha256": None, "source": None, "etag": None}
    return [found[name] for name in sorted(found)]


def counts(out: Path) -> dict[str, Any]:
    """items, kept, rejected by reason, bytes of the recordings and how many tombstones of one finished download."""
    import pyarrow.compute as pc

    kept = shards.read_table(out, "recordings", ["bytes"])["bytes"]
    reasons = Counter({r["values"]: r["counts"] for r in pc.value_counts(_rejects(out)["reason"]).to_pylist()})
    return {"items": len(kept) + reasons.total(), "kept": len(kept), "bytes": pc.sum(kept).as_py() or 0,
            "rejected": dict(sorted(reasons.items())), "tombstones": len(tombstones(out))}


def _rejects(out: Path) -> pa.Table:
    """item_id, reason and detail of all rejects of a finished download, those of the index among them."""
    import pyarrow as pa

    names = ["item_id", "reason", "detail"]
    return pa.concat_tables([shards.read_table(out, "rejects", names), shards.read_shard(out / "rejects_early.parquet", names)])


def tombstones(out: Path) -> list[dict[str, Any]]:
    """What a download once had or was told of and is gone for good: item_id, reason, detail, and source, bytes and sha256 of its
    last recording (null where it never was here). Sorted by id."""
    path = out / TOMBSTONES
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def remember(out: Path, instance: str) -> None:
    """Keeps what the last version had, by links beside it, before a run replaces it: a run can be killed between the new folder
    and its tombstones, and the next one then still knows."""
    pending = _PENDING / instance
    if pending.is_dir() or not (out / "recordings").is_dir():
        return
    following = pending.with_name(f".{instance}.next")
    shutil.rmtree(following, ignore_errors=True)
    (following / "recordings").mkdir(parents=True)
    for file in sorted((out / "recordings").glob("shard-*")):
        os.link(file, following / "recordings" / file.name)
    if (out / TOMBSTONES).is_file():
        os.link(out / TOMBSTONES, following / TOMBSTONES)
    os.replace(following, pending)


def bury(out: Path, instance: str) -> list[dict[str, Any]]:
    """Writes the tombstones of a finished download into its folder, and gives every item that the last version had and this one
    has not, sorted by id: item_id, reason and detail (null where the index does not name it any more), and source, bytes and
    sha256 of its last recording."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pending = _PENDING / instance
    rejects = _rejects(out)
    known = {t["item_id"]: {k: t[k] for k in _HAD} for t in tombstones(pending)}
    had: dict[str, dict[str, Any]] = {}
    last, here = ({file.name: file for file in (folder / "recordings").glob("shard-*")} for folder in (pending, out))
    for name in last.keys() & here.keys():
        if last[name].samefile(here[name]):  # nothing happened to its items, and an item stays in its shard
            del last[name], here[name]
    ids = _ids(last.values())
    if lost := ids.filter(pc.invert(pc.is_in(ids, _ids(here.values())))):
        rest = pa.concat_tables(shards.read_shard(file, ["recording_id", *_HAD]) for file in last.values())
        rest = rest.filter(pc.is_in(rest["recording_id"], lost)).sort_by("recording_id")
        had = {r.pop("recording_id"): r for r in rest.to_pylist()}
    told = pc.or_(pc.is_in(rejects["reason"], pa.array(FINAL)), pc.is_in(rejects["item_id"], pa.array(list(had), pa.string())))
    why = {r["item_id"]: r for r in rejects.filter(told).sort_by("item_id").to_pylist()}
    nothing = dict.fromkeys(_HAD)
    stones = [r | had.get(i, known.get(i, nothing)) for i, r in why.items() if r["reason"] in FINAL]
    if stones:
        text = "".join(json.dumps(stone, sort_keys=True, ensure_ascii=False) + "\n" for stone in stones)
        shards.write_bytes(out / TOMBSTONES, text.encode())
    shutil.rmtree(pending, ignore_errors=True)
    return [why.get(i, {"item_id": i, "reason": None, "detail": None}) | facts for i, facts in had.items()]


def _ids(files: Iterable[Path]) -> pa.ChunkedArray:
    """The ids of the recordings in some shards."""
    import pyarrow as pa

    return pa.chunked_array([part for f in files for part in shards.read_shard(f, ["recording_id"])[0].chunks], pa.string())


def again(out: Path, reasons: Iterable[str]) -> dict[str, str]:
    """Marks the items that a download rejected for one of `reasons`, so that the next run takes them up again; id and reason of
    each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    path = out / "items.parquet"
    items = shards.read_shard(path)
    hit = pc.is_in(items["status"], pa.array(sorted(set(reasons)), pa.string()))
    found = dict(zip(*(items[name].filter(hit).to_pylist() for name in ("item_id", "status")), strict=True))
    if found:  # a digest that is no item's
        digests = pc.if_else(hit, pa.scalar("", pa.string()), items["digest"])
        shards.write_table(path, items.set_column(items.schema.get_field_index("digest"), "digest", digests), "items")
    return found
