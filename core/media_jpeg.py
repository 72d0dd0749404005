"""Frames after one JPEG generation, as the published SyncNet scorers see them (import core.media instead).

The scorers let the ffmpeg command dump a video as %06d.jpg and read the files back. That is one mjpeg encoder over the whole video,
whose rate control adapts frame by frame (200 kb/s, so pictures soon lose quality), on the decoder's own planes: they are brought to
JPEG's full range without passing through RGB, and come out one level brighter than the same frames decoded to RGB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

BITS_PER_S = 200_000  # libavcodec's default, which `ffmpeg -f image2 %06d.jpg` takes over


class Mjpeg:
    """libavcodec's mjpeg encoder over a sequence of PyAV frames of one size, with the ffmpeg command's defaults.

    quality: None for the default rate control, else a constant quantiser (`-qscale:v`). through: pixel formats passed on the way.
    """

    def __init__(self, quality: int | None = None, through: tuple[str, ...] = ()):
        self._quality, self._through = quality, through
        self._graph: Any = None
        self._encoder: Any = None
        self._index = 0

    def __call__(self, frame: Any) -> np.ndarray:
        """The frame, uint8 HxWx3 RGB, as a reader of its JPEG file sees it."""
        from core.media_write import decode_jpeg

        return decode_jpeg(self.encode(frame))

    def encode(self, frame: Any) -> bytes:
        """The frame's JPEG file."""
        if self._graph is None:
            self._graph = self._conversion(frame)
        frame.pts, frame.time_base = self._index, Fraction(1, 25)
        self._graph.push(frame)
        image = self._graph.pull()
        if self._encoder is None:
            self._encoder = self._open(image.width, image.height)
        image.pts, image.time_base, image.pict_type = self._index, Fraction(1, 25), 0
        self._index += 1
        (packet,) = self._encoder.encode(image)
        return bytes(packet)

    def _open(self, width: int, height: int) -> Any:
        from av import CodecContext

        encoder = CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
        encoder.bit_rate, encoder.time_base, encoder.framerate = BITS_PER_S, Fraction(1, 25), Fraction(25)
        encoder.thread_count = 1
        if self._quality is not None:
            encoder.qmin = encoder.qmax = self._quality
        return encoder

    def _conversion(self, frame: Any) -> Any:
        from av.filter import Graph

        graph = Graph()
        nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name, time_base=Fraction(1, 25))]
        for pixels in (*self._through, "yuvj420p"):
            nodes += [graph.add("scale", "flags=bicubic"), graph.add("format", pixels)]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph


def jpeg_roundtrip_mjpeg(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """RGB frames (uint8 HxWx3, all of one size) after one JPEG generation of the ffmpeg command's default quality.

    For crops: they become 4:2:0 video pixels first, as the published pipeline writes its crops to a video file. Whole frames of a
    file go through `read_frames_jpeg`, which has the decoder's own planes and not their RGB.
    """
    from av import VideoFrame

    from core.media_write import _check_rgb

    through = Mjpeg(through=("yuv420p",))
    for rgb in frames:
        yield through(VideoFrame.from_ndarray(np.ascontiguousarray(_check_rgb(rgb, "jpeg_roundtrip_mjpeg")), format="rgb24"))


def join_jpegs(jpegs: list[bytes], width: int, height: int) -> bytes:
    """A Motion JPEG video at 25 fps (AVI) of JPEG files of one size, each put in as it is: nothing is encoded again.

    Raises Reject('no_frames') for an empty list.
    """
    import io

    from av import Packet, open

    from core.records import Reject

    if not jpegs:
        raise Reject("no_frames", "there is no picture to make a video of")
    sink = io.BytesIO()
    with open(sink, "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mjpeg", rate=25, width=width, height=height, pix_fmt="yuvj420p")
        for k, jpeg in enumerate(jpegs):
            packet = Packet(jpeg)
            packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = stream, k, k, 1, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
    return sink.getvalue()
