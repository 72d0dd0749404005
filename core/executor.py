"""Maps a function over the items of one stage instance: local processes, resumable item by item, every item accounted for."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import shards
from core.digest import digest_of
from core.progress import Progress
from core.records import Reject, schema
from core.workers import WorkerPool

WORK = Path(".babelface/work")


@dataclass(frozen=True, slots=True)
class Work:
    """One item for a mapper. `digest` stands for everything that its result depends on beside params and code."""

    id: str
    digest: str
    payload: dict[str, Any]
    row: dict[str, Any] = field(default_factory=dict)  # corpus, language, speaker: for the funnel


def run_stage(stage: str, instance: str, work: list[Work], mapper: str, *, config: dict[str, Any], tables: tuple[str, ...],
              fingerprint: dict[str, Any], n_shards: int = 4, workers: int = 1, timeout_s: float = 300,
              rejected: list[tuple[dict[str, Any], str, str]] = (), files: str | None = None, out: Path | None = None) -> dict[str, Any]:
    """The stats of one finished stage instance, whose folder data/<stage>/<instance> then holds `tables`.

    mapper: "module:Class"; Class(config) is made once per worker process, and called with a payload it returns
    {table: [row, ...]} or raises Reject. Any other exception stops the run and shows its traceback.
    fingerprint: what the results of all items depend on (params, code, weights). While it stays the same, items whose digest
    is unchanged keep their rows, from the last finished run or from one that was killed.
    rejected: (row, reason, detail) of index entries that never became an item; row needs item_id, corpus, language, speaker.
    files: the table whose `file` column names files that the mapper writes into config["files"]; they end in <out>/media.
    The same input gives the same bytes for any number of workers.
    """
    out = out or Path("data") / stage / instance
    recover(out)
    fingerprint = fingerprint | {"shards": n_shards}
    seal = digest_of(fingerprint)
    scratch = WORK / stage / instance / seal[:16]
    _drop_other_runs(scratch)
    names = (*tables, "rejects")
    work = sorted(work, key=lambda w: w.id)
    for _, reason, detail in rejected:
        Reject(reason, detail)  # ValueError for a reason nobody has explained
    twice = [i for i, n in Counter(w.id for w in work).items() if n > 1]
    if twice:
        raise ValueError(f"{stage} {instance}: item ids must be unique; twice: {', '.join(twice[:5])}")
    old = _kept_from_last_run(out, seal, names)
    todo = [w for w in work if (old or {}).get(w.id, ("",))[0] != w.digest and not _scratch_file(scratch, w).exists()]
    if files:
        (scratch / "files").mkdir(exist_ok=True)
        config = config | {"files": str(scratch / "files")}
    progress = Progress(f"{stage} {instance}", total=len(work), done=len(work) - len(todo))
    reports = WorkerPool(mapper, config, workers=workers, timeout_s=timeout_s).map(
        [(i, str(_scratch_file(scratch, w)), w.id, w.payload) for i, w in enumerate(todo)])
    for index, verdict in reports:
        item = todo[index]
        if verdict is not None and not _scratch_file(scratch, item).exists():
            write_result(_scratch_file(scratch, item), {}, verdict)
        progress.step(verdict[0] if verdict else None, item.id, verdict[1] if verdict else "")
    stats = _assemble(stage, instance, out, scratch, work, old, names, seal, fingerprint, n_shards, list(rejected), files)
    shutil.rmtree(scratch, ignore_errors=True)
    progress.close(stats)
    return stats


def write_result(path: Path, tables: dict[str, list[dict[str, Any]]], verdict: tuple[str, str] | None) -> None:
    """One item's result as one Arrow file: its tables, or the reason why it was rejected. Written whole or not at all."""
    import pyarrow as pa

    names, blobs = [], []
    for name, rows in sorted(tables.items()):
        sink = pa.BufferOutputStream()
        data = pa.Table.from_pylist(rows, schema=schema(name))
        with pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_table(data)
        names.append(name)
        blobs.append(sink.getvalue().to_pybytes())
    if verdict is not None:
        names += ["!reason", "!detail"]
        blobs += [v.encode() for v in verdict]
    whole = pa.table({"name": pa.array(names, pa.string()), "blob": pa.array(blobs, pa.large_binary())})

    def write(temp: Path) -> None:
        with pa.OSFile(str(temp), "wb") as sink, pa.ipc.new_file(sink, whole.schema) as writer:
            writer.write_table(whole)

    shards.atomic_write(path, write)


