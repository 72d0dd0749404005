"""What an index of a million rows costs in one process: read, planned, and kept in the ledger; CPU seconds and memory by part.

    python -m bench.index_scale [--rows 1000000] [--fresh 5000] [--json FILE]

All of it is the parent's work; nothing is fetched. `index` is `babelface index`, a command of its own. The others are what the
download stage does with a table of one language: `items` reads it, `plan` makes every item's digest; then, over a finished
download of as many made-up recordings (one in a hundred is gone for good), `remember`, `run` (core.executor.run_stage with one
item that is new: digests compared, its shard written, files and rows carried over, items.parquet) and `bury`. `nothing` is the
same run without a new item, `counts` and `rows` read the ledger. `fresh` is the first download of --fresh items by processes
that only make rows up: what each result costs the parent, beside the seconds that fetching it takes.

Exit status 1 where a row is lost, or items, plan, remember, run and bury together take 60 s of CPU or more, or 2 GiB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

LIMIT_S, LIMIT_BYTES = 60, 2 << 30
SHARDS, GONE, LINKS = 4, 100, 10_000  # one item in so many is gone; as many names as a made-up media file gets
JUDGED = ("items", "plan", "remember", "run", "bury")


def write_table(path: Path, rows: int, language: bool) -> None:
    """A table of stretches of video pages, one row in a thousand of them broken; in four languages, or it says none."""
    with path.open("w", encoding="utf-8") as out:
        out.write(f"id,video,start_s,end_s,x0,y0,x1,y1,{'language,' if language else ''}speaker,transcript\n")
        for n in range(rows):
            start = "soon" if n % 1000 == 999 else f"{n % 7 * 10.5:.2f}"
            tag, first_s = ("tr,", "ar,", "ja,", "zh,")[n // 7 % 4] if language else "", n % 7 * 10.5
            out.write(f"clip-{n:07d},v{n // 7:010d},{start},{first_s + 4.25:.2f},0.1,0.05,0.6,0.8,{tag}speaker-{n // 40},words "
                      f"of {n}\n")


class Made:
    """A mapper that fetches nothing: the ledger's row of an item, and a file of one byte."""

    def __init__(self, config: dict[str, Any]):
        self._files = Path(config["files"])

    def __call__(self, item: Any) -> dict[str, list[dict[str, Any]]]:
        row = row_of(item)
        (self._files / row["file"]).write_bytes(b"x")
        return {"recordings": [row], "truth": []}


def row_of(item: Any) -> dict[str, Any]:
    """A row of the recordings table as the download stage makes it."""
    from core.digest import digest_of
    from core.records import cluster_of

    facts = item.facts() | {"fetched": {"bytes": 700_000, "etag": f'"{item.id}"', "format": "137+140"}}
    return {"recording_id": item.id, "corpus": "table", "language": "tr", "speaker": item.speaker,
            "cluster": cluster_of(item.speaker, item.video or item.id), "kind": item.kind, "file": f"{item.id}.mp4",
            "source": item.where, "bytes": 1, "sha256": digest_of(item.id), "n_frames": 106,
            "extra": json.dumps(facts, sort_keys=True, ensure_ascii=False)}


def finished(out: Path, work: list[Any], mark: dict[str, Any]) -> None:
    """Writes a finished download of `work`, in the form that core.executor leaves."""
    import pyarrow as pa

    from core import shards
    from core.digest import digest_of
    from core.records import schema

    members: list[list[Any]] = [[] for _ in range(SHARDS)]
    for k, w in enumerate(work):
        members[shards.shard_of(w.id, SHARDS)].append((w, k % GONE == GONE - 1))
    (out / "media").mkdir(parents=True)
    items, base = [], Path()
    for shard, held in enumerate(members):
        kept = [w for w, gone in held if not gone]
        for k, w in enumerate(kept):
            path = out / "media" / f"{w.id}.mp4"
            if k % LINKS == 0:
                base = path
                path.write_bytes(b"x")
            else:
                os.link(base, path)
        shards.write_table(shards.shard_path(out, "recordings", shard), _tables(kept, schema("recordings")), "recordings")
        rejects = [{"item_id": w.id, "stage": "download", "reason": "gone", "detail": "404 Not Found", **w.row}
                   for w, gone in held if gone]
        if rejects or not shard:
            shards.write_table(shards.shard_path(out, "rejects", shard), rejects, "rejects")
        rows = [{"item_id": w.id, "language": "tr", "digest": w.digest, "status": "gone" if gone else "kept",
                 "counts": [0, 0, 1] if gone else [1, 0, 0]} for w, gone in held]
        items.append(pa.Table.from_pylist(rows, schema=schema("items")))
    shards.write_table(shards.shard_path(out, "truth", 0), [], "truth")
    shards.write_table(out / "rejects_early.parquet", [], "rejects")
    shards.write_table(out / "items.parquet", iter(items), "items")
    fingerprint = mark | {"shards": SHARDS}
    shards.write_json(out / "fingerprint.json", {"seal": digest_of(fingerprint), "of": fingerprint})


