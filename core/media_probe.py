"""Opening media files, walking their packets, and what they hold: the shared half of core.media (import that instead)."""

from __future__ import annotations

import heapq
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from core.records import Reject

log = logging.getLogger("babelface.media")

Source = str | os.PathLike | bytes | io.BytesIO

# Demuxers we open. Playlists (hls, concat, sdp) could name other files, and FFmpeg "opens" plain text as ANSI art (tty).
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,asf,mxf,nut,ogg,wav,w64,aiff,caf,au,flac,mp3,aac,amr,gif,ivf,dv,rm"
)
# Containers and codecs whose packets carry true display times and whose key frames are clean entry points.
INDEXED_FORMATS = {"mov", "mp4", "matroska", "webm"}
INDEXED_CODECS = {"h264", "hevc", "vp8", "vp9", "av1"}
MAX_READ_FAILURES = 16
TAIL_PACKETS = 4  # parsers cut a truncated end into a few more packets, some of them whole
MAX_HOLE_S = 3600.0  # a longer jump in the timestamps is damage, and would be hours of silence or of one still picture
MAX_PIXELS = 1 << 26  # of a frame, twice what 8K has; headers may claim billions
SHORT_S = 1.0  # a stream that ends this much before the declared duration is worth a warning


@dataclass(frozen=True)
class MediaInfo:
    """What one media file holds. `width`/`height` are those of the frames we hand out (rotation applied)."""

    has_video: bool
    has_audio: bool
    width: int
    height: int
    rotation: int  # clockwise degrees applied for display: 0, 90, 180 or 270
    n_audio: int
    video_codec: str | None
    audio_codec: str | None
    nominal_fps: float | None  # as the container says; never used to count or to time frames
    start_s: float  # container time of the first displayed frame (of the first audio sample when there is no video)


def name_of(source: Source) -> str:
    """The name of a source for messages: its path, or `<N bytes>` for one held in memory."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    data = source.getbuffer() if isinstance(source, io.BytesIO) else source
    return f"<{len(data)} bytes>"


def open_media(source: Source):
    """An open PyAV input container (a context manager) for a path, bytes or BytesIO.

    Raises Reject('missing_file') for a path that is not there and Reject('decode_error') for anything FFmpeg cannot open.
    """
    import av

    if isinstance(source, (str, os.PathLike)):
        target = os.fspath(source)
        if not os.path.isfile(target):
            raise Reject("missing_file", f"{target}: no such file")
    else:
        target = io.BytesIO(source.getvalue() if isinstance(source, io.BytesIO) else source)
    try:
        return av.open(target, options={"format_whitelist": FORMATS}, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Reject("decode_error", f"{name_of(source)}: cannot be opened as audio or video ({reason})") from error


@contextmanager
def converting(source: Source) -> Iterator[None]:
    """Raises Reject('decode_error') where FFmpeg cannot convert what it decoded: a damaged header may promise anything."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise Reject("decode_error", f"{name_of(source)}: what it holds cannot be converted ({error.strerror})") from error


def video_stream(container):
    """The first real video stream (cover pictures are skipped), or None. Reject('decode_error') where its codec is unknown."""
    from av.stream import Disposition

    picture = Disposition.attached_pic
    stream = next((s for s in container.streams.video if not s.disposition & picture), None)
    if stream is not None and stream.codec_context is None:
        raise Reject("decode_error", f"{container.name or 'video in memory'}: nothing here decodes the codec of its video stream")
    return stream


def audio_streams(container) -> list:
    """The audio streams that something here decodes."""
    return [s for s in container.streams.audio if s.codec_context is not None]


def decode_stream(container, stream, source: Source, dts_seen: list[int] | None = None) -> Iterator:
    """Decoded PyAV frames of one stream, in the decoder's (display) order, frames hidden by edit lists left out.

    Data that FFmpeg calls invalid, or packets it marks corrupt, raise Reject('decode_error') with the file and the time when more
    than a few readable packets follow. Otherwise it is a truncated tail: what came before is kept and a warning is logged, as it
    is when a stream ends long before the declared duration (a cut AVI or matroska file, or damage that a demuxer skips, gives no
    error at all). Damage that a decoder conceals without an error (H.264 does, inside a slice) is not seen here. dts_seen: a heap
    that collects the decoding times of the packets read.
    """
    import av

    packets, broken_s, failures, after, seen_s = container.demux(stream), None, 0, 0, 0.0
    unit = stream.time_base
    while True:
        frames: list = []
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.EOFError:
            break
        except av.FFmpegError:
            failures += 1
            broken_s = seen_s if broken_s is None else broken_s
            if failures >= MAX_READ_FAILURES:
                break
            packets = container.demux(stream)
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            seen_s = stamp * unit.numerator / unit.denominator  # as the fraction itself would be rounded, in a tenth of its time
        if not packet.size and stamp is not None:
            continue  # an empty packet holds the picture; to the decoder it would mean the end
        if dts_seen is not None and packet.dts is not None:
            heapq.heappush(dts_seen, packet.dts)
        damaged = bool(packet.size) and packet.is_corrupt
        if not damaged:
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged = True
        if damaged:
            broken_s = seen_s if broken_s is None else broken_s
        elif broken_s is None or not (packet.size or after):  # the last flush gives pictures decoded before the damage
            yield from frames
        elif packet.size:
            after += 1
            if after > TAIL_PACKETS:
                raise Reject(
                    "decode_error",
                    f"{name_of(source)}: invalid {stream.type} data at {broken_s:.3f} s, with readable data after it",
                )
    if broken_s is not None:
        log.warning("%s: %s is cut short at %.3f s; kept what comes before", name_of(source), stream.type, broken_s)
        return
    length_s = stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, av.time_base)
    end_s = float(length_s) + float((stream.start_time or 0) * stream.time_base)
    if end_s - seen_s > SHORT_S:
        text = "%s: %s ends at %.3f s, the container declares %.3f s; kept what is there"
        log.warning(text, name_of(source), stream.type, seen_s, end_s)


