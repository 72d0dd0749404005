"""How a sync expert is trained and examined: InfoNCE on windows of several clips, easy negatives first, then same-clip shifts."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from core.timing import SYNCNET_FRAMES
from models.experts.syncnet import SyncExpert, SyncNet
from models.losses import info_nce, info_nce_chance, pairs_allowed

EASY_SHARE = 0.15  # of the steps: negatives from other clips only, until sound and picture have found a common language
MAX_LOG_SCALE = math.log(100)  # the learned temperature never falls below 0.01
EXAM_FRAMES = 75  # 3 s
EXAM_LAGS = (-8, -4, 0, 4, 8)  # frames the sound is moved by; a searcher that always answers "in sync" fails four of five
EXAM_SEARCH = 15
GREY = (0.299, 0.587, 0.114)


class SyncTraining(nn.Module):
    """A sync expert with the temperature that only its training needs."""

    def __init__(self, network: SyncExpert):
        super().__init__()
        self.network = network
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """"loss" InfoNCE, "accuracy" within the batch, "chance" its value for one who guesses. batch: models.windows.sync_batch,
        and "hard" (a bool): whether shifts of the same clip are negatives too."""
        pixels, sound = self._pixels(batch["frames"]), batch["audio"]
        if self.training:
            pixels, sound = disturb_pixels(pixels), disturb_sound(sound)
        video = self.network.forward_lip(self._windows(pixels, batch["starts"]))
        audio = self.network.forward_audio(sound.flatten(0, 1).transpose(1, 2)[:, None].contiguous())
        allowed = pairs_allowed(batch["clip"].flatten(), batch["start"].flatten(), bool(batch["hard"]))
        scale = self.log_scale.clamp(max=MAX_LOG_SCALE).exp()
        loss, accuracy = info_nce(video, audio, scale, allowed)
        return {"loss": loss, "accuracy": accuracy.detach(), "chance": loss.new_tensor(info_nce_chance(allowed)),
                "temperature": (1 / scale).detach()}

    def _pixels(self, frames: Tensor) -> Tensor:
        """float32 (C, F, H, W, channels), 0..255, from uint8 RGB: BGR for SyncNet v2, one grey channel for the small one."""
        if isinstance(self.network, SyncNet):
            return frames.float().flip(-1)
        return (frames.float() @ frames.new_tensor(GREY, dtype=torch.float32))[..., None]

    def _windows(self, pixels: Tensor, starts: Tensor) -> Tensor:
        """What forward_lip takes, (C W, ...), from pixels (C, F, H, W, channels) and starts int64 (C, W)."""
        index = starts[:, :, None] + torch.arange(SYNCNET_FRAMES, device=starts.device)  # (C, W, 5)
        clip = torch.arange(len(pixels), device=starts.device)[:, None, None]
        cut = pixels[clip, index].flatten(0, 1)  # (N, 5, H, W, channels)
        return cut.permute(0, 4, 1, 2, 3).contiguous() if isinstance(self.network, SyncNet) else cut[..., 0]


def disturb_pixels(pixels: Tensor) -> Tensor:
    """The same clips as another camera might have seen them: each clip mirrored or not, moved by up to 1/16 of its size, brighter
    or darker, with more or less contrast and noise. (C, F, H, W, channels) in and out, 0..255; one change per clip."""
    n, height, width = len(pixels), pixels.shape[2], pixels.shape[3]
    each = lambda low, high: torch.empty(n, 1, 1, 1, 1, device=pixels.device).uniform_(low, high)  # noqa: E731
    moved = []
    for clip in pixels:
        dy, dx = (int(torch.randint(-side // 16, side // 16 + 1, ())) for side in (height, width))
        clip = clip.flip(2) if torch.rand(()) < 0.5 else clip
        moved.append(clip.roll((dy, dx), (1, 2)))
    x = (torch.stack(moved) - 128) * each(0.7, 1.3) + 128 + each(-25, 25)
    return (x + torch.randn_like(x) * each(0, 8)).clamp(0, 255)


def disturb_sound(mfcc: Tensor) -> Tensor:
    """The same sound through another channel: one offset per clip and coefficient, and noise. (C, W, rows, coefficients)."""
    offset = torch.randn(len(mfcc), 1, 1, mfcc.shape[3], device=mfcc.device)
    return mfcc + 3 * offset + 1.5 * torch.randn_like(mfcc)


def is_hard(step: int, steps: int) -> bool:
    """Whether this step already uses shifts of the same clip as negatives."""
    return step >= EASY_SHARE * steps


def found_offset(video: np.ndarray, audio: np.ndarray, search: int = EXAM_SEARCH) -> int:
    """The lag k in -search..search for which video[i] and audio[i + k] are nearest: mean distance over the pairs there are.

    video, audio: float32 (N, D) embeddings of one stretch. No padding, so that short stretches are judged fairly.
    """
    n = len(video)
    best, answer = math.inf, 0
    for lag in range(-min(search, n - 1), min(search, n - 1) + 1):
        mine, theirs = video[max(0, -lag):n - max(0, lag)], audio[max(0, lag):n - max(0, -lag)]
        distance = float(np.linalg.norm(mine - theirs, axis=1).mean())
        if distance < best:
            best, answer = distance, lag
    return answer


def examine(video: np.ndarray, audio: np.ndarray) -> list[tuple[int, int]]:
    """(true lag, found lag) of each 3 s stretch of a clip in sync, under each of EXAM_LAGS that fits; embeddings (N, D)."""
    length = EXAM_FRAMES - SYNCNET_FRAMES + 1
    n, answers = min(len(video), len(audio)), []
    for start in range(0, n - length + 1, EXAM_FRAMES):
        for lag in EXAM_LAGS:
            if 0 <= start + lag and start + lag + length <= n:
                # The sound that belongs to video window i now stands at i - lag.
                answers.append((-lag, found_offset(video[start:start + length], audio[start + lag:start + lag + length])))
    return answers


def exam_result(answers: list[tuple[int, int]]) -> dict[str, float | int | None]:
    """Share of answers within one frame of the truth, share exact, and their number; null without answers."""
    if not answers:
        return {"within_1": None, "exact": None, "n": 0}
    wrong = np.abs([truth - found for truth, found in answers])
    return {"within_1": round(float((wrong <= 1).mean()), 4), "exact": round(float((wrong == 0).mean()), 4), "n": len(answers)}
