"""Clips with known truth for the media tests: every frame shows its own number, every click has a known time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

HEIGHT, WIDTH, BITS = 64, 160, 8
BURST = np.hanning(161) * np.sin(2 * np.pi * 1000 * np.arange(161) / 16000)  # 10 ms, centred 80 samples in


def numbered(index: int) -> np.ndarray:
    """RGB frame whose upper half spells `index` in black and white blocks, least significant bit first, lower half grey."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for bit in range(BITS):
        frame[: HEIGHT // 2, bit * 20 : bit * 20 + 20] = 235 if index >> bit & 1 else 16
    return frame


def number_of(frame: np.ndarray) -> int:
    """The index that a (lossily coded) numbered frame spells."""
    return sum(1 << bit for bit in range(BITS) if frame[8:24, bit * 20 + 6 : bit * 20 + 14].mean() > 125)


def click_track(times_s, length_s: float, rate: int = 16000) -> np.ndarray:
    """float64 samples in [-1, 1] with a click centred on every given time."""
    t = np.arange(round(length_s * rate)) / rate
    out = np.zeros(len(t))
    for time_s in times_s:
        x = (t - time_s) * 16000
        out += np.where(np.abs(x) < 80, 0.7 * np.cos(np.pi * x / 160) ** 2 * np.sin(2 * np.pi * 1000 * x / 16000 + np.pi / 2), 0)
    return out


def clicks_in(samples: np.ndarray, near_s) -> list[float]:
    """Seconds of the strongest click within 0.15 s of each given time, by its envelope (polarity and phase don't matter)."""
    t = np.arange(-80, 81) / 16000
    kernel = np.cos(np.pi * t * 100) ** 2 * np.exp(2j * np.pi * 1000 * t)
    envelope = np.abs(np.convolve(samples.astype(float), kernel, "same"))
    found = []
    for time_s in near_s:
        low, high = max(0, int((time_s - 0.15) * 16000)), int((time_s + 0.15) * 16000)
        peak = low + int(np.argmax(envelope[low:high]))
        assert envelope[peak] > 1e5, f"no click near {time_s} s"
        found.append(peak / 16000)
    return found


def mux(
    path,
    *,
    video=("libx264", {"preset": "ultrafast", "g": "25"}),
    times_s=None,
    clock: Fraction = Fraction(1, 12800),
    rate: Fraction = Fraction(25),
    tracks=(),
    container=None,
    muxer=None,
):
    """Writes a clip. times_s: display time of each numbered frame. tracks: dicts with codec, samples (n,) or (channels, n) in
    [-1, 1], rate, start_s, layout and gaps [(at_s, hole_s)] in the timestamps."""
    import av

    with av.open(str(path), "w", options=container or {}, container_options=muxer or {}) as out:
        streams = []
        if times_s is not None:
            codec, options = video
            stream = out.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.time_base = clock
            stream.codec_context.thread_count = 1
            queue = []
            for index, time_s in enumerate(times_s):
                frame = av.VideoFrame.from_ndarray(numbered(index), format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = round(time_s / clock), clock
                queue.append((time_s, frame))
            streams.append((stream, queue))
        for track in tracks:
            hz = track.get("rate", 16000)
            layout = track.get("layout", "mono")
            stream = out.add_stream(track["codec"], rate=hz, layout=layout)
            data = np.atleast_2d(track["samples"])
            queue, position = [], 0
            holes = sorted(track.get("gaps", []))
            while position < data.shape[1]:
                chunk = np.ascontiguousarray(data[:, position : position + 960], dtype=np.float32)
                frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout=layout)
                time_s = track.get("start_s", 0.0) + position / hz
                time_s += sum(hole for at, hole in holes if position / hz >= at)
                frame.sample_rate, frame.time_base, frame.pts = hz, Fraction(1, hz), round(time_s * hz)
                queue.append((time_s, frame))
                position += chunk.shape[1]
            streams.append((stream, queue))
        order = [(t, n, f) for n, (_, queue) in enumerate(streams) for t, f in queue]
        for _, number, frame in sorted(order, key=lambda item: item[:2]):
            out.mux(streams[number][0].encode(frame))
        for stream, _ in streams:
            out.mux(stream.encode(None))
    return path
