"""What a short clip looks like and how it moves, as features for FVD: I3D (400 logits) or VideoMAE v2 (1408 values). Frozen.

Both follow cd-fvd (Ge et al. 2024, "On the content bias in Frechet video distance"): 16 frames, squashed to 224 x 224 by bilinear
interpolation; I3D sees [-1, 1] and gives its Kinetics-400 logits, VideoMAE sees [0, 1] and gives the normalised mean over tokens.
Tensor names are those of the public files i3d_pretrained_400.pt and vit_g_hybrid_pt_1200e_ssv2_ft.pth.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = {"i3d": "i3d_kinetics400", "videomae": "videomae_g_ssv2"}
"""The networks' names in core.weights."""
FRAMES, SIDE = 16, 224
BATCH = 2


class I3D(nn.Module):
    """The inflated Inception of Carreira & Zisserman 2017 for RGB: (B, 3, T, 224, 224) in [-1, 1] to (B, 400) logits, T >= 9."""

    dim, low, high = 400, -1.0, 1.0
    _MIXED = {
        "Mixed_3b": (192, 64, 96, 128, 16, 32, 32), "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
        "Mixed_4b": (480, 192, 96, 208, 16, 48, 64), "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
        "Mixed_4d": (512, 128, 128, 256, 24, 64, 64), "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
        "Mixed_4f": (528, 256, 160, 320, 32, 128, 128), "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
        "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
    }
    _POOLS = {"Mixed_3b": ((1, 3, 3), (1, 2, 2)), "Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2), (2, 2, 2))}

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = _Unit(64, 64)
        self.Conv3d_2c_3x3 = _Unit(64, 192, 3)
        for name, sizes in self._MIXED.items():
            self.add_module(name, _Mixed(*sizes))
        self.logits = nn.Module()
        self.logits.conv3d = nn.Conv3d(1024, self.dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = _pool(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in self._MIXED:
            if name in self._POOLS:
                x = _pool(x, *self._POOLS[name])
            x = self.get_submodule(name)(x)
        return self.logits.conv3d(F.avg_pool3d(x, (2, 7, 7), 1)).mean((2, 3, 4))


class VideoMAE(nn.Module):
    """The encoder of VideoMAE v2 (Wang et al. 2023), ViT-giant by default: (B, 3, 16, 224, 224) in [0, 1] to (B, 1408)."""

    low, high = 0.0, 1.0

    def __init__(self, dim: int = 1408, depth: int = 40, heads: int = 16, hidden: int = 6144, patch: int = 14,
                 tokens: int = 2048, classes: int = 174):
        super().__init__()
        self.dim, self._tokens = dim, tokens
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv3d(3, dim, (2, patch, patch), (2, patch, patch))
        self.blocks = nn.ModuleList(_Block(dim, heads, hidden) for _ in range(depth))
        self.fc_norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)  # in the public file; features are taken before it

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = x + _positions(self._tokens, self.dim).to(x)
        for block in self.blocks:
            x = block(x)
        return self.fc_norm(x.mean(1))


class VideoFeatures:
    """One of the two networks with its weights loaded. `name` belongs to the figure's protocol."""

    def __init__(self, name: str, net: nn.Module, side: int = SIDE, n_frames: int = FRAMES):
        self.name, self._net, self._side, self.n_frames = name, net.eval().requires_grad_(False), side, n_frames

    def embed(self, clips: np.ndarray) -> np.ndarray:
        """float32 (N, dim): one feature vector per clip. clips: uint8 (N, 16, H, W, 3) RGB at 25 fps; ValueError otherwise."""
        shape = clips.shape
        if clips.dtype != np.uint8 or len(shape) != 5 or (shape[1], shape[4]) != (self.n_frames, 3) or 0 in shape:
            raise ValueError(f"{self.name}: expected clips uint8 (N, {self.n_frames}, H, W, 3) in RGB, got {clips.dtype} "
                             f"{clips.shape}")
        with torch.inference_mode():
            return torch.cat([self._net(self._prepared(clips[i:i + BATCH])) for i in range(0, len(clips), BATCH)]).numpy()

    def _prepared(self, clips: np.ndarray) -> Tensor:
        n, t, *_ = clips.shape
        x = torch.from_numpy(np.ascontiguousarray(clips)).flatten(0, 1).permute(0, 3, 1, 2).float()
        x = F.interpolate(x, size=(self._side, self._side), mode="bilinear", align_corners=False)
        x = x.view(n, t, 3, self._side, self._side).transpose(1, 2)
        return x * ((self._net.high - self._net.low) / 255) + self._net.low


def open_video_features(path: Path, kind: Literal["i3d", "videomae"] = "i3d", side: int = SIDE, **sizes: Any) -> VideoFeatures:
    """One of the networks with the weights of a file, which sees `side` pixels. sizes: for a VideoMAE other than ViT-giant.

    ValueError for another kind or file.
    """
    from core.weights import load_torch

    if kind not in WEIGHTS:
        raise ValueError(f"no video network is called {kind!r}; expected one of {', '.join(WEIGHTS)}")
    held = load_torch(path)
    if not isinstance(held, Mapping):
        raise ValueError(f"{path}: holds no tensors by name")
    for key in ("module", "model"):  # training code wraps the tensors
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    with torch.device("meta"):  # a billion parameters: they are taken from the file, never drawn first
        net: nn.Module = I3D() if kind == "i3d" else VideoMAE(**sizes)
    own = net.state_dict()
    # step counters take no part in eval mode, and files of old torch versions lack them
    given = {k: torch.zeros((), dtype=torch.long) for k in own if k.endswith("num_batches_tracked")} | dict(held)
    wrong = sorted((set(own) ^ set(given)) | {k for k in set(own) & set(given) if own[k].shape != given[k].shape})
    if wrong:
        raise ValueError(f"{path}: not the weights of {kind}: {len(wrong)} tensors are missing, unknown or of another shape, the "
                         f"first {wrong[0]!r}")
    net.load_state_dict(given, assign=True)
    return VideoFeatures(kind, net.float(), side)


def windows(frames: np.ndarray, n_frames: int = FRAMES) -> np.ndarray:
    """A video cut into clips that do not overlap: (T // n_frames, n_frames, H, W, 3); a rest is left out, also all of it."""
    n = len(frames) // n_frames
    return frames[:n * n_frames].reshape(n, n_frames, *frames.shape[1:])


class _Unit(nn.Module):
    """Convolution with TensorFlow's SAME padding, batch norm, ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.conv3d = nn.Conv3d(n_in, n_out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(n_out, eps=1e-5)  # as cd-fvd; other ports of I3D take 1e-3

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(_same(x, self.conv3d.kernel_size, self.conv3d.stride))))


class _Mixed(nn.Module):
    def __init__(self, n_in: int, one: int, a: int, b: int, c: int, d: int, pooled: int):
        super().__init__()
        self.b0 = _Unit(n_in, one)
        self.b1a, self.b1b = _Unit(n_in, a), _Unit(a, b, 3)
        self.b2a, self.b2b = _Unit(n_in, c), _Unit(c, d, 3)
        self.b3b = _Unit(n_in, pooled)

    def forward(self, x: Tensor) -> Tensor:
        pooled = _pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self._heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        self.attn.q_bias, self.attn.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.attn.q_bias, torch.zeros_like(self.attn.q_bias), self.attn.v_bias])  # keys have none
        q, k, v = F.linear(self.norm1(x), self.attn.qkv.weight, bias).unflatten(2, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.attn.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


def _same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    pads: list[int] = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride))):
        total = max(k - (s if size % s == 0 else size % s), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def _pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return F.max_pool3d(_same(x, kernel, stride), kernel, stride)  # padded with zeros: what comes in is never negative


def _positions(n: int, dim: int) -> Tensor:
    """Sinusoidal positions (n, dim), float64: sin at even places, cos at odd ones (Vaswani et al. 2017)."""
    place = torch.arange(dim, dtype=torch.float64)
    angle = torch.arange(n, dtype=torch.float64)[:, None] / 10000 ** (2 * torch.div(place, 2, rounding_mode="floor") / dim)
    return torch.where(place % 2 == 0, angle.sin(), angle.cos())
