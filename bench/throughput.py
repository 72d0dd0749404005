"""Frames per second from video files to crops and features, per frame size, with each part's share and decoding alone.

    python -m bench.throughput [FOLDER] [--landmarker facemesh] [--finder yunet] [--processes 2] [--files 4] [--size 1280x720]
                               [--scaling [COPIES]] [--json FILE]

FOLDER holds real video files, at any depth (default: `real` in the folder that BABELFACE_SHARED names). Every file goes through the stages'
own code: segment, track, crop and features; each of the first three decodes it. Before that the same process decodes it once, to no
other end: that is the ceiling of the same run. Parts are timed around the functions that do the work.

A frame counts once, when it is in a clip in which a face was followed; files that give none are listed with the reason and left
out. `fps` is frames per CPU second times processes, what that many free cores give, so that other programs on the machine do not
count; `on the clock` is what this run got. Starting processes and loading models is not counted. Exit status 1 where a target of a
size that was measured is missed: 100 fps at 1280x720; at 224x224, 150 with the MediaPipe bundle and 300 with the older face mesh.

--scaling then puts the same files, each COPIES times (8), into a temporary workspace and runs the stages' own commands there, segment,
track, crop and features with the pool of workers that a build has, once with executor.workers 1 and once with --processes: how many
times as fast those are, starts and loading models included (seconds, whatever there is to do: with few files they hide the rest), by the
clock and by CPU seconds, as free cores would have it. Exit status 1 where the clock's is less than 0.85 times their number.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

PARTS = ("decode", "shots and voice", "finder", "mesh", "cut", "jpeg", "features", "other")
SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"}
TARGETS = {("1280x720", "mediapipe"): 100.0, ("1280x720", "facemesh"): 100.0, ("224x224", "mediapipe"): 150.0, ("224x224", "facemesh"): 300.0}
SCALING = 0.85  # of the number of processes
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Clock:
    """CPU and wall seconds by part. CPU seconds are the whole process's, threads of libraries included."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self.wall: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def reset(self) -> None:
        """Back to zero; what is wrapped already goes on being timed."""
        for seconds in (self.cpu, self.wall):
            seconds.update(dict.fromkeys(PARTS, 0.0))

    def timed(self, part: str, call: Callable) -> Callable:
        """`call`, with its time added to `part`."""

        @functools.wraps(call)
        def run(*args: Any, **options: Any) -> Any:
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                self.cpu[part] += time.process_time() - cpu
                self.wall[part] += time.perf_counter() - wall

        return run

    def timed_frames(self, call: Callable[..., Iterator]) -> Callable[..., Iterator]:
        """A function that gives an iterator, with the time of every step added to `decode`."""

        @functools.wraps(call)
        def run(*args: Any, **options: Any) -> Iterator:
            following = self.timed("decode", functools.partial(next, call(*args, **options), None))
            while (frame := following()) is not None:
                yield frame

        return run


