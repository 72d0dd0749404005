"""LPIPS: how different two pictures look, from the inner layers of an image network. Frozen, pictures in, distances out.

The `lpips` package has the arithmetic and its own linear weights (v0.1); the network under it (AlexNet, or VGG-16) is
torchvision's and comes from a file, since the package would fetch it by itself, unverified.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

WEIGHTS = {"alex": "lpips_alexnet", "vgg": "lpips_vgg16"}
"""The backbone's name in core.weights. Published figures are "alex" unless they say otherwise."""
MIN_SIDE = 32
BATCH = 16


class Perceptual:
    """LPIPS v0.1 with one backbone; `name` (`lpips-alex` or `lpips-vgg`) belongs to the figure's protocol."""

    def __init__(self, net: Literal["alex", "vgg"], features: Mapping[str, Tensor]):
        import lpips

        with warnings.catch_warnings():  # torchvision has renamed an argument that lpips still passes
            warnings.simplefilter("ignore", UserWarning)
            self._net: nn.Module = lpips.LPIPS(net=net, pnet_rand=True, pretrained=True, verbose=False).eval()
        own = self._net.net.state_dict()
        # lpips cuts torchvision's `features` into slices and keeps the layers' numbers: slice2.3.weight is features.3.weight
        state = {key: features.get("features." + key.partition(".")[2]) for key in own}
        wrong = sorted(key for key, value in state.items() if value is None or value.shape != own[key].shape)
        if wrong:
            raise ValueError(f"not torchvision's weights for LPIPS's backbone {net!r}: {len(wrong)} of {len(own)} tensors are "
                             f"missing or of another shape, the first {wrong[0]!r}")
        self._net.net.load_state_dict(state)
        self.name = f"lpips-{net}"

    def distances(self, real: np.ndarray, generated: np.ndarray) -> np.ndarray:
        """LPIPS of every pair of frames: float64 (T,), 0 for equal pictures, lower is closer.

        Both uint8 (T, H, W, 3) RGB, at least 32 x 32 pixels, of one size: LPIPS grows with resolution in places, so a region is
        compared in its own pixels for every system. ValueError otherwise.
        """
        for clip in (real, generated):
            if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3 or min(clip.shape[:3], default=0) < 1:
                raise ValueError(f"expected frames uint8 (T, H, W, 3) in RGB, got {clip.dtype} {clip.shape}")
        if real.shape != generated.shape or min(real.shape[1:3]) < MIN_SIDE:
            raise ValueError(f"LPIPS needs two clips of one shape of at least {MIN_SIDE} x {MIN_SIDE} pixels, not {real.shape} "
                             f"and {generated.shape}")
        starts = range(0, len(real), BATCH)
        with torch.inference_mode():
            parts = [self._net(_unit(real[i:i + BATCH]), _unit(generated[i:i + BATCH])).flatten() for i in starts]
        return torch.cat(parts).double().numpy()


def open_perceptual(path: Path, net: Literal["alex", "vgg"] = "alex") -> Perceptual:
    """LPIPS with the backbone's weights from a file, as torchvision distributes them. ValueError for another file or net."""
    from core.weights import load_torch

    if net not in WEIGHTS:
        raise ValueError(f"LPIPS has no backbone {net!r}; expected one of {', '.join(WEIGHTS)}")
    state = load_torch(path)
    if not isinstance(state, Mapping):
        raise ValueError(f"{path}: holds no tensors by name")
    with _naming(path):
        return Perceptual(net, state)


def _unit(frames: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) as float32 (T, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


@contextlib.contextmanager
def _naming(path: Path):
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
