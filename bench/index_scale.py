"""How long an index of a million rows takes to read and to plan, and how much memory, in one process."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

LIMIT_S, LIMIT_BYTES = 60, 2 << 30


def write_table(path: Path, rows: int) -> None:
    """A table of stretches of video pages in four languages, one row in a thousand of them broken."""
    with path.open("w", encoding="utf-8") as out:
        out.write("id,video,start_s,end_s,x0,y0,x1,y1,language,speaker,transcript\n")
        for n in range(rows):
            start = "soon" if n % 1000 == 999 else f"{n % 7 * 10.5:.2f}"
            tag, first_s = ("tr", "ar", "ja", "zh")[n // 7 % 4], n % 7 * 10.5
            out.write(f"clip-{n:07d},v{n // 7:010d},{start},{first_s + 4.25:.2f},0.1,0.05,0.6,0.8,{tag},speaker-{n // 40},words "
                      f"of {n}\n")


def main() -> int:
    """Prints seconds, rows per second and the peak of memory; exit 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table")
    args = parser.parse_args()
    from corpora.registry import items as items_of
    from corpora.registry import open_corpus
    from flows.index import read, summary
    from stages.download import plan

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        write_table(table, args.rows)
        began = time.process_time(), time.perf_counter()
        found = summary(read("csv", table))
        print(f"babelface index: {time.process_time() - began[0]:.1f} s of CPU, {time.perf_counter() - began[1]:.1f} s; "
              f"{found['items']:,} items, {sum(found['rejects'].values()):,} rejects; peak {peak() / 2**30:.2f} GiB")
        began = time.process_time(), time.perf_counter()
        config, corpus = {"adapter": "csv", "name": "table", "path": str(table),
                          "options": {"language": "tr"}}, open_corpus("csv")
        with table.open("r+", encoding="utf-8") as out:  # a table that says no language, so that every row is of one
            out.write("id,video,start_s,end_s,x0,y0,x1,y1,l_nguage")
        items, rejected = items_of(corpus, config, "tr")
        read_s = time.process_time() - began[0]
        work = plan(items, config, "table", "tr")
        cpu_s, wall_s = time.process_time() - began[0], time.perf_counter() - began[1]
    print(f"items and plan of one language: {read_s:.1f} + {cpu_s - read_s:.1f} s of CPU, {wall_s:.1f} s; {len(work):,} items, "
          f"{len(rejected):,} rejects; {args.rows / cpu_s:,.0f} rows a second of CPU; peak {peak() / 2**30:.2f} GiB")
    fine = len(work) + len(rejected) == args.rows and cpu_s < LIMIT_S and peak() < LIMIT_BYTES
    print("targets met" if fine else f"target missed: every row accounted for, {LIMIT_S} s, {LIMIT_BYTES >> 30} GiB")
    return 0 if fine else 1


def peak() -> int:
    """The most memory this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
