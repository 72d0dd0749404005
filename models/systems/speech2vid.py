"""Speech2Vid (Chung, Jamaludin, Zisserman: "You said that?", BMVC 2017): audio and K stills to one mouth-synchronous face frame.

The layers are those of the released model v201, three skips from the identity encoder to the decoder; channel counts, kernel
sizes and paddings are in the tables below. Width "full" has the published widths (28.05 M parameters with five stills); "small"
divides them so that a demonstration trains on a CPU. Differences from the paper: trained from scratch (no VGG-Face start), pixel
loss L1 with an optional extra weight on the mouth, no feature loss (its weights are not published), no deblurring network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.losses import weighted_l1
from models.systems.base import Inputs, Spec
from models.systems.base import System as Base

VIEW, OUT = 112, 109  # the view's side; the output is the view without its first row and column and its last two
TOP = LEFT = 1
# Rows and columns of the output around the lips, open or closed: the registration keeps the corners at (36, 78) and (79, 78).
MOUTH = (slice(64, 100), slice(32, 83))
# Spread of the twelve liftered coefficients on speech, about: it only brings the input near unit size, so it is fixed.
MFCC_SCALE = 10.0
# What the published channel counts are divided by. The picture's layers cost the most, so "small" cuts them the most.
DIVIDE = {"full": {"audio": 1, "face": 1, "decoder": 1}, "small": {"audio": 4, "face": 8, "decoder": 8}}


def _block(n_in: int, n_out: int, kernel: int | tuple[int, int], stride: int = 1, pad: int = 0) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, kernel, stride, pad), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]


class AudioEncoder(nn.Sequential):
    """float32 (B, 1, 12, 35) MFCC window to (B, 256 / d, 1, 1)."""

    def __init__(self, d: int):
        c64, c128, c256, c512 = 64 // d, 128 // d, 256 // d, 512 // d
        super().__init__(
            *_block(1, c64, 3, pad=1),
            *_block(c64, c128, 3, pad=1),
            nn.ZeroPad2d((0, 0, 1, 0)), nn.MaxPool2d(3, stride=(1, 2)),  # 12 x 35 -> 11 x 17
            *_block(c128, c256, 3, pad=1), *_block(c256, c256, 3, pad=1), *_block(c256, c256, 3, pad=1),
            nn.MaxPool2d(3, stride=2),  # -> 5 x 8
            *_block(c256, c512, (5, 8)), *_block(c512, c256, 1))


class FaceEncoder(nn.Module):
    """float32 (B, 3K, 112, 112) stills to (B, 256 / d, 1, 1) and the three skips (53, 26 and 12 pixels a side)."""

    def __init__(self, stills: int, d: int):
        super().__init__()
        c96, c256, c512 = 96 // d, 256 // d, 512 // d
        self.widths = c96, c96, c256
        self.conv1 = nn.Sequential(*_block(3 * stills, c96, 7, stride=2))
        self.pool1 = nn.MaxPool2d(3, stride=2)
        self.conv2 = nn.Sequential(*_block(c96, c256, 5, stride=2, pad=1))
        self.rest = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, stride=2), *_block(c256, c512, 3, pad=1),
                                  *_block(c512, c512, 3, pad=1), *_block(c512, c512, 3, pad=1), *_block(c512, c512, 6),
                                  *_block(c512, c256, 1))

    def forward(self, stills: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        skip53 = self.conv1(stills)
        skip26 = self.pool1(skip53)
        skip12 = self.conv2(skip26)
        return self.rest(skip12), (skip53, skip26, skip12)


class Decoder(nn.Module):
    """Joint code (B, n, 1, 1) and the skips, of each or one for all, to (B, 3, 109, 109) before the sigmoid. No batch normalisation, as
    published."""

    def __init__(self, n_in: int, skips: tuple[int, int, int], d: int):
        super().__init__()
        c = [n // d for n in (128, 128, 256, 512, 256, 256, 96)]
        c96, c64, c32 = 96 // d, 64 // d, 32 // d
        skip53, skip26, skip12 = skips
        self.conv8 = nn.Conv2d(n_in, c[0], 1)
        self.conv9 = nn.Conv2d(c[0], c[1], 3, padding=1)  # at 2
        self.conv10 = nn.Conv2d(c[1], c[2], 3, padding=1)  # at 4
        self.conv11 = nn.Conv2d(c[2], c[3], 3)  # at 8 -> 6
        self.conv12 = nn.Conv2d(c[3], c[4], 3, padding=1)  # at 12
        self.conv13 = nn.Conv2d(c[4] + skip12, c[5], 3, padding=1)  # at 24
        self.conv14 = nn.Conv2d(c[5], c[6], 5, padding=3)  # 24 -> 26
        self.conv15 = nn.Conv2d(c[6] + skip26, c96, 3)  # at 52 -> 53
        self.conv16 = nn.Conv2d(c96 + skip53, c64, 3)  # at 106 -> 107
        self.conv17 = nn.Conv2d(c64, c32, 3)  # 107 -> 108
        self.conv18 = nn.Conv2d(c32, 3, 3)  # 108 -> 109
        # Eleven layers without normalisation: torch's default start would shrink the sound to nothing on the way.
        for conv in self.children():
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        nn.init.xavier_normal_(self.conv18.weight)

    def forward(self, code: Tensor, skips: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        skip53, skip26, skip12 = skips
        x = F.relu(self.conv8(code))
        for conv in (self.conv9, self.conv10, self.conv11, self.conv12):
            x = F.relu(conv(_up(x)))
        x = F.relu(_joined(self.conv13, _up, x, skip12))
        x = F.relu(self.conv14(x))
        x = F.relu(_joined(self.conv15, _up_pad, x, skip26))
        x = F.relu(_joined(self.conv16, _up_pad, x, skip53))
        x = F.relu(self.conv17(_pad(x)))
        return self.conv18(_pad(x))


def _up(x: Tensor) -> Tensor:
    """Twice the size, bilinear, corners on corners."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _pad(x: Tensor) -> Tensor:
    """Two rows and columns before, one after: a 3 x 3 convolution then grows its input by one pixel."""
    return F.pad(x, (2, 1, 2, 1))


