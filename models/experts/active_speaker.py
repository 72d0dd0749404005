"""Active speaker experts: a face's grey crops and the clip's cepstra in, one score per frame out, above 0 where the face speaks.

The network is Light-ASD's (Liao et al., "A light weight model for active speaker detection", CVPR 2023), with the layers, sizes and
names of its public weights: two encoders, in which each convolution is split into a spatial and a temporal one (3 and 5 wide, side by
side); their sum goes through two GRUs, one forwards, then one backwards. It looks far more than it listens: see docs/inspect.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 112
"""Pixels of the grey face: the middle of SyncNet's crop at 224, as TalkNet and Light-ASD cut it when they run on videos."""
MFCC_PER_FRAME, N_MFCC = 4, 13
GREY_MEAN, GREY_STD = 0.4161, 0.1688  # of grey faces in [0, 1], as the weights were trained
CHUNK = 24
"""Frames that go through one block of the visual encoder together, so that memory does not grow with the clip."""
REACH = 2  # frames that a block sees before and after its own


class ActiveSpeaker:
    """Says per frame whether a face speaks. `name` belongs to a track's `speaker_expert`."""

    name: str

    def scores(self, faces: np.ndarray, mfcc: np.ndarray) -> np.ndarray:
        """float32 (T,), > 0 where the face speaks. faces: uint8 (T, 112, 112) grey, 25 a second; mfcc: (n, 13), 100 a second.

        Sound that ends early is silence (rows of zeros), sound that goes on is left out. ValueError for other shapes or types.
        """
        raise NotImplementedError


