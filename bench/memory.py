"""Peak memory: of a worker that takes an hour of video and a clip of 1920x1080 through the stages, beside a minute of the same
video; and of a stage's own process that plans the work of a corpus of many tracks.

    python -m bench.memory [--minutes 60] [--clip FILE] [--tall FILE] [--rows 20000] [--only workers|planning] [--json FILE]

workers: segment, track, inspect, crop and features, each stage's own code, in a process for each video. The hour is a short clip
repeated without encoding it again; --clip names another than one of the synthetic corpus, --tall another than a synthetic one of
1920x1080. Of long video the first and the last clip go on: clips are no longer than segment.max_s, whatever they are cut from.
Without a face finder here, segmenting alone. Exit status 1 where a peak is above 1,500 MB, or the hour's more than 700 MB above
the minute's: an hour of sound is 115 MB, of which segmenting holds up to five at once, as samples and as what they are calculated
with.

planning: tables of --rows tracks, made up, of 100 frames each, and of a quarter of these; then the process of inspect, crop,
features, generate and sets up to the point where it hands items to workers, and what a worker holds who reads all these items'
rows, one after the other; of a set it holds what scoring left of all its clips. All tracks are for testing, of which generate
takes a fifth, two of each speaker; sets is planned as where the networks for pictures are here, which look at every track. Exit
status 1 where planning takes more than 25 kB for each further track: its landmarks are 187 kB, its sound 60.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MOST_MB, MOST_MORE_MB = 1500, 700
STAGES = ("segment", "track", "inspect", "crop", "features")
PLANNERS = {"inspect": "toy-en", "crop": "toy-en", "features": "toy-en", "generate": "controls", "sets": "controls"}
MOST_ROW_KB = 25.0
PER_SPEAKER = 10  # tracks of one speaker in the tables that are made up
MOST_B_FRAMES = 16  # that a decoder may have to hold back
ROOT = Path(__file__).resolve().parents[1]


def repeat(source: Path, target: Path, seconds: float) -> Path:
    """`target`, holding the packets of `source` again and again until it is at least so long. Nothing is encoded."""
    import av

    with av.open(str(source)) as given, av.open(str(target), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in (*given.streams.video[:1], *given.streams.audio[:1])}
        packets = [p for p in given.demux([s for s in given.streams if s.index in streams]) if p.size and p.pts is not None]
        picture = given.streams.video[0]
        # A whole number of frames and of samples: both streams move by the same time, and sound that is longer is cut.
        frames = sum(p.stream is picture for p in packets)
        length_s = frames / float(picture.average_rate)
        kept = [(p, bytes(p), p.pts) for p in packets if p.stream is picture or float(p.pts * p.time_base) < length_s - 0.02]
        for k in range(int(seconds / length_s) + 1):
            shown = 0
            for given_packet, data, pts in kept:
                base, is_picture = given_packet.time_base, given_packet.stream is picture
                packet = av.Packet(data)
                packet.pts = pts + round(k * length_s / float(base))
                packet.dts = packet.pts
                # decoding times of our own: matroska has none, and they must not go back from one round to the next
                if is_picture:
                    packet.dts = min(packet.pts, round((k * frames
                                                        + shown - MOST_B_FRAMES) / float(picture.average_rate) / float(base)))
                    shown += 1
                packet.time_base, packet.is_keyframe = base, given_packet.is_keyframe
                packet.stream = streams[given_packet.stream.index]
                packet.duration = given_packet.duration
                out.mux(packet)
    return target


def synthetic(folder: Path, size: int) -> Path:
    """A clip of the synthetic corpus."""
    from core.params import load_params
    from corpora.synthetic import adapter

    corpus = next(c for c in load_params().corpora.values() if c.adapter == "synthetic")
    config = corpus.model_dump(mode="json") | {"name": "synthetic", "size": size}
    config["languages"] = {tag: entry.model_dump(mode="json", exclude_defaults=True) for tag, entry in corpus.languages.items()}
    items, _ = adapter.items(config, "en")
    folder.mkdir(parents=True, exist_ok=True)
    return adapter.fetch(items[0], config, folder).path


def widened(source: Path, target: Path, width: int) -> Path:
    """`target`: the same clip with grey on both sides, up to `width` pixels."""
    from core import media

    def frames() -> Iterator[np.ndarray]:
        for frame in media.read_frames(source):
            left = (width - frame.shape[1]) // 2
            yield np.pad(frame, ((0, 0), (left, width - frame.shape[1] - left), (0, 0)), constant_values=110)

    media.write_video(target, frames(), audio=media.read_audio(source))
    return target


def peak_mb(reset: bool = False) -> float:
    """The most memory that this process has held since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def one(path: Path, stages: tuple[str, ...]) -> dict[str, Any]:
    """Peaks by stage of one file, in this process."""
    import importlib

    from bench.throughput import configure
    from core import media
    from core.params import load_params
    from core.records import Reject
    from core.weights import WeightsMissing
    from stages.inspect import experts

    params = load_params()
    try:
        config = configure(params, "auto", "auto")
        config["inspect"] = config["crop"] | params.inspect.model_dump() | experts(params)[0]
    except WeightsMissing:
        config, stages = {"segment": params.segment.model_dump() | {"media": "", "threads": 1}}, ("segment",)
    make = {s: importlib.import_module(f"stages.{s}").Mapper(config[s]) for s in stages}
    found: dict[str, Any] = {"file": path.name, "seconds": media.frame_count(path) / 25, "loaded": round(peak_mb(reset=True))}
    row = {"recording_id": "r", "corpus": "real", "language": "und", "speaker": None, "cluster": "recording:r", "kind": "real",
           "file": str(path), "source": path.name}
    clips = make["segment"](row)["clips"]
    found |= {"clips": len(clips), "size": f"{clips[0]['width']}x{clips[0]['height']}", "segment": round(peak_mb(reset=True))}
    for clip in [clips[0], clips[-1]] if "track" in make else []:
        try:
            tracks = make["track"](clip | {"kind": "real"})["tracks"]
        except Reject as reject:
            found["track_reject"], tracks = reject.reason, []
        found["track"] = max(found.get("track", 0), round(peak_mb(reset=True)))
        for stage in [s for s in ("inspect", "crop", "features") if s in make]:
            for track in tracks:
                given = {"clip": clip, "tracks": tracks, "track_id": track["track_id"]} if stage == "inspect" else track | {
                    k: clip[k] for k in ("n_samples", "audio")}
                with contextlib.suppress(Reject):  # a face beside others that does not speak
                    make[stage](given)
            found[stage] = max(found.get(stage, 0), round(peak_mb(reset=True)))
    return found


