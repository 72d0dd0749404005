"""The one law between seconds, samples, mel frames, MFCC rows and video frames. Everything is exact integer arithmetic.

Video runs at 25 frames a second, audio at 16,000 samples a second. Frame f is shown from f/25 s on and owns the samples
[640 f, 640 (f + 1)). Mel frame m is centred on sample 200 m (80 a second: 3.2 a video frame). MFCC row r covers the samples
[160 r, 160 r + 400) (100 a second: 4 a video frame). Seconds are the only real numbers: they become samples first (nearest,
halves up), and everything else follows from samples, so nothing drifts however long the recording is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

FPS = 25
SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 640  # SAMPLE_RATE / FPS
MEL_HOP = 200
MEL_PER_SECOND = 80
MFCC_WINDOW = 400
MFCC_STEP = 160
MFCC_PER_FRAME = 4
SYNCNET_FRAMES = 5  # frames f..f+4 go with one audio window


# ---- seconds, samples, frames -------------------------------------------------------------------------------------------------
def sample_at(time_s: float) -> int:
    """Index of the sample nearest to a time in seconds (halves round up). Raises ValueError unless finite and >= 0."""
    if not (math.isfinite(time_s) and time_s >= 0):
        raise ValueError(f"time_s must be finite and >= 0, not {time_s!r}")
    whole_s = math.floor(time_s)  # split first: time_s * 16000 alone loses the fraction after years
    return whole_s * SAMPLE_RATE + math.floor((time_s - whole_s) * SAMPLE_RATE + 0.5)


def frame_at(time_s: float) -> int:
    """Index of the video frame on screen at a time in seconds; a time within half a sample before f/25 already counts as f."""
    return frame_of_sample(sample_at(time_s))


def sample_time_s(sample: int) -> float:
    """Time of a sample in seconds."""
    return sample / SAMPLE_RATE


def frame_time_s(frame: int) -> float:
    """Time at which a video frame appears, in seconds."""
    return frame / FPS


def frame_of_sample(sample: int) -> int:
    """Index of the video frame that owns a sample."""
    return sample // SAMPLES_PER_FRAME


def sample_range(frame: int, n_frames: int = 1) -> tuple[int, int]:
    """Samples [start, stop) that belong to `n_frames` video frames from `frame` on."""
    return frame * SAMPLES_PER_FRAME, (frame + n_frames) * SAMPLES_PER_FRAME


def n_frames_for_samples(n_samples: int) -> int:
    """Number of whole video frames that `n_samples` samples cover (the remainder is dropped)."""
    return _count(n_samples, "n_samples") // SAMPLES_PER_FRAME


def n_samples_for_frames(n_frames: int) -> int:
    """Number of samples of exactly `n_frames` video frames."""
    return _count(n_frames, "n_frames") * SAMPLES_PER_FRAME


# ---- mel frames ---------------------------------------------------------------------------------------------------------------
def n_mel_frames(n_samples: int) -> int:
    """Number of mel frames of `n_samples` samples under a centred transform: one on sample 0 and one every 200 samples."""
    return 1 + _count(n_samples, "n_samples") // MEL_HOP


def mel_of_frame(frame: int) -> int:
    """First mel frame of the window of a video frame: floor(3.2 f), as Wav2Lip's inference counts.

    It lies at most 0.8 mel frames (10 ms) before the frame's first sample, never after it.
    """
    return frame * MEL_PER_SECOND // FPS


def mels_inside_frame(frame: int) -> range:
    """Mel frames whose centre sample the video frame owns: 3 or 4 of them; over all frames each mel frame occurs once."""
    return range(-(-frame * MEL_PER_SECOND // FPS), -(-(frame + 1) * MEL_PER_SECOND // FPS))


def frame_of_mel(mel: int) -> int:
    """Index of the video frame that owns the centre sample of a mel frame."""
    return frame_of_sample(mel * MEL_HOP)


# ---- MFCC rows ----------------------------------------------------------------------------------------------------------------
def n_mfcc_rows(n_samples: int, pad: bool = True) -> int:
    """Number of MFCC rows (400 samples every 160) of `n_samples` samples.

    pad=True (python_speech_features, HTK never): the last row is filled up with zeros, so n frames of 640 samples give exactly
    4 n - 1 rows. pad=False (mfcc.m of Speech2Vid and DAVS): only whole windows count, so they give 4 n - 2.
    """
    n_samples = _count(n_samples, "n_samples")
    if n_samples < MFCC_WINDOW:
        return int(pad)
    over = n_samples - MFCC_WINDOW
    return 1 + (-(-over // MFCC_STEP) if pad else over // MFCC_STEP)


def n_mfcc_rows_for_frames(n_frames: int) -> int:
    """Number of MFCC rows of exactly `n_frames` video frames (n_frames >= 1): 4 n_frames - 1."""
    if n_frames < 1:
        raise ValueError(f"n_frames must be at least 1, not {n_frames}")
    return MFCC_PER_FRAME * n_frames - 1


# ---- windows ------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class AudioWindow:
    """The stretch of audio features that one system looks at for one video frame.

    start(f) = floor(rate_num * f / rate_den) + shift, `length` rows long. `pad_samples` zeros stand before and after the audio
    before its features are taken (row 0 is then the first row of the padded audio). `n_video_frames` go with one window.
    """

    name: str
    feature: Literal["mfcc", "mel"]
    length: int
    shift: int = 0
    pad_samples: int = 0
    n_video_frames: int = 1

    def start(self, frame: int) -> int:
        """First feature row of the window of a video frame; may be negative near the beginning."""
        return (MFCC_PER_FRAME * frame if self.feature == "mfcc" else mel_of_frame(frame)) + self.shift

    def centre_s(self, frame: int) -> float:
        """Time of the middle of the window of a video frame on the clip's timeline, in seconds."""
        hop = MFCC_STEP if self.feature == "mfcc" else MEL_HOP
        # an MFCC row begins on its index and is 400 samples wide, a mel frame is centred on its index
        width = MFCC_WINDOW if self.feature == "mfcc" else 0
        return (self.start(frame) * hop + ((self.length - 1) * hop + width) / 2 - self.pad_samples) / SAMPLE_RATE

    def rows(self, n_frames: int, n_rows: int, tail: Literal["clamp", "shift"] = "clamp") -> np.ndarray:
        """Feature rows of the windows of frames 0..n_frames-1: int64 (n_frames, length), every entry in [0, n_rows).

        tail="clamp" repeats the first or last row where a window sticks out; tail="shift" moves the whole window inside, as
        Wav2Lip does at the end of a clip. Raises ValueError when there are no rows, or with "shift" fewer than `length`.
        """
        needed = self.length if tail == "shift" else 1
        if n_rows < needed:
            raise ValueError(f"{self.name} window: {n_rows} feature rows, at least {needed} needed")
        starts = np.array([self.start(f) for f in range(n_frames)], dtype=np.int64)
        if tail == "shift":
            starts = np.clip(starts, 0, n_rows - self.length)
        return np.clip(starts[:, None] + np.arange(self.length), 0, n_rows - 1)


