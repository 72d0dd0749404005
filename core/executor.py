"""Maps a function over the items of one stage instance: here or on a cluster, resumable item by item, every item accounted
for."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from core import shards
from core.cells import places
from core.digest import digest_of
from core.params import Executor
from core.progress import Progress
from core.records import Reject, schema
from core.results import read_result, write_result
from core.workers import WorkerPool

WORK = Path(".babelface/work")


@dataclass(frozen=True, slots=True)
class Work:
    """One item for a mapper. `digest` stands for everything that its result depends on beside params and code. What is large in a
    payload is a core.cells.Cell, which the mapper fills: all items together must fit into one process."""

    id: str
    digest: str
    payload: dict[str, Any]
    row: dict[str, Any] = field(default_factory=dict)  # corpus, language, speaker: for the funnel


def run_stage(stage: str, instance: str, work: list[Work], mapper: str, *, config: dict[str, Any], tables: tuple[str, ...],
              fingerprint: dict[str, Any], executor: Executor = Executor(), n_shards: int = 4,
              rejected: list[tuple[dict[str, Any], str, str]] = (), files: str | None = None,
              out: Path | None = None) -> dict[str, Any]:
    """The stats of one finished stage instance, whose folder data/<stage>/<instance> then holds `tables`.

    mapper: "module:Class"; Class(config) is made once per worker process, and called with a payload it returns
    {table: [row, ...]} or raises Reject. Any other exception stops the run and shows its traceback.
    fingerprint: what the results of all items depend on (params, code, weights). While it stays the same, items whose digest
    is unchanged keep their rows, from the last finished run or from one that was killed.
    executor: where the mappers run, how many, and how long one item may take.
    rejected: (row, reason, detail) of index entries that never became an item; row needs item_id, corpus, language, speaker.
    files: the table whose `file` column names files that the mapper writes into config["files"]; they end in <out>/media.
    The same input gives the same bytes for any number of workers, local or on a cluster.
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
    by_id = {w.id: w for w in work}
    if len(by_id) < len(work):
        twice = [i for i, n in Counter(w.id for w in work).items() if n > 1]
        raise ValueError(f"{stage} {instance}: item ids must be unique; twice: {', '.join(twice[:5])}")
    old = _kept_from_last_run(out, seal, names, by_id)
    del by_id
    todo = [w for w in work if (old or {}).get(w.id, ("",))[0] != w.digest and not _scratch_file(scratch, w).exists()]
    todo.sort(key=lambda w: places(w.payload))  # neighbours in a table one after the other; the others by id
    if files:
        (scratch / "files").mkdir(exist_ok=True)
        config = config | {"files": str(scratch / "files")}
    progress = Progress(f"{stage} {instance}", total=len(work), done=len(work) - len(todo))
    reports = _pool(mapper, config, executor).map([(i, str(_scratch_file(scratch, w)), w.id, w.payload)
                                                   for i, w in enumerate(todo)])
    for index, verdict in reports:
        item = todo[index]
        if verdict is not None and not _scratch_file(scratch, item).exists():
            write_result(_scratch_file(scratch, item), {}, verdict)
        progress.step(verdict[0] if verdict else None, item.id, verdict[1] if verdict else "")
    stats = _assemble(stage, instance, out, scratch, work, old, names, seal, fingerprint, n_shards, list(rejected), files)
    shutil.rmtree(scratch, ignore_errors=True)
    progress.close(stats)
    return stats


def _pool(mapper: str, config: dict[str, Any], executor: Executor) -> Any:
    """Whatever runs the mappers: its `map` takes tasks and gives verdicts as core.workers.WorkerPool does."""
    if executor.kind == "dask":
        from core.workers_dask import DaskPool

        return DaskPool(mapper, config, address=executor.address, timeout_s=executor.timeout_s)
    return WorkerPool(mapper, config, workers=executor.workers, timeout_s=executor.timeout_s)


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


def _kept_from_last_run(out: Path, seal: str, names: tuple[str, ...],
                        by_id: dict[str, Work]) -> dict[str, tuple[str, str, list[int]]] | None:
    """item -> (digest, status, row counts) of the last finished run; None where there is none under the same fingerprint.
    by_id: the work of this run, whose texts are used again where they are the same: there may be a million."""
    found: dict[str, tuple[str, str, list[int]]] = {}
    same: dict[Any, Any] = {}  # there are few statuses and counts: each is kept once
    try:
        if shards.read_json(out / "fingerprint.json")["seal"] != seal:
            return None
        for batch in shards.read_shard(out / "items.parquet").to_batches(max_chunksize=10_000):
            counts = batch["counts"].flatten().to_numpy().reshape(batch.num_rows, len(names)).tolist()
            for item, digest, status, held in zip(*(batch[c].to_pylist() for c in ("item_id", "digest", "status")), counts,
                                                  strict=True):
                now = by_id.get(item)
                if now is not None and now.digest == digest:
                    item, digest = now.id, now.digest  # noqa: PLW2901
                found[item] = digest, same.setdefault(status, status), same.setdefault(tuple(held), held)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return None
    return found