def timed_frames(container, stream, source: Source) -> Iterator[tuple[float, object]]:
    """(container time in s, PyAV frame) of one stream, times never decreasing; a missing time continues at the nominal rate."""
    is_video = stream.type == "video"
    step = 1.0 / float(stream.guessed_rate or 25) if is_video else 0.0
    last, dts_seen = None, [] if is_video and container.format.name == "avi" else None
    for frame in decode_stream(container, stream, source, dts_seen):
        stamp = frame.pts if frame.pts is not None else frame.dts
        if dts_seen:  # AVI stores decoding order only: the k-th frame shown takes the k-th time, B-frames or not
            stamp = heapq.heappop(dts_seen)
        if stamp is not None:
            unit = frame.time_base or stream.time_base
            time_s = stamp * unit.numerator / unit.denominator
        else:
            time_s = 0.0 if last is None else last + step
        if is_video and last is not None:
            time_s = max(time_s, last)
        if last is not None and time_s - last > MAX_HOLE_S:
            raise Reject("decode_error", f"{name_of(source)}: the {stream.type} timestamps jump from {last:.3f} to {time_s:.3f} s")
        if is_video and frame.width * frame.height > MAX_PIXELS:
            raise Reject("decode_error", f"{name_of(source)}: frames of {frame.width}x{frame.height} pixels; the most is {MAX_PIXELS} in all")
        last = time_s if is_video else time_s + frame.samples / frame.sample_rate
        yield time_s, frame


def rotation_of(frame) -> int:
    """The clockwise turn (0, 90, 180 or 270 degrees) that shows this PyAV frame upright; FFmpeg reports it anticlockwise."""
    return -90 * round(frame.rotation / 90) % 360


def first_video_s(source: Source) -> float | None:
    """The container time in s of the first displayed video frame, or None without video: zero of our timeline."""
    with open_media(source) as container:
        stream = video_stream(container)
        if stream is None:
            return None
        for time_s, _ in timed_frames(container, stream, source):
            return time_s
    raise Reject("decode_error", f"{name_of(source)}: the video stream holds no decodable frame")


def probe(source: Source) -> MediaInfo:
    """What the file holds, read from its header and its first decoded frame.

    Raises Reject('missing_file'), and Reject('decode_error') when it cannot be opened or holds neither audio nor video.
    """
    with open_media(source) as container:
        video, audio = video_stream(container), audio_streams(container)
        if video is None and not audio:
            raise Reject("decode_error", f"{name_of(source)}: holds neither a video nor an audio stream")
        width = height = rotation = 0
        first = next(timed_frames(container, video or audio[0], source), None)
        if first is None:
            kind = "video" if video else "audio"
            raise Reject("decode_error", f"{name_of(source)}: the {kind} stream holds no decodable frame")
        if video:
            rotation = rotation_of(first[1])
            width, height = first[1].width, first[1].height
            if rotation in (90, 270):
                width, height = height, width
        return MediaInfo(
            has_video=video is not None,
            has_audio=bool(audio),
            width=width,
            height=height,
            rotation=rotation,
            n_audio=len(audio),
            video_codec=video.codec.canonical_name if video else None,
            audio_codec=audio[0].codec.canonical_name if audio else None,
            nominal_fps=float(video.guessed_rate) if video and video.guessed_rate else None,
            start_s=first[0],
        )


def _packet_times(container, stream) -> np.ndarray | None:
    """Display times in s from packets alone, or None where packets cannot be trusted to say what will be decoded."""
    import av

    if not INDEXED_FORMATS & set(container.format.name.split(",")) or stream.codec.canonical_name not in INDEXED_CODECS:
        return None
    stamps, shown, first = [], [], None
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_corrupt:
                return None
            first = packet if first is None else first
            stamps.append(packet.pts)
            if not packet.is_discard:
                shown.append(packet.pts)
    except av.FFmpegError:
        return None
    # A file cut inside an open group starts with frames the decoder cannot show; equal stamps are fields or hidden frames.
    if not shown or not first.is_keyframe or first.pts != min(stamps) or len(set(stamps)) != len(stamps):
        return None
    return np.sort(np.array([float(s * stream.time_base) for s in shown]))


def rough_length(source: Source) -> int | None:
    """Frames at 25 fps without decoding: by the packets' times where they are sound, else as the container says; None: it does not."""
    with open_media(source) as container:
        stream = video_stream(container)
        times = None if stream is None else _packet_times(container, stream)  # s
        if times is not None and len(times):
            return int((times[-1] - times[0]) * 25 + 1e-3) + 1
        return None if stream is None or container.duration is None else round(container.duration / 1_000_000 * 25)


def frame_times(source: Source) -> np.ndarray:
    """float64 display times in s of every source frame, relative to the first displayed one, never decreasing.

    Read from packets where they are sound (H.264, HEVC, VP8/9, AV1 in mp4 or matroska), else by decoding: a container's own frame
    count and rate are never used. Raises Reject('no_video') and Reject('decode_error').
    """
    with open_media(source) as container:
        stream = video_stream(container)
        if stream is None:
            raise Reject("no_video", f"{name_of(source)}: has no video stream")
        times = _packet_times(container, stream)
    if times is None:
        with open_media(source) as container:
            stream = video_stream(container)
            times = np.array([t for t, _ in timed_frames(container, stream, source)])
    if not len(times):
        raise Reject("decode_error", f"{name_of(source)}: the video stream holds no decodable frame")
    return times - times[0]
