"""How long a report takes over many score rows: from the rows on disk to the page, its Markdown and its tables; videos left out.

The rows are made up: systems, languages, speakers, every condition and twenty-odd metrics with known effects. What is timed is
what the stages aggregate and report do with them: reading the table, all figures with intervals and tests, and writing the
page. The target, 30 s, is judged on CPU seconds, because cores are often shared: on quiet ones they are the clock's, which
stands beside.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # seconds of one thread, as the stages run
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

LANGUAGES = ("ar", "de", "en", "es", "fi", "ko", "ru", "sw", "tr", "zh")
SYSTEMS = {"one": ["en"], "two": ["en", "zh"], "three": ["en", "zh", "sw"], "four": list(LANGUAGES[:6]), "five": ["de"],
           "six": ["ko", "tr"]}
CONDITIONS = ("self", "shuffled", "cross-audio", "cross-language")
VISEMES = ("aa", "ch", "dd", "eh", "ff", "ih", "kk", "nn", "oh", "ou", "pp", "rr", "sil", "ss", "th")
SPEAKERS = 20
MOST_S = 30.0


def fabricate(n_rows: int, seed: int = 1) -> list[dict[str, Any]]:
    """About n_rows score rows: real video with its shuffled control, the still face, and every system in every condition."""
    from metrics.registry import METRICS

    rng = np.random.default_rng(seed)
    kinds = [("real", "self"), ("real", "shuffled"), ("still", "self"), *((s, c) for s in SYSTEMS for c in CONDITIONS)]
    per_language = max(SPEAKERS, round(n_rows / len(kinds) / len(LANGUAGES)))
    plain = [m for m in METRICS.values() if m.per == "clip" and not m.judged and m.higher_is_better is not None
             and m.name not in ("wer", "cer", "lve")]
    lags = np.arange(-15, 16)
    rows = []
    for k, tag in enumerate(LANGUAGES):
        voices = rng.normal(0, 0.3, SPEAKERS)
        for c in range(per_language):
            s = c % SPEAKERS
            clip = f"{tag}-s{s:02d}-{c:04d}"
            foreign = f"{LANGUAGES[k - 1]}-s{s:02d}-{c:04d}"
            for system, condition in kinds:
                trained = SYSTEMS.get(system, [])
                worse = 0.0 if system == "real" else 1.0 + 0.5 * (tag not in trained)
                lead = 0.0 if condition == "shuffled" or system == "still" else 3.0 - worse + voices[s] + rng.normal(0, 0.4)
                compared = system != "real" and condition == "self"
                row = {
                    "generated_id": f"{clip}.{system}.{condition}", "track_id": f"{clip}-0", "clip_id": clip, "corpus": "made",
                    "language": tag,
                    "speaker": f"{tag}-s{s}", "cluster": f"speaker:{tag}-s{s}", "kind": "real", "system": system,
                    "condition": condition,
                    "training": system if trained else None, "training_languages": trained, "sample": 0, "n_frames": 75,
                    "audio_clip_id": foreign if condition == "cross-language" else clip,
                    "audio_language": LANGUAGES[k - 1] if condition == "cross-language" else tag,
                    "protocol": "syncnet-v2-direct(edges=pairs)", "expert": "small:00000000", "expert_sha256": "00" * 32,
                    "finder": "yunet",
                    "loudness_db": -20.0, "lse_c": 2 + lead, "lse_d": 9 - lead, "offset_frames": int(rng.integers(-1, 2)),
                    "n_windows": 70,
                    "mean_dist": (10 - lead * np.exp(-lags**2 / 8)).tolist(),
                    "viseme_errors": [{"viseme": v, "n_frames": 4, "error": 0.05 + 0.01 * worse, "signed": 0.01}
                                      for v in VISEMES] if compared else None,
                }  # fmt: skip
                nulls = []
                noise = rng.normal(0, 1, len(plain))
                for m, z in zip(plain, noise.tolist(), strict=True):
                    if compared or m.needs[:1] == ("sound",):
                        row[m.column] = (0.5 + 0.05 * z) - 0.05 * worse if m.higher_is_better else 0.5 + 0.05 * z + 0.05 * worse
                    else:
                        nulls.append({"metric": m.column, "reason": "other_words" if system != "real" else "is_the_reference"})
                row["null_reasons"] = nulls
                rows.append(row)
    return rows


def measure(n_rows: int, profile: bool = False) -> dict[str, Any]:
    """{rows, CPU seconds of each step, total_cpu_s, wall_s, rows_per_cpu_s, figures, page_mb}. One process, one thread: on a
    machine that nobody else uses the two kinds of seconds are one."""
    from core.records import columns
    from core.shards import read_rows, shard_path, write_table
    from metrics.languages import sound_counts
    from report import document as doc
    from report import tables
    from report.funnel import funnel
    from report.markdown import markdown
    from report.page import render
    from core.garbage import no_cycles

    made, names = fabricate(n_rows), columns("scores")
    spoken = {tag: sound_counts([[{"symbol": v, "viseme": v, "start_s": 0.0, "end_s": 0.1 + 0.02 * ((i * 7 + k * 3) % 5)}
                                  for i, v in enumerate(VISEMES)]]) for k, tag in enumerate(LANGUAGES)}
    steps: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_table(shard_path(Path(folder), "scores", 0), [{k: r.get(k) for k in names} for r in made], "scores")
        made.clear()
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        began, at = time.perf_counter(), time.process_time()

        def step(name: str) -> None:
            nonlocal at
            steps[name], at = time.process_time() - at, time.process_time()

        with no_cycles():
            rows = read_rows(Path(folder), "scores")
            for row in rows:
                row["source"] = "made"
        n_read = len(rows)
        step("read")
        with no_cycles():
            document = doc.scores_document(rows, twins={}, margin=0.0, pinned=False, seed=1, resamples=2000, alpha=0.05,
                                           gallery_per_language=2,
                                           sounds=spoken, experts={"syncnet": list(LANGUAGES)}, expert="syncnet")
        cells = {t: {"in": 1, "kept": 1, "rejected": {}} for t in LANGUAGES}
        document |= {"funnel": funnel([{"stage": "score", "instance": "made", "items_in": n_read, "kept": n_read,
                                        "rejected": 0, "rows": {},
                                        "by_language": cells}]), "training": [], "splits": [],
                     "provenance": {"python": "", "packages": {}, "stages": []}}
        step("figures")
        text = json.dumps(document)
        del rows  # the page is made by another process, which has the document alone
        document = json.loads(text)
        step("json")
        page = render(document, {})
        step("page")
        markdown(document)
        tables.files(document)
        step("tables")
        if profile:
            profiler.disable()
            pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
        wall = time.perf_counter() - began
    total = sum(steps.values())
    return {"rows": n_read, "cpu_s": {k: round(v, 2) for k, v in steps.items()}, "total_cpu_s": round(total, 2),
            "wall_s": round(wall, 2),
            "rows_per_cpu_s": round(n_read / total),
            "figures": len(document["cells"]), "page_mb": round(len(page.encode()) / 1e6, 1)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--most", type=float, default=MOST_S, help="exit 1 where it takes more CPU seconds")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    args = parser.parse_args(argv)
    found = measure(args.rows, args.profile)
    print(json.dumps(found, indent=1))
    late = found["total_cpu_s"] > args.most
    print(f"{found['rows']} rows in {found['total_cpu_s']:.1f} s of CPU ({found['wall_s']:.1f} s by the clock), "
          f"{found['rows_per_cpu_s']} rows/s"
          + f"; {'over' if late else 'below'} {args.most:g} s of CPU")
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
