"""The records that travel between stages, and the Arrow schema of every table: the only module that names a column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

REASONS = {
    "bad_language": "the language tag is not a BCP-47 tag",
    "bad_name": "a name in the index is not safe to use as a file name",
    "bad_row": "a line or an entry of the index cannot be read",
    "bad_time": "the start and end that the index gives are not a time range",
    "bad_box": "the crop box that the index gives is not a box",
    "bad_url": "the address that the index gives is not one of a web page or file",
    "duplicate": "the index has it already",
    "no_match": "one table of the index has it, another that must have it does not",
    "wrong_hash": "the bytes are not those that the index promises",
    "missing_file": "the index names a file that is not there",
    "gone": "the address says that it is gone for good: a tombstone is kept",
    "forbidden": "the address refuses us: private, behind a form, not for this country or age",
    "unreachable": "the address did not answer as it should, in all attempts; another day it may",
    "incomplete": "the address never sent all the bytes that it promised, or more than it promised",
    "too_large": "larger than fetch.max_bytes",
    "no_runtime": "the page needs a JavaScript runtime, and none that yt-dlp takes was found, or its challenges were not solved",
    "bad_archive": "the archive is damaged, or holds what must not be unpacked",
    "forgotten": "taken out by name, in forgotten.yaml",
    "beyond_limit": "more clips of this speaker than generate.clips_per_speaker",
    "decode_error": "the media file cannot be decoded",
    "no_video": "the file has no video stream",
    "no_audio": "the file has no audio stream",
    "no_frames": "no frame could be decoded",
    "no_speech": "no speech was found",
    "too_short": "shorter than the minimum length",
    "short_source": "the source ends before the stretch that the index names does: less than half of it is there",
    "no_face": "no face was found",
    "face_lost": "the face is not seen in enough of the frames",
    "face_too_small": "the face is smaller than the minimum",
    "no_mesh": "no landmarks fit the face, so no aligned view can be cut",
    "silent_face": "the face does not speak",
    "filtered": "a threshold or mark of `filter` leaves it out",
    "no_partner": "no other clip of this kind to take the audio from",
    "timeout": "took longer than the limit for one item",
    "worker_died": "the process that worked on it died twice",
    "generated": "generated video is scored, never trained on",
}


class Reject(Exception):
    """Raised when one item cannot be used: carries a reason code (see REASONS) and a detail for a person to read."""

    def __init__(self, reason: str, detail: str = ""):
        if reason not in REASONS:
            raise ValueError(f"unknown reject reason {reason!r}; add it to core.records.REASONS")
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail

    def __reduce__(self):
        return Reject, (self.reason, self.detail)


@dataclass(frozen=True, slots=True)
class Card:
    """What a corpus is: shown in reports, and what a person must know before using it."""

    name: str
    title: str
    languages: tuple[str, ...]
    licence: str
    terms: str
    consent: str
    citation: str
    provenance: str
    access: str
    index: str = ""  # what the index is, and where to get it
    hours: float | None = None  # as its authors count them
    hours_note: str = ""  # where else the figure is from, or why there is none
    commercial: bool | None = None  # whether its licence allows commercial use; None: not said, or each owner says


# Items, their sources and boxes are never changed. They are not frozen: that takes twice as long to make, and there may be a million.
@dataclass(slots=True, unsafe_hash=True)
class Source:
    """Where the bytes of one item come from. A range asks for that stretch of what lies there, and no more.

    kind: "file", `at` is a path below the corpus's media folder; "http", `at` is the address of a media file; "page", `at` is the
    address of a page with a video in it.
    """

    kind: str
    at: str
    start_s: float | None = None
    end_s: float | None = None
    sha256: str | None = None  # of the whole file at `at`, where the index promises one


@dataclass(slots=True, unsafe_hash=True)
class Box:
    """A crop: x0, y0, x1, y1 as shares of the frame ("share") or in pixels ("px") of a frame that is `frame_height` pixels high.

    None: the pixels count in the file as its source has it in its best quality.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    unit: str = "share"
    frame_height: int | None = None


