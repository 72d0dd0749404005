"""Sync experts: five frames of a mouth and 200 ms of sound in, one embedding each out; close ones mean that they belong together.

`SyncNet` is SyncNet v2 (Chung and Zisserman, "Out of time", 2016) with the layers and the tensor names of the public
syncnet_v2.model, the only weights whose distances are called LSE. `SyncNetSmall` is a net of 0.3 M parameters that a demo trains.

Window i of the video is frames i..i+4; window i of the sound is MFCC rows 4i..4i+19 (100 rows/s, 25 frames/s).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import UserError

WINDOW = 5
MFCC_PER_FRAME, MFCC_WINDOW, N_MFCC = 4, 20, 13
SAMPLES_PER_FRAME = 640
VIDEO_CHUNK = 4
"""Windows that go through the video branch together: about 75 MB of activations for SyncNet, which caches like better than more."""
HEAD_CHUNK = 64
"""Windows that go through SyncNet's last convolution together: 4.7 M weights that are read once per chunk."""
AUDIO_CHUNK = 64
PRECISIONS = ("float32", "bfloat16")


class SyncExpert(nn.Module):
    """What both experts share. `view` names the crop template that it eats, `input_size` the (height, width) of that crop."""

    name: str
    view: str
    input_size: tuple[int, int]
    dim: int
    window = WINDOW
    precision = "float32"
    """Of the video branch in `embed_video`: bfloat16 halves the time on CPUs with AVX512-BF16 or AMX, and only there."""

    def forward_lip(self, x: Tensor) -> Tensor:
        """(B, dim) embeddings of B windows of frames; see the class for their shape."""
        raise NotImplementedError

    def forward_audio(self, x: Tensor) -> Tensor:
        """(B, dim) embeddings of B windows of sound: float32 (B, 1, 13, 20), MFCC of int16 samples, time last."""
        raise NotImplementedError

    def embed_video(self, frames: np.ndarray) -> np.ndarray:
        """float32 (T-4, dim): one embedding per window of a whole clip. frames: uint8 (T, *input_size, 3) RGB, T >= 5.

        The result is that of eval mode, and does not depend on the chunk. ValueError for another shape or type.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (*self.input_size, 3) or len(frames) < WINDOW:
            raise ValueError(f"{self.name}: expected uint8 frames (T >= {WINDOW}, {self.input_size[0]}, "
                             f"{self.input_size[1]}, 3), the {self.view!r} view in RGB; got {frames.dtype} {frames.shape}")
        n_windows = len(frames) - WINDOW + 1
        with torch.inference_mode(), _eval(self):
            parts = self._video_parts(frames, range(0, n_windows, VIDEO_CHUNK))
        return torch.cat(parts).numpy()

    def embed_audio(self, mfcc: np.ndarray, n_windows: int) -> np.ndarray:
        """float32 (n_windows, dim): one embedding per window of sound. mfcc: (n, 13) at 100 rows/s, n >= 4 n_windows + 16."""
        needed = MFCC_PER_FRAME * (n_windows - 1) + MFCC_WINDOW
        if mfcc.ndim != 2 or mfcc.shape[1] != N_MFCC or n_windows < 1 or len(mfcc) < needed:
            raise ValueError(f"{self.name}: {n_windows} windows of sound need at least one window and MFCC of shape "
                             f"(>= {needed}, {N_MFCC}); got {mfcc.shape}")
        rows = torch.from_numpy(np.array(mfcc[:needed], np.float32))
        windows = rows.unfold(0, MFCC_WINDOW, MFCC_PER_FRAME)[:, None]  # (N, 1, 13, 20)
        with torch.inference_mode(), _eval(self):
            return torch.cat(self._audio_parts([part.contiguous() for part in windows.split(AUDIO_CHUNK)])).numpy()

    def _video_parts(self, frames: np.ndarray, starts: range) -> list[Tensor]:
        raise NotImplementedError

    def _audio_parts(self, chunks: list[Tensor]) -> list[Tensor]:
        return [self.forward_audio(chunk) for chunk in chunks]


class SyncNet(SyncExpert):
    """SyncNet v2 at full width: 13,631,616 parameters, 1024 values per embedding, not normalised. `forward_lip` takes float32
    (B, 3, 5, 224, 224), values 0..255 in BGR order, as the public weights were trained."""

    name, view, input_size, dim = "syncnet_v2", "syncnet", (224, 224), 1024

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_block(nn.Conv2d(1, 64, 3, padding=1)), nn.MaxPool2d(1),
            *_block(nn.Conv2d(64, 192, 3, padding=1)), nn.MaxPool2d(3, (1, 2)),
            *_block(nn.Conv2d(192, 384, 3, padding=1)),
            *_block(nn.Conv2d(384, 256, 3, padding=1)),
            *_block(nn.Conv2d(256, 256, 3, padding=1)), nn.MaxPool2d(3, 2),
            *_block(nn.Conv2d(256, 512, (5, 4))))
        self.netfcaud = _head(self.dim)
        self.netcnnlip = nn.Sequential(
            *_block(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block(nn.Conv3d(256, 512, (1, 6, 6))))
        self.netfclip = _head(self.dim)

    def forward_lip(self, x: Tensor) -> Tensor:
        return self.netfclip(self.netcnnlip(x).flatten(1))

    def forward_audio(self, x: Tensor) -> Tensor:
        return self.netfcaud(self.netcnnaud(x).flatten(1))

    def _video_parts(self, frames: np.ndarray, starts: range) -> list[Tensor]:
        # Only the first layer looks along time, so a window is one image of 15 channels and the rest is 2-D. The last convolution
        # covers its whole input: it is a matrix product, and by far the most weights.
        kind = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        *trunk, last, last_relu = (layer.to(kind) for layer in _flat_layers(self.netcnnlip))
        head = last.weight.flatten(1)
        parts, waiting = [], []

        def finish() -> None:
            y = last_relu(F.linear(torch.cat(waiting).flatten(1), head, last.bias))
            parts.append(self.netfclip(y.float()))
            waiting.clear()

        for start in starts:
            x = torch.from_numpy(frames[start:start + VIDEO_CHUNK + WINDOW - 1]).to(kind)
            n = len(x) - WINDOW + 1
            # Frame after frame, RGB after RGB, channels last in memory already.
            y = torch.cat([x[t:t + n] for t in range(WINDOW)], dim=3).permute(0, 3, 1, 2)
            for layer in trunk:
                y = layer(y)
            waiting.append(y)
            if sum(map(len, waiting)) >= HEAD_CHUNK:
                finish()
        if waiting:
            finish()
        return parts

    def _audio_parts(self, chunks: list[Tensor]) -> list[Tensor]:
        layers = nn.Sequential(*_flat_layers(self.netcnnaud))
        return [self.netfcaud(layers(chunk.contiguous(memory_format=torch.channels_last)).flatten(1)) for chunk in chunks]


class SyncNetSmall(SyncExpert):
    """A small expert for demos: unit-length embeddings of 128 values. `forward_lip` takes float32 (B, 5, *input_size), the
    window's grey frames, values 0..255. Layers: three stride-2 convolutions 16/32/48, three 1-D ones 64/96/128, BatchNorm."""

    name, view, dim = "syncnet_small", "mouth", 128

    def __init__(self, input_size: tuple[int, int] = (32, 48)) -> None:
        super().__init__()
        self.input_size = (int(input_size[0]), int(input_size[1]))
        steps = [WINDOW, 16, 32, 48]
        self.lip = nn.Sequential(*(layer for a, b in zip(steps, steps[1:]) for layer in _block(nn.Conv2d(a, b, 3, 2, 1))))
        height, width = (-(-side // 8) for side in self.input_size)
        self.lip.to(memory_format=torch.channels_last)  # a quarter faster on a CPU, in training above all
        self.lip_out = nn.Linear(48 * height * width, self.dim)
        # MFCC run from -60 to 25 and differ in scale: the first BatchNorm learns it.
        self.audio = nn.Sequential(nn.BatchNorm1d(N_MFCC), *_block(nn.Conv1d(N_MFCC, 64, 3, 1, 1)),
                                   *_block(nn.Conv1d(64, 96, 3, 2, 1)), *_block(nn.Conv1d(96, 128, 3, 2, 1)))
        self.audio_out = nn.Linear(128 * (MFCC_WINDOW // 4), self.dim)

    def forward_lip(self, x: Tensor) -> Tensor:
        x = ((x - 128) / 64).contiguous(memory_format=torch.channels_last)
        return F.normalize(self.lip_out(self.lip(x).flatten(1)), dim=1)

    def forward_audio(self, x: Tensor) -> Tensor:
        return F.normalize(self.audio_out(self.audio(x[:, 0]).flatten(1)), dim=1)

    def _video_parts(self, frames: np.ndarray, starts: range) -> list[Tensor]:
        grey = torch.from_numpy(to_grey(frames))
        windows = grey.unfold(0, WINDOW, 1).permute(0, 3, 1, 2)
        return [self.forward_lip(windows[start:start + VIDEO_CHUNK].contiguous()) for start in starts]


def to_grey(frames: np.ndarray) -> np.ndarray:
    """float32 (..., H, W), 0..255: the luma of RGB frames (uint8 (..., H, W, 3)) with the weights of ITU-R BT.601."""
    return frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def open_sync(kind: str, state: Mapping[str, Tensor] | None = None, input_size: tuple[int, int] | None = None,
              precision: str = "float32") -> SyncExpert:
    """An expert in eval mode, `kind` syncnet or small, with the tensors of a state dict (random ones without).

    precision: what SyncNet's video branch calculates in, float32 or bfloat16 (seven bits: scores move by some tenths of a per cent).
    ValueError for another kind or precision. UserError for tensors that are not this network's: the first that is missing, left
    over or of another shape.
    """
    if kind not in ("syncnet", "small"):
        raise ValueError(f"no sync expert is called {kind!r}; expected 'syncnet' or 'small'")
    if precision not in (PRECISIONS if kind == "syncnet" else PRECISIONS[:1]):
        raise ValueError(f"{kind}: precision {precision!r}; expected {' or '.join(PRECISIONS if kind == 'syncnet' else PRECISIONS[:1])}")
    model: SyncExpert = SyncNet() if kind == "syncnet" else SyncNetSmall(input_size or (32, 48))
    if state is not None:
        own = model.state_dict()
        if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
            raise UserError(f"these are not the weights of {model.name}: expected a state dict, tensors by name; name the file "
                            "that belongs to this expert")
        # Step counters take no part in eval mode, and files of old torch versions lack them.
        given = {k: own[k] for k in own if k.endswith("num_batches_tracked")} | dict(state)
        differ = {k for k in set(own) & set(given) if own[k].shape != given[k].shape}
        wrong = sorted(map(str, (set(own) ^ set(given)) | differ))
        if wrong:
            raise UserError(f"these are not the weights of {model.name}: {len(wrong)} tensors are missing, unknown or of "
                            f"another shape, the first {wrong[0]!r}; name the file that belongs to this expert")
        model.load_state_dict(given)
    model.precision = precision
    return model.eval()


def n_score_windows(n_frames: int, n_samples: int) -> int:
    """How many windows the LSE arithmetic compares: min(frames, samples // 640) - 5, one fewer than exist (syncnet_python)."""
    return min(n_frames, n_samples // SAMPLES_PER_FRAME) - WINDOW


def embed_clip(model: SyncExpert, frames: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The video and the audio embeddings of a clip, both float32 (N, dim) with N from `n_score_windows`.

    frames: uint8 (T, H, W, 3) RGB at 25 fps, the model's view. samples: int16 mono, 16 kHz. Reject("too_short") when N < 1.
    """
    from core.mfcc import mfcc_syncnet
    from core.records import Reject

    n_windows = n_score_windows(len(frames), len(samples))
    if n_windows < 1:
        raise Reject("too_short", f"{len(frames)} frames and {len(samples)} samples leave {model.name} no window (6 needed)")
    video = model.embed_video(frames[:n_windows + WINDOW - 1])
    return video, model.embed_audio(mfcc_syncnet(samples), n_windows)


def _block(conv: nn.Module) -> tuple[nn.Module, nn.Module, nn.Module]:
    norm = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}[type(conv)]
    return conv, norm(conv.out_channels), nn.ReLU()


def _head(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, dim))


def _flat_layers(stack: nn.Sequential) -> list[nn.Module]:
    """A branch as 2-D layers in channels-last memory, with eval-mode BatchNorm folded in; the 3-D video branch for RGB input."""
    flat: list[nn.Module] = []
    for layer, norm in zip(stack, [*stack][1:] + [None]):
        if isinstance(layer, nn.Conv3d):
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = layer.weight * gain[:, None, None, None, None]
            if weight.shape[1] == 3:  # the first layer: BGR to RGB, then time-major like the input
                weight = weight.flip(1)
            weight = weight.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)
            n_out, n_in, *kernel = weight.shape
            conv = nn.Conv2d(n_in, n_out, tuple(kernel), layer.stride[1:], layer.padding[1:], device="meta")
            conv.weight = nn.Parameter(weight, requires_grad=False)
            conv.bias = nn.Parameter((layer.bias - norm.running_mean) * gain + norm.bias, requires_grad=False)
            flat.append(conv)
        elif isinstance(layer, nn.Conv2d):
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            conv = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, device="meta")
            conv.weight = nn.Parameter((layer.weight * gain[:, None, None, None]).contiguous(memory_format=torch.channels_last),
                                       requires_grad=False)
            conv.bias = nn.Parameter((layer.bias - norm.running_mean) * gain + norm.bias, requires_grad=False)
            flat.append(conv)
        elif isinstance(layer, nn.MaxPool2d):
            flat.append(layer)
        elif isinstance(layer, nn.MaxPool3d):
            pads = layer.padding if isinstance(layer.padding, tuple) else (layer.padding,) * 3
            flat.append(nn.MaxPool2d(layer.kernel_size[1:], layer.stride[1:], pads[1:]))
        elif isinstance(layer, nn.ReLU):
            flat.append(nn.ReLU(inplace=True))
    return flat


class _eval:
    """Eval mode for a while: running statistics are used and not updated, whatever mode the model was in."""

    def __init__(self, model: nn.Module):
        self._model, self._was = model, model.training

    def __enter__(self) -> None:
        self._model.eval()

    def __exit__(self, *_: object) -> None:
        self._model.train(self._was)
