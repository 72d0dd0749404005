"""What 100,000 built clips cost when nothing changed, and when one clip came: seconds of `babelface build`, and of a stage.

    python -m bench.nothing_to_do [--clips 100000] [--only build] [--row-bytes 2000] [--json FILE]

build: a workspace of the project with one corpus of as many recordings, whose outputs are made up and committed to DVC, so that
everything is up to date; then `babelface build` as a user types it, twice; the second counts, since the first fills DVC's own
tables. stage: one stage instance of as many items in 4 shards, made up in the form that core.executor leaves; run again as it is,
and with one more item, whose own work is nothing: what is left is what the machinery costs. It is put beside what a shard's items
cost to work out, at 0.1 s for each, which is less than any stage takes that looks at pictures.
Exit status 1 where the build takes 10 s of CPU or more, or the added clip 2 % of its shard.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BUILD_S, SHARE, ITEM_S, SHARDS = 10.0, 0.02, 0.1, 4
ROOT = Path(__file__).resolve().parents[1]


class Toy:
    """A mapper that does nothing."""

    def __init__(self, config: dict[str, Any]):
        self._bytes = config["bytes"]

    def __call__(self, payload: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        return {"features": [row(payload["id"], bytes(self._bytes))]}


def cpu_s() -> float:
    """CPU seconds of all processes that this one has waited for: other programs on the machine do not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(name: str, data: bytes) -> dict[str, Any]:
    return {"track_id": name, "clip_id": name, "language": "en", "n_frames": 100, "mel": data}


def made_up(out: Path, names: list[str], seal: str, fingerprint: dict[str, Any], n_bytes: int) -> None:
    """A finished output of `names`, in the form that core.executor leaves."""
    import pyarrow as pa

    from core import shards
    from core.records import schema

    rng, items = np.random.default_rng(0), []
    of: dict[int, list[str]] = {}
    for name in sorted(names):
        of.setdefault(shards.shard_of(name, SHARDS), []).append(name)
    for shard in range(SHARDS):
        held = of.get(shard, [])
        parts = (pa.Table.from_pylist([row(n, rng.bytes(n_bytes)) for n in held[a:a + 1000]], schema=schema("features"))
                 for a in range(0, len(held), 1000))
        shards.write_table(shards.shard_path(out, "features", shard), parts, "features")
        items += [{"item_id": n, "language": "en", "digest": "d", "status": "kept", "counts": [1, 0]} for n in held]
    shards.write_table(shards.shard_path(out, "rejects", 0), [], "rejects")
    shards.write_table(out / "rejects_early.parquet", [], "rejects")
    shards.write_table(out / "items.parquet", items, "items")
    shards.write_json(out / "fingerprint.json", {"seal": seal, "of": fingerprint})


def stage(n: int, n_bytes: int) -> dict[str, float]:
    """Seconds of a stage instance of `n` items: as it is, with one more, and of one item alone (starting its process, for
    one)."""
    from core.digest import digest_of
    from core.executor import Work, run_stage

    def run(names: list[str]) -> float:
        work = [Work(name, "d", {"id": name}, {"corpus": "toy", "language": "en", "speaker": "s"}) for name in names]
        began = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            run_stage("features", "toy-en", work, "bench.nothing_to_do:Toy", config={"bytes": n_bytes}, tables=("features",),
                      fingerprint={"seal": 1}, n_shards=SHARDS)
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        alone = run(["c0"])
        fingerprint = {"seal": 1, "shards": SHARDS}
        names = [f"clip-{k:07d}" for k in range(n)]
        subprocess.run(["rm", "-rf", "data"], check=True)
        made_up(Path("data/features/toy-en"), names, digest_of(fingerprint), fingerprint, n_bytes)
        same = run(names)
        more = run([*names, "clip-new"])
    return {"same_s": same, "one_more_s": more, "alone_s": alone, "shard_s": n / SHARDS * ITEM_S,
            "share": more / (n / SHARDS * ITEM_S)}


