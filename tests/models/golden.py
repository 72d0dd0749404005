"""Weights that anybody can make: those of the reference figures in syncnet_reference.json."""

from __future__ import annotations

import zlib

import torch


def golden_fill(model: torch.nn.Module) -> torch.nn.Module:
    """Weights by the recipe of syncnet_reference.json, 'weight_fill': a function of each tensor's name and shape."""
    with torch.no_grad():
        for name, t in sorted(model.state_dict().items()):
            r = torch.randn(t.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())), dtype=torch.float32)
            if name.endswith("num_batches_tracked"):
                t.zero_()
            elif name.endswith("running_var"):
                t.copy_(1 + 0.1 * r.abs())
            elif name.endswith("running_mean"):
                t.copy_(0.1 * r)
            elif t.dim() <= 1:
                t.copy_(1 + 0.1 * r if name.endswith("weight") else 0.1 * r)
            else:
                t.copy_(r * (0.5 / t[0].numel()) ** 0.5)
    return model
