"""Inception-v3 as FID counts it: frames in, 2048 features per frame out. Frozen; the network is torch-fidelity's.

It is not torchvision's Inception: FID is defined on TensorFlow's graph of 2015, with its own pooling borders and its own resizing
to 299 pixels, and torch-fidelity (which torchmetrics uses too) rebuilds both. Only its weights, by their hash, give FID.
torchmetrics smooths before it resizes unless told antialias=False, and pytorch-fid resizes in a third way: their FIDs differ.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

WEIGHTS = "inception_fid"
"""The network's name in core.weights."""
DIM = 2048
BATCH = 8


class Inception:
    """FID's feature network with the weights of a file."""

    name = "inception-v3-fid"

    def __init__(self, path: Path):
        from core.weights import load_torch

        load_torch(path)  # refuses a file that holds code: torch-fidelity itself would run it
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        try:
            self._net = FeatureExtractorInceptionV3(self.name, [str(DIM)], feature_extractor_weights_path=str(path))
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not the weights of FID's Inception network ({str(error).splitlines()[0]})") from error

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """float32 (T, 2048): one feature vector per frame. frames: uint8 (T, H, W, 3) RGB of any size; ValueError otherwise.

        They are resized to 299 x 299 as TensorFlow 1 did, whatever their shape: give square regions.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise ValueError(f"expected frames uint8 (T, H, W, 3) in RGB, got {frames.dtype} {frames.shape}")
        with torch.inference_mode():
            parts = [self._net(torch.from_numpy(np.ascontiguousarray(frames[i:i + BATCH])).permute(0, 3, 1, 2))[0]
                     for i in range(0, len(frames), BATCH)]
        return torch.cat(parts).numpy()


def open_inception(path: Path) -> Inception:
    """FID's network. ValueError for a file that does not hold it."""
    return Inception(path)
