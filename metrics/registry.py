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

    per: what one figure is of: a clip (a row of the score table), a set of clips (one system in one language), or an input of
    which several samples were made. column: the column of the score table a clip's figure is read from, empty for the others.
    judged: it comes from the sync expert, and falls with it where the expert is not valid. ideal: the value of the reference
    itself, for metrics that already compare with real video. needs: what must be there to compute it.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    bounds: tuple[float | None, float | None]
    region: Literal["sync view", "frame", "face", "mouth", "lips", "eyes", "head", "mesh"]
    needs: tuple[str, ...]
    cites: str
    about: str
    digits: int = 3
    judged: bool = False
    ideal: float | None = None
    column: str = ""
    per: Literal["clip", "set", "input"] = "clip"

    def __post_init__(self) -> None:
        if not self.column and self.per == "clip":
            object.__setattr__(self, "column", self.name)


_SYNC = ("sync expert", "sound")
_WHERE = {"face": "", "mouth": " of the mouth", "frame": " of the frame"}
_LSE = "Prajwal et al. 2020; Chung & Zisserman 2016"


def _in(label: str, region: str) -> str:
    return label + _WHERE[region]


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
            "offset_within_one", "within 1 frame", "", True, (0, 1), "sync view", _SYNC, _LSE,
            "share of clips whose sound and mouth agree best within one frame of each other", judged=True, column="offset_frames",
        ),
        MetricSpec(
            "energy_correlation", "energy r", "", True, (-1, 1), "lips", ("landmarks", "sound"),
            "after Chandrasekaran et al. 2009",
            "correlation of the lips' opening with the loudness of the voice; needs no sync expert and no real video",
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
            "lmd", "LMD", "px", False, (0, None), "lips", ("landmarks", "real video"), "Chen et al. 2018",
            "mean distance of the lip landmarks from those of the real video, in pixels", digits=2, ideal=0.0,
        ),
        *(
            spec_
            for suffix, region in (("", "face"), ("_mouth", "mouth"), ("_frame", "frame"))
            for spec_ in (
                MetricSpec(
                    f"ssim{suffix}", _in("SSIM", region), "", True, (-1, 1), region, ("real video",), "Wang et al. 2004",
                    "structural similarity to the real video", digits=4, ideal=1.0,
                ),
                MetricSpec(
                    f"psnr{suffix}", _in("PSNR", region), "dB", True, (0, 100), region, ("real video",),
                    "in floating point, capped at 100 dB for equal frames", "peak signal-to-noise ratio against the real video",
                    digits=2,
                ),
                MetricSpec(
                    f"lpips{suffix}", _in("LPIPS", region), "", False, (0, None), region, ("real video", "perceptual network"),
                    "Zhang et al. 2018, v0.1", "distance from the real video in the layers of an image network", ideal=0.0,
                ),
            )
        ),
        MetricSpec(
            "ms_ssim", "MS-SSIM", "", True, (0, 1), "face", ("real video", "176 pixels"), "Wang, Simoncelli & Bovik 2003",
            "structural similarity to the real video over five scales", digits=4, ideal=1.0,
        ),
        MetricSpec(
            "cpbd", "CPBD", "", True, (0, 1), "face", ("64 pixels",), "Narvekar & Karam 2011",
            "share of edges whose blur nobody would notice; of one size of picture only",
        ),
        MetricSpec(
            "identity_similarity", "identity", "", True, (-1, 1), "face", ("real video", "face recognition network"),
            "Deng et al. 2019; Zakharov et al. 2019", "cosine of the face's embedding to that of the real video, frame by frame",
            ideal=1.0,
        ),
        MetricSpec(
            "blink_rate", "blinks", "1/min", None, (0, None), "eyes", ("landmarks", "2 seconds"), "after Soukupova & Cech 2016",
            "how often the eyes close; right is what the real video does", digits=1,
        ),
        MetricSpec(
            "head_motion", "head motion", "eye distances/s", None, (0, None), "head", ("landmarks",),
            "this project, docs/metrics.md", "mean speed of points that speech does not move; right is what the real video does",
        ),
        MetricSpec(
            "jitter", "jitter", "", False, (0, None), "face", ("landmarks",), "after Kanazawa et al. 2019, acceleration error",
            "how far landmarks leave an even motion, in eye distances", digits=5,
        ),
        MetricSpec(
            "wer", "WER", "", False, (0, None), "mouth", ("lip reader", "transcript"), "Levenshtein 1966",
            "words that a lip reader gets wrong, over the words said",
        ),
        MetricSpec(
            "cer", "CER", "", False, (0, None), "mouth", ("lip reader", "transcript"), "Levenshtein 1966",
            "characters that a lip reader gets wrong, over those said",
        ),
        MetricSpec(
            "lve", "LVE", "unit^2", False, (0, None), "mesh", ("3-D meshes", "lip vertices"),
            "Richard et al. 2021; Fan et al. 2022; Xing et al. 2023", "largest squared error of a lip vertex, mean over frames",
            ideal=0.0,
        ),
        MetricSpec(
            "fdd", "FDD", "unit^2", None, (None, None), "mesh", ("3-D meshes", "upper-face vertices"), "Xing et al. 2023",
            "how much less lively the upper face is than the real one; 0 is right, below 0 it moves more", ideal=0.0,
        ),
        MetricSpec(
            "fid", "FID", "", False, (0, None), "face", ("real video", "Inception network"), "Heusel et al. 2017",
            "Frechet distance of the frames' features from the real video's", digits=2, ideal=0.0, per="set",
        ),
        MetricSpec(
            "fvd", "FVD", "", False, (0, None), "face", ("real video", "video network"),
            "Unterthiner et al. 2018; Ge et al. 2024",
            "Frechet distance of 16-frame clips' features from the real video's", digits=1, ideal=0.0, per="set",
        ),
        MetricSpec(
            "retrieval_recall", "R@K", "", True, (0, 1), "sync view", _SYNC, "Chung, Chung & Kang 2019",
            "share of clips whose sound finds its own picture among the K nearest; chance is K / N", per="set", judged=True,
        ),
        MetricSpec(
            "lip_diversity", "lip diversity", "", True, (0, None), "lips", ("landmarks", "several samples"),
            "after Guo et al. 2020",
            "mean distance of the lips between two samples of one input, in eye distances; noise is diverse too",
            digits=4, per="input",
        ),
    )
}  # fmt: skip


def spec(name: str) -> MetricSpec:
    """The metric of that name. Raises KeyError that names the nearest known one."""
    if name not in METRICS:
        raise KeyError(f"no metric is called {name!r}{suggest(name, METRICS)}")
    return METRICS[name]
