"""The share of a build that goes into running it: DVC, Prefect and the ledgers, beside the stages' own CPU seconds.

    python -m bench.orchestration [--languages en tr] [--speakers 3 24] [--jobs 2] [--json FILE]

Builds the data of a small synthetic corpus (all stages up to the splits) twice in new workspaces, with two numbers of clips, by
`babelface build`. Every process under it writes down its CPU seconds at its end: a stage's and its workers' are the work, all
else is orchestration. Two builds give a line: so much for the graph as it is, so much for each clip (hashing and copying what it
became). The line is then drawn on to the number of clips that would keep the stages busy for an hour on so many jobs; that is an
extrapolation, and printed as one. Also printed: how many calls of DVC ran how many instances. Exit status 1 where the share of an
hour is 5 % or more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHARE, HOUR_S = 0.05, 3600.0
ROOT = Path(__file__).resolve().parents[1]
# Runs at the start of every Python below the build. A stage counts its workers, which it has waited for; dvc does not count its
# stages.
SPY = '''
import atexit, json, os, resource, sys, time

def _write(words=tuple(open("/proc/self/cmdline").read().split("\\0")), began=time.monotonic()):
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    kind = next((w for w in words if w.startswith("stages.") or w in ("dvc", "flows.cli") or w.endswith("quick_dvc.py")), "other")
    cpu = [own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime]
    with open(os.environ["BENCH_SPY"], "a") as log:
        log.write(json.dumps([kind, list(words), *cpu, time.monotonic() - began]) + "\\n")

atexit.register(_write)
'''


def build(folder: Path, languages: list[str], speakers: int, jobs: int) -> dict[str, Any]:
    """CPU seconds of the stages and of everything else, calls of DVC and instances, of one build from nothing."""
    from flows.workspace import create_workspace
    from core.params import load_params

    known = load_params().corpora["synthetic"].languages
    changes = {"size": 192, "speakers": speakers, "clips_per_speaker": 1,
               "languages": {t: {} if t in languages else None for t in known}}
    train = {"experts": {"syncnet": {"languages": "all"}},
             "systems": {"speech2vid-en": {"languages": "all"}, "speech2vid-mix": {"languages": "all"}}}
    place = create_workspace(folder / "w", {"corpora": {"synthetic": changes}, "train": train, "split": {"test_share": 0.5}},
                             root=ROOT)
    spy, log = folder / "spy", folder / "log.jsonl"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY)
    env = {**os.environ, "PYTHONPATH": f"{spy}{os.pathsep}{place}", "BENCH_SPY": str(log), "OMP_NUM_THREADS": "1",
           "PREFECT_HOME": str(folder / "prefect")}
    env.pop("PREFECT_API_URL", None)
    subprocess.run([sys.executable, "-m", "flows.cli", "graph", "--write"], cwd=place, env=env, check=True,
                   stdout=subprocess.DEVNULL)
    log.unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "flows.cli", "build", "--jobs", str(jobs)], cwd=place, env=env, text=True,
                          capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"the build failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    stages = sum(own + children for kind, _, own, children, _ in lines if kind.startswith("stages."))
    total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    calls = [words for kind, words, *_ in lines if kind.endswith("dvc.py") and "repro" in words]
    n_stages = sum(kind.startswith("stages.") for kind, *_ in lines)
    return {"clips": speakers * len(languages), "stages_s": stages, "else_s": total - stages, "instances": n_stages,
            "dvc_calls": len(calls)}


def drawn_on(small: dict[str, Any], large: dict[str, Any], jobs: int) -> dict[str, float]:
    """What a build of an hour would be, from two short ones: clips, stages' and other CPU seconds, and the others' share."""
    more = large["clips"] - small["clips"]
    per_clip, per_clip_else = ((large[k] - small[k]) / more for k in ("stages_s", "else_s"))
    fixed, fixed_else = small["stages_s"] - per_clip * small["clips"], small["else_s"] - per_clip_else * small["clips"]
    clips = (HOUR_S * jobs - fixed - fixed_else) / (per_clip + max(per_clip_else, 0.0))
    other = fixed_else + max(per_clip_else, 0.0) * clips
    return {"clips": clips, "stage_s_per_clip": per_clip, "else_s_per_clip": per_clip_else, "else_s_fixed": fixed_else,
            "else_s": other, "share": other / (HOUR_S * jobs)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--languages", nargs="+", default=["en", "tr"])
    parser.add_argument("--speakers", type=int, nargs=2, default=[3, 24], help="in the two builds; far apart, or noise makes the line")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results = []
    for speakers in given.speakers:
        with tempfile.TemporaryDirectory() as folder:
            results.append(build(Path(folder), given.languages, speakers, given.jobs))
        r = results[-1]
        print(f"{r['clips']:>4} clips: stages {r['stages_s']:.0f} s of CPU, all else {r['else_s']:.0f} s "
              f"({r['else_s'] / (r['else_s'] + r['stages_s']):.1%}); {r['instances']} instances in {r['dvc_calls']} calls of dvc",
              flush=True)
    hour = drawn_on(*results, given.jobs)
    print(f"drawn on to an hour on {given.jobs} jobs: {hour['clips']:,.0f} clips at {hour['stage_s_per_clip']:.2f} s of stages "
          f"and {hour['else_s_per_clip']:.3f} s of all else each, and {hour['else_s_fixed']:.0f} s once: {hour['share']:.1%} of the "
          "hour")
    if given.json:
        given.json.write_text(json.dumps({"builds": results, "hour": hour}, indent=1) + "\n")
    return int(hour["share"] >= SHARE)


if __name__ == "__main__":
    sys.exit(main())