class _OldShard:
    """The rows of single items in a shard of the last finished run."""

    def __init__(self, out: Path, shard: int, members: list[str], old: dict[str, Any], names: tuple[str, ...]):
        """members: the ids of the shard's items, sorted."""
        self.members, self._names, self._out, self._shard = members, names, out, shard
        self._start: dict[str, list[int]] = {}
        self._tables: dict[str, shards.Rows] = {}
        self._old = old

    def place(self, item: str, name: str) -> tuple[int, int]:
        """(first row, number of rows) of an item in one table."""
        k = self._names.index(name)
        if not self._start:  # a shard in which nothing changed is never asked
            at = [0] * len(self._names)
            for member in self.members:
                self._start[member] = at
                at = [a + c for a, c in zip(at, self._old[member][2], strict=True)]
        return self._start[item][k], self._old[item][2][k]

    def rows(self, name: str, start: int, n: int) -> Any:
        if name not in self._tables:
            self._tables[name] = shards.Rows(shards.shard_path(self._out, name, self._shard))
        return self._tables[name].slice(start, n)


def _assemble(stage, instance, out, scratch, work, old, names, seal, fingerprint, n_shards, rejected, files) -> dict[str, Any]:
    """Builds the new folder beside the old one, then swaps them. Rows pass through one by one: a shard may be larger than
    memory."""
    following = out.with_name(f".{out.name}.next")
    try:
        following.mkdir(parents=True)
        stats = _fill(following, stage, instance, out, scratch, work, old, names, seal, fingerprint, n_shards, rejected, files)
    except BaseException:
        shutil.rmtree(following, ignore_errors=True)  # where the disk is full, half a folder would only be in the way
        raise
    swap(following, out)
    return stats


def _fill(following, stage, instance, out, scratch, work, old, names, seal, fingerprint, n_shards, rejected,
          files) -> dict[str, Any]:
    import pyarrow as pa

    valid = old is not None  # under another fingerprint nothing of the last run may stay, not even an empty table
    old = old or {}
    items, seen, totals = [], Counter(), Counter()
    members_of, old_of = _by_shard(work, lambda w: w.id, n_shards), _by_shard(sorted(old), str, n_shards)
    for shard in range(n_shards):
        members = members_of.get(shard, [])
        last = _OldShard(out, shard, old_of.get(shard, []), old, names)
        fresh = {w.id for w in members if old.get(w.id, ("",))[0] != w.digest}
        same = valid and not fresh and [w.id for w in members] == last.members
        states, held = [], {}
        for w in members:
            status, held[w.id] = _held(w, stage, scratch, names) if w.id in fresh else old[w.id][1:]
            states.append(status)
        spoken = [w.row.get("language") for w in members]
        seen.update(zip(spoken, states, strict=True))
        columns = {"item_id": list(held), "language": spoken, "digest": [w.digest for w in members], "status": states,
                   "counts": list(held.values())}
        items.append(pa.Table.from_pydict(columns, schema=schema("items")))
        totals.update({name: sum(h[k] for h in held.values()) for k, name in enumerate(names)})
        for k, name in enumerate(names):
            path = shards.shard_path(following, name, shard)
            if same and shards.shard_path(out, name, shard).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(shards.shard_path(out, name, shard), path)
            elif shard == 0 or (not same and any(held[w.id][k] for w in members)):
                has = [w for w in members if held[w.id][k]]
                shards.write_table(path, _all_rows(name, has, fresh, last,
                                                   lambda w, name=name: _tables(w, stage, scratch)[0][name]), name)
        listed = shards.shard_path(following, files, shard) if files else None
        if listed is not None and listed.exists():
            _carry_files(shards.read_shard(listed, ["file"])["file"].to_pylist(), scratch / "files", out / "media",
                         following / "media")
    early = [{"item_id": r["item_id"], "stage": stage, "reason": reason, "detail": detail, **_who(r)}
             for r, reason, detail in rejected]
    seen.update((row["language"], row["reason"]) for row in early)
    shards.write_table(following / "rejects_early.parquet", sorted(early, key=lambda r: r["item_id"]), "rejects")
    # Sorted by shard, as the shards are: the counts then say where an item's rows begin.
    shards.write_table(following / "items.parquet", iter(items), "items")
    kept = sum(n for (_, status), n in seen.items() if status == "kept")
    stats = {"stage": stage, "instance": instance, "items_in": len(work) + len(early), "kept": kept,
             "rejected": len(work) + len(early) - kept, "tables": list(names), "rows": {n: totals[n] for n in names},
             "by_language": _by_language(seen)}
    check_funnel(stats)
    shards.write_json(following / "stats.json", stats)
    shards.write_json(following / "fingerprint.json", {"seal": seal, "of": fingerprint})
    return stats


