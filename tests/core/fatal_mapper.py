"""A mapper for the tests of a cluster, in whose hands an item can kill the whole Dask worker that has it."""

from __future__ import annotations

import os
import signal
import time

from tests.core.mappers import Loud


class Fatal(Loud):
    """As Loud; the payload's `kill_worker` kills the process that started this one, `kill_once` once only."""

    def __call__(self, payload):
        out = super().__call__({k: v for k, v in payload.items() if not k.startswith("kill")})
        once = payload.get("kill_once")
        if payload.get("kill_worker") or (once and not os.path.exists(once)):
            if once:
                open(once, "x").close()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return out
