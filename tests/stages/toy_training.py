"""A small training job that a test can kill: `python -m tests.stages.toy_training CHECKPOINT KILL_AT`, or torchrun."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stages.train import Job, _bytes_of, fit, make_fabric

STEPS = 24


class Toy(nn.Module):
    """Regression with normalisation and, where asked for, noise: both must survive a resume."""

    def __init__(self, noise: bool = True):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16) if noise else nn.Identity(), nn.ReLU(),
                                  nn.Dropout(0.3 if noise else 0.0), nn.Linear(16, 1))

    def losses(self, batch):
        error = (self.body(batch["x"]) - batch["y"]).square().mean()
        return {"loss": error, "chance": error.detach() * 0 + 2.0}


def draw(step, part, rank, world):
    rng = np.random.default_rng([7, step, part])
    x = rng.normal(size=(8, 6)).astype(np.float32)
    return {"x": x[rank::world], "y": x[rank::world, :2].sum(1, keepdims=True)}


def job(draw=draw, noise=True, **more):
    torch.manual_seed(0)
    return Job("toy", Toy(noise), draw, STEPS, 1e-2, 5, 3, more.pop("digest", "d"), **more)


def killed_at(step_to_die):
    def dying(step, part, rank, world):
        if step == step_to_die:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(step, part, rank, world)
    return dying


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "torchrun":
        seen = []

        def noted(step, part, rank, world):
            batch = draw(step, part, rank, world)
            seen.append(batch["x"].copy())
            return batch

        mine = job(noted, noise=False)
        fabric = make_fabric("32-true", 1)
        rows = fit(mine, fabric, Path(sys.argv[2]) / "c.pt", say=lambda _: None)
        state = {"state": mine.model.state_dict(), "seen": torch.from_numpy(np.stack(seen)), "loss": [r["loss"] for r in rows]}
        (Path(sys.argv[2]) / f"rank{fabric.global_rank}.pt").write_bytes(_bytes_of(state))
    else:
        fit(job(killed_at(int(sys.argv[2]))), make_fabric("32-true", 1), Path(sys.argv[1]), say=lambda _: None)
