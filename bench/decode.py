"""Source frames per CPU second of plain PyAV decoding and of core.media.read_frames, same files, same run, one thread.

    python -m bench.decode clip.mp4 [more files]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from core import media

ROUNDS = 5


def plain_frames(path: str) -> Iterator:
    """What one writes without this project: decode and convert every source frame, no timeline."""
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            yield frame.to_ndarray(format="rgb24")


def cpu_s(frames: Iterator) -> float:
    """CPU seconds that exhausting an iterator takes: other programs on the machine do not count."""
    start = time.process_time()
    for _ in frames:
        pass
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    print(f"{'file':40} {'PyAV/s':>9} {'ours/s':>9} {'ratio':>6}   (best of {ROUNDS}, interleaved)")
    for path in parser.parse_args().files:
        n_frames = len(media.frame_times(path))
        pairs = [(cpu_s(plain_frames(path)), cpu_s(media.read_frames(path))) for _ in range(ROUNDS)]
        plain, ours = (n_frames / min(column) for column in zip(*pairs, strict=True))
        print(f"{path[-40:]:40} {plain:9.0f} {ours:9.0f} {ours / plain:6.2f}")


if __name__ == "__main__":
    main()