def made_up(folder: Path, n_rows: int, n_frames: int = 100, n_shards: int = 4) -> int:
    """How many bytes of landmarks and sound lie in the tables that it makes: as the stages leave them that are read in planning,
    of a clip and a track for each of `n_rows` recordings of a corpus `toy`, all for testing. All bytes are pieces of one noise,
    so the files are small."""
    import pyarrow as pa

    from core import shards
    from core.records import schema

    landmarks, sound = n_frames * 468 * 4, n_frames * 600
    noise = np.random.default_rng(0).bytes(landmarks + n_rows)
    of: dict[int, list[int]] = {}
    for k in range(n_rows):
        of.setdefault(shards.shard_of(f"r{k:06d}", n_shards), []).append(k)

    def who(k: int) -> dict[str, Any]:
        speaker = f"s{k // PER_SPEAKER}"
        return {"recording_id": f"r{k:06d}", "corpus": "toy", "language": "en", "speaker": speaker,
                "cluster": f"speaker:{speaker}", "kind": "real", "file": f"r{k:06d}.mp4", "sha256": f"{k:064d}",
                "clip_id": f"r{k:06d}-c0", "start_frame": 0, "n_frames": n_frames}

    def clip(k: int) -> dict[str, Any]:
        return who(k) | {"n_samples": n_frames * 640, "width": 1280, "height": 720, "speech": [{"start_s": 0.5, "end_s": 3.5}],
                         "speech_s": 3.0, "loudness_db": -20.0, "audio": noise[k:k + sound], "picture_print": noise[k:k + 2880],
                         "sound_print": noise[k:k + 640]}

    def track(k: int) -> dict[str, Any]:
        return who(k) | {"track_id": f"r{k:06d}-c0-t0", "track_index": 0, "face_share": 1.0, "mesh_share": 1.0, "face_px": 200.0,
                         "finder": "toy:0", "landmarker": "toy:0", "boxes": noise[k:k + n_frames * 16],
                         "landmarks": noise[k:k + landmarks], "landmark_unit": 0.01, "meshed": b"\1" * n_frames}

    def kept(k: int) -> dict[str, Any]:
        return {"track_id": f"r{k:06d}-c0-t0", "clip_id": f"r{k:06d}-c0", "n_samples": n_frames * 640, "audio": None}

    def score(k: int) -> dict[str, Any]:
        return who(k) | {"track_id": f"r{k:06d}-c0-t0", "generated_id": f"r{k:06d}-c0-t0.real.self.0", "system": "real",
                         "sample": 0, "condition": "self", "audio_clip_id": f"r{k:06d}-c0", "audio_language": "en",
                         "training_languages": [], "expert": "toy:0", "split": "test", "fold": "real", "video": None}

    def embedding(k: int) -> dict[str, Any]:
        part = noise[k:k + 16 * 128 * 4]
        return {"generated_id": score(k)["generated_id"], "video": part, "audio": part}

    for stage, table, row in (("download/toy-en", "recordings", who), ("segment/toy-en", "clips", clip),
                              ("track/toy-en", "tracks", track), ("inspect/toy-en", "kept", kept), ("split/all", "splits", score),
                              ("generate/controls", "generated", score), ("score/controls", "scores", score),
                              ("score/controls", "embeddings", embedding)):
        for shard, members in sorted(of.items()):
            parts = (pa.Table.from_pylist([row(k) for k in members[a:a + 64]], schema=schema(table))
                     for a in range(0, len(members), 64))
            shards.write_table(shards.shard_path(folder / "data" / stage, table, shard), parts, table)
    return n_rows * (landmarks + sound)


