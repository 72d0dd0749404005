"""Losses that several networks share, and the alarm that says when one of them is not learning."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_l1(made: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference with `weight` (H, W) per pixel, divided by the mean weight; made, target (B, C, H, W)."""
    return ((made - target).abs() * weight).mean() / weight.mean()


def pairs_allowed(clip: Tensor, start: Tensor, same_clip: bool) -> Tensor:
    """bool (N, N): which audio windows j may be compared with video window i.

    clip, start: int64 (N,): clip number and first frame of each window. The diagonal is the true pair. Windows of the same clip
    within one frame are left out (nobody can tell them apart); those further away are negatives only with same_clip=True.
    """
    same = clip[:, None] == clip[None]
    near = (start[:, None] - start[None]).abs() <= 1
    own = torch.eye(len(clip), dtype=torch.bool, device=clip.device)
    return own | (~same if not same_clip else ~(same & near))


def info_nce(video: Tensor, audio: Tensor, scale: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, accuracy) of telling the true audio from the others and back: scalars.

    video, audio: (N, D) embeddings, made unit length here; scale: what cosines are multiplied by (one over the temperature);
    allowed: bool (N, N) with a true diagonal. Source: van den Oord et al. 2018; both directions as in Radford et al. 2021.
    """
    cosine = F.normalize(video.float(), dim=1) @ F.normalize(audio.float(), dim=1).T
    logits = (cosine * scale).masked_fill(~allowed, -torch.inf)
    truth = torch.arange(len(video), device=video.device)
    loss = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
    return loss, (logits.argmax(1) == truth).float().mean()


def info_nce_chance(allowed: Tensor) -> float:
    """The InfoNCE loss of one who guesses: the mean of log(number of candidates) over both directions, in nats."""
    counts = torch.cat([allowed.sum(0), allowed.sum(1)]).double()
    return float(counts.log().mean())


BCE_CHANCE = math.log(2)  # 0.693: binary cross entropy of one who always says one half


class StuckAlarm:
    """Says once that a contrastive loss stays at chance: `patience` steps in a row without its running mean leaving it.

    Binary cross entropy sticks at 0.693, InfoNCE at the log of the number of candidates. `margin` is the share of chance that the
    mean over the last `patience` steps must have fallen below it, in nats relative to chance.
    """

    def __init__(self, patience: int = 200, margin: float = 0.05):
        self.patience, self.margin = patience, margin
        self._recent: list[float] = []
        self.rang_at: int | None = None

    def see(self, step: int, loss: float, chance: float) -> str | None:
        """A sentence for the log when the loss has just been found stuck, else None. Call it once a step."""
        self._recent = (self._recent + [loss / chance])[-self.patience:]
        if self.rang_at is not None or len(self._recent) < self.patience:
            return None
        mean = sum(self._recent) / len(self._recent)
        if mean < 1 - self.margin:
            return None
        self.rang_at = step
        return (f"step {step}: the sync loss has stayed at chance ({loss:.3f}, chance {chance:.3f}) for {self.patience} steps: "
                "it is not learning; try a lower learning rate or batch normalisation, and check that sound and picture match")
