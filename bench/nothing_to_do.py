"""What 100,000 built clips cost when nothing changed, and when one clip came: seconds of `babelface build`, and of a stage.

    python -m bench.nothing_to_do [--clips 100000] [--stage-clips 4000] [--clip FILE] [--only build] [--json FILE]

build: a workspace of the project with one corpus of as many recordings, whose outputs are made up and committed to DVC, so that
everything is up to date; then `babelface build` as a user types it, twice; the second counts, since the first fills DVC's own
tables.

stage: one clip more for `track`, whose rows are the largest that lie in Parquet. A real clip (--clip, its first 4 s) or a drawn
one of the synthetic corpus, smaller and so cheaper, is tracked here, and the CPU seconds of that are what a clip costs. Its
row, 190 KB for 4 s, with other noise on its landmarks each time, makes up a finished output of --stage-clips in 4 shards, which
DVC holds. Then the stage's own code runs, as it is (that is the planning), and with one clip more: a process is started, loads
its models and tracks the clip, and the clip's shard is read and written anew; and DVC hashes that shard and copies it into its
cache. CPU seconds of all processes, less those of planning, beside what tracking all clips of the shard costs. Rows cost the
same share however many there are; the clip's own part shrinks with them, so --stage-clips is small, and the figure high, on
purpose.

Exit status 1 where the build takes 10 s of CPU or more, or the added clip 2 % of its shard. More `shards` in params.yaml make a
clip cheaper in seconds, not in its share.
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
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

BUILD_S, SHARE, SHARDS, N_FRAMES = 10.0, 0.02, 4, 100
ROOT = Path(__file__).resolve().parents[1]
OUT = Path("data/track/made-en")
Row = dict[str, Any]


def cpu_s() -> float:
    """CPU seconds of all processes that this one has waited for: other programs on the machine do not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def made_up(out: Path, names: list[str], row: Callable[[str], Row], table: str, fingerprint: dict[str, Any]) -> None:
    """A finished output of `names`, in the form that core.executor leaves: one row of `table` each."""
    import pyarrow as pa

    from core import shards
    from core.digest import digest_of
    from core.records import schema

    items: list[Row] = []
    of: dict[int, list[str]] = {}
    for name in sorted(names):
        of.setdefault(shards.shard_of(name, SHARDS), []).append(name)
    for shard in range(SHARDS):
        held = of.get(shard, [])
        parts = (pa.Table.from_pylist([row(n) for n in held[a:a + 100]], schema=schema(table)) for a in range(0, len(held), 100))
        if held or not shard:
            shards.write_table(shards.shard_path(out, table, shard), parts, table)
        items += [{"item_id": n, "language": "en", "digest": "d", "status": "kept", "counts": [1, 0]} for n in held]
    shards.write_table(shards.shard_path(out, "rejects", 0), [], "rejects")
    shards.write_table(out / "rejects_early.parquet", [], "rejects")
    shards.write_table(out / "items.parquet", items, "items")
    fingerprint = fingerprint | {"shards": SHARDS}
    shards.write_json(out / "fingerprint.json", {"seal": digest_of(fingerprint), "of": fingerprint})


def drawn_clip(folder: Path) -> Path:
    """One recording of the synthetic corpus, as params.yaml has it."""
    from core.params import load_params
    from corpora.registry import items, open_corpus

    corpus = load_params(ROOT / "params.yaml").corpora["synthetic"]
    config = corpus.model_dump(mode="json") | {"name": "synthetic", "languages": {"en": {}}}
    adapter = open_corpus("synthetic")
    return adapter.fetch(items(adapter, config, "en")[0][0], config, folder).path


def a_clip(file: Path) -> tuple[dict[str, Any], Row, list[Row], float]:
    """(the track stage's config, its payload for the first 4 s of a video, the rows it makes of that, CPU seconds it takes)."""
    from bench.throughput import configure
    from core import media
    from core.params import load_params
    from stages import track

    config = configure(load_params(ROOT / "params.yaml"), "auto", "auto")["track"]
    n_frames = sum(1 for _ in media.read_frames(file, stop=N_FRAMES))
    payload = {"clip_id": "clip", "recording_id": "clip", "corpus": "made", "language": "en", "speaker": None,
               "cluster": "recording:clip", "kind": "real", "file": str(file.resolve()), "start_frame": 0, "n_frames": n_frames}
    mapper, took = track.Mapper(config), []
    rows = mapper(payload)["tracks"]  # warm
    for _ in range(3):
        began = time.process_time()
        mapper(payload)
        took.append(time.process_time() - began)
    return config, payload, rows, median(took)