class Planned(Exception):
    """Raised where a stage would hand its items to workers."""


def toy_params(path: Path = ROOT / "params.yaml") -> Any:
    """Those of a file for the corpus that is made up, two clips of each speaker in what is generated."""
    import yaml

    from core.params import check_params

    raw = yaml.safe_load(path.read_text())
    raw["corpora"] = {"toy": {"adapter": "synthetic", "languages": {"en": {}}}}
    raw["train"]["systems"] = {}
    return check_params(raw | {"generate": raw["generate"] | {"clips_per_speaker": 2}})


def plan(stage: str, params: Any) -> list[Any]:
    """The tasks that a stage would hand to its workers, of the tables in data/ here, were the networks for pictures here."""
    import importlib

    from core import executor
    from stages import set_figures

    found: list[Any] = []

    class Pool:
        def map(self, tasks: list[Any]) -> Iterator[Any]:
            found.extend(tasks)
            raise Planned
            yield

    kept, find = executor._pool, set_figures.find_networks
    executor._pool = lambda *_: Pool()
    set_figures.find_networks = lambda _: ({"fid": ("toy", "-"), "fvd": ("toy", "-")}, {"fid": "toy:0", "fvd": "toy:0"})
    try:
        with contextlib.suppress(Planned):
            importlib.import_module(f"stages.{stage}").main(PLANNERS[stage], params)
    finally:
        executor._pool, set_figures.find_networks = kept, find
    return found