@dataclass(slots=True)
class Item:
    """One entry of an index that may become a recording. `id` is safe as a file name and unique in its corpus and language.

    video: what it is a stretch of, such as a page's video id; items with the same one are of one recording. start_s, end_s: which
    stretch, in the video's own time. box: the crop that the index asks for, in the frames of what `source` gives. duration_s: how
    long it is where the index says that and no stretch.
    """

    id: str
    corpus: str
    language: str
    speaker: str | None
    kind: str = "real"
    source: Source | None = None  # None: made here
    extra: dict[str, Any] = field(default_factory=dict)
    video: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    box: Box | None = None
    duration_s: float | None = None

    @property
    def where(self) -> str:
        """The path or address of its source, or its id: what a person looks for."""
        return self.source.at if self.source else self.id

    @property
    def length_s(self) -> float | None:
        """Seconds that the index says it lasts, or None."""
        return self.duration_s if self.start_s is None or self.end_s is None else self.end_s - self.start_s

    def facts(self) -> dict[str, Any]:
        """`extra` with what else the index says of it, as plain values: what a recording's row keeps."""
        said = dict(self.extra)
        if self.video is not None:
            said["video"] = self.video
        if self.start_s is not None and self.end_s is not None:
            said["start_s"], said["end_s"] = self.start_s, self.end_s
        if self.box is not None:
            said["box"], said["box_unit"] = [self.box.x0, self.box.y0, self.box.x1, self.box.y1], self.box.unit
            if self.box.frame_height is not None:
                said["box_frame_height"] = self.box.frame_height
        return said


@dataclass(frozen=True, slots=True)
class Rejected:
    """One index entry that never became an item; its language is "und" where it cannot be told. length_s: as the index
    says."""

    id: str
    reason: str
    detail: str
    language: str = "und"
    length_s: float | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where an item's media file lies, its exact truth where the corpus knows it, and what the ledger keeps of a fetch."""

    path: Path
    truth: dict[str, Any] | None = None
    facts: dict[str, Any] | None = None  # bytes, sha256, etag, format of what lay at the address


SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def cluster_of(speaker: str | None, recording_id: str) -> str:
    """The statistical cluster of a clip: its speaker, or its recording where the speaker is unknown."""
    return f"speaker:{speaker}" if speaker is not None else f"recording:{recording_id}"


def _who() -> list[tuple[str, str]]:
    return [("corpus", "string"), ("language", "string"), ("speaker", "string"), ("cluster", "string"), ("kind", "string")]