# Sources: the released code of each system. SyncNet pairs rows 4f..4f+19 with the frames f..f+4. Speech2Vid's training pairs
# frame 4 with rows 0..34. DAVS: bin l (1-based) takes rows 4l-7..4l+12. Stochastic pads 1,965 zeros, then takes 28 rows from 4f
# on. Wav2Lip: 16 mel frames from floor(3.2 f) on at inference (its training starts one video frame earlier).
WINDOWS: dict[str, AudioWindow] = {
    w.name: w
    for w in (
        AudioWindow("syncnet", "mfcc", length=20, n_video_frames=SYNCNET_FRAMES),
        AudioWindow("speech2vid", "mfcc", length=35, shift=-16),
        AudioWindow("davs", "mfcc", length=20, shift=-8),
        AudioWindow("stochastic", "mfcc", length=28, pad_samples=1965),
        AudioWindow("wav2lip", "mel", length=16),
    )
}


def n_syncnet_windows(n_frames: int, n_samples: int) -> int:
    """Number of SyncNet windows the public scorer takes: min(frames, whole frames of audio) - 5, at least 0.

    Source: syncnet_python. The last window that would fit (there are n - 4) is dropped there, and therefore here.
    """
    return max(0, min(_count(n_frames, "n_frames"), n_frames_for_samples(n_samples)) - SYNCNET_FRAMES)


def _count(value: int, name: str) -> int:
    if value < 0:
        raise ValueError(f"{name} must be >= 0, not {value}")
    return int(value)
