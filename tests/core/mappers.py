"""Mappers for the executor's tests, which log every call, so that a test can count what was computed; and a pool that is this process."""

from __future__ import annotations

import importlib
import os
import random
import time
from pathlib import Path

from core import executor
from core.records import Reject


class Loud:
    """One row per item. The payload says what goes wrong: sleep, die, die_once, reject or bug."""

    def __init__(self, config):
        self._log = Path(config["log"])

    def __call__(self, payload):
        with open(self._log, "a") as log:
            log.write(payload["id"] + "\n")
        if payload.get("sleep"):
            Path(f"pid-{payload['id']}").write_text(str(os.getpid()))
        time.sleep(payload.get("sleep", 0))
        if payload.get("die"):
            os._exit(9)
        if "die_once" in payload and not Path(payload["die_once"]).exists():
            Path(payload["die_once"]).touch()
            os._exit(9)
        if "reject" in payload:
            raise Reject(payload["reject"], "asked for")
        if payload.get("bug"):
            raise ZeroDivisionError("a bug")
        n = payload.get("rows", 2)
        return {"features": [{"track_id": f"{payload['id']}-t{k}", "clip_id": payload["id"], "language": "en", "n_frames": k,
                              "mel": random.Random(f"{payload['id']} {k}").randbytes(payload.get("size", 15))} for k in range(n)]}


class Writer:
    """One file per item, as the download stage writes them."""

    def __init__(self, config):
        self._folder, self._log = Path(config["files"]), Path(config["log"])

    def __call__(self, payload):
        with open(self._log, "a") as log:
            log.write(payload["id"] + "\n")
        (self._folder / f"{payload['id']}.txt").write_text(payload["id"])
        return {"recordings": [{"recording_id": payload["id"], "file": f"{payload['id']}.txt"}]}


class InHere:
    """A pool that is this process: starting one costs more than all that its tests do."""

    def __init__(self, mapper, config, **_):
        module, name = mapper.split(":")
        self._function = getattr(importlib.import_module(module), name)(config)

    def map(self, tasks):
        for index, path, _, payload in tasks:
            try:
                tables, verdict = self._function(payload), None
            except Reject as reject:
                tables, verdict = {}, (reject.reason, reject.detail)
            executor.write_result(Path(path), tables, verdict)
            yield index, verdict