# name -> column -> Arrow type. Arrays travel as little-endian bytes; the comment gives dtype and shape.
_TABLES: dict[str, list[tuple[str, str]]] = {
    "recordings": [("recording_id", "string"), *_who(), ("file", "string"), ("source", "string"), ("bytes", "int64"),
                   ("sha256", "string"), ("n_frames", "int32"),  # of the picture at 25 fps, by its timestamps; null: not readable
                   ("extra", "string")],  # JSON object, keys sorted
    "truth": [("recording_id", "string"), ("language", "string"),
              ("phonemes", "list<struct<symbol: string, viseme: string, start_s: double, end_s: double>>"),
              ("speech", "list<struct<start_s: double, end_s: double>>"),
              ("gap", "binary"),  # float32 (T,): inner lip gap over eye distance
              ("width", "binary"),  # float32 (T,)
              ("points", "binary"),  # float32 (T, K, 2) pixels
              ("point_indices", "list<int32>"), ("audio_late_ms", "double"), ("voice", "string")],
    "clips": [("clip_id", "string"), ("recording_id", "string"), *_who(), ("file", "string"), ("start_frame", "int32"),
              ("n_frames", "int32"), ("n_samples", "int32"), ("width", "int32"), ("height", "int32"),
              ("speech", "list<struct<start_s: double, end_s: double>>"), ("speech_s", "double"), ("loudness_db", "double"),
              ("audio", "binary"),  # FLAC, int16 mono 16 kHz
              ("picture_print", "binary"),  # uint16 (n, 8, 9), a picture for every 5 frames: metrics/prints.py
              ("sound_print", "binary")],  # uint32 (n,), a word for every 25 ms
    "tracks": [("track_id", "string"), ("clip_id", "string"), ("recording_id", "string"), *_who(), ("file", "string"),
               ("start_frame", "int32"), ("n_frames", "int32"), ("track_index", "int32"), ("face_share", "double"),
               ("mesh_share", "double"), ("face_px", "double"), ("finder", "string"), ("landmarker", "string"),
               ("boxes", "binary"),  # float32 (T, 4) x0 y0 x1 y1
               ("landmarks", "binary"),  # int16 (T, 468, 2): (point - box centre) / landmark_unit
               ("landmark_unit", "double"),
               ("meshed", "binary")],  # uint8 (T,): 1 where the mesh was seen, 0 where it was interpolated
    "inspected": [("track_id", "string"), ("clip_id", "string"), ("recording_id", "string"), *_who(), ("n_frames", "int32"),
                  ("track_index", "int32"), ("face_share", "double"), ("mesh_share", "double"), ("face_px", "double"),
                  *[(name, "double") for name in (
                      "sharpness", "brightness", "contrast", "clipped_share", "yaw_deg", "pitch_deg", "roll_deg", "occlusion",
                      "loudness_db", "speech_share")],
                  ("speaker_score", "double"), ("speaking_share", "double"), ("turn_share", "double"),
                  ("speaker_expert", "string"),
                  ("voices", "int32"), ("voice_turns", "list<struct<start_s: double, end_s: double, voice: string>>"),
                  ("diarizer", "string"),
                  ("spoken_language", "string"), ("spoken_share", "double"), ("second_share", "double"), ("identifier", "string"),
                  ("offset_frames", "int32"),  # > 0: the sound comes earlier in the file than the mouth
                  ("sync_confidence", "double"), ("sync_distance", "double"), ("sync_expert", "string"),
                  ("corrected_frames", "int32"),
                  ("marks", "list<string>"), ("null_reasons", "list<struct<metric: string, reason: string>>")],
    "turns": [("track_id", "string"), ("clip_id", "string"), ("start_s", "double"), ("end_s", "double"), ("score", "double")],
    "kept": [("track_id", "string"), ("clip_id", "string"), ("n_samples", "int32"),
             ("audio", "binary")],  # FLAC of the clip's sound in step; null: as the clips table has it
    "views": [("track_id", "string"), ("clip_id", "string"), ("language", "string"), ("cluster", "string"), ("view", "string"),
              ("height", "int32"), ("width", "int32"), ("n_frames", "int32"),
              ("transforms", "binary"),  # float32 (T, 2, 3): source pixels -> view pixels
              ("frames", "list<binary>")],  # JPEG per frame
    "features": [("track_id", "string"), ("clip_id", "string"), ("language", "string"), ("cluster", "string"),
                 ("n_frames", "int32"), ("n_samples", "int32"),
                 ("mel", "binary"),  # float32 (n, 80), time first
                 ("mfcc_syncnet", "binary"),  # float32 (4F-1, 13)
                 ("mfcc_speech2vid", "binary")],  # float32 (n, 12)
    "splits": [("track_id", "string"), ("clip_id", "string"), ("recording_id", "string"), *_who(), ("n_frames", "int32"),
               ("split", "string"), ("fold", "string")],
    # what two clips (or, of kind file and video, two recordings) share, so that one split must hold both
    "links": [("kind", "string"),  # file, video; near-duplicates by sound, by picture or both
              ("a", "string"), ("b", "string"),
              *[(f"{name}_{side}", "string") for side in "ab"
                for name in ("corpus", "language", "recording_id", "cluster", "split")],
              ("sound_error", "double"), ("movement", "double"), ("overlap_s", "double")],
    "generated": [("generated_id", "string"), ("track_id", "string"), ("clip_id", "string"), *_who(), ("system", "string"),
                  ("training", "string"), ("training_languages", "list<string>"), ("condition", "string"),
                  ("audio_clip_id", "string"), ("audio_language", "string"), ("n_frames", "int32"), ("sample", "int32"),
                  ("video", "binary"),  # H.264 mp4 of the whole source frames with the face pasted back; null: the source itself
                  ("video_of", "string")],  # generated_id whose video this row shares (its audio differs); null: its own
    "scores": [("generated_id", "string"), ("track_id", "string"), ("clip_id", "string"), *_who(), ("system", "string"),
               ("training", "string"), ("training_languages", "list<string>"), ("condition", "string"),
               ("audio_clip_id", "string"),
               ("audio_language", "string"), ("n_frames", "int32"), ("sample", "int32"), ("protocol", "string"),
               ("expert", "string"), ("expert_sha256", "string"), ("finder", "string"), ("loudness_db", "double"),
               ("lse_d", "double"), ("lse_c", "double"), ("offset_frames", "int32"), ("n_windows", "int32"),
               ("mean_dist", "list<double>"),
               ("lag_offsets", "list<int32>"),  # real video: the offset found for each lag of metrics.lags.LAGS that was put in
               ("ssim", "double"), ("psnr", "double"), ("landmark_distance", "double"),
               ("opening_correlation", "double"), ("truth_opening_correlation", "double"), ("energy_correlation", "double"),
               *[(name, "double") for name in (
                   "ssim_mouth", "ssim_frame", "psnr_mouth", "psnr_frame", "lpips", "lpips_mouth", "lpips_frame",
                   "ms_ssim", "cpbd",
                   "identity_similarity", "lmd", "blink_rate", "head_motion", "jitter", "wer", "cer", "lve", "fdd")],
               # lips' opening against the real one per viseme of the truth, in eye distances: mean of |.|, and signed, above 0
               # too open
               ("viseme_errors", "list<struct<viseme: string, n_frames: int32, error: double, signed: double>>"),
               ("path", "string"),  # of the video, relative to the file of scores that the row stands in; null in the pipeline
               ("null_reasons", "list<struct<metric: string, reason: string>>")],
    # what figures of sets take from single rows of the scores
    "embeddings": [("generated_id", "string"),
                   # float32 (16, D): the sync expert's means over 16 equal parts of the clip
                   ("video", "binary"), ("audio", "binary"),
                   ("no_sync", "string"),  # why there are none
                   # float32 (T, 22, 2) pixels, metrics.diversity.mouth_and_eyes; null: the only sample of its input
                   ("lips", "binary")],
    "sets": [("set_id", "string"), ("corpus", "string"), ("language", "string"), ("system", "string"), ("training", "string"),
             ("training_languages", "list<string>"), ("condition", "string"), ("metric", "string"),
             ("k", "int32"), ("direction", "string"),  # of recall at K: audio_to_video or video_to_audio
             ("value", "double"), ("chance", "double"), ("n", "int32"), ("unit", "string"), ("n_needed", "int32"),
             ("n_clips", "int32"), ("n_frames", "int32"), ("region", "string"), ("network", "string"), ("reason", "string")],
    "rejects": [("item_id", "string"), ("corpus", "string"), ("language", "string"), ("speaker", "string"), ("stage", "string"),
                ("reason", "string"), ("detail", "string")],
    "items": [("item_id", "string"), ("language", "string"), ("digest", "string"), ("status", "string"),
              ("counts", "list<int32>")],  # rows of each table of the stage, in the order of stats.json, the rejects last
}


def schema(table: str) -> pa.Schema:
    """The Arrow schema of one table, column order as stored. KeyError for a table that does not exist."""
    import pyarrow as pa

    simple = {"string": pa.string(), "int32": pa.int32(), "int64": pa.int64(), "double": pa.float64(), "binary": pa.binary(),
              "list<string>": pa.list_(pa.string()), "list<int32>": pa.list_(pa.int32()), "list<double>": pa.list_(pa.float64()),
              "list<binary>": pa.list_(pa.binary())}

    def parse(kind: str) -> pa.DataType:
        if kind in simple:
            return simple[kind]
        fields = kind.removeprefix("list<struct<").removesuffix(">>").split(", ")
        return pa.list_(pa.struct([(name, simple[of]) for name, of in (f.split(": ") for f in fields)]))

    return pa.schema([(name, parse(kind)) for name, kind in _TABLES[table]])


def columns(table: str) -> list[str]:
    """The column names of one table, in stored order."""
    return [name for name, _ in _TABLES[table]]


def carry(row: dict[str, Any], table: str) -> dict[str, Any]:
    """The columns of `row` that `table` has too: how identity columns travel from stage to stage without being listed again."""
    return {name: row[name] for name in columns(table) if name in row}
