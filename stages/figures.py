"""Every figure of one clip, arrays in and numbers out: not a stage, but what stages.judge asks.

`FIGURES` is the one place where a metric of a clip is added: the columns that it fills, and a function of (judge, take) that
returns their values, or raises Unscored with the reason why they are null. A value may also be a Null with a reason of its own.
Columns are those of core.records' scores; what they mean stands in metrics/registry.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.records import Reject
from core.tracks import N_LANDMARKS, Track, smooth_points

if TYPE_CHECKING:
    from stages.judge import Judge

SILENT_DB = -60.0  # a sound below it is silence with noise: nothing to be in time with
SHARPNESS_EVERY = 10  # frames between two whose sharpness is measured: it changes slowly and costs as much as all else
MESHED_SHARE = 0.9  # of a clip's frames in which landmarks must fit
BATCH = 16


class Unscored(Exception):
    """A figure that cannot be had: the reason, as it stands in null_reasons."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Null:
    """One value that cannot be had while others of the same figure can."""

    reason: str


@dataclass(slots=True)
class Take:
    """One row to be judged: n whole pictures, uint8 RGB, which can be gone through more than once, with their sound, int16 16 kHz
    (None with `no_sound`, the reason), and the face's track (None with `no_track`): that of the real video where there is one,
    for real and generated video alike, found by `finder` (`kind:sha256`).

    sync_frames: what the sync expert sees instead of `frames` (JPEG). no_sync: why it must not be asked. source: the real frames
    of the same moments and words; None with `no_source`. truth: the opening that was rendered, (n,); None with `no_truth`.
    sounds: {viseme, start_s, end_s} as the corpus knows them, in the recording's time, whose frame `first_frame` is the first
    here. points: landmarks of the shown face where they are known already, or the reason why there are none. ask_lags: also put
    lags into it on purpose, as for real video. said: the words of the sound, where they are known, in the language `spoken`.
    embedded: (video, audio) of the sync expert, once it was asked.
    """

    frames: Iterable[np.ndarray]
    n_frames: int
    samples: np.ndarray | None
    face: Track | None
    finder: str | None = None
    sync_frames: Iterable[np.ndarray] | None = None
    no_sync: str | None = None
    source: Iterable[np.ndarray] | None = None
    no_source: str = "no_reference"
    truth: np.ndarray | None = None
    no_truth: str = "no_truth"
    sounds: list[dict[str, Any]] | None = None
    first_frame: int = 0
    points: np.ndarray | str | None = None
    no_track: str = "no_face"
    no_sound: str = "no_audio"
    ask_lags: bool = False
    said: str | None = None
    spoken: str | None = None
    embedded: tuple[np.ndarray, np.ndarray] | None = None


# ---- synchrony
# --------------------------------------------------------------------------------------------------------------------
def sync(judge: Judge, take: Take) -> dict[str, Any]:
    """LSE and offset, on the view that the protocol names; for real video also the offsets found when lags are put in."""
    from core.audio import loudness_db
    from metrics.lags import injected_offsets
    from metrics.sync import lse
    from models.experts.syncnet import embed_clip

    if judge.expert is None:
        raise Unscored("no_expert")
    if judge.protocol.view not in (None, judge.template.kind):
        raise Unscored("wrong_view")
    samples = _sound(take)
    if take.no_sync is not None:
        raise Unscored(take.no_sync)
    if loudness_db(samples) <= SILENT_DB:
        raise Unscored("silent_sound")
    vshift = judge.config["vshift"]
    try:
        embedded = embed_clip(judge.expert, judge.crops(take), samples)
        found = lse(*embedded, vshift=vshift, padded=judge.protocol.padded,
                    min_windows=max(judge.config["min_windows"], vshift + 1))
    except Reject as reject:
        raise Unscored(reject.reason) from None
    take.embedded = embedded
    lags = {"lag_offsets": injected_offsets(*embedded, vshift)} if take.ask_lags else {}
    return {"lse_d": found.lse_d, "lse_c": found.lse_c, "offset_frames": int(found.offset_frames), "n_windows": found.n_windows,
            "mean_dist": [float(m) for m in found.mean_dist], **lags}


