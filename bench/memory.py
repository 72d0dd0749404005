"""Peak memory of a worker that segments, tracks and crops an hour of video and a 1080p clip, beside a minute of the same video.

    python -m bench.memory [--minutes 60] [--clip FILE] [--tall FILE] [--json FILE]

The hour is a short clip repeated without encoding it again; --clip names another than one of the synthetic corpus, --tall another
than a synthetic one of 1080x1080. Each stage's own code runs in a process of its own. Of long video the first and the last clip
are tracked and cropped: clips are no longer than segment.max_s, whatever they are cut from. Without a face finder here,
segmenting alone. Exit status 1 where a peak is above 1,500 MB, or the hour's more than 700 MB above the minute's: an hour of
sound is 115 MB, of which segmenting holds up to five at once, as samples and as what they are calculated with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MOST_MB, MOST_MORE_MB = 1500, 700
MOST_B_FRAMES = 16  # that a decoder may have to hold back


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

    try:
        config = configure(load_params(), "auto", "auto")
    except WeightsMissing:
        config, stages = {"segment": load_params().segment.model_dump() | {"media": "", "threads": 1}}, ("segment",)
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
        for track in tracks:
            make["crop"](track)
        found["crop"] = max(found.get("crop", 0), round(peak_mb(reset=True)))
    return found


def measure(path: Path, stages: tuple[str, ...] = ("segment", "track", "crop")) -> dict[str, Any]:
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
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--stages", default="segment,track,crop")
    given = parser.parse_args()
    stages = tuple(given.stages.split(","))
    if given.one:
        print(json.dumps(one(given.one, stages)))
        return 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        clip = given.clip or synthetic(folder / "small", 160)
        files = {"a minute": repeat(clip, folder / "minute.mkv", 60),
                 f"{given.minutes:g} minutes": repeat(clip, folder / "long.mkv", given.minutes * 60),
                 "tall": given.tall or synthetic(folder / "tall", 1080)}
        results = {name: measure(path, stages) for name, path in files.items()}
    print(f"{'':>12} {'size':>10} {'seconds':>8} {'clips':>6} {'loaded':>7} {'segment':>8} {'track':>7} {'crop':>7}  (peak, MB)")
    for name, r in results.items():
        print(f"{name:>12} {r['size']:>10} {r['seconds']:>8.0f} {r['clips']:>6} {r['loaded']:>7} {r['segment']:>8} "
              f"{r.get('track', '-'):>7} {r.get('crop', '-'):>7}  {r.get('track_reject', '')}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    short, long, tall = results.values()
    peaks = [r[s] for r in (long, tall) for s in stages if s in r]
    more = max(long[s] - short[s] for s in stages if s in long)
    print(f"the most: {max(peaks)} MB; the long video took {more} MB more than the minute")
    return int(max(peaks) > MOST_MB or more > MOST_MORE_MB)


if __name__ == "__main__":
    sys.exit(main())