def build(n: int) -> dict[str, Any]:
    """Seconds of `babelface build` with nothing to do, twice, and how many files and instances it looked at."""
    from flows.build import BUILD_TARGETS
    from flows.workspace import create_workspace

    with tempfile.TemporaryDirectory() as place:
        index = Path(place) / "index"
        index.mkdir()
        with open(index / "t.csv", "w") as file:
            file.write("id,url,fetch,start_s,end_s,language\n")
            file.writelines(f"clip-{k:07d},https://host.invalid/{k}.mp4,http,0,4,en\n" for k in range(n))
        corpora = {"synthetic": None, "large": {"adapter": "csv", "path": str(index / "t.csv"), "languages": {"en": {}}}}
        train = {"experts": {"syncnet": {"languages": "all"}},
                 "systems": {"speech2vid-en": None, "speech2vid-mix": {"languages": "all"}}}
        folder = create_workspace(Path(place) / "w", {"corpora": corpora, "train": train}, root=ROOT)
        env = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(folder)}

        def call(*words: str, of: str = "flows.cli") -> tuple[float, float, str]:
            began, before = time.perf_counter(), cpu_s()
            done = subprocess.run([sys.executable, "-m", of, *words], cwd=folder, env=env, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
            return time.perf_counter() - began, cpu_s() - before, done.stdout

        call("graph", "--write")
        from core.params import load_params
        from flows import spec
        from flows.graph import load_graph
        from flows.plan import plan_of

        for group in spec.groups(load_params(folder / "params.yaml"), folder):
            for dep in (d.replace("${key}", "large-en") for d in group.deps if d.startswith("data/")):
                (folder / dep).mkdir(parents=True, exist_ok=True)  # of some outputs only a part is read
                (folder / dep / "shard-001.parquet").write_text(dep)
        nodes = load_graph(folder)
        wanted = sorted(item.name for item in plan_of(nodes, BUILD_TARGETS).items)
        for node in nodes:
            for out in node.outs if node.name in wanted else ():
                for name in ("tracks/shard-000.parquet", "rejects/shard-000.parquet", "items.parquet", "stats.json",
                             "fingerprint.json"):
                    (folder / out / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / out / name).write_text(f"{out} {name}")
                if node.stage == "download":
                    (folder / out / "media").mkdir()
                    for k in range(n):
                        (folder / out / "media" / f"clip-{k:07d}.mp4").write_text(str(k))
        commit_s, *_ = call("commit", "--force", *wanted, of="dvc")
        first_s, *_ = call("build")
        second_s, second_cpu_s, said = call("build")
        if "nothing changed" not in said:
            raise RuntimeError(f"there was something to do: {said[-2000:]}")
    return {"first_s": first_s, "second_s": second_s, "second_cpu_s": second_cpu_s, "commit_s": commit_s,
            "instances": len(wanted)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--only", choices=("build", "stage"))
    parser.add_argument("--row-bytes", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {"clips": given.clips}
    missed = False
    if given.only != "build":
        found["stage"] = s = stage(given.clips, given.row_bytes)
        print(f"a stage of {given.clips:,} items: {s['same_s']:.1f} s as it is, {s['one_more_s']:.1f} s with one more; a shard's "
              f"items at {ITEM_S} s each {s['shard_s']:.0f} s, of which that is {s['share']:.2%}; one item on its own "
              f"{s['alone_s']:.1f} s")
        missed |= s["share"] >= SHARE
    if given.only != "stage":
        found["build"] = b = build(given.clips)
        print(f"babelface build, {given.clips:,} clips, {b['instances']} instances, nothing to do: {b['second_cpu_s']:.1f} s "
              f"of CPU, {b['second_s']:.1f} s by the clock (the first time {b['first_s']:.1f} s; DVC's commit before "
              f"{b['commit_s']:.0f} s)")
        missed |= b["second_cpu_s"] >= BUILD_S
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