def _read_result(path: Path) -> tuple[dict[str, Any], tuple[str, str] | None]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        whole = pa.ipc.open_file(source).read_all()
        found = {name: blob.as_buffer() for name, blob in zip(whole["name"].to_pylist(), whole["blob"], strict=True)}
        verdict = (found.pop("!reason").to_pybytes().decode(), found.pop("!detail").to_pybytes().decode()) if "!reason" in found else None
        return {name: pa.ipc.open_stream(blob).read_all() for name, blob in found.items()}, verdict


def _scratch_file(scratch: Path, work: Work) -> Path:
    return scratch / f"{digest_of([work.id, work.digest])[:32]}.arrow"


def _drop_other_runs(scratch: Path) -> None:
    """Work begun under other params or code is of no use any more."""
    if scratch.parent.is_dir():
        for other in scratch.parent.iterdir():
            if other.name != scratch.name:
                shutil.rmtree(other, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)


def recover(out: Path) -> None:
    """Puts the last finished folder back where a crash fell between the two renames that replace it."""
    old = out.with_name(f".{out.name}.old")
    if old.exists():
        if out.exists():
            shutil.rmtree(old)
        else:
            os.replace(old, out)
    shutil.rmtree(out.with_name(f".{out.name}.next"), ignore_errors=True)


def _kept_from_last_run(out: Path, seal: str, names: tuple[str, ...]) -> dict[str, tuple[str, str, list[int]]] | None:
    """item -> (digest, status, row counts) of the last finished run; None where there is none under the same fingerprint."""
    try:
        if shards.read_json(out / "fingerprint.json")["seal"] != seal:
            return None
        rows = shards.read_shard(out / "items.parquet").to_pylist()
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return None
    if any(len(r["counts"]) != len(names) for r in rows):
        return None
    return {r["item_id"]: (r["digest"], r["status"], r["counts"]) for r in rows}


class _OldShard:
    """The rows of single items in a shard of the last finished run."""

    def __init__(self, out: Path, shard: int, old: dict[str, Any], n_shards: int, names: tuple[str, ...]):
        members = sorted(i for i in old if shards.shard_of(i, n_shards) == shard)
        self.members, self._names, self._out, self._shard = members, names, out, shard
        self._start = {}
        at = [0] * len(names)
        for item in members:
            self._start[item] = list(at)
            at = [a + c for a, c in zip(at, old[item][2], strict=True)]
        self._tables: dict[str, Any] = {}
        self._old = old

    def rows(self, item: str, name: str) -> Any:
        if name not in self._tables:
            self._tables[name] = shards.read_shard(shards.shard_path(self._out, name, self._shard))
        k = self._names.index(name)
        return self._tables[name].slice(self._start[item][k], self._old[item][2][k])


