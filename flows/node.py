"""One training on a machine that may be taken away: data comes out of DVC's remote, the checkpoint travels, the result goes back.

    where the data is     babelface node send            data and dvc.lock into the remote
    on the GPU node       babelface node train NAME      as often as it takes
    where the data is     babelface node collect         the result out of the remote, into dvc.lock

Knows neither Prefect nor a batch system: SIGTERM ends it with status 75, and whoever started it starts it again, anywhere.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path

import yaml

from core.stage import UserError
from flows import gpu, remote
from flows.graph import Call, Node, Outcome, load_graph
from flows.plan import RUN, Plan, UnknownTarget, plan_of
from flows.runner import only_build

PREEMPTED = 75  # EX_TEMPFAIL: try again
EVERY_S = 60.0


class NodeError(UserError):
    """A training cannot run here; the message says what is missing."""


class Preempted(RuntimeError):
    """The training was told to stop; its last checkpoint is in the side folder."""


def checkpoint_of(name: str, root: Path = Path(".")) -> Path:
    """Where stages/train.py keeps the checkpoint of a training that is under way."""
    return root / ".babelface" / "work" / "train" / name / "checkpoint.pt"


def send(say: Callable[[str], None] = print) -> None:
    """Puts all outputs and dvc.lock where nodes find them."""
    with only_build("node send", wait=True):
        remote.push()
        remote.send_lock(remote.open_side())
    say("sent: the outputs and dvc.lock of this commit are in the remote")


def train(name: str, *, every_s: float = EVERY_S, stop: threading.Event | None = None,
          say: Callable[[str], None] = print) -> Outcome:
    """What became of the training `name` (a key of train.experts or train.systems) on this machine.

    Goes on from the checkpoint in the side folder, and leaves a newer one there every `every_s` seconds and at the end. Raises
    Preempted once `stop` is set, NodeError where its data is neither here nor in the remote. One training at a time in a folder.
    """
    stop, target = stop or threading.Event(), f"train-{name}"
    with only_build(f"node train {name}", wait=True):
        side = remote.open_side()
        remote.take_lock(side)
        node = _node(load_graph(stale=False), target)
        if remote.has_remote():
            remote.fetch(node.upstream)
        todo = plan_of(load_graph(), [target])
        _check(todo, target)
        if not todo:
            say(f"{target} is up to date")
            return Outcome(target, "cached", why="nothing changed")
        place = f"train/{name}/{remote.job_key(target)}"
        if side.get(f"{place}/checkpoint.pt", checkpoint_of(name)):
            say(f"{target}: goes on from the checkpoint in {place}")
        outcome = _run(target, int(node.meta.get("gpu", 0)), Courier(side, name, place, every_s), stop)
        if outcome.status != "failed":
            if remote.has_remote():
                remote.push([target])
            _hand_in(side, target, place)
        return outcome


def _node(nodes: list[Node], target: str) -> Node:
    node = next((n for n in nodes if n.name == target), None)
    if node is None:
        raise UnknownTarget(f"no training {target!r}; there are: {', '.join(n.name for n in nodes if n.stage == 'train')}")
    return node


def _check(todo: Plan, target: str) -> None:
    stale = [item for item in todo.items if item.name != target and item.state == RUN]
    if stale:
        raise NodeError(f"{stale[0].name} is not as {target} needs it ({stale[0].why}); where the data is, at the same commit, "
                        "run: babelface build && babelface node send")


class Courier(threading.Thread):
    """Copies a checkpoint into the side folder whenever there is a newer one."""

    def __init__(self, side: remote.Side, name: str, place: str, every_s: float):
        super().__init__(daemon=True)
        self._side, self._file, self._target, self._every_s = side, checkpoint_of(name), f"{place}/checkpoint.pt", every_s
        self._over, self._seen = threading.Event(), self._stamp()
        self.error: Exception | None = None

    def run(self) -> None:
        while not self._over.wait(self._every_s):
            self.bring()

    def bring(self) -> None:
        """Copies it now, if it changed since the last time. A copy that fails is tried again at the next turn."""
        now = self._stamp()
        if now is None or now == self._seen:
            return
        try:
            self._side.put(self._file, self._target)
        except FileNotFoundError:  # the training ended and took it away
            return
        except Exception as error:  # noqa: BLE001  a remote that is away for a minute must not end a training
            self.error = error
            return
        self._seen, self.error = now, None

    def end(self) -> None:
        """Stops, and brings the last one."""
        self._over.set()
        self.join()
        self.bring()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size


def _run(target: str, gpus: int, courier: Courier, stop: threading.Event) -> Outcome:
    call, answer = Call([target]), Future()

    def work() -> None:
        try:
            answer.set_result(call.run())
        except BaseException as error:  # noqa: BLE001  raised where the answer is asked for
            answer.set_exception(error)

    with gpu.held(gpus, stop) as environment:
        call.environment = environment
        threading.Thread(target=work, daemon=True).start()
        courier.start()
        try:
            while not answer.done() and not stop.wait(0.2):
                pass
        finally:
            if not answer.done():
                call.kill()
            wait([answer])
            courier.end()
    outcome = answer.result()[target]
    if stop.is_set() and outcome.status == "failed":
        kept = "" if courier.error is None else f"; its last checkpoint could not be left in the side folder: {courier.error}"
        raise Preempted(f"{target} was told to stop; started again, here or elsewhere, it goes on at its last checkpoint{kept}")
    return outcome


def _hand_in(side: remote.Side, target: str, place: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lock.yaml"
        entry = {target: remote.lock_entry(target)}
        path.write_text(yaml.safe_dump(entry, sort_keys=False, allow_unicode=True), encoding="utf-8")
        side.put(path, f"{place}/lock.yaml")
    side.delete(f"{place}/checkpoint.pt")


def collect(say: Callable[[str], None] = print) -> list[str]:
    """The trainings that nodes have finished for exactly this state of data, code and params: their results are here now."""
    side, taken = remote.open_side(), []
    for item in plan_of(load_graph()).items:
        if item.stage != "train":
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lock.yaml"
            if side.get(f"train/{item.instance}/{remote.job_key(item.name)}/lock.yaml", path):
                remote.merge_lock(yaml.safe_load(path.read_text(encoding="utf-8")))
                taken.append(item.name)
    if taken:
        remote.fetch(taken)
    say(f"collected: {', '.join(taken)}" if taken else "nothing to collect: no node has finished what is out of date here")
    return taken


@contextmanager
def stopped_by_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGUSR1 (Slurm's warning before a time limit) set."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