def energy(judge: Judge, take: Take) -> dict[str, Any]:
    """Mouth opening against the loudness of the sound: synchrony without an expert."""
    from core.audio import energy_per_frame
    from metrics.energy import energy_correlation
    from metrics.landmarks import mouth_opening

    samples, points = _sound(take), shown_points(judge, take)
    value, reason = energy_correlation(mouth_opening(points), energy_per_frame(samples, len(points)))
    return {"energy_correlation": Null(reason) if reason else value}


# ---- pictures
# ---------------------------------------------------------------------------------------------------------------------
def regions(judge: Judge, take: Take) -> dict[str, Any]:
    """SSIM, PSNR and LPIPS against the real frames: of the face, the mouth and the whole frame."""
    from metrics.image import MS_SSIM_MIN_SIDE, SSIM_MIN_SIDE, ms_ssim, psnr
    from metrics.ssim_fast import FastSsim

    _real(take)
    out: dict[str, Any] = {}
    for region, suffix in (("face", ""), ("mouth", "_mouth"), ("frame", "_frame")):
        names = [f"{m}{suffix}" for m in ("ssim", "psnr", "lpips")] + (["ms_ssim"] if region == "face" else [])
        boxes = _boxes(take, region)
        if isinstance(boxes, Null):
            out |= dict.fromkeys(names, boxes)
            continue
        side = int((boxes[0, 2:] - boxes[0, :2]).min())
        fast, values = FastSsim(), {name: [] for name in names}
        for real, shown in _pairs(take, boxes):
            if side >= SSIM_MIN_SIDE:
                values[f"ssim{suffix}"].append(fast(real, shown))
            values[f"psnr{suffix}"].append(psnr(real, shown))
            if "ms_ssim" in values and side >= MS_SSIM_MIN_SIDE:
                values["ms_ssim"].append(ms_ssim(real, shown))
        out |= {name: float(np.mean(v)) if v else Null("face_too_small") for name, v in values.items()}
        out[f"lpips{suffix}"] = _lpips(judge, take, boxes, side)
    return out


def _lpips(judge: Judge, take: Take, boxes: np.ndarray, side: int) -> float | Null:
    net = judge.perceptual
    if net is None or side < 32:
        return Null("no_weights" if net is None else "face_too_small")
    found: list[float] = []
    batch: list[tuple[np.ndarray, np.ndarray]] = []
    for pair in _pairs(take, boxes):
        batch.append(pair)
        if len(batch) == BATCH:
            found += net.distances(*(np.stack(part) for part in zip(*batch, strict=True))).tolist()
            batch = []
    if batch:
        found += net.distances(*(np.stack(part) for part in zip(*batch, strict=True))).tolist()
    return float(np.mean(found))


def sharpness(judge: Judge, take: Take) -> dict[str, Any]:
    """CPBD of the face, without a reference, on every tenth frame."""
    from metrics.sharpness import BLOCK, cpbd, to_grey

    _face(take)
    boxes = _boxes(take, "face")
    if (boxes[0, 2:] - boxes[0, :2]).min() < BLOCK:
        raise Unscored("face_too_small")
    chosen = [to_grey(f[y0:y1, x0:x1]) for k, (f, (x0, y0, x1, y1)) in enumerate(zip(take.frames, boxes, strict=False))
              if k % SHARPNESS_EVERY == 0]
    return {"cpbd": float(np.mean([cpbd(grey) for grey in chosen]))}


def identity(judge: Judge, take: Take) -> dict[str, Any]:
    """Whether it is still the same person, seen through the real track's points, on every tenth frame."""
    from metrics.identity import identity_similarity
    from models.experts.identity import five_points

    source = _real(take)
    if judge.recognizer is None:
        raise Unscored("no_weights")
    at = np.arange(0, take.n_frames, SHARPNESS_EVERY)
    points = five_points(_meshed(_face(take), take.n_frames)[at])
    real, shown = ([f for k, f in enumerate(frames) if k % SHARPNESS_EVERY == 0][:len(at)] for frames in (source, take.frames))
    return {"identity_similarity": identity_similarity(judge.recognizer.embed(real, points),
                                                       judge.recognizer.embed(shown, points))}