def measure_plan(stage: str, folder: Path) -> dict[str, Any]:
    """`items`, `peak` MB of planning one stage in a process of its own, and that of reading all items' rows there (`reading`)."""
    words = [sys.executable, "-m", "bench.memory", "--plan", stage]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def planning(n_rows: int) -> dict[str, Any]:
    """Per stage the peaks of planning a quarter of n_rows and all of them, in MB, and kB for each further row."""
    found: dict[str, Any] = {"rows": [n_rows // 4, n_rows], "table_mb": []}
    for n in found["rows"]:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for room in ("core", "corpora", "metrics", "models", "stages"):  # whose code is hashed from where a stage runs
                (folder / room).symlink_to(ROOT / room, target_is_directory=True)
            found["table_mb"].append(round(made_up(folder, n) / 1e6))
            for stage in PLANNERS:
                measured = measure_plan(stage, folder)
                found.setdefault(stage, []).append(measured["peak"])
                found.setdefault("reading", {}).setdefault(stage, []).append(measured["reading"])
    few, many = found["rows"]
    return found | {"row_kb": {s: round((found[s][1] - found[s][0]) * 1e3 / (many - few), 1) for s in PLANNERS}}


def measure(path: Path, stages: tuple[str, ...] = STAGES) -> dict[str, Any]:
    """`one` in a process of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "bench.memory", "--one", str(path), "--stages", ",".join(stages)]
    done = subprocess.run(words, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--tall", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--only", choices=("workers", "planning"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plan", choices=PLANNERS, help=argparse.SUPPRESS)
    parser.add_argument("--stages", default=",".join(STAGES))
    given = parser.parse_args()
    if given.rows < 8000:
        parser.error("--rows must be 8000 or more: up to a full group of rows, planning holds what lies in one")
    stages = tuple(given.stages.split(","))
    if given.one:
        print(json.dumps(one(given.one, stages)))
        return 0
    if given.plan:
        from core.cells import filled, places
        from core.shards import without_pandas

        without_pandas()
        with contextlib.redirect_stdout(sys.stderr):
            tasks = plan(given.plan, toy_params())
        found = {"items": len(tasks), "peak": round(peak_mb(reset=True))}
        for *_, payload in tasks:
            filled(payload if "members" not in payload else sorted((m["kept"] for m in payload["members"]), key=places))
        print(json.dumps(found | {"reading": round(peak_mb())}))
        return 0
    results: dict[str, Any] = {}
    missed = False
    if given.only != "planning":
        results["workers"] = workers = of_workers(given.clip, given.tall, given.minutes, stages)
        missed |= told(workers, stages)
    if given.only != "workers":
        results["planning"] = found = planning(given.rows)
        print(f"{'planning':>12} {'MB of tables':>13} {' '.join(f'{s:>8}' for s in PLANNERS)}  (peak, MB)")
        for k, n in enumerate(found["rows"]):
            print(f"{n:>12,} {found['table_mb'][k]:>13,} {' '.join(f'{found[s][k]:>8}' for s in PLANNERS)}")
        print("for each further track: " + ", ".join(f"{s} {kb} kB" for s, kb in found["row_kb"].items())
              + "; with all items' rows read here: " + ", ".join(f"{s} {mb[1]} MB" for s, mb in found["reading"].items()))
        missed |= max(found["row_kb"].values()) > MOST_ROW_KB
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    return int(missed)


def of_workers(clip: Path | None, tall: Path | None, minutes: float, stages: tuple[str, ...]) -> dict[str, Any]:
    """`measure` of a minute, of many and of a clip of 1920x1080."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        clip = clip or synthetic(folder / "small", 160)
        files = {"a minute": repeat(clip, folder / "minute.mkv", 60),
                 f"{minutes:g} minutes": repeat(clip, folder / "long.mkv", minutes * 60),
                 "tall": tall or widened(synthetic(folder / "tall", 1080), folder / "tall.mp4", 1920)}
        return {name: measure(path, stages) for name, path in files.items()}


def told(results: dict[str, Any], stages: tuple[str, ...]) -> bool:
    """Prints the workers' peaks; whether a limit is passed."""
    print(f"{'':>12} {'size':>10} {'seconds':>8} {'clips':>6} {'loaded':>7} {' '.join(f'{s:>8}' for s in stages)}  (peak, MB)")
    for name, r in results.items():
        print(f"{name:>12} {r['size']:>10} {r['seconds']:>8.0f} {r['clips']:>6} {r['loaded']:>7} "
              f"{' '.join(format(r.get(s, '-'), '>8') for s in stages)}  {r.get('track_reject', '')}")
    short, long, tall = results.values()
    peaks = [r[s] for r in (long, tall) for s in stages if s in r]
    more = max(long[s] - short[s] for s in stages if s in long)
    print(f"the most: {max(peaks)} MB; the long video took {more} MB more than the minute")
    return max(peaks) > MOST_MB or more > MOST_MORE_MB


if __name__ == "__main__":
    sys.exit(main())