def _tables(work: list[Any], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    for a in range(0, len(work), 1000):
        yield pa.Table.from_pylist([row_of(w.payload) for w in work[a:a + 1000]], schema=schema)


def measure(rows: int, fresh: int) -> dict[str, Any]:
    """{part: {cpu_s, wall_s, peak_bytes}} and what they found. Works in a temporary folder."""
    from core.executor import Work, run_stage
    from core.params import Executor
    from corpora.fetch import ledger
    from corpora.registry import items as items_of
    from corpora.registry import open_corpus
    from flows.index import read, summary
    from stages.download import plan

    parts: dict[str, dict[str, float]] = {}

    def part(name: str, call: Callable[[], Any]) -> Any:
        forget_peak()
        cpu, wall = time.process_time(), time.perf_counter()
        value = call()
        parts[name] = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall, "peak_bytes": peak()}
        return value

    def run(instance: str, some: list[Work]) -> dict[str, Any]:
        with contextlib.redirect_stdout(sys.stderr):
            return run_stage("download", instance, some, "bench.index_scale:Made", config={}, tables=("recordings", "truth"),
                             fingerprint=mark, executor=Executor(workers=2), n_shards=SHARDS, rejected=early, files="recordings")

    mark, out = {"seal": 1}, Path("data/download/table-tr")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        table = Path("table.csv").resolve()
        write_table(table, rows, language=True)
        counted = part("index", lambda: summary(read("csv", table)))
        write_table(table, rows, language=False)
        config = {"adapter": "csv", "name": "table", "path": str(table), "options": {"language": "tr"}}
        items, rejected = part("items", lambda: items_of(open_corpus("csv"), config, "tr"))
        work = part("plan", lambda: plan(items, config, "table", "tr"))
        early = [({"item_id": r.id, "corpus": "table", "language": "tr", "speaker": None}, r.reason, r.detail) for r in rejected]
        # In a process of its own, so that its memory is not taken for ours.
        writer = multiprocessing.get_context("fork").Process(target=finished, args=(out, work, mark))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise RuntimeError("the made-up download could not be written")
        new = replace(items[0], id="clip-new")
        more = [*work, Work(new.id, "new", new, work[0].row)]
        part("nothing", lambda: run("table-tr", work))
        part("remember", lambda: ledger.remember(out, "table-tr"))
        stats = part("run", lambda: run("table-tr", more))
        part("bury", lambda: ledger.bury(out, "table-tr"))
        found = part("counts", lambda: ledger.counts(out))
        n_rows = part("rows", lambda: len(ledger.rows(out)))
        some = work[:fresh]
        del items, work, more
        part("fresh", lambda: run("first-tr", some))
    fine = (counted["items"] + sum(counted["rejects"].values()) == rows
            and n_rows == found["items"] == stats["items_in"] == rows + 1
            and found["tombstones"] == found["rejected"].get("gone", 0) == (rows - len(rejected)) // GONE)
    cpu_s, most = sum(parts[p]["cpu_s"] for p in JUDGED), max(parts[p]["peak_bytes"] for p in JUDGED)
    return {"rows": rows, "parts": parts, "fresh": len(some), "fresh_ms": 1000 * parts["fresh"]["cpu_s"] / max(1, len(some)),
            "items": counted["items"], "rejects": len(rejected), "all_there": fine, "cpu_s": cpu_s, "peak_bytes": most,
            "passes": fine and cpu_s < LIMIT_S and most < LIMIT_BYTES}


def text(found: dict[str, Any]) -> str:
    """The result as a table."""
    lines = [f"{found['rows']:,} rows: {found['items']:,} items, {found['rejects']:,} rejects"
             + ("" if found["all_there"] else "; NOT every row is accounted for"),
             f"{'part':>8} {'CPU s':>7} {'clock s':>8} {'peak GiB':>9}"]
    lines += [f"{name:>8} {p['cpu_s']:>7.2f} {p['wall_s']:>8.2f} {p['peak_bytes'] / 2**30:>9.2f}{'  *' if name in JUDGED else ''}"
              for name, p in found["parts"].items()]
    lines += [f"a result that is new: {found['fresh_ms']:.2f} ms of CPU of the parent ({found['fresh']:,} of them)",
              f"* together {found['cpu_s']:.1f} s of CPU, peak {found['peak_bytes'] / 2**30:.2f} GiB: "
              + ("targets met" if found["passes"] else f"target missed: every row accounted for, {LIMIT_S} s, "
                                                       f"{LIMIT_BYTES >> 30} GiB")]
    return "\n".join(lines)


def forget_peak() -> None:
    """Has Linux count the peak of this process's memory anew; where it does not, peaks are those of all parts so far."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> int:
    """The most memory this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table")
    parser.add_argument("--fresh", type=int, default=5000, help="items of the first download")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found = measure(given.rows, given.fresh)
    print(text(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if found["passes"] else 1


if __name__ == "__main__":
    sys.exit(main())
