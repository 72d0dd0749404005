"""Decoding and encoding of audio and video on one timeline: the only module that touches media (PyAV).

The timeline of a file starts when its first video frame is shown. Frames are uint8 HxWx3 RGB at a constant 25 fps, counted from
decoded timestamps; audio is int16 mono 16 kHz, so frame f covers samples [640 f, 640 (f + 1)). Pixel aspect ratios are ignored:
frames come as they are stored. A source is a path, bytes or BytesIO.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from core.media_jpeg import Mjpeg, jpeg_roundtrip_mjpeg
from core.media_lazy import SUBSAMPLING, LazyFrame
from core.media_probe import (
    INDEXED_CODECS,
    INDEXED_FORMATS,
    MAX_HOLE_S,
    MediaInfo,
    Source,
    audio_streams,
    converting,
    first_video_s,
    frame_times,
    name_of,
    open_media,
    probe,
    rotation_of,
    rough_length,
    timed_frames,
    video_stream,
)
from core.media_write import (
    SAMPLE_RATE,
    decode_jpeg,
    encode_flac,
    encode_jpeg,
    encode_video,
    write_video,
    write_wav,
)
from core.records import Reject

__all__ = [
    "LazyFrame", "MediaInfo", "SAMPLE_RATE", "Source", "decode_flac", "decode_jpeg", "encode_flac", "encode_jpeg", "encode_video",
    "frame_count", "frame_times", "grid_length", "jpeg_roundtrip_mjpeg", "nearest_grid", "probe", "read_audio", "read_frames",
    "read_frames_jpeg", "read_lazy_frames", "read_small_frames", "read_sound", "read_wav", "rough_length", "write_video", "write_wav",
]  # fmt: skip

TIE_S = 1e-6  # two source frames this equally near are a tie; container clocks are never finer
END_FRAMES = 0.1  # the grid may pass the last source frame by this much: containers round times (mkv to 1 ms)
MAX_SLIP_S = 0.010  # audio timestamps may disagree with the running sample count by this much before we follow them
QUIET_SAMPLES = 1 << 20  # of silence that are filled in at a time
RUN_IN = 8000  # samples before a stretch that are resampled too: the filter reaches back a few ms
SEEK_AFTER_S = 2.0
SEEK_MARGIN_S = 1.0  # mp4 seeks by decoding time, which runs ahead of display time
KEPT_BYTES = 31 << 20  # just under the largest block that glibc learns from


def grid_length(last_s: float, fps: float | Fraction = 25) -> int:
    """The number of grid frames for a source whose last frame is shown `last_s` seconds after its first."""
    return int(np.floor(float(last_s) * float(fps) + END_FRAMES)) + 1


def nearest_grid(times_s: np.ndarray, fps: float | Fraction = 25) -> np.ndarray:
    """int64 source index for every output frame f: the frame shown nearest to f/fps, the earlier one on a tie.

    times_s: never decreasing display times in s relative to the first frame. The grid ends with the last source frame's time.
    """
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or not len(times) or np.any(np.diff(times) < 0):
        raise ValueError("times_s: expected a non-empty, never decreasing 1-D array of seconds")
    grid = np.arange(grid_length(times[-1], fps)) / float(fps)
    before = np.clip(np.searchsorted(times, grid, side="right") - 1, 0, None)
    after = np.minimum(before + 1, len(times) - 1)
    take_after = (grid - times[before]) > (times[after] - grid) + TIE_S
    chosen = np.where(take_after & (times[after] > grid), after, before)
    return np.searchsorted(times, times[chosen], side="left")  # of equal times the earlier frame


def frame_count(source: Source, fps: float | Fraction = 25) -> int:
    """The number of frames that read_frames gives, from timestamps alone."""
    return grid_length(frame_times(source)[-1], fps)


def _timeline(source: Source, reach_s: float, threads: int, rough: bool) -> Iterator[tuple[float, object]]:
    """(time in s from the first displayed frame, PyAV frame) from `reach_s` or before, by seeking where that is exact."""
    for may_seek in (reach_s > SEEK_AFTER_S, False):
        with open_media(source) as container:
            stream = video_stream(container)
            if stream is None:
                raise Reject("no_video", f"{name_of(source)}: has no video stream")
            stream.codec_context.thread_count = threads
            stream.thread_type = "NONE" if threads == 1 else "AUTO"
            if rough:  # edges between blocks stay as they are in frames that no other leans on; a quarter of H.264's time
                stream.codec_context.options = {"skip_loop_filter": "noref"}
            frames = timed_frames(container, stream, source)
            first = next(frames, None)
            if first is None:
                raise Reject("decode_error", f"{name_of(source)}: the video stream holds no decodable frame")
            zero_s = first[0]
            names = set(container.format.name.split(","))
            if not (may_seek and INDEXED_FORMATS & names and stream.codec.canonical_name in INDEXED_CODECS):
                yield 0.0, first[1]
                for time_s, frame in frames:
                    yield time_s - zero_s, frame
                return
            target = int((zero_s + reach_s - SEEK_MARGIN_S) / stream.time_base)
            container.seek(target, stream=stream, backward=True)
            started = False
            for time_s, frame in timed_frames(container, stream, source):
                # Frames before the first key frame may lean on data we skipped; landing late means the index lied: start over.
                if not started and not frame.key_frame:
                    continue
                if not started and time_s - zero_s > reach_s:
                    break
                started = True
                yield time_s - zero_s, frame
            if started:
                return


@functools.cache
def _keep_freed_memory() -> None:
    """Nothing; makes glibc keep the memory of freed frames. By default it returns each to the system, and a third of the time of decoding
    720p goes into getting the same pages back. Its threshold grows with the largest block freed so far, up to 32 MB (mallopt(3),
    M_MMAP_THRESHOLD), so freeing one such block, never touched, is enough for the rest of the process."""
    np.empty(KEPT_BYTES, np.uint8)


def _on_grid(source: Source, start: int, stop: int | None, rate: float, threads: int, rough: bool = False) -> Iterator:
    """The PyAV frame for every output frame in start .. stop, the same object again for a repeat."""
    _keep_freed_memory()
    index, held_s, held = start, 0.0, None
    for time_s, frame in _timeline(source, start / rate, threads, rough):
        if held is not None:
            if time_s <= held_s:
                continue  # of equal times the earlier frame
            while index / rate - held_s <= time_s - index / rate + TIE_S:
                yield held
                index += 1
                if index == stop:
                    return
        held_s, held = time_s, frame
    for _ in range(index, min(grid_length(held_s, rate), stop or 2**62)):
        yield held


def read_frames(
    source: Source, *, start: int = 0, stop: int | None = None, fps: float | Fraction = 25, threads: int = 1
) -> Iterator[np.ndarray]:
    """uint8 HxWx3 RGB frames at a constant rate, streamed: output frame f is the source frame shown nearest to f/fps seconds.

    Times count from the first displayed frame; on a tie the earlier frame is taken; the grid ends with the last source frame's
    time, so a 25 fps source passes one to one. start, stop: half-open range in output frames. Rotation flags are applied.
    threads: of the decoder; 1 is the reference. Raises Reject('no_video') and Reject('decode_error'); media_probe.decode_stream
    says which damage counts.
    """
    for frame in read_lazy_frames(source, start=start, stop=stop, fps=fps, threads=threads):
        yield np.asarray(frame)


def read_lazy_frames(
    source: Source, *, start: int = 0, stop: int | None = None, fps: float | Fraction = 25, threads: int = 1
) -> Iterator[LazyFrame]:
    """The frames of `read_frames`, each turned into RGB where it is looked at, for readers of a small part of large frames."""
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f"read_frames: start {start} and stop {stop} must satisfy 0 <= start <= stop")
    if stop == start:
        return
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()
    shape: tuple[int, ...] | None = None
    for frame in _on_grid(source, start, stop, float(fps), threads):
        lazy = LazyFrame(frame, scaler, source)  # a repeat is converted anew: the caller may have drawn on the last one
        if shape is not None and lazy.shape != shape:
            raise Reject("decode_error", f"{name_of(source)}: the frame size changes from {shape} to {lazy.shape}")
        shape = lazy.shape
        yield lazy


def read_frames_jpeg(
    source: Source, *, start: int = 0, stop: int | None = None, quality: int | None = None, threads: int = 1
) -> Iterator[np.ndarray]:
    """The frames of `read_frames` at 25 fps as a reader of their JPEG dump sees them: `ffmpeg -i SOURCE -f image2 %06d.jpg`.

    quality: None for the command's default (rate control over the whole sequence, so it matters where one starts), else `-qscale:v`.
    """
    if stop == start:
        return
    through, size = Mjpeg(quality), None
    for frame in _on_grid(source, start, stop, 25.0, threads):
        if size not in (None, (frame.width, frame.height)):
            raise Reject("decode_error", f"{name_of(source)}: the frame size changes from {size} to {(frame.width, frame.height)}")
        size = frame.width, frame.height
        with converting(source):
            seen = through(frame)
        yield np.ascontiguousarray(np.rot90(seen, -(rotation_of(frame) // 90)))


def _shrink(plane: np.ndarray, to: tuple[int, int]) -> np.ndarray:
    """A plane averaged over areas, halved while it fits, which OpenCV does quickly, and then interpolated to (width, height)."""
    import cv2

    while plane.shape[0] % 2 == plane.shape[1] % 2 == 0 and plane.shape[0] >= 2 * to[1] and plane.shape[1] >= 2 * to[0]:
        plane = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return plane if plane.shape == to[::-1] else cv2.resize(plane, to, interpolation=cv2.INTER_LINEAR)


def read_small_frames(
    source: Source, side: int, *, fps: float | Fraction = 25, threads: int = 1
) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """(uint8 RGB frame shrunk to at most `side` pixels a side, (width, height) of the whole) for every frame of read_frames.

    For looking at pictures roughly: the decoder's planes are averaged over areas, colours to half the resolution, and only the small
    picture is turned into RGB.
    (swscale's own area filter is much softer.) Never enlarged. Raises what read_frames raises.
    """
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter

    scaler, small = VideoReformatter(), None
    size: tuple[int, int] | None = None
    for frame in _on_grid(source, 0, None, float(fps), threads, rough=True):
        shrink = max(1.0, max(frame.width, frame.height) / side)
        turns = rotation_of(frame) // 90
        whole = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        if size not in (None, whole):
            raise Reject("decode_error", f"{name_of(source)}: the frame size changes from {size} to {whole}")
        size = whole
        with converting(source):
            if frame.format.name not in SUBSAMPLING:
                frame = scaler.reformat(frame, format="yuv444p", threads=1)
        if small is None:
            # Colours at half the resolution, as nearly all video has them: swscale turns that into RGB in a third of the time.
            small = VideoFrame(max(1, round(frame.width / shrink)), max(1, round(frame.height / shrink)), "yuv420p")
        for plane, to in zip(frame.planes, small.planes, strict=True):
            of = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, :plane.width]
            into = np.frombuffer(to, np.uint8).reshape(to.height, to.line_size)
            into[:, :to.width] = _shrink(of, (to.width, to.height))
        small.colorspace, small.color_range = frame.colorspace, frame.color_range
        with converting(source):
            rgb = scaler.reformat(small, format="rgb24", threads=1).to_ndarray()
        yield np.ascontiguousarray(np.rot90(rgb, -turns)), whole


class _Mono16k:
    """Turns PyAV audio frames of one format into int16 mono 16 kHz arrays with swresample's default downmix and filter.

    Sound of 16 bits and fewer is calculated in 16 bits, as the ffmpeg that the published scorers were run with did; later releases
    calculate in floating point, which moves the log energy of a nearly silent window by what it takes to move its embedding by 1 %.
    """

    def __init__(self, start: int = 0) -> None:
        """start: of the samples that are kept; n: how many were made, with those that nobody needed to make."""
        self.start, self.n, self.key, self.graph, self.blocks = start, 0, None, None, []

    @staticmethod
    def key_of(frame) -> tuple[str, str, int]:
        return frame.format.name, frame.layout.name, frame.sample_rate

    def push(self, frame) -> None:
        key = self.key_of(frame)
        if key != self.key:
            self.flush()
            self.key, self.graph = key, self._graph(frame)
        self.graph.push(frame)
        self._pull()

    def flush(self) -> None:
        if self.graph is not None:
            self.graph.push(None)
            self._pull()
        self.key = self.graph = None

    def _pull(self) -> None:
        from av import BlockingIOError, EOFError

        while True:
            try:
                block = self.graph.pull().to_ndarray()[0]
            except (BlockingIOError, EOFError):
                return
            self.n += len(block)
            if self.n > self.start:
                self.blocks.append(block[max(0, len(block) - (self.n - self.start)):])

    @staticmethod
    def _graph(frame):
        from av.filter import Graph

        graph = Graph()
        source = graph.add_abuffer(sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name,
                                   time_base=Fraction(1, frame.sample_rate))
        convert = graph.add("aresample", "tsf=s16p" if frame.format.bytes <= 2 else "")
        target = graph.add("aformat", f"sample_fmts=s16:sample_rates={SAMPLE_RATE}:channel_layouts=mono")
        graph.link_nodes(source, convert, target, graph.add("abuffersink")).configure()
        return graph


def _audio_frame(samples: np.ndarray, like):
    """A PyAV audio frame of these samples, otherwise like another (a bare channel count gets its usual layout)."""
    from av import AudioFrame

    layout = like.layout.name
    if layout.endswith("channels"):
        layout = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}.get(like.layout.nb_channels, layout)
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=like.format.name, layout=layout)
    frame.sample_rate = like.sample_rate
    return frame


def read_audio(source: Source, *, stream: int = 0, start: int = 0, stop: int | None = None) -> np.ndarray:
    """int16 mono 16 kHz samples of the file on the video timeline: sample 0 sounds when the first video frame is shown.

    A later start is filled with zeros, earlier audio is dropped, and holes in the timestamps of more than 10 ms are filled with
    zeros (overlaps dropped), so sound never drifts from the picture. Encoder delay is removed as far as the file declares it: AAC
    priming in edit lists, Opus pre-skip, MP3 LAME headers. A file with no video starts with its first sample. The length is the
    decoded one: it is not padded to the video. `stream` counts audio streams. Downmix and resampling are swresample's defaults
    (`ffmpeg -ac 1 -ar 16000`, calculated in 16 bits where the sound has no more); 16 kHz 16-bit mono passes bit for bit.
    start, stop: only this range of the samples, bit for bit; what lies before it is decoded, for a decoder's state, and dropped.

    MP3 in AVI: AVI cannot declare the encoder's delay, so FFmpeg neither reports nor trims it, and the sound of such a file is
    1105 samples (69 ms at 16 kHz) late in every player. We keep what the file says.

    Raises Reject('no_audio') when there is no such stream or it is empty, Reject('decode_error') as read_frames does.
    """
    return read_sound(source, stream=stream, start=start, stop=stop)[0]


def read_sound(source: Source, *, stream: int = 0, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, float]:
    """(`read_audio`, the longest stretch in s that had to be filled with zeros: a late start, or a hole in the timestamps)."""
    given = source, stream, first_video_s(source), start, stop
    return _sound(*given, True) or _sound(*given, False)


def _sound(source: Source, stream: int, zero_s: float | None, start: int, stop: int | None, skip: bool):
    """What read_sound gives. skip: what is long before `start` is not resampled; None where the format changes after that, for
    only a resampler that had it all knows at which of our samples it begins anew."""
    mono, have, rate, gap_s, begin = _Mono16k(start), 0, None, 0.0, 0  # have: samples so far; begin: the first resampled
    with open_media(source) as container:
        streams = audio_streams(container)
        if stream >= len(streams):
            raise Reject("no_audio", f"{name_of(source)}: audio stream {stream} asked for, {len(streams)} there")
        for time_s, frame in timed_frames(container, streams[stream], source):
            zero_s = time_s if zero_s is None else zero_s
            if rate is None and skip:  # at a sample of the source that a sample of ours falls on, so that its phase is the same
                key, common = mono.key_of(frame), math.gcd(frame.sample_rate, SAMPLE_RATE)
                steps = max(0, start - RUN_IN) // (SAMPLE_RATE // common)
                begin, mono.n = steps * (frame.sample_rate // common), steps * (SAMPLE_RATE // common)
            elif begin and mono.key_of(frame) != key:
                return None
            if rate not in (None, frame.sample_rate):
                have = round(have * frame.sample_rate / rate)
            rate = frame.sample_rate
            slip = round((time_s - zero_s) * rate) - have
            if have and abs(slip) <= MAX_SLIP_S * rate:
                slip = 0
            if slip > MAX_HOLE_S * rate:
                raise Reject("decode_error", f"{name_of(source)}: the sound begins {slip / rate:.3f} s late, at {time_s:.3f} s")
            at, have = have + slip, max(have, have + slip)  # where this frame begins, and where what is new of it does
            from_, end = max(have, begin), at + frame.samples
            if slip <= 0 and end <= from_:  # spares most of what is before a stretch the way into numpy
                have = max(have, end)
                continue
            samples, planes = frame.to_ndarray(), frame.layout.nb_channels if not frame.format.is_planar else 1
            if slip > 0:
                gap_s = max(gap_s, slip / rate)
                quiet = 128 if samples.dtype == np.uint8 else 0
                for part in range(max(at - slip, begin), at, QUIET_SAMPLES):  # an hour of zeros would be gigabytes
                    n = min(QUIET_SAMPLES, at - part)
                    with converting(source):
                        mono.push(_audio_frame(np.full((samples.shape[0], n * planes), quiet, samples.dtype), frame))
            if end > from_:
                with converting(source):
                    mono.push(_audio_frame(samples[:, (from_ - at) * planes :], frame))
            have = max(have, end)
            if stop is not None and mono.n >= stop:
                break
    with converting(source):
        mono.flush()
    if not have or not mono.n:
        raise Reject("no_audio", f"{name_of(source)}: audio stream {stream} holds no samples at or after the first video frame")
    found = np.concatenate(mono.blocks) if mono.blocks else np.zeros(0, np.int16)
    return found if stop is None else found[: max(0, stop - start)], gap_s


def read_wav(source: Source) -> np.ndarray:
    """int16 mono 16 kHz samples of a sound file; what write_wav wrote comes back bit for bit, anything else is converted."""
    return read_audio(source)


def decode_flac(data: bytes) -> np.ndarray:
    """int16 mono 16 kHz samples of encode_flac's bytes, bit for bit."""
    return read_audio(data)
