"""Maps a function over the items of one stage instance: here or on a cluster, resumable item by item, every item accounted
for."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from core import shards
from core.cells import places
from core.digest import digest_of
from core.last_run import LastRows, LastRun
from core.params import Executor
from core.progress import Progress
from core.records import Reject, schema
from core.results import read_result, write_result
from core.workers import WorkerPool

WORK = Path(".babelface/work")
MOVED, GONE = ".moved", ".gone"  # what `swap` changes in the files of the last run


@dataclass(slots=True)  # not frozen: that takes twice as long to make, and there may be a million
class Work:
    """One item for a mapper. `digest` stands for everything that its result depends on beside params and code. What is large in a
    payload is a core.cells.Cell, which the mapper fills: all items together must fit into one process. `payload` is whatever the
    mapper takes, mostly a dict."""

    id: str
    digest: str
    payload: Any
    row: dict[str, Any] = field(default_factory=dict)  # corpus, language, speaker: for the funnel
    turn: int = 0  # items of a lower turn go to the workers first


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
    import pyarrow as pa

    out = out or Path("data") / stage / instance
    recover(out)
    fingerprint = fingerprint | {"shards": n_shards}
    seal = digest_of(fingerprint)
    scratch = WORK / stage / instance / seal[:16]
    _drop_other_runs(scratch)
    names = (*tables, "rejects")
    work = sorted(work, key=attrgetter("id"))
    for _, reason, detail in rejected:
        Reject(reason, detail)  # ValueError for a reason nobody has explained
    twice = dict.fromkeys(a.id for a, b in pairwise(work) if a.id == b.id)
    if twice:
        raise ValueError(f"{stage} {instance}: item ids must be unique; twice: {', '.join(list(twice)[:5])}")
    last = LastRun(out, seal, names)
    given = pa.table([pa.array([w.id for w in work], pa.string()), pa.array([w.digest for w in work], pa.string())],
                     names=["item_id", "digest"])
    at = last.places(given)
    todo = [w for w, place in zip(work, at.tolist(), strict=True) if place < 0 and not scratch_file(scratch, w).exists()]
    todo.sort(key=lambda w: (w.turn, places(w.payload)))  # neighbours in a table one after the other; the others by id
    if files:
        (scratch / "files").mkdir(exist_ok=True)
        config = config | {"files": str(scratch / "files")}
    progress = Progress(f"{stage} {instance}", total=len(work), done=len(work) - len(todo))
    reports = _pool(mapper, config, executor).map([(i, str(scratch_file(scratch, w)), w.id, w.payload)
                                                   for i, w in enumerate(todo)])
    for index, verdict in reports:
        item = todo[index]
        if verdict is not None and not scratch_file(scratch, item).exists():
            write_result(scratch_file(scratch, item), {}, verdict)
        progress.step(verdict[0] if verdict else None, item.id, verdict[1] if verdict else "")
    stats = _assemble(stage, instance, out, scratch, work, given, at, last, seal, fingerprint, n_shards, list(rejected), files)
    shutil.rmtree(scratch, ignore_errors=True)
    progress.close(stats)
    return stats


def _pool(mapper: str, config: dict[str, Any], executor: Executor) -> Any:
    """Whatever runs the mappers: its `map` takes tasks and gives verdicts as core.workers.WorkerPool does."""
    if executor.kind == "dask":
        from core.workers_dask import DaskPool

        return DaskPool(mapper, config, address=executor.address, timeout_s=executor.timeout_s)
    return WorkerPool(mapper, config, workers=executor.workers, timeout_s=executor.timeout_s)


def scratch_file(scratch: Path, work: Work) -> Path:
    return scratch / f"{digest_of([work.id, work.digest])[:32]}.arrow"


def _drop_other_runs(scratch: Path) -> None:
    """Work begun under other params or code is of no use any more."""
    if scratch.parent.is_dir():
        for other in scratch.parent.iterdir():
            if other.name != scratch.name:
                shutil.rmtree(other, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)


def recover(out: Path) -> None:
    """Ends the putting of a finished folder in place of the old one (`swap`) that a crash broke off; takes away what is half
    written."""
    old, following = out.with_name(f".{out.name}.old"), out.with_name(f".{out.name}.next")
    if old.exists() and not out.exists():
        if following.exists():  # it was whole before the old one made room
            swap(following, out)
        else:
            os.replace(old, out)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(following, ignore_errors=True)


def _assemble(stage, instance, out, scratch, work, given, at, last, seal, fingerprint, n_shards, rejected,
              files) -> dict[str, Any]:
    """Builds the new folder beside the old one, then swaps them. Rows pass through one by one: a shard may be larger than
    memory."""
    following = out.with_name(f".{out.name}.next")
    try:
        following.mkdir(parents=True)
        stats = _fill(following, stage, instance, out, scratch, work, given, at, last, seal, fingerprint, n_shards,
                      rejected, files)
    except BaseException:
        shutil.rmtree(following, ignore_errors=True)  # where the disk is full, half a folder would only be in the way
        raise
    swap(following, out)
    return stats


def _fill(following, stage, instance, out, scratch, work, given, at, last, seal, fingerprint, n_shards, rejected,
          files) -> dict[str, Any]:
    import pyarrow as pa

    names, items, seen, totals = last.names, [], Counter(), Counter()
    bounds = last.bounds(n_shards)
    shard_of = np.searchsorted(bounds, at, side="right") - 1
    for k in np.flatnonzero(at < 0).tolist():
        shard_of[k] = shards.shard_of(work[k].id, n_shards)
    for shard in range(n_shards):
        mine = np.flatnonzero(shard_of == shard)
        members, was = [work[k] for k in mine.tolist()], at[mine]
        same = last.found and np.array_equal(was, np.arange(bounds[shard], bounds[shard + 1]))
        states, held = last.status(was), np.zeros((len(was), len(names)), int)
        held[was >= 0] = last.counts[was[was >= 0]]
        for k in np.flatnonzero(was < 0).tolist():
            states[k], held[k] = _held(members[k], stage, scratch, names)
        spoken = [w.row.get("language") for w in members]
        seen.update(zip(spoken, states, strict=True))
        columns = {"item_id": given["item_id"].take(mine), "language": spoken, "digest": given["digest"].take(mine),
                   "status": states, "counts": pa.FixedSizeListArray.from_arrays(held.reshape(-1), len(names))}
        items.append(pa.Table.from_pydict(columns, schema=schema("items")))
        totals.update(dict(zip(names, held.sum(axis=0).tolist(), strict=True)))
        for k, name in enumerate(names):
            path = shards.shard_path(following, name, shard)
            before = LastRows(last, name, shard, *bounds[shard:shard + 2])
            if same and before.path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(before.path, path)
            elif shard == 0 or (not same and held[:, k].any()):
                counted = zip(members, was.tolist(), held[:, k].tolist(), strict=True)
                shards.write_table(path, _all_rows(counted, before,
                                                   lambda w, name=name: _tables(w, stage, scratch)[0][name]), name)
    if files:
        _carry_files(sorted((following / files).iterdir()), scratch / "files", out / "media", following)
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

    tables, verdict = read_result(scratch_file(scratch, w))
    if verdict is None:
        return tables, "kept"
    row = {"item_id": w.id, "stage": stage, "reason": verdict[0], "detail": verdict[1], **_who(w.row)}
    return {"rejects": pa.Table.from_pylist([row], schema=schema("rejects"))}, verdict[0]


def _held(w: Work, stage: str, scratch: Path, names: tuple[str, ...]) -> tuple[str, list[int]]:
    tables, status = _tables(w, stage, scratch)
    return status, [tables[name].num_rows if name in tables else 0 for name in names]


def _all_rows(members: Iterable[tuple[Work, int, int]], before: LastRows, made: Callable[[Work], Any]) -> Iterator[Any]:
    """The rows of a shard as tables, in order: of items that are fresh what was made, of the others what was, in long
    stretches. members: (item, its place in the last run or -1, number of rows)."""
    start = end = 0
    for w, place, n in members:
        if not n:
            continue
        first = end if place < 0 else before.first(place)
        if place >= 0 and first == end and end + n - start <= shards.GROUP_ROWS:
            end += n
            continue
        if end > start:
            yield before.slice(start, end - start)
        start, end = (0, 0) if place < 0 else (first, first + n)
        if place < 0:
            yield made(w)
    if end > start:
        yield before.slice(start, end - start)


def _carry_files(listed: list[Path], fresh: Path, last: Path, following: Path) -> None:
    """Gives the new folder the files that the rows of these shards name: those of this run by link. Where others stay as they
    are, `swap` brings the whole folder of the last run over, and MOVED holds what is new in it, GONE the names of what is not."""
    new, left = set(os.listdir(fresh)), set(os.listdir(last)) if last.is_dir() else set()
    added, n_kept = [], 0
    for path in listed:
        names = shards.read_shard(path, ["file"])["file"].to_numpy().tolist()
        added += [name for name in names if name in new]
        kept = [name for name in names if name not in new]
        if not left.issuperset(kept):
            raise FileNotFoundError(f"{last / min(set(kept) - left)}: gone since the last run; delete {last.parent}, run again")
        left.difference_update(kept)
        n_kept += len(kept)
    to = following / (MOVED if n_kept else "media")
    to.mkdir()
    for name in added:  # texts, for there may be a million
        os.link(f"{fresh}/{name}", f"{to}/{name}")
    if n_kept:
        shards.write_bytes(following / GONE, b"\0".join(map(os.fsencode, sorted(left.difference(added)))))


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
    """Puts a finished folder in place of the old one. A crash while neither is there is mended by `recover`, which calls it
    again: no step harms when it is done twice."""
    old = out.with_name(f".{out.name}.old")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        os.replace(out, old)
    if (following / MOVED).is_dir():
        _bring_over(old / "media", following)
    os.replace(following, out)
    with contextlib.suppress(OSError):
        _empty(old / "media")
    shutil.rmtree(old, ignore_errors=True)


def _bring_over(last: Path, following: Path) -> None:
    """Makes the files of the last run those of the new one, and changes only what `_carry_files` found changed."""
    media, moved, gone = following / "media", following / MOVED, following / GONE
    if last.is_dir():
        os.replace(last, media)
    for name in gone.read_bytes().split(b"\0") if gone.exists() else ():
        path = media / os.fsdecode(name)
        if name and path.is_dir():
            shutil.rmtree(path)  # nobody's of ours
        elif name:
            path.unlink(missing_ok=True)
    for name in os.listdir(moved):
        os.replace(moved / name, media / name)
    gone.unlink(missing_ok=True)
    shutil.rmtree(moved)  # not rmdir: replacing a name by another one of the same file leaves both


def _empty(folder: Path) -> None:
    """Takes the files out of a folder, some at a time: shutil.rmtree lists all of them first, and there may be a million."""
    while folder.is_dir():
        with os.scandir(folder) as entries:
            names = [e.path for e in islice(entries, 10_000) if not e.is_dir(follow_symlinks=False)]
        if not names:
            return
        for name in names:
            os.unlink(name)
