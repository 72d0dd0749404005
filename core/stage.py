"""What every stage command shares: arguments, one writer per output, an end when its parent ends, errors in one line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import UserError, no_room
from core.licences import policy
from core.params import Params, ParamsError, load_params, suggest
from core.records import Reject
from core.workers import WorkerError

__all__ = ["UserError", "follow_dvc", "only_writer", "out_folder", "run_cli", "seal"]

LOCKS = Path(".babelface/locks")
WAIT_FOR_LOCK_S = 60


def run_cli(stage: str, main: Callable[[str, Params], Any], argv: list[str] | None = None, doc: str | None = None) -> int:
    """Runs `main(instance, params)` for `python -m stages.STAGE INSTANCE` and returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}", description=(doc or "").strip(), epilog="Run from the "
                                     "project's root. `babelface plan` lists the instances; `dvc repro` and `babelface build` "
                                     "call this for you.",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instance", metavar="INSTANCE", help="one instance of this stage, such as synthetic-en")
    args = parser.parse_args(argv)
    follow_dvc()
    if argv is None:  # as a command, in a process of its own
        from core.shards import without_pandas

        without_pandas()
    try:
        params = load_params()
        check_instance(stage, args.instance, params)
        with only_writer(stage, args.instance), policy(params.licences.allow_non_commercial):
            main(args.instance, params)
    except (UserError, ParamsError, FileNotFoundError) as error:
        print(f"{stage} {args.instance}: {error}", file=sys.stderr)
        return 2
    except Reject as reject:
        print(f"{stage} {args.instance}: {reject.reason}: {reject.detail}", file=sys.stderr)
        return 2
    except OSError as error:
        if (full := no_room(error)) is None:
            raise
        print(f"{stage} {args.instance}: {full}", file=sys.stderr)
        return 2
    except WorkerError as error:
        print(f"{stage} {args.instance}: this is a bug, not a bad clip:\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{stage} {args.instance}: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


def check_instance(stage: str, instance: str, params: Params) -> None:
    """ParamsError, with a suggestion, where params.yaml gives `stage` no such instance."""
    generators = ["controls", *params.train.systems]
    named = {"train": [*params.train.experts, *params.train.systems], "generate": generators, "score": generators,
             "sets": generators, "bias": params.score.ablation_experts, "split": ["all"], "aggregate": ["all"], "report": ["all"]}
    if stage not in named:
        params.instance(instance)
    elif instance not in named[stage]:
        raise ParamsError(f"params.yaml asks for no such instance{suggest(instance, named[stage])}")


class only_writer:  # noqa: N801
    """Holds the lock on one stage instance's output. The lock goes with the process, however it ends."""

    def __init__(self, stage: str, instance: str):
        import filelock

        LOCKS.mkdir(parents=True, exist_ok=True)
        self._path = LOCKS / f"{stage}-{instance}.lock"
        self._lock, self._timeout = filelock.FileLock(self._path), filelock.Timeout

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=WAIT_FOR_LOCK_S)
        except self._timeout:
            raise UserError(f"another process has been writing this output for {WAIT_FOR_LOCK_S} s ({self._path}); "
                            "wait for it, or end it and run again") from None

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def follow_dvc(poll_s: float = 0.3) -> None:
    """When dvc started this process, ends it as soon as that dvc is gone, so that a killed run never leaves a second writer."""
    if "DVC_ROOT" not in os.environ:
        return
    import psutil

    owner = next((p for p in psutil.Process().parents() if _is_dvc(p)), None)
    if owner is None:
        return

    def watch() -> None:
        while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:
            time.sleep(poll_s)
        os.kill(os.getpid(), signal.SIGKILL)  # workers follow through die_with_parent

    def guarded() -> None:
        try:
            watch()
        except psutil.NoSuchProcess:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=guarded, daemon=True).start()


def _is_dvc(process: Any) -> bool:
    try:
        words = process.cmdline()
    except Exception:  # noqa: BLE001  a process that vanished or is not ours is not our dvc
        return False
    return any(Path(w).name in ("dvc", "quick_dvc.py") for w in words[:3]) or ("-m" in words[:3] and "dvc" in words[:4])


def out_folder(stage: str, instance: str) -> Path:
    """Where a stage instance's output lies: data/<stage>/<instance>."""
    return Path("data") / stage / instance


def seal(stage: str, params: dict[str, Any], weights: dict[str, str] | None = None,
         extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fingerprint of a stage: the params it reads, the code it imports (and `extra` files), the weights it loads."""
    from core.codehash import closure, digest

    return {"params": params, "code": digest(sorted({*closure(f"stages.{stage}"), *extra})), "weights": weights or {}}