# ---- landmarks
# --------------------------------------------------------------------------------------------------------------------
def lips(judge: Judge, take: Take) -> dict[str, Any]:
    """Lip landmarks of the shown face against the real ones."""
    from metrics.landmarks import landmark_distance, mouth_opening, opening_correlation

    _real(take)
    real = _meshed(_face(take), take.n_frames)
    points = shown_points(judge, take)
    value, reason = opening_correlation(mouth_opening(real), mouth_opening(points))
    return {"landmark_distance": landmark_distance(real, points), "lmd": landmark_distance(real, points, "published"),
            "opening_correlation": Null(reason) if reason else value}


def motion(judge: Judge, take: Take) -> dict[str, Any]:
    """Blinks, head motion and jitter of the shown face."""
    from metrics.motion import blinks, head_motion, jitter

    points = shown_points(judge, take)
    if len(points) < 3:
        raise Unscored("too_short")
    found = blinks(points)
    return {"blink_rate": Null(found.reason) if found.reason else found.per_minute, "head_motion": head_motion(points),
            "jitter": jitter(points)}


def truth(judge: Judge, take: Take) -> dict[str, Any]:
    """How well the shown mouth follows the corpus's own truth, where there is one."""
    from metrics.landmarks import mouth_opening, opening_correlation

    if take.truth is None:
        raise Unscored(take.no_truth)
    value, reason = opening_correlation(take.truth, mouth_opening(shown_points(judge, take)))
    return {"truth_opening_correlation": Null(reason) if reason else value}


def visemes(judge: Judge, take: Take) -> dict[str, Any]:
    """How far the lips' opening is from the real one, viseme by viseme, where the corpus knows what is said when."""
    from metrics.landmarks import mouth_opening
    from metrics.visemes import viseme_errors

    _real(take)
    if not take.sounds:
        raise Unscored("no_truth")
    real = mouth_opening(_meshed(_face(take), take.n_frames))
    return {"viseme_errors": viseme_errors(mouth_opening(shown_points(judge, take)), real, take.sounds, take.first_frame)}


def words(judge: Judge, take: Take) -> dict[str, Any]:
    """How much of what the sound says a lip reader gets wrong, who sees the shown mouth alone."""
    from metrics.words import character_errors, has_word_spaces, word_errors
    from models.experts.lip_reader import known_as

    if judge.reader is None:
        raise Unscored("no_lip_reader")
    if take.said is None:
        raise Unscored("no_transcript")
    reader, template = judge.reader
    language = known_as(reader, take.spoken)
    if language is None:
        raise Unscored("language_not_read")
    heard = reader.read(np.stack(list(along(take, template, take.frames))), language)
    rates = {"wer": word_errors(take.said, heard).rate, "cer": character_errors(take.said, heard).rate}
    if rates["cer"] is None:
        raise Unscored("no_transcript")
    return rates if has_word_spaces(language) else rates | {"wer": Null("no_word_spaces")}


def elsewhere(reason: str) -> Callable[[Judge, Take], dict[str, Any]]:
    """The figure that a video alone never has: its columns are for rows that come from somewhere else."""

    def none(judge: Judge, take: Take) -> dict[str, Any]:
        raise Unscored(reason)

    return none


Figure = Callable[["Judge", Take], dict[str, Any]]
SYNC = ("lse_d", "lse_c", "offset_frames", "n_windows", "mean_dist")
REGIONS = ("ssim", "psnr", "lpips", "ms_ssim", "ssim_mouth", "psnr_mouth", "lpips_mouth", "ssim_frame", "psnr_frame",
           "lpips_frame")
