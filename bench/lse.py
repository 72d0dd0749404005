"""LSE from a video file to its numbers: ours against a plain port of the published scorer's loop, with the same weights.

    python -m bench.lse FILE [--frames 100] [--threads 2] [--rounds 3] [--bfloat16] [--expert WEIGHTS] [--out FILE.json]

The port does what syncnet_python does: it writes the video as JPEG files and the sound as a WAV file, reads them back, and passes
20 windows at a time through 3-D convolutions. Ours keeps the JPEG in memory and calculates the same network in channels-last 2-D
convolutions with BatchNorm folded in. Both arms decode alike, take turns, and count by the best of --rounds. Without --expert the
weights are seeded noise: the time is the same. Then the share of the chip's matrix-multiply peak that the convolutions reach, on
one thread. Exit status 1 where the numbers differ by more than 1e-4 or a target is missed: 1.4 times in float32; with --bfloat16,
on a CPU that has it, 2 times with LSE within 0.5 %.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 20
TARGET, TARGET_BFLOAT16, EQUAL, EQUAL_BFLOAT16 = 1.4, 2.0, 1e-4, 5e-3


def plain_port(net: Any, path: Path, n_frames: int, folder: Path) -> tuple[float, float, int]:
    """(LSE-D, LSE-C, offset) in the published scorer's steps."""
    import cv2
    import torch

    from core import media
    from core.media_jpeg import Mjpeg
    from core.mfcc import mfcc_syncnet

    encode = Mjpeg().encode
    for f, frame in enumerate(media._on_grid(path, 0, n_frames, 25.0, 1)):
        (folder / f"{f + 1:06d}.jpg").write_bytes(encode(frame))
    media.write_wav(folder / "audio.wav", media.read_audio(path)[:n_frames * 640])
    images = [cv2.imread(str(name)) for name in sorted(folder.glob("*.jpg"))]
    images = [im if im.shape[:2] == (224, 224) else cv2.resize(im, (224, 224)) for im in images]
    video = torch.from_numpy(np.transpose(np.expand_dims(np.stack(images, axis=3), axis=0),
                                          (0, 3, 4, 1, 2)).astype(float)).float()
    with wave.open(str(folder / "audio.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    cepstra = torch.from_numpy(mfcc_syncnet(samples).T.astype(float)[None, None]).float()
    n = min(len(images), len(samples) // 640) - 5
    lips, sounds = [], []
    with torch.no_grad():
        for i in range(0, n, BATCH):
            last = min(n, i + BATCH)
            lips.append(net.forward_lip(torch.cat([video[:, :, v:v + 5] for v in range(i, last)])))
            sounds.append(net.forward_audio(torch.cat([cepstra[..., v * 4:v * 4 + 20] for v in range(i, last)])))
    lips, sounds = torch.cat(lips), torch.nn.functional.pad(torch.cat(sounds), (0, 0, 15, 15))
    table = torch.stack([torch.nn.functional.pairwise_distance(lips[[i]].repeat(31, 1), sounds[i:i + 31]) for i in range(n)], 1)
    mean = table.mean(1)
    least, at = torch.min(mean, 0)
    return float(least), float(torch.median(mean) - least), 15 - int(at)


def ours(net: Any, path: Path, n_frames: int, _: Path) -> tuple[float, float, int]:
    """(LSE-D, LSE-C, offset) as stages.judge has them under syncnet-v2-whole-frame."""
    import cv2

    from core import media
    from metrics.sync import lse
    from models.experts.syncnet import embed_clip

    frames = media.read_frames_jpeg(path, stop=n_frames)
    crops = np.stack([f if f.shape[:2] == (224, 224) else cv2.resize(f, (224, 224)) for f in frames])
    found = lse(*embed_clip(net, crops, media.read_audio(path)[:n_frames * 640]))
    return found.lse_d, found.lse_c, found.offset_frames


def timed(arm: Callable[..., tuple], *args: Any) -> tuple[float, float, tuple]:
    """(seconds of wall time, of CPU time, result) of one run in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start, cpu_start = time.perf_counter(), time.process_time()
        result = arm(*args, Path(folder))
        return time.perf_counter() - start, time.process_time() - cpu_start, result


def of_peak(net: Any) -> dict[str, float]:
    """Billions of operations a second on one thread: of a matrix product of 1024, of each convolution, and their share
    together."""
    import torch

    from models.experts.syncnet import VIDEO_CHUNK, _flat_layers

    def best(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(7):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return min(times)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        a = torch.randn(1024, 1024)
        out, operations, seconds = {"matmul": 2 * 1024**3 / best(lambda: a @ a) / 1e9}, 0.0, 0.0
        x = torch.rand(VIDEO_CHUNK, 224, 224, 15).permute(0, 3, 1, 2)
        for k, layer in enumerate(_flat_layers(net.netcnnlip)[:-2]):  # the last one is a matrix product over the whole clip
            y = layer(x)
            if isinstance(layer, torch.nn.Conv2d):
                took, work = best(lambda layer=layer, x=x: layer(x)), 2 * y.numel() * layer.weight[0].numel()
                out[f"conv{k}"], operations, seconds = work / took / 1e9, operations + work, seconds + took
            x = y
    torch.set_num_threads(threads)
    return out | {"share_of_peak": operations / seconds / 1e9 / out["matmul"]}


def cpu() -> str:
    """The CPU's name and the vector instructions that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    lines = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    lines = {k.strip(): v.strip() for k, v in lines.items()}
    have = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in lines.get("flags", "").split()]
    return f"{lines.get('model name', 'unknown')} ({', '.join(have) or 'none of avx2, avx512, amx'})"


def measure(path: Path, n_frames: int, threads: int, rounds: int, bfloat16: bool, expert: Path | None) -> dict[str, Any]:
    """Everything this benchmark says."""
    import torch

    from core.weights import load_torch
    from models.experts.syncnet import open_sync

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    state = load_torch(expert) if expert else open_sync("syncnet").state_dict()
    net = open_sync("syncnet", state)
    arms: dict[str, tuple[Callable, Any]] = {"port": (plain_port, net), "float32": (ours, net)}
    if bfloat16:
        arms["bfloat16"] = (ours, open_sync("syncnet", state, precision="bfloat16"))
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    cpu_s: dict[str, list[float]] = {name: [] for name in arms}
    scores: dict[str, tuple] = {}
    for _ in range(rounds):
        for name, (arm, model) in arms.items():
            took, spent, scores[name] = timed(arm, model, path, n_frames)
            seconds[name].append(took)
            cpu_s[name].append(spent)
    best = {name: min(s) for name, s in seconds.items()}
    apart = {name: max(abs(a / b - 1) for a, b in zip(scores[name][:2], scores["port"][:2], strict=True)) for name in arms}
    native = any(f in cpu() for f in ("avx512_bf16", "amx_bf16"))
    wanted = {"float32": (TARGET, EQUAL)} | ({"bfloat16": (TARGET_BFLOAT16 if native else 0.0, EQUAL_BFLOAT16)}
                                             if bfloat16 else {})
    passes = all(best["port"] / best[n] >= ratio and apart[n] <= equal and scores[n][2] == scores["port"][2]
                 for n, (ratio, equal) in wanted.items())
    return {"cpu": cpu(), "torch": torch.__version__, "threads": threads, "n_frames": n_frames, "rounds": rounds,
            "bfloat16_native": native,
            "seconds": best, "cpu_seconds": {name: min(s) for name, s in cpu_s.items()}, "scores": scores,
            "faster": {n: best["port"] / best[n] for n in arms}, "relative_difference": apart,
            "peak": of_peak(net), "passes": passes}


def main(argv: list[str] | None = None) -> int:
    """The exit status; prints what was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.lse", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--expert", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    found = measure(args.file, args.frames, args.threads, args.rounds, args.bfloat16, args.expert)
    print(f"{found['cpu']}; torch {found['torch']}, {found['threads']} threads, {found['n_frames']} frames, best of "
          f"{found['rounds']}")
    for name, took in found["seconds"].items():
        d, c, offset = found["scores"][name]
        spent = found["cpu_seconds"]
        print(f"{name:>9}: {took:7.2f} s  x{found['faster'][name]:.2f}  ({spent[name]:.2f} CPU s, "
              f"x{spent['port'] / spent[name]:.2f})  LSE-D {d:.5f}, LSE-C {c:.5f}, offset {offset:+d}; differs by "
              f"{found['relative_difference'][name]:.1e}")
    if "bfloat16" in found["seconds"] and not found["bfloat16_native"]:
        print("this CPU has no bfloat16 instructions: its time says nothing, its numbers do")
    peak = found["peak"]
    each = ", ".join(f"{k} {v:.0f}" for k, v in peak.items() if k != "share_of_peak")
    print(f"one thread, billions of operations a second: {each}"
          f"; the convolutions reach {peak['share_of_peak']:.0%} of the matrix product's")
    print("pass" if found["passes"] else "FAIL")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return 0 if found["passes"] else 1


if __name__ == "__main__":
    sys.exit(main())