def _by_language(seen: Counter) -> dict[str, dict[str, Any]]:
    """The funnel per language, from how many items there are of each language and status."""
    cells: dict[str, dict[str, Any]] = {}
    for (language, status), n in seen.items():
        cell = cells.setdefault(language or "und", {"in": 0, "kept": 0, "rejected": {}})
        cell["in"] += n
        if status == "kept":
            cell["kept"] += n
        else:
            cell["rejected"][status] = cell["rejected"].get(status, 0) + n
    return cells


def _tables(w: Work, stage: str, scratch: Path) -> tuple[dict[str, Any], str]:
    """(tables, status) of an item that is done; a rejected one has a row among the rejects."""
    import pyarrow as pa

    tables, verdict = read_result(_scratch_file(scratch, w))
    if verdict is None:
        return tables, "kept"
    row = {"item_id": w.id, "stage": stage, "reason": verdict[0], "detail": verdict[1], **_who(w.row)}
    return {"rejects": pa.Table.from_pylist([row], schema=schema("rejects"))}, verdict[0]


def _held(w: Work, stage: str, scratch: Path, names: tuple[str, ...]) -> tuple[str, list[int]]:
    tables, status = _tables(w, stage, scratch)
    return status, [tables[name].num_rows if name in tables else 0 for name in names]


def _all_rows(name: str, members: list[Work], fresh: set[str], last: _OldShard, made: Callable[[Work], Any]) -> Iterator[Any]:
    """The rows of a shard as tables, in order: of items that are fresh what was made, of the others what was, in long
    stretches."""
    start = end = 0
    for w in members:
        if w.id not in fresh:
            first, n = last.place(w.id, name)
            if first == end and end + n - start <= shards.GROUP_ROWS:
                end += n
                continue
        if end > start:
            yield last.rows(name, start, end - start)
        start, end = (0, 0) if w.id in fresh else (first, first + n)
        if w.id in fresh:
            yield made(w)
    if end > start:
        yield last.rows(name, start, end - start)


def _by_shard(things: Iterable[Any], name: Callable[[Any], str], n_shards: int) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for thing in things:
        found.setdefault(shards.shard_of(name(thing), n_shards), []).append(thing)
    return found


def _carry_files(names: list[str], fresh: Path, last: Path, to: Path) -> None:
    """Puts the files that a shard's rows name into the new folder, by link: from this run, or from the last finished one."""
    to.mkdir(exist_ok=True)
    new = set(os.listdir(fresh))
    for name in names:  # texts, for there may be a million
        os.link(f"{fresh if name in new else last}/{name}", f"{to}/{name}")


def _who(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("corpus", "language", "speaker")}


def check_funnel(stats: dict[str, Any]) -> None:
    """RuntimeError when an item is unaccounted for: in = kept + rejected, in all and per language."""
    cells = list(stats["by_language"].values())
    wrong = [tag for tag, c in stats["by_language"].items() if c["in"] != c["kept"] + sum(c["rejected"].values())]
    sums = {k: sum(c[k] for c in cells) for k in ("in", "kept")}
    same = (sums["in"], sums["kept"]) == (stats["items_in"], stats["kept"])
    if wrong or not same or stats["items_in"] != stats["kept"] + stats["rejected"]:
        raise RuntimeError(f"{stats['stage']} {stats['instance']}: the funnel does not add up ({stats}); "
                           "this is a bug in the stage")


def swap(following: Path, out: Path) -> None:
    """Puts a finished folder in place of the old one; a crash between the two renames is mended by `recover`."""
    old = out.with_name(f".{out.name}.old")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        os.replace(out, old)
    os.replace(following, out)
    with contextlib.suppress(OSError):
        _empty(old / "media")
    shutil.rmtree(old, ignore_errors=True)


def _empty(folder: Path) -> None:
    """Takes the files out of a folder, some at a time: shutil.rmtree lists all of them first, and there may be a million."""
    while folder.is_dir():
        with os.scandir(folder) as entries:
            names = [e.path for e in islice(entries, 10_000) if not e.is_dir(follow_symlinks=False)]
        if not names:
            return
        for name in names:
            os.unlink(name)
