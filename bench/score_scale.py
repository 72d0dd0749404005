"""How scoring scales: clips per second with one worker and with two, and how much memory a worker needs as clips go by.

    python -m bench.score_scale [--clips 60] [--workspace FOLDER] [--json FILE]

What runs is the stage's own: stages.score's items, its mapper, its worker processes, one torch thread in each. The clips are
those of the controls and of every system that FOLDER, a finished workspace, has generated, taken again and again until there are
--clips; without FOLDER, four speakers of the synthetic corpus and their controls, made here, judged by an untrained small expert,
which takes as long as a trained one. Both arms score the same items, one after the other. A worker's first item loads its models
and does not count.

`clips/s` is by the clock, so it is only worth something on a machine that does nothing else; the load before the run is printed.
`by CPU` is the same ratio from CPU seconds per clip, 2 x (one worker's) / (two workers'): what two free cores would give. Memory
is each worker's peak resident size once 25, 50 and 100 % of the clips are done; flat means that the last is at most 1.1 times the
first. Exit status 1 where two workers are less than 1.8 times as fast as one, or memory is not flat. The target is for --clips
1000.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TARGET, FLAT = 1.8, 1.1
MARKS = (0.25, 0.5, 1.0)
SPEAKERS = 4


def made_workspace(folder: Path) -> Path:
    """A workspace with SPEAKERS synthetic speakers, their controls and an untrained expert, ready to be scored."""
    import torch

    from flows.workspace import ROOT, create_workspace, replaced
    from core.params import load_params
    from core.shards import write_json
    from models.experts.syncnet import SyncNetSmall
    from stages import crop, download, features, generate, inspect, segment, split, track

    known = load_params(ROOT / "params.yaml")
    place = create_workspace(folder / "workspace", {
        "corpora": {"synthetic": {"size": 192, "speakers": SPEAKERS, "clips_per_speaker": 1,
                                  "languages": replaced(known.corpora["synthetic"].languages, {"en": {}})}},
        "train": {"systems": {name: None for name, s in known.train.systems.items() if s.languages != ["en"]}},
        "split": {"test_share": 1.0, "validation_share": 0.0, "expert_share": 0.0}})
    torch.manual_seed(0)
    with contextlib.chdir(place):
        params = load_params()
        size = params.crop.views["mouth"].size
        out = Path("data/train") / str(params.score.expert)
        out.mkdir(parents=True)
        torch.save(SyncNetSmall(tuple(size)).eval().state_dict(), out / "model.pt")
        write_json(out / "card.json", {"width": "small", "view": "mouth"})
        for stage in (download, segment, track, inspect, crop, features):
            stage.main("synthetic-en", params)
        split.main("all", params)
        generate.main("controls", params)
    return place


def items(place: Path, n_clips: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(n_clips payloads of the score stage, its mapper's config), of what a workspace has generated."""
    from core.params import load_params
    from core.stage import UserError
    from stages.score import prepare

    with contextlib.chdir(place):
        params = load_params()
        found: list[dict[str, Any]] = []
        for name in ("controls", *sorted(params.train.systems)):
            if Path("data/generate", name).is_dir():
                work, config, _ = prepare(name, params)
                found += [w.payload for w in work]
    if not found:
        raise UserError(f"{place}: nothing was generated here")
    return [found[k % len(found)] for k in range(n_clips)], config


