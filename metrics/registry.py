"""Every metric by name: what it is called, which way is better, where it lies, what it needs and where it comes from.

`METRICS` is the one place for labels, directions and bounds; tables and reports read them here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.params import suggest


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric. higher_is_better is None where neither is (a signed offset). bounds: (low, high), None for open.

    column: the column of the score table it is read from. judged: it comes from the sync expert, and falls with it where the
    expert is not valid. ideal: the value of the reference itself, for metrics that already compare with real video. needs: what
    must be there to compute it.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    bounds: tuple[float | None, float | None]
    region: Literal["sync view", "face", "lips"]
    needs: tuple[str, ...]
    cites: str
    about: str
    digits: int = 3
    judged: bool = False
    ideal: float | None = None
    column: str = ""

    def __post_init__(self) -> None:
        if not self.column:
            object.__setattr__(self, "column", self.name)


_SYNC = ("sync expert", "sound")
_LSE = "Prajwal et al. 2020; Chung & Zisserman 2016"

METRICS: dict[str, MetricSpec] = {
    m.name: m
    for m in (
        MetricSpec(
            "lse_c", "LSE-C", "", True, (0, None), "sync view", _SYNC, _LSE,
            "confidence of the sync expert: median minus smallest distance over all lags", judged=True,
        ),
        MetricSpec(
            "lse_d", "LSE-D", "", False, (0, None), "sync view", _SYNC, _LSE,
            "smallest mean distance between sound and mouth over all lags", judged=True,
        ),
        MetricSpec(
            "offset_frames", "offset", "frames", None, (-15, 15), "sync view", _SYNC, _LSE,
            "lag at which sound and mouth agree best, above 0 when the sound comes early", digits=2, judged=True,
        ),
        MetricSpec(
            "abs_offset", "|offset|", "frames", False, (0, 15), "sync view", _SYNC, _LSE,
            "size of the lag at which sound and mouth agree best; 25 frames are a second", digits=2, judged=True,
            column="offset_frames",
        ),
        MetricSpec(
            "opening_correlation", "opening r", "", True, (-1, 1), "lips", ("landmarks", "real video"), "Pearson correlation",
            "correlation of the lips' opening with that of the real video", ideal=1.0,
        ),
        MetricSpec(
            "truth_opening_correlation", "opening r, truth", "", True, (-1, 1), "lips", ("landmarks", "rendered truth"),
            "Pearson correlation", "correlation of the lips' opening with the opening that was rendered",
        ),
        MetricSpec(
            "landmark_distance", "lip distance", "", False, (0, None), "lips", ("landmarks", "real video"),
            "after Chen et al. 2018, divided by the eye distance",
            "mean distance of the lip landmarks from those of the real video", digits=4, ideal=0.0,
        ),
        MetricSpec(
            "ssim", "SSIM", "", True, (-1, 1), "face", ("real video",), "Wang et al. 2004",
            "structural similarity to the real video", digits=4, ideal=1.0,
        ),
        MetricSpec(
            "psnr", "PSNR", "dB", True, (0, 100), "face", ("real video",), "in floating point, capped at 100 dB for equal frames",
            "peak signal-to-noise ratio against the real video", digits=2,
        ),
    )
}  # fmt: skip


def spec(name: str) -> MetricSpec:
    """The metric of that name. Raises KeyError that names the nearest known one."""
    if name not in METRICS:
        raise KeyError(f"no metric is called {name!r}{suggest(name, METRICS)}")
    return METRICS[name]