def like(row: Row) -> Callable[[str], Row]:
    """A function from a clip's id to a row like this one, whose landmarks have noise of their own, so that rows cannot be packed
    into one another."""
    rng, points = np.random.default_rng(0), np.frombuffer(row["landmarks"], "<i2")

    def made(name: str) -> Row:
        noisy = points + rng.integers(-4, 5, points.size, dtype=np.int16)
        return row | {"track_id": f"{name}-t0", "clip_id": name, "recording_id": name, "landmarks": noisy.astype("<i2").tobytes()}

    return made


def one_more(n: int, payload: Row, config: dict[str, Any], row: Callable[[str], Row], table: str, mapper: str,
             versioned: bool = True) -> dict[str, float]:
    """CPU seconds, children's included, of a stage of n made-up items: as it is (same_s), with one item more (more_s), of that
    item as the only one (alone_s), and of DVC for the first two (dvc_same_s, dvc_more_s; 0 where not `versioned`)."""
    from core.executor import Work, run_stage

    def run(names: list[str], out: Path = OUT) -> float:
        who = {"corpus": "made", "language": "en", "speaker": None}
        work = [Work(name, "d", payload | {"clip_id": name}, who) for name in names]
        began = cpu_s() + time.process_time()
        with contextlib.redirect_stdout(sys.stderr):
            run_stage("track", out.name, work, mapper, config=config, tables=(table,), fingerprint={"seal": 1},
                      n_shards=SHARDS)
        return cpu_s() + time.process_time() - began

    def dvc() -> float:
        began = cpu_s()
        if versioned:
            subprocess.run([sys.executable, "-m", "dvc", "add", "-q", str(OUT)], check=True)
        return cpu_s() - began

    names = [f"clip-{k:07d}" for k in range(n)]
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        if versioned:
            subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
            Path(".dvc/config").write_text((ROOT / ".dvc/config").read_text().replace("[core]\n", "[core]\n    no_scm = True\n"))
        made_up(OUT, names, row, table, {"seal": 1})
        dvc()
        alone = run(["clip-new"], OUT.with_name("alone-en"))
        return {"same_s": run(names), "dvc_same_s": dvc(), "more_s": run([*names, "clip-new"]), "dvc_more_s": dvc(),
                "alone_s": alone}


def shares(took: dict[str, float], clips: int, clip_s: float) -> dict[str, float]:
    """What one more clip costs beside the clips of its shard: in all (share), and its rows and bytes alone (share_of_rows), which
    is what is left of it where a shard holds many."""
    shard_s = clips / SHARDS * clip_s
    added = took["more_s"] - took["same_s"] + took["dvc_more_s"] - took["dvc_same_s"]
    return {"planning_s": took["same_s"] + took["dvc_same_s"], "added_s": added, "shard_s": shard_s, "share": added / shard_s,
            "share_of_rows": max(0.0, added - took["alone_s"]) / shard_s}


def stage(clips: int, file: Path | None) -> dict[str, float]:
    """All figures of one clip more: see the module's head."""
    with tempfile.TemporaryDirectory() as folder:
        file = file or drawn_clip(Path(folder))
        config, payload, rows, clip_s = a_clip(file)
        took = one_more(clips, payload, config, like(rows[0]), "tracks", "stages.track:Mapper")
    n_bytes = sum(len(v) for v in rows[0].values() if isinstance(v, bytes))
    return {"clips_per_shard": clips / SHARDS, "frames": payload["n_frames"], "clip_s": clip_s, "row_bytes": n_bytes, **took,
            **shares(took, clips, clip_s)}


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
    """Prints both results; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=100_000, help="of the build")
    parser.add_argument("--stage-clips", type=int, default=4000, help="of the stage, in 4 shards")
    parser.add_argument("--clip", type=Path, help="a video to track (default: a drawn one)")
    parser.add_argument("--only", choices=("build", "stage"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {"clips": given.clips}
    missed = False
    if given.only != "build":
        found["stage"] = s = stage(given.stage_clips, given.clip and given.clip.resolve())
        print(f"a clip of {s['frames']} frames: tracked in {s['clip_s']:.2f} s of CPU, a row of {s['row_bytes']:,} bytes; "
              f"{s['clips_per_shard']:,.0f} a shard: {s['shard_s']:.0f} s\n"
              f"planning {s['same_s']:.2f} + {s['dvc_same_s']:.2f} s (stage + DVC); with one more {s['more_s']:.2f} + "
              f"{s['dvc_more_s']:.2f} s; that clip on its own, its process and models {s['alone_s']:.2f} s\n"
              f"one clip more: {s['added_s']:.2f} s, {s['share']:.2%} of its shard; its rows and bytes alone "
              f"{s['share_of_rows']:.2%}")
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