class Line:
    """The stages' mappers, loaded once, with a clock around what they call: one file after another goes through all of them.
    Turning the parts that are looked at into RGB counts where they are: with the finder, the mesh and the cut."""

    def __init__(self, config: dict[str, Any]):
        import core.media as media
        import core.views as views
        from stages import crop, features, segment, track

        self.clock = Clock()
        self._plain_frames = media.read_frames
        self._track = track.Mapper(config["track"])
        finder, mesh = self._track._finder, self._track._mesh
        finder.find = self.clock.timed("finder", finder.find)
        mesh.points = self.clock.timed("mesh", mesh.points)
        self._segment, self._crop, self._features = (
            segment.Mapper(config["segment"]), crop.Mapper(config["crop"]), features.Mapper(config["features"]))
        # The mappers look these up when they run, so the clock goes where they look.
        media.read_lazy_frames = self.clock.timed_frames(media.read_lazy_frames)
        media.read_small_frames = self.clock.timed_frames(media.read_small_frames)
        media.encode_jpeg = self.clock.timed("jpeg", media.encode_jpeg)
        views.ViewTemplate.cut = self.clock.timed("cut", views.ViewTemplate.cut)

    def run(self, path: Path) -> dict[str, Any]:
        """What one file gave and took: frames, size, seconds by part, of decoding alone and in all, reasons of what was refused."""
        clock = self.clock
        start = time.process_time(), time.perf_counter()
        n_decoded, size = 0, (0, 0)
        for frame in self._plain_frames(path):
            n_decoded, size = n_decoded + 1, frame.shape[1::-1]
        alone = {"cpu": time.process_time() - start[0], "wall": time.perf_counter() - start[1]}

        clock.reset()
        refused: list[str] = []
        start = time.process_time(), time.perf_counter()
        row = {"recording_id": "clip", "corpus": "real", "language": "und", "speaker": None, "cluster": "recording:clip", "kind": "real",
               "file": str(path), "source": path.name}
        clips = self._try(self._segment, row, "clips", refused)
        for seconds, total in ((clock.cpu, time.process_time() - start[0]), (clock.wall, time.perf_counter() - start[1])):
            seconds["shots and voice"] = total - sum(seconds.values())  # all of segmenting but its decoding
        n_frames = 0
        for clip in clips:
            tracks = self._try(self._track, clip | {"kind": "real"}, "tracks", refused)
            cut = [t for t in tracks if self._try(self._crop, t, "views", refused)]
            for one in cut:
                clock.timed("features", self._features)(one | {k: clip[k] for k in ("n_samples", "audio")})
            n_frames += clip["n_frames"] if cut else 0
        total = {"cpu": time.process_time() - start[0], "wall": time.perf_counter() - start[1]}
        for kind, seconds in (("cpu", clock.cpu), ("wall", clock.wall)):
            seconds["other"] = max(0.0, total[kind] - sum(seconds.values()))
        return {"file": path.name, "size": f"{size[0]}x{size[1]}", "n_frames": n_frames, "n_decoded": n_decoded, "refused": refused,
                "cpu_s": dict(clock.cpu), "wall_s": dict(clock.wall), "alone_cpu_s": alone["cpu"], "alone_wall_s": alone["wall"]}

    def _try(self, mapper: Callable, row: dict[str, Any], table: str, refused: list[str]) -> list[dict[str, Any]]:
        from core.records import Reject

        try:
            return mapper(row)[table]
        except Reject as reject:
            refused.append(f"{type(mapper).__module__.removeprefix('stages.')}: {reject.reason}")
            return []


def configure(params: Any, finder: str, landmarker: str) -> dict[str, Any]:
    """What the mappers of all four stages are made with: the project's params, and which finder and mesh."""
    from core.choose import FINDERS, MESHES, choose

    kind, found = choose(finder, FINDERS)
    mesh, mesh_file = choose(landmarker, MESHES)
    common = {"media": "", "threads": params.executor.codec_threads}  # rows name files in full, so the folder is empty
    views = {name: params.crop.views[name].model_dump() for name in params.crop.store}
    return {"segment": params.segment.model_dump() | common,
            "track": params.track.model_dump() | common | {"finder": (kind, str(found.path)), "mesh": (mesh, str(mesh_file.path)),
                                                           "names": {"finder": kind, "landmarker": mesh}},
            "crop": common | {"views": views, "min_mesh_share": params.track.min_mesh_share, "jpeg_quality": params.crop.jpeg_quality},
            "features": params.features.model_dump()}


def _work(config: dict[str, Any], warm: list[Path], todo: Any, done: Any, gate: Any) -> None:
    """One process: loads everything, by taking files that do not count until one went through all stages, waits for the others, then
    takes file after file."""
    try:
        line = Line(config)
        for path in warm:
            if line.run(path)["n_frames"]:
                break
        gate.wait()
        for path in iter(todo.get, None):
            done.put(line.run(path))
        done.put(None)
    except BaseException as error:  # a process that dies in silence would leave the others waiting
        gate.abort()
        done.put(f"{type(error).__name__}: {error}")


