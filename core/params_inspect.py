"""The sections `inspect` and `filter` of params.yaml: what is measured on every track, and which tracks are left out by it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Mark = Literal["voice_over", "dubbed", "language_mismatch", "code_switched"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SyncFile(_Section):
    weights: str


class Inspect(_Section):
    """What the stage `inspect` runs beside the picture's quality, which is always measured."""

    active_speaker: Literal["auto", "light-asd", "none"] = Field(
        "auto", description="auto: clips of several faces, where its weights are; light-asd: every clip")
    turn_smooth_frames: int = Field(25, ge=1, le=250)
    min_turn_share: Share = Field(0.1, description="of a clip's speech: a face with less, beside one that speaks, is silent")
    diarization: str = Field("none", description="none, clusters, or a pyannote pipeline: a folder or a hub name")
    language_identifier: str | None = Field(None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:Class")
    language_model: str | None = Field(None, description="what the identifier is opened with")
    language_window_s: float = Field(3.0, ge=1, le=30)
    switch_share: Share = Field(0.25, description="of a clip's speech in a second language, from which on it is code_switched")
    sync_expert: SyncFile | None = Field(None, description="{weights: PATH}; null: no offsets")
    dubbed_below: float | None = Field(
        None, description="sync confidence below which speech is dubbed; each expert has its scale")
    correct_offset: bool = Field(False, description="shift the sound of a clip by its offset, before features are computed")
    correct_confidence: float = Field(3.0, ge=0, description="the least sync confidence at which an offset is corrected")


class Filter(_Section):
    """Thresholds on the columns of `inspected`: null leaves nothing out; a track without a value does not pass a threshold."""

    min_face_px: float | None = None
    min_sharpness: float | None = None
    max_yaw_deg: float | None = None
    max_pitch_deg: float | None = None
    max_roll_deg: float | None = None
    max_occlusion: float | None = None
    min_brightness: float | None = None
    max_brightness: float | None = None
    min_contrast: float | None = None
    max_clipped_share: float | None = None
    min_loudness_db: float | None = None
    min_speech_share: float | None = None
    min_speaking_share: float | None = None
    min_sync_confidence: float | None = None
    max_offset_frames: float | None = None
    max_voices: float | None = None
    without: list[Mark] = Field([], description="marks that leave a track out")

    def failures(self, row: dict) -> dict[str, str]:
        """filter -> why it leaves this row of `inspected` out, for all that do; empty for a row that passes."""
        reasons = {r["metric"]: r["reason"] for r in row.get("null_reasons") or []}
        found = {}
        for name, limit in self.thresholds().items():
            column = name.removeprefix("min_").removeprefix("max_")
            value = row.get(column)
            if value is None:
                found[name] = f"not measured ({reasons.get(column, 'null')})"
            elif (value < limit) if name.startswith("min_") else (abs(value) > limit):
                found[name] = f"{column} {value:g}"
        for mark in self.without:
            if mark in (row.get("marks") or []):
                found[f"without {mark}"] = f"marked {mark}"
        return found

    def thresholds(self) -> dict[str, float]:
        """The thresholds that are set, in their order."""
        limits = {name: getattr(self, name) for name in type(self).model_fields if name != "without"}
        return {name: limit for name, limit in limits.items() if limit is not None}


EXPERT_FILTERS = ("min_sync_confidence", "max_offset_frames", "min_speaking_share", "without dubbed", "without voice_over",
                  "without language_mismatch", "without code_switched")
"""Filters by what an expert says: it knows some languages better than others, so these are counted per language."""