class _Pair(nn.Module):
    """One block of an encoder: spatial, then temporal convolution, 3 and 5 wide, summed; then 1 x 1. BatchNorm and ReLU after each.

    `first` is what the weights call the convolution that does not look along time: s over (height, width), m over cepstra.
    """

    def __init__(self, n_in: int, n_out: int, first: str):
        super().__init__()
        self.first = first
        conv, norm = (nn.Conv3d, nn.BatchNorm3d) if first == "s" else (nn.Conv2d, nn.BatchNorm2d)
        for k in (3, 5):
            still = (1, k, k) if first == "s" else (k, 1)
            along = (k, 1, 1) if first == "s" else (1, k)
            for name, a, kernel in ((f"{first}_{k}", n_in, still), (f"t_{k}", n_out, along)):
                setattr(self, name, conv(a, n_out, kernel, bias=False))
                setattr(self, f"bn_{name}", norm(n_out, eps=1e-3))
        self.last, self.bn_last = conv(n_out, n_out, 1, bias=False), norm(n_out, eps=1e-3)

    def folded(self, name: str) -> tuple[Tensor, Tensor]:
        """(weight, bias) of one convolution with its BatchNorm, in eval mode, folded in."""
        conv, norm = getattr(self, name), getattr(self, f"bn_{name}")
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return conv.weight * gain.reshape(-1, *[1] * (conv.weight.ndim - 1)), norm.bias - norm.running_mean * gain

    def video(self, x: Tensor, stride: int) -> Tensor:
        """(T, C', H', W') from (T, C, H, W), both channels last: a frame is an image for the spatial half, and for the temporal
        one a clip is an image of T rows with a column per pixel."""
        total = None
        for k in (3, 5):
            weight, bias = self.folded(f"s_{k}")
            y = F.relu_(F.conv2d(x, weight[:, :, 0].contiguous(memory_format=torch.channels_last), bias, stride, k // 2))
            n, c, h, w = y.shape
            rows = y.permute(0, 2, 3, 1).reshape(1, n, h * w, c).permute(0, 3, 1, 2)  # (1, C, T, pixels), channels last
            weight, bias = self.folded(f"t_{k}")
            y = F.relu_(F.conv2d(rows, weight[:, :, :, 0].contiguous(memory_format=torch.channels_last), bias, 1, (k // 2, 0)))
            total = y if total is None else total.add_(y)
        weight, bias = self.folded("last")
        y = F.relu_(F.conv2d(total, weight[:, :, 0], bias))
        return y.permute(0, 2, 3, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)

    def sound(self, x: Tensor) -> Tensor:
        """(1, C', 13, n) from (1, C, 13, n)."""
        halves = []
        for k in (3, 5):
            weight, bias = self.folded(f"m_{k}")
            y = F.relu_(F.conv2d(x, weight, bias, 1, (k // 2, 0)))
            weight, bias = self.folded(f"t_{k}")
            halves.append(F.relu_(F.conv2d(y, weight, bias, 1, (0, k // 2))))
        weight, bias = self.folded("last")
        return F.relu_(F.conv2d(halves[0] + halves[1], weight, bias))


class _Blocks(nn.Module):
    def __init__(self, first: str):
        super().__init__()
        self.block1, self.block2, self.block3 = _Pair(1, 32, first), _Pair(32, 64, first), _Pair(64, 128, first)


class _Turns(nn.Module):
    """Two GRUs in a row, the second from the end to the beginning, with GELU after each."""

    def __init__(self, dim: int):
        super().__init__()
        self.gru_forward = nn.GRU(dim, dim, batch_first=True)
        self.gru_backward = nn.GRU(dim, dim, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.gru_forward(x)[0])
        return F.gelu(self.gru_backward(y.flip(1))[0].flip(1))


class LightASD(nn.Module, ActiveSpeaker):
    """Light-ASD: 1.0 M parameters, about 10 ms a frame and face on one core."""

    name = "light_asd"

    def __init__(self) -> None:
        super().__init__()
        self.visual, self.audio, self.gru, self.out = _Blocks("s"), _Blocks("m"), _Turns(128), nn.Linear(128, 2)

    def scores(self, faces: np.ndarray, mfcc: np.ndarray) -> np.ndarray:
        check_faces(faces)
        if mfcc.ndim != 2 or mfcc.shape[1] != N_MFCC:
            raise ValueError(f"{self.name}: expected cepstra (n, {N_MFCC}) at 100 rows a second, got {mfcc.shape}")
        if not len(faces):
            return np.zeros(0, np.float32)
        rows = np.zeros((MFCC_PER_FRAME * len(faces), N_MFCC), np.float32)
        rows[:min(len(rows), len(mfcc))] = mfcc[:len(rows)]
        with torch.inference_mode():
            both = self.embed_faces(faces) + self.embed_sound(torch.from_numpy(rows))
            return self.out(self.gru(both[None]))[0, :, 1].numpy()

    def embed_faces(self, faces: np.ndarray) -> Tensor:
        """(T, 128) of uint8 (T, 112, 112) grey faces."""
        x = (torch.from_numpy(faces)[:, None].float() / 255 - GREY_MEAN) / GREY_STD
        x = _by_parts(x, lambda part: F.max_pool2d(self.visual.block1.video(part, 2), 3, 2, 1))
        x = _by_parts(x, lambda part: F.max_pool2d(self.visual.block2.video(part, 1), 3, 2, 1))
        return _by_parts(x, lambda part: self.visual.block3.video(part, 1).amax((2, 3)))

    def embed_sound(self, rows: Tensor) -> Tensor:
        """(T, 128) of float32 (4 T, 13) cepstra."""
        x = rows.T[None, None]
        x = F.max_pool2d(self.audio.block1.sound(x), (1, 3), (1, 2), (0, 1))
        x = F.max_pool2d(self.audio.block2.sound(x), (1, 3), (1, 2), (0, 1))
        return self.audio.block3.sound(x).mean(2)[0].T


def _by_parts(x: Tensor, block) -> Tensor:
    """What `block` makes of all frames, a part at a time: a part is given the frames that it sees of its neighbours."""
    made = []
    for start in range(0, len(x), CHUNK):
        first, stop = max(0, start - REACH), min(len(x), start + CHUNK + REACH)
        part = block(x[first:stop].contiguous(memory_format=torch.channels_last))
        made.append(part[start - first:][:min(CHUNK, len(x) - start)])
    return torch.cat(made)


_NAMES = {"model.visualEncoder.": "visual.", "model.audioEncoder.": "audio.", "model.GRU.": "gru.", "lossAV.FC.": "out."}


def open_active_speaker(state: Mapping[str, Tensor] | None = None) -> LightASD:
    """Light-ASD in eval mode with the tensors of its public weights (random ones without).

    The head that judges by the picture alone (lossV) took part in training only. ValueError names the first tensor that is
    missing, left over or of another shape.
    """
    torch.set_num_threads(1)
    net = LightASD()
    if state is not None:
        own = net.state_dict()
        given = {}
        for name, tensor in state.items():
            head = next((h for h in _NAMES if name.startswith(h)), "")
            if not name.startswith("lossV."):
                given[_NAMES.get(head, head) + name[len(head):]] = tensor
        wrong = sorted((set(own) ^ set(given)) | {k for k in set(own) & set(given) if own[k].shape != given[k].shape})
        if wrong:
            raise ValueError(f"these are not the weights of Light-ASD: {len(wrong)} tensors are missing, unknown or of another "
                             f"shape, the first {wrong[0]!r}; name the file finetuning_TalkSet.model")
        net.load_state_dict(given)
    return net.eval()


def check_faces(faces: np.ndarray) -> None:
    """ValueError unless `faces` are uint8 (T, 112, 112)."""
    if faces.dtype != np.uint8 or faces.ndim != 3 or faces.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"expected grey faces, uint8 (T, {SIDE}, {SIDE}), got {faces.dtype} of shape {faces.shape}")