def arm(place: Path, payloads: Sequence[dict[str, Any]], config: dict[str, Any], workers: int) -> dict[str, Any]:
    """One arm: clips per second, CPU seconds per clip, and every worker's peak memory in MB at each of MARKS."""
    import psutil

    from core.workers import WorkerPool

    n = len(payloads)
    ends: list[float] = []
    cpu: list[float] = []
    peaks: dict[str, list[int]] = {}
    seen: dict[int, tuple[float, int]] = {}  # a worker that has nothing left to do is ended: what it took still counts
    rejected = 0
    with tempfile.TemporaryDirectory() as results, contextlib.chdir(place):
        tasks = [(k, str(Path(results) / f"{k}.arrow"), f"{k:06d}", p) for k, p in enumerate(payloads)]
        pool = WorkerPool("stages.score:Mapper", config, workers=workers, timeout_s=600)
        for index, verdict in pool.map(tasks):
            rejected += verdict is not None
            Path(results, f"{index}.arrow").unlink(missing_ok=True)
            ends.append(time.perf_counter())
            seen |= {c.pid: found for c in psutil.Process().children() if (found := _used(c)) is not None}
            cpu.append(sum(seconds for seconds, _ in seen.values()))
            for mark in MARKS:
                if len(ends) == max(1, round(mark * n)):
                    peaks[f"{mark:.0%}"] = sorted(peak for _, peak in seen.values())
    counted = n - workers  # each worker's first item loads its models
    return {"workers": workers, "n_clips": n, "rejected": rejected, "clips_per_s": counted / (ends[-1] - ends[workers - 1]),
            "cpu_s_per_clip": (cpu[-1] - cpu[workers - 1]) / counted, "peak_mb": peaks}


def _used(process: Any) -> tuple[float, int] | None:
    """(CPU seconds, peak resident size in MB) of a process; None where it has ended."""
    import psutil

    try:
        times = process.cpu_times()
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except (psutil.Error, OSError):
        return None
    peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), None)
    return None if peak is None else (times.user + times.system, round(int(peak) / 1024))


def compared(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """Both arms with their ratios, and whether memory is flat in both."""
    flat = all(max(a["peak_mb"]["100%"]) <= FLAT * max(a["peak_mb"]["25%"]) for a in (one, two))
    return {"arms": [one, two], "ratio": two["clips_per_s"] / one["clips_per_s"],
            "ratio_by_cpu": two["workers"] * one["cpu_s_per_clip"] / two["cpu_s_per_clip"], "flat": flat}


def text(found: dict[str, Any]) -> str:
    """The result as a table."""
    lines = [f"load before: {', '.join(f'{x:.1f}' for x in found['load'])} on {found['cpus']} cores; "
             f"{found['arms'][0]['n_clips']} clips",
             f"{'workers':>7} {'clips/s':>8} {'CPU s/clip':>10} {'rejected':>8}  peak MB per worker at 25 %, 50 %, 100 %"]
    for a in found["arms"]:
        memory = "; ".join(" ".join(map(str, a["peak_mb"][f"{m:.0%}"])) for m in MARKS)
        lines.append(f"{a['workers']:>7} {a['clips_per_s']:>8.3f} {a['cpu_s_per_clip']:>10.2f} {a['rejected']:>8}  {memory}")
    lines.append(f"two workers are {found['ratio']:.2f} times as fast as one by the clock ({found['ratio_by_cpu']:.2f} by CPU); "
                 f"target {TARGET}; memory is {'flat' if found['flat'] else 'NOT flat'}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; 1 where a target is missed, 2 where the workspace cannot be read."""
    from core.params import ParamsError
    from core.stage import UserError

    parser = argparse.ArgumentParser(prog="python -m bench.score_scale", description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60, help="how many are scored in each arm (default 60; the target is "
                        "for 1000)")
    parser.add_argument("--workspace", type=Path, help="a finished workspace (default: a small one, made here)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args(arguments)
    if chosen.clips < 8:
        parser.error("--clips must be 8 or more")
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            place = chosen.workspace or made_workspace(Path(scratch))
            payloads, config = items(place, chosen.clips)
        except (UserError, ParamsError, FileNotFoundError) as error:
            print(f"bench.score_scale: {error}", file=sys.stderr)
            return 2
        found = compared(*(arm(place, payloads, config, workers) for workers in (1, 2)))
    found |= {"load": list(load), "cpus": os.cpu_count()}
    print(text(found))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if found["ratio"] >= TARGET and found["flat"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