def _up_pad(x: Tensor) -> Tensor:
    return _pad(_up(x))


def _joined(conv: nn.Conv2d, widen: Callable[[Tensor], Tensor], x: Tensor, skip: Tensor) -> Tensor:
    """conv(widen([x, skip])) with x (B, C, H, W) and skip (B, D, H, W), or (1, D, H, W) where one skip serves all of the batch: its
    share of the sum, which is half of the work, is then done once."""
    if len(skip) == len(x):
        return conv(widen(torch.cat([x, skip], 1)))
    own, of_skip = conv.weight[:, :x.shape[1]], conv.weight[:, x.shape[1]:]
    return F.conv2d(widen(x), own, conv.bias, padding=conv.padding) + F.conv2d(widen(skip), of_skip, padding=conv.padding)


def _faces(stills: Tensor) -> Tensor:
    """float32 (B, 3K, H, W) in -0.5..0.5 from uint8 (B, K, H, W, 3): the stills stacked on the channels."""
    return stills.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2).float() / 255 - 0.5


class System(Base):
    """Speech2Vid of one width. stills: K; mouth_weight: extra weight of the L1 loss inside the mouth region (0: the paper's)."""

    card = {"paper": "Chung, Jamaludin, Zisserman: You said that?, BMVC 2017", "layers": "released model v201"}

    def __init__(self, width: str = "full", stills: int = 5, mouth_weight: float = 0.0):
        super().__init__()
        d = DIVIDE[width]
        self.spec = Spec(view="registration", image="stills", n_stills=stills, feature="mfcc_speech2vid", window="speech2vid")
        self.audio = AudioEncoder(d["audio"])
        self.face = FaceEncoder(stills, d["face"])
        self.decoder = Decoder(256 // d["audio"] + 256 // d["face"], self.face.widths, d["decoder"])
        weight = torch.ones(OUT, OUT)
        weight[MOUTH] += mouth_weight
        self.register_buffer("weight", weight, persistent=False)
        self.to(memory_format=torch.channels_last)  # a third faster on a CPU

    @property
    def margin(self) -> tuple[int, int]:
        return TOP, LEFT

    def forward(self, audio: Tensor, stills: Tensor) -> Tensor:
        """(B, 3, 109, 109) in 0..1 from MFCC windows float32 (B, 35, 12) and stills uint8 (B, K, 112, 112, 3)."""
        sound = self.audio(audio.transpose(1, 2)[:, None] / MFCC_SCALE)
        face, skips = self.face(_faces(stills))
        return torch.sigmoid(self.decoder(torch.cat([sound, face], 1), skips))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        made = self(batch["audio"][:, 0], batch["stills"]).float()
        target = batch["target"][:, 0, TOP:TOP + OUT, LEFT:LEFT + OUT].permute(0, 3, 1, 2).float() / 255
        mouth = (slice(None), slice(None), *MOUTH)
        return {"loss": weighted_l1(made, target, self.weight), "l1": (made - target).abs().mean().detach(),
                "l1_mouth": (made[mouth] - target[mouth]).abs().mean().detach()}

    @torch.inference_mode()
    def generate(self, inputs: Inputs, chunk: int = 32) -> np.ndarray:
        self.eval()
        device = self.weight.device
        # The stills are the same for every frame: encode them once. The code is what `forward` does for a whole batch.
        stills = torch.from_numpy(np.ascontiguousarray(inputs.stills))[None].to(device)
        face, skips = self.face(_faces(stills))
        frames = []
        for start in range(0, inputs.n_frames, chunk):
            audio = torch.from_numpy(np.ascontiguousarray(inputs.audio[start:start + chunk])).to(device)
            n = len(audio)
            sound = self.audio(audio.transpose(1, 2)[:, None] / MFCC_SCALE)
            code = torch.cat([sound, face.expand(n, -1, -1, -1)], 1)
            made = torch.sigmoid(self.decoder(code, skips))
            frames.append((made * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(frames)