def run_files(config: dict[str, Any], files: Iterable[Path], processes: int) -> tuple[list[dict[str, Any]], float]:
    """(`Line.run` of every file, on some processes at once, largest files first; seconds from when all were ready). RuntimeError when a
    process fails."""
    import multiprocessing

    order = sorted(files, key=lambda p: (-p.stat().st_size, str(p)))
    context = multiprocessing.get_context("spawn")
    todo, done, gate = context.Queue(), context.Queue(), context.Barrier(processes + 1)
    for path in [*order, *[None] * processes]:
        todo.put(path)
    kept = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(THREADS)
    workers = [context.Process(target=_work, args=(config, order[::-1], todo, done, gate), daemon=True) for _ in range(processes)]
    try:
        for worker in workers:
            worker.start()
        with contextlib.suppress(threading.BrokenBarrierError):  # what broke it is the first thing in `done`
            gate.wait()
        began, found, running = time.perf_counter(), [], processes
        while running:
            one = done.get()
            if isinstance(one, str):
                raise RuntimeError(f"a worker failed: {one}")
            running -= one is None
            found += [one] if one is not None else []
        seconds = time.perf_counter() - began
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    return sorted(found, key=lambda r: r["file"]), seconds


def overrides(folder: Path, finder: str, landmarker: str) -> dict[str, Any]:
    """Params of a workspace with one corpus, a folder of videos, where nothing trains. What is spoken does not matter here."""
    import yaml

    from flows.workspace import ROOT, replaced

    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return {"corpora": replaced(raw["corpora"], {"real": {"adapter": "folder", "path": str(folder), "languages": {"en": {}}}}),
            "track": {"finder": finder, "landmarker": landmarker}, "score": {"expert": {"weights": "none.pt"}, "ablation_experts": []},
            "train": {kind: replaced(raw["train"][kind], {}) for kind in ("experts", "systems")}}


def time_stages(instance: str, params: Any, workers: int) -> dict[str, Any]:
    """Seconds of the stages segment, track, crop and features as their commands run them, in the workspace where this is called, whose
    data/download is there: {stage: clock_s, own_cpu_s, workers_cpu_s}, and the frames of clips of which something was cut. What
    crop and features take from `inspect` is made in between where it is not there, and not timed."""
    from core.shards import read_rows
    from stages import crop, features, inspect, segment, track

    params = params.model_copy(update={"executor": params.executor.model_copy(update={"workers": workers})})
    found: dict[str, Any] = {"workers": workers, "stages": {}}
    for name, stage in {"segment": segment, "track": track, "inspect": inspect, "crop": crop, "features": features}.items():
        if name == "inspect":
            if not Path("data/inspect", instance).is_dir():
                stage.main(instance, params)
            continue
        wall, own, others = time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        stage.main(instance, params)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        found["stages"][name] = {"clock_s": time.perf_counter() - wall, "own_cpu_s": time.process_time() - own,
                                 "workers_cpu_s": now.ru_utime + now.ru_stime - others.ru_utime - others.ru_stime}
    rows = read_rows(Path("data/features", instance), "features", ["clip_id", "n_frames"])
    return found | {"n_frames": sum({r["clip_id"]: r["n_frames"] for r in rows}.values())}