FIGURES: tuple[tuple[tuple[str, ...], Figure], ...] = (
    (SYNC, sync), (("energy_correlation",), energy), (REGIONS, regions), (("cpbd",), sharpness),
    (("identity_similarity",), identity),
    (("landmark_distance", "lmd", "opening_correlation"), lips), (("truth_opening_correlation",), truth),
    (("viseme_errors",), visemes),
    (("blink_rate", "head_motion", "jitter"), motion), (("wer", "cer"), words),
    (("lve", "fdd"), elsewhere("no_meshes")))
METRICS = tuple(name for names, _ in FIGURES for name in names)


# ---- what figures share
# -----------------------------------------------------------------------------------------------------------
def _real(take: Take) -> Iterable[np.ndarray]:
    if take.source is None:
        raise Unscored(take.no_source)
    return take.source


def _face(take: Take) -> Track:
    if take.face is None:
        raise Unscored(take.no_track)
    return take.face


def _sound(take: Take) -> np.ndarray:
    if take.samples is None:
        raise Unscored(take.no_sound)
    return take.samples


def along(take: Take, template: Any, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """A view (core.views.ViewTemplate) of each frame along the take's track. Unscored without one, or without the landmarks that
    the view needs."""
    from core.views import view_transforms
    from models.experts.finder import s3fd_boxes

    face = _face(take)
    if template.kind in ("mouth", "registration") and face.meshed.mean() < 0.5:
        raise Unscored("no_mesh")
    boxes = face.boxes if template.kind != "syncnet" else s3fd_boxes(face.boxes, take.finder)
    moves = view_transforms(template, boxes, face.landmarks)
    return (template.cut(frame, move) for frame, move in zip(frames, moves, strict=False))


def _boxes(take: Take, region: str) -> np.ndarray | Null:
    """Where a region lies in each frame, by the track: the same pixels for every system."""
    from metrics.regions import region_boxes

    face = _face(take) if region != "frame" or take.face is not None else None
    height, width = next(iter(take.frames)).shape[:2]
    if face is None:
        return np.tile(np.array([0, 0, width, height]), (take.n_frames, 1))
    if region == "mouth" and isinstance(known_points(face, take.n_frames), str):
        return Null("no_mesh")
    return region_boxes(region, (height, width), face.boxes[:take.n_frames], face.landmarks[:take.n_frames])


def _pairs(take: Take, boxes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for real, shown, (x0, y0, x1, y1) in zip(take.source, take.frames, boxes.tolist(), strict=False):
        yield real[y0:y1, x0:x1], shown[y0:y1, x0:x1]


def face_pairs(take: Take) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(real face, shown face) frame by frame, the same pixels of both. Unscored without a track."""
    _face(take)
    return _pairs(take, _boxes(take, "face"))


def known_points(track: Track, n: int) -> np.ndarray | str:
    """A track's own landmarks of n frames; `no_mesh` where a tenth of its frames or more has none."""
    return track.landmarks[:n] if track.meshed[:n].mean() >= MESHED_SHARE else "no_mesh"


def _meshed(track: Track, n: int) -> np.ndarray:
    points = known_points(track, n)
    if isinstance(points, str):
        raise Unscored(points)
    return points


def shown_points(judge: Judge, take: Take) -> np.ndarray:
    """Landmarks of the shown face, float32 (n, 468, 2), looked for once per take where the track says the face is."""
    if take.points is None:
        take.points = _find_points(judge, take)
    if isinstance(take.points, str):
        raise Unscored(take.points)
    return take.points


def _find_points(judge: Judge, take: Take) -> np.ndarray | str:
    if take.face is None:
        return take.no_track
    if judge.mesh is None:
        return "no_mesh"
    found: list[np.ndarray | None] = []
    for frame, box in zip(take.frames, take.face.boxes[:take.n_frames], strict=False):
        found.append(judge.mesh.points(frame, box, found[-1] if found else None)[0])
    if sum(p is not None for p in found) < MESHED_SHARE * len(found):
        return "no_mesh"
    known = [i for i, p in enumerate(found) if p is not None]
    nearest = np.abs(np.arange(len(found))[:, None] - np.array(known)).argmin(1)
    return smooth_points(np.stack([found[known[i]][:N_LANDMARKS] for i in nearest]), judge.config["smooth_frames"])
