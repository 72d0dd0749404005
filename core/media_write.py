"""Encoding of video, stills and sound with reproducible bytes: the writing half of core.media (import that instead)."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from core.records import Reject

SAMPLE_RATE = 16_000
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov")
AUDIO_CODECS = ("aac", "flac", "pcm_s16le")
AAC_BITS_PER_S = 128_000


def _check_samples(samples: np.ndarray, who: str) -> np.ndarray:
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16 or samples.ndim != 1:
        got = f"{samples.dtype} {samples.shape}" if isinstance(samples, np.ndarray) else type(samples).__name__
        raise ValueError(f"{who}: expected int16 mono samples at 16 kHz, shape (n,), got {got}")
    return np.ascontiguousarray(samples)


def _check_rgb(rgb: np.ndarray, who: str) -> np.ndarray:
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        got = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ValueError(f"{who}: expected a uint8 HxWx3 RGB frame, got {got}")
    return rgb


def _sound(samples: np.ndarray, at: int):
    """A PyAV frame of int16 mono 16 kHz samples whose first is sample `at` of the timeline."""
    from av import AudioFrame

    frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), at
    return frame


def _mux(path: str, frames, audio, fps, crf, preset, audio_codec, pix_fmt, profile) -> None:
    import av
    from av.codec.context import Flags
    from av.video.reformatter import VideoReformatter

    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise Reject("no_frames", f"{os.path.basename(path)}: no frames to write")
    shape = _check_rgb(first, "write_video").shape
    even = 2 if pix_fmt in ("yuv420p", "yuvj420p") else 1
    pad = ((0, -shape[0] % even), (0, -shape[1] % even), (0, 0))
    odd = any(after for _, after in pad)
    rate, scaler, sent = Fraction(fps).limit_denominator(1_001_000), VideoReformatter(), 0
    options = {"movflags": "+faststart"} if not path.endswith(".mkv") else {}
    with av.open(path, "w", options=options, container_options={"fflags": "+bitexact"}) as out:
        extra = {} if profile is None else {"profile": profile}
        video = out.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset} | extra)
        video.width, video.height, video.pix_fmt = shape[1] + pad[1][1], shape[0] + pad[0][1], pix_fmt
        context = video.codec_context
        context.thread_count, context.thread_type, context.time_base = 1, "NONE", 1 / rate
        context.flags |= Flags.bitexact
        # swscale's RGB to YUV default is BT.601 limited range; said aloud, or players guess BT.709 for large frames.
        context.colorspace, context.color_range = 6, 1
        if audio is not None:
            track = out.add_stream(audio_codec, rate=SAMPLE_RATE, layout="mono")
            track.codec_context.flags |= Flags.bitexact
            if audio_codec == "aac":
                track.bit_rate = AAC_BITS_PER_S
                track.codec_context.options = {"aac_coder": "fast"}  # a third of the time; speech at this rate sounds the same
        for index, rgb in enumerate(chain([first], frames)):
            if _check_rgb(rgb, "write_video").shape != shape:
                raise ValueError(f"write_video: frame {index} has shape {rgb.shape}, the first {shape}")
            if odd:
                rgb = np.pad(rgb, pad, mode="edge")
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            image = scaler.reformat(image, format=pix_fmt, threads=1)
            image.pts, image.time_base = index, 1 / rate
            out.mux(video.encode(image))
            if audio is not None:  # interleave: sound up to the end of this frame
                due = min(len(audio), int((index + 1) * SAMPLE_RATE / rate))
                if due > sent:
                    out.mux(track.encode(_sound(audio[sent:due], sent)))
                    sent = due
        if audio is not None:
            if sent < len(audio):
                out.mux(track.encode(_sound(audio[sent:], sent)))
            out.mux(track.encode(None))
        out.mux(video.encode(None))


def write_video(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    *,
    audio: np.ndarray | None = None,
    fps: float | Fraction = 25,
    crf: int = 18,
    preset: str = "veryfast",
    audio_codec: str = "aac",
    pix_fmt: str = "yuv420p",
    profile: str | None = None,
) -> None:
    """A video file of these frames (uint8 HxWx3 RGB, consumed one at a time) and int16 mono 16 kHz audio, whole or not at all.

    H.264 by libx264 on one thread in .mp4/.mov (index first, for browsers) or .mkv; same input, same bytes. With 4:2:0 pixels an
    odd width or height grows by one repeated column or row. profile: the H.264 profile ("baseline", "main", "high") for players that
    know no other; x264's own choice if None. Audio starts with the first frame: an edit list hides AAC priming.
    Raises ValueError for a wrong suffix, codec, dtype or shape, Reject('no_frames') for an empty iterable.
    """
    path = Path(path)
    if path.suffix not in VIDEO_SUFFIXES:
        raise ValueError(f"write_video: {path}: expected one of the suffixes {', '.join(VIDEO_SUFFIXES)}")
    if audio_codec not in AUDIO_CODECS:
        raise ValueError(f"write_video: audio_codec {audio_codec!r}: expected one of {', '.join(AUDIO_CODECS)}")
    if audio is not None and audio_codec == "flac" and path.suffix == ".mov":
        raise ValueError(f"write_video: {path}: .mov cannot hold flac; write .mp4 or .mkv, or choose aac or pcm_s16le")
    audio = None if audio is None else _check_samples(audio, "write_video: audio")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    try:
        _mux(temporary, frames, audio, fps, crf, preset, audio_codec, pix_fmt, profile)
        _publish(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _publish(temporary: str, path: Path) -> None:
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files private
    os.replace(temporary, path)


def encode_video(frames: Iterable[np.ndarray], *, suffix: str = ".mp4", **options) -> bytes:
    """The bytes that write_video would write; options are its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"video{suffix}"
        write_video(path, frames, **options)
        return path.read_bytes()


def encode_jpeg(rgb: np.ndarray, quality: int = 95) -> bytes:
    """JPEG bytes of a uint8 HxWx3 RGB frame, without chroma subsampling."""
    import cv2

    bgr = cv2.cvtColor(_check_rgb(rgb, "encode_jpeg"), cv2.COLOR_RGB2BGR)
    full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality), *full])
    if not done:
        raise ValueError(f"encode_jpeg: OpenCV could not encode a frame of shape {rgb.shape}")
    return data.tobytes()


def decode_jpeg(data: bytes) -> np.ndarray:
    """The uint8 HxWx3 RGB frame of a JPEG. Raises Reject('decode_error') for bytes that are none."""
    import cv2

    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None
    if bgr is None:
        raise Reject("decode_error", f"<{len(data)} bytes>: not a JPEG image")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def write_wav(path: str | os.PathLike, samples: np.ndarray) -> None:
    """A 16 kHz 16-bit mono WAV file of int16 samples, whole or not at all."""
    import wave

    samples, path = _check_samples(samples, "write_wav"), Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SAMPLE_RATE)
            out.writeframes(samples.astype("<i2").tobytes())
        _publish(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def encode_flac(samples: np.ndarray) -> bytes:
    """FLAC bytes of int16 mono 16 kHz samples, lossless and the same every time."""
    import av
    from av.codec.context import Flags

    samples, buffer = _check_samples(samples, "encode_flac"), io.BytesIO()
    if not len(samples):
        raise ValueError("encode_flac: no samples to encode")
    with av.open(buffer, "w", format="flac", container_options={"fflags": "+bitexact"}) as out:
        track = out.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        track.codec_context.flags |= Flags.bitexact
        out.mux(track.encode(_sound(samples, 0)))
        out.mux(track.encode(None))
    return buffer.getvalue()