def _assemble(stage, instance, out, scratch, work, old, names, seal, fingerprint, n_shards, rejected, files) -> dict[str, Any]:
    """Builds the new folder beside the old one, then swaps them."""
    import pyarrow as pa

    following = out.with_name(f".{out.name}.next")
    following.mkdir(parents=True)
    valid = old is not None  # under another fingerprint nothing of the last run may stay, not even an empty table
    old = old or {}
    items, by_language, totals = [], {}, Counter()

    def count(language: str | None, reason: str | None) -> None:
        cell = by_language.setdefault(language or "und", {"in": 0, "kept": 0, "rejected": {}})
        cell["in"] += 1
        if reason is None:
            cell["kept"] += 1
        else:
            cell["rejected"][reason] = cell["rejected"].get(reason, 0) + 1

    for shard in range(n_shards):
        members = [w for w in work if shards.shard_of(w.id, n_shards) == shard]
        last = _OldShard(out, shard, old, n_shards, names)
        fresh = {w.id: _read_result(_scratch_file(scratch, w)) for w in members if _scratch_file(scratch, w).exists()}
        same = valid and not fresh and [w.id for w in members] == last.members
        parts: dict[str, list[Any]] = {name: [] for name in names}
        for w in members:
            if w.id in fresh:
                tables, verdict = fresh[w.id]
                if verdict:
                    row = {"item_id": w.id, "stage": stage, "reason": verdict[0], "detail": verdict[1], **_who(w.row)}
                    tables = {"rejects": pa.Table.from_pylist([row], schema=schema("rejects"))}
                status = verdict[0] if verdict else "kept"
                counts = [tables[name].num_rows if name in tables else 0 for name in names]
                for name, data in tables.items():
                    parts[name].append(data)
            else:
                _, status, counts = old[w.id]
                for name, n in zip(names, counts, strict=True):
                    if n and not same:
                        parts[name].append(last.rows(w.id, name))
            items.append({"item_id": w.id, "language": w.row.get("language"), "digest": w.digest, "status": status, "counts": counts})
            count(w.row.get("language"), None if status == "kept" else status)
            totals.update(dict(zip(names, counts, strict=True)))
        for name in names:
            path = shards.shard_path(following, name, shard)
            if same and shards.shard_path(out, name, shard).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(shards.shard_path(out, name, shard), path)
            elif parts[name] or shard == 0:
                shards.write_table(path, pa.concat_tables([schema(name).empty_table(), *parts[name]]), name)
        listed = shards.shard_path(following, files, shard) if files else None
        if listed is not None and listed.exists():
            _carry_files(shards.read_shard(listed, ["file"])["file"].to_pylist(), scratch / "files", out / "media", following / "media")
    early = [{"item_id": r["item_id"], "stage": stage, "reason": reason, "detail": detail, **_who(r)} for r, reason, detail in rejected]
    for row in early:
        count(row["language"], row["reason"])
    shards.write_table(following / "rejects_early.parquet", sorted(early, key=lambda r: r["item_id"]), "rejects")
    # Sorted by shard, as the shards are: the counts then say where an item's rows begin.
    shards.write_table(following / "items.parquet", items, "items")
    kept = sum(i["status"] == "kept" for i in items)
    stats = {"stage": stage, "instance": instance, "items_in": len(work) + len(early), "kept": kept,
             "rejected": len(work) + len(early) - kept, "tables": list(names), "rows": {n: totals[n] for n in names},
             "by_language": by_language}
    check_funnel(stats)
    shards.write_json(following / "stats.json", stats)
    shards.write_json(following / "fingerprint.json", {"seal": seal, "of": fingerprint})
    swap(following, out)
    return stats


def _carry_files(names: list[str], fresh: Path, last: Path, to: Path) -> None:
    """Puts the files that a shard's rows name into the new folder, by link: from this run, or from the last finished one."""
    to.mkdir(exist_ok=True)
    for name in names:
        os.link(fresh / name if (fresh / name).exists() else last / name, to / name)


def _who(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("corpus", "language", "speaker")}


def check_funnel(stats: dict[str, Any]) -> None:
    """RuntimeError when an item is unaccounted for: in = kept + rejected, in all and per language."""
    cells = list(stats["by_language"].values())
    wrong = [tag for tag, c in stats["by_language"].items() if c["in"] != c["kept"] + sum(c["rejected"].values())]
    sums = {k: sum(c[k] for c in cells) for k in ("in", "kept")}
    if wrong or stats["items_in"] != stats["kept"] + stats["rejected"] or (sums["in"], sums["kept"]) != (stats["items_in"], stats["kept"]):
        raise RuntimeError(f"{stats['stage']} {stats['instance']}: the funnel does not add up ({stats}); this is a bug in the stage")


def swap(following: Path, out: Path) -> None:
    """Puts a finished folder in place of the old one; a crash between the two renames is mended by `recover`."""
    old = out.with_name(f".{out.name}.old")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        os.replace(out, old)
    os.replace(following, out)
    shutil.rmtree(old, ignore_errors=True)