def compared(one: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """How many times as fast `more` workers are as one, by the clock and as free cores would have it: the main process's CPU seconds
    and an equal part of the workers' for each of them. Starting processes and loading models is in both."""
    def ideal_s(arm: dict[str, Any]) -> float:
        return sum(s["own_cpu_s"] + s["workers_cpu_s"] / arm["workers"] for s in arm["stages"].values())

    seconds = [sum(s["clock_s"] for s in arm["stages"].values()) for arm in (one, more)]
    by_clock, target = seconds[0] / seconds[1], SCALING * more["workers"]
    return {"workers": more["workers"], "n_frames": one["n_frames"], "seconds": seconds, "by_clock": by_clock,
            "by_cpu": ideal_s(one) / ideal_s(more), "target": target, "passes": by_clock >= target, "arms": [one, more]}


def scaling(files: list[Path], finder: str, landmarker: str, workers: int, copies: int) -> dict[str, Any]:
    """`compared` for some files, each there under `copies` names, in a temporary workspace: the stages' own commands with one worker
    process and then, over the same downloads, with `workers`."""
    from core.params import load_params
    from flows.workspace import create_workspace
    from stages import download

    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(sys.stderr):
        media = Path(place, "media")
        media.mkdir()
        names = [f"{k:03d}-{copy}{path.suffix.lower()}" for copy in range(copies) for k, path in enumerate(files)]
        for name, path in zip(names, files * copies, strict=True):
            shutil.copyfile(path, media / name)
        (media / "index.csv").write_text("file,language\n" + "".join(f"{name},en\n" for name in names), encoding="utf-8")
        workspace, arms = create_workspace(Path(place, "workspace"), overrides(media, finder, landmarker)), []
        with contextlib.chdir(workspace):
            params = load_params()
            download.main("real-en", params)
            for n in (1, workers):
                for stage in ("segment", "track", "crop", "features"):  # inspect's stays
                    shutil.rmtree(Path("data") / stage, ignore_errors=True)
                arms.append(time_stages("real-en", params, n))
    return {"n_files": len(names), **compared(*arms)}


def summed(results: list[dict[str, Any]], processes: int, mesh: str) -> list[dict[str, Any]]:
    """One row per frame size, the most frames first: fps, its share of decoding alone, shares of the parts, and the target."""
    rows = []
    for size in sorted({r["size"] for r in results}):
        some = [r for r in results if r["size"] == size and r["n_frames"]]
        n_frames, n_decoded = sum(r["n_frames"] for r in some), sum(r["n_decoded"] for r in some)
        if not some:
            continue
        cpu, wall = sum(sum(r["cpu_s"].values()) for r in some), sum(sum(r["wall_s"].values()) for r in some)
        fps, alone = processes * n_frames / cpu, processes * n_decoded / sum(r["alone_cpu_s"] for r in some)
        target = TARGETS.get((size, mesh))
        rows.append({"size": size, "n_files": len(some), "n_frames": n_frames, "fps": fps, "fps_on_the_clock": processes * n_frames / wall,
                     "decode_alone_fps": alone, "share_of_decode_alone": fps / alone,
                     "parts": {p: sum(r["cpu_s"][p] for r in some) / cpu for p in PARTS}, "target": target,
                     "passes": None if target is None else fps >= target})
    return sorted(rows, key=lambda r: (-r["n_frames"], r["size"]))


def measure(files: list[Path], params: Any, *, finder: str = "auto", landmarker: str = "auto", processes: int = 2,
            copies: int = 0) -> dict[str, Any]:
    """Everything this benchmark says about some files. `passes` is None where nothing with a target was measured."""
    config = configure(params, finder, landmarker)
    results, _ = run_files(config, [f.resolve() for f in files], processes)
    rows = summed(results, processes, config["track"]["mesh"][0])
    more = scaling([f.resolve() for f in files], finder, landmarker, processes, copies) if copies else None
    judged = [r["passes"] for r in (*rows, *([more] if more else [])) if r["passes"] is not None]
    return {"finder": config["track"]["finder"][0], "landmarker": config["track"]["mesh"][0], "processes": processes, "scaling": more,
            "views": sorted(config["crop"]["views"]), "sizes": rows, "files": results, "load_average": list(os.getloadavg()),
            "passes": all(judged) if judged else None}


def text(result: dict[str, Any]) -> str:
    """The result as tables."""
    lines = [f"finder {result['finder']}, mesh {result['landmarker']}, views {', '.join(result['views'])}, {result['processes']} processes, "
             f"load average {result['load_average'][0]:.1f}",
             f"{'size':>10} {'files':>5} {'frames':>7} {'fps':>6} {'on the clock':>12} {'decode alone':>12} {'share of it':>11} {'target':>7}"]
    for r in result["sizes"]:
        mark = "" if r["passes"] is None else "pass" if r["passes"] else "FAIL"
        target = "-" if r["target"] is None else f"{r['target']:.0f}"
        lines.append(f"{r['size']:>10} {r['n_files']:>5} {r['n_frames']:>7} {r['fps']:>6.0f} {r['fps_on_the_clock']:>12.0f} "
                     f"{r['decode_alone_fps']:>12.0f} {r['share_of_decode_alone']:>11.1%} {target:>7}"
                     f"  {mark}")
    lines.append(f"share of the time, per cent: {'size':>10} " + " ".join(f"{p:>{max(len(p), 6)}}" for p in PARTS))
    for r in result["sizes"]:
        lines.append(f"{r['size']:>39} " + " ".join(f"{100 * r['parts'][p]:>{max(len(p), 6)}.1f}" for p in PARTS))
    if more := result.get("scaling"):
        lines.append(f"executor.workers {more['workers']} is {more['by_clock']:.2f} times as fast as 1 by the clock ({more['seconds'][0]:.1f} s "
                     f"and {more['seconds'][1]:.1f} s for {more['n_files']} files, {more['n_frames']} frames), {more['by_cpu']:.2f} by CPU "
                     f"seconds; target {more['target']:.1f}  {'pass' if more['passes'] else 'FAIL'}")
        for name in more["arms"][0]["stages"]:
            one, two = (arm["stages"][name] for arm in more["arms"])
            lines.append(f"{name:>10}: {one['clock_s']:.1f} s and {two['clock_s']:.1f} s; CPU of the main process {one['own_cpu_s']:.1f} "
                         f"and {two['own_cpu_s']:.1f}, of the workers {one['workers_cpu_s']:.1f} and {two['workers_cpu_s']:.1f}")
    lines += [f"not counted: {r['file']} ({', '.join(sorted(set(r['refused']))) or 'no clip'})" for r in result["files"] if not r["n_frames"]]
    return "\n".join(lines)


def find_videos(folder: Path) -> list[Path]:
    """All video files below a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; 1 where a target is missed, 2 where there is nothing to measure."""
    from core.params import ParamsError, load_params
    from core.weights import WeightsMissing

    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__.splitlines()[0])
    shared = os.environ.get("BABELFACE_SHARED")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(shared) / "real" if shared else None, help="folder of video files")
    parser.add_argument("--finder", default="auto", choices=("auto", "yunet", "blazeface"))
    parser.add_argument("--landmarker", default="auto", choices=("auto", "mediapipe", "facemesh"))
    parser.add_argument("--processes", type=int, default=2, help="default 2")
    parser.add_argument("--files", type=int, help="only the first N files of each frame size")
    parser.add_argument("--size", help="only files of this frame size, such as 1280x720")
    parser.add_argument("--scaling", type=int, nargs="?", default=0, const=8, metavar="COPIES",
                        help="also compare the stages with one worker, over so many copies of each file (8)")
    parser.add_argument("--json", type=Path, help="also write everything here")
    chosen = parser.parse_args(arguments)
    if chosen.folder is None or not chosen.folder.is_dir():
        print(f"bench.throughput: {chosen.folder or 'no folder'}: name a folder of video files, or set BABELFACE_SHARED", file=sys.stderr)
        return 2
    try:
        files = first_of_each_size(find_videos(chosen.folder), chosen.files, chosen.size)
        if not files:
            of = f" of {chosen.size}" if chosen.size else ""
            print(f"bench.throughput: {chosen.folder}: no video file{of} ({', '.join(sorted(SUFFIXES))})", file=sys.stderr)
            return 2
        params = load_params(Path(__file__).resolve().parent.parent / "params.yaml")
        result = measure(files, params, finder=chosen.finder, landmarker=chosen.landmarker, processes=chosen.processes, copies=chosen.scaling)
    except (ParamsError, WeightsMissing) as error:
        print(f"bench.throughput: {error}", file=sys.stderr)
        return 2
    print(text(result))
    if chosen.json:
        from core.shards import write_json

        write_json(chosen.json, result)
    return 1 if result["passes"] is False else 0


def first_of_each_size(files: list[Path], n: int | None, size: str | None = None) -> list[Path]:
    """The first n files of each frame size (all of them for None), or of one size (WxH) only."""
    from core import media_probe

    if n is None and size is None:
        return files
    taken: dict[tuple[int, int], list[Path]] = {}
    for path in files:
        info = media_probe.probe(path)
        if size in (None, f"{info.width}x{info.height}"):
            taken.setdefault((info.width, info.height), []).append(path)
    return sorted(p for some in taken.values() for p in some[:n])


if __name__ == "__main__":
    raise SystemExit(main())
