"""The Prefect flows: `build` (data and splits) and `evaluate` (everything). One task per stage instance, derived from the DVC graph.

Prefect decides when and shows how it goes; what is up to date is DVC's to say, so no Prefect cache is used and tasks pass names only.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows import gpu, server, show
from flows.graph import Call, Outcome
from flows.plan import Plan, plan
from flows.runner import at_once, gpus, only_build, stopped
from flows.schedule import MOST_PER_CALL, Schedule

BUILD_TARGETS = ["split", "crop", "features"]
RETRIES = 1
GPU_LIMIT = "gpu"
LIMIT_PATIENCE_S = 10.0
LIMIT_POLL_S = 2.0


class StageFailed(RuntimeError):
    """One instance failed; `outcome` has the last lines of its output."""

    def __init__(self, outcome: Outcome):
        super().__init__("\n".join([f"{outcome.name}: {outcome.why}", *outcome.tail]))
        self.outcome = outcome


class SharedCall:
    """A dvc call whose instances are tasks of their own: the first task to ask runs it, the others wait for their part."""

    def __init__(self, names: tuple[str, ...], calls: set[Call], on_start: Any, gpus: int = 0):
        self._names, self._calls, self._on_start, self._gpus = names, calls, on_start, gpus
        self._lock, self._answer, self._asked = threading.Lock(), None, set()

    def outcome(self, name: str) -> Outcome:
        """What became of one instance. Asking again (a retry) runs that instance again, alone."""
        with self._lock:
            again = name in self._asked
            self._asked.add(name)
            mine = self._answer is None
            if mine:
                self._answer = Future()
        if again:
            return self._call((name,))[name]
        if mine:
            try:
                self._answer.set_result(self._call(self._names))
            except BaseException as error:
                self._answer.set_exception(error)
                raise
        return self._answer.result()[name]

    def _call(self, names: tuple[str, ...]) -> dict[str, Outcome]:
        call = Call(names, on_start=self._on_start)
        self._calls.add(call)
        try:
            with gpu_slots(self._gpus, call.killed) as environment:
                call.environment = environment
                return call.run()
        finally:
            self._calls.discard(call)


@contextmanager
def gpu_slots(n: int, stop: threading.Event) -> Iterator[dict[str, str]]:
    """What a call that needs `n` GPUs gets in its environment, while it holds as many slots of Prefect's limit `gpu` and the file
    locks of its cards (flows.gpu). Nothing is taken where it needs none or there is none; waiting ends once `stop` is set."""
    n = min(n, len(gpu.cards()))
    with limited(n, stop), gpu.held(n, stop) as environment:
        yield environment


@contextmanager
def limited(n: int, stop: threading.Event) -> Iterator[None]:
    # A private server sees this run only, which its file locks and Schedule bound already; and a slot that a killed run held
    # would stay taken in its database.
    if not n or server.private():
        yield
        return
    from prefect.concurrency.sync import concurrency

    make_gpu_limit()
    while not stop.is_set():
        if not _room(n):  # looked at before asking: Prefect logs every request that timed out as an error
            stop.wait(LIMIT_POLL_S)
            continue
        slots = concurrency(GPU_LIMIT, occupy=n, strict=True, timeout_seconds=LIMIT_PATIENCE_S,
                            raise_on_lease_renewal_failure=False)
        try:
            slots.__enter__()
        except TimeoutError:  # somebody was quicker; asked in turns, so that Ctrl-C is heard
            continue
        try:
            yield
        finally:
            slots.__exit__(None, None, None)
        return
    yield


def _room(n: int) -> bool:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    return not limit.active or limit.active_slots + n <= limit.limit


def make_gpu_limit() -> None:
    """Creates Prefect's limit `gpu` with as many slots as this machine has GPUs, where there is none: a strict limit must exist.
    One that exists is left as it is: with several machines it is theirs together (`prefect gcl update gpu --limit 8`)."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):  # another machine was quicker
                slots = max(len(gpu.cards()), 1)
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=slots))


def _was_killed(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a retry makes sense: the process was killed (out of memory, for one); a stage that fails by itself fails again."""
    try:
        state.result()
    except StageFailed as failed:
        return failed.outcome.transient
    except Exception:  # noqa: BLE001  anything else is a bug of ours, and is shown
        return False
    return False


@task(name="stage", cache_policy=NO_CACHE, retries=RETRIES, retry_delay_seconds=2, retry_condition_fn=_was_killed, persist_result=False)
def run_stage(name: str, share: SharedCall) -> Outcome:
    """Brings one stage instance up to date."""
    outcome = share.outcome(name)
    if outcome.status == "failed":
        raise StageFailed(outcome)
    return outcome


def _drive(todo: Plan, jobs: int) -> list[Outcome]:
    """Runs a plan: starts what is ready, takes in what is done, until every item has an outcome."""
    schedule, finished = Schedule(todo, jobs=jobs, gpus=gpus()), queue.SimpleQueue()
    items = {item.name: item for item in todo.items}
    calls: set[Call] = set()
    with show.Live(len(items)) as live:
        try:
            while not schedule.done:
                if stopped.is_set():
                    raise KeyboardInterrupt
                for outcome in schedule.settle():
                    live.finished(outcome)
                while batch := schedule.take():
                    share = SharedCall(batch, calls, live.started, items[batch[0]].gpu)
                    for name in batch:
                        one = run_stage.with_options(name=items[name].stage, task_run_name=name, tags=tags(items[name]))
                        one.submit(name, share).add_done_callback(lambda future, name=name: finished.put((name, future)))
                if schedule.done:
                    break
                name, future = _next(finished)
                outcome = _outcome(name, future)
                schedule.finish([outcome])
                live.finished(outcome)
        except BaseException:
            for call in list(calls):
                call.kill()
            schedule.stop("interrupted")
            raise
    return [schedule.outcomes[name] for name in items]


def _next(finished: queue.SimpleQueue) -> Any:
    """The next finished task. Waits in short turns: a wait without end would not hear Ctrl-C."""
    while True:
        if stopped.is_set():
            raise KeyboardInterrupt
        try:
            return finished.get(timeout=0.5)
        except queue.Empty:
            continue


def _outcome(name: str, future: Any) -> Outcome:
    try:
        return future.result()
    except StageFailed as failed:
        return failed.outcome
    except Exception as error:  # noqa: BLE001  the run goes on with other branches and the summary shows this one
        return Outcome(name, "failed", why=f"{type(error).__name__}: {error}")


def tags(item: Any) -> list[str]:
    """stage:track, and lang:tr for an instance of one language."""
    _, dash, language = item.instance.partition("-")
    return [f"stage:{item.stage}", *([f"lang:{language}"] if dash and item.name.startswith(f"{item.stage}@") else [])]


def _flow(todo: Plan, jobs: int) -> list[Outcome]:
    outcomes = _drive(todo, jobs)
    create_markdown_artifact(show.markdown(outcomes), key="babelface-build", description="what every stage instance did")
    return outcomes


def _run(what: str, targets: list[str] | None, jobs: int | None) -> list[Outcome]:
    """A flow's body: the plan handed over by `run_plan`, or, in a scheduled run, one made here under the build lock."""
    if _handed_over:
        return _flow(*_handed_over.pop())
    with only_build(what, wait=True):
        todo = plan(targets)
        outcomes = _flow(todo, jobs or at_once()) if todo else []
    failed = [o.name for o in outcomes if o.status in ("failed", "skipped")]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(outcomes)} instances failed or were skipped: {', '.join(failed[:5])}")
    return outcomes


_handed_over: list[tuple[Plan, int]] = []


@flow(name="build", validate_parameters=False, persist_result=False)
def build(targets: list[str] | None = None, jobs: int | None = None) -> list[Outcome]:
    """Builds the data of all corpora and languages, up to the splits."""
    return _run("build", targets or BUILD_TARGETS, jobs)


@flow(name="evaluate", validate_parameters=False, persist_result=False)
def evaluate(targets: list[str] | None = None, jobs: int | None = None) -> list[Outcome]:
    """Builds, trains, generates, scores and reports: everything in dvc.yaml."""
    return _run("evaluate", targets, jobs)


def run_plan(what: str, todo: Plan, jobs: int) -> list[Outcome]:
    """The outcomes of one plan, run as the flow `what`; the caller holds the build lock."""
    body = {"build": build, "evaluate": evaluate}[what]
    # Tasks of one shared call wait for each other in threads of their own; how many calls run at once is Schedule's business.
    runner = ThreadPoolTaskRunner(max_workers=max(jobs, 1) * (MOST_PER_CALL + 1))
    _handed_over.append((todo, jobs))
    return body.with_options(task_runner=runner)(targets=[i.name for i in todo.items], jobs=jobs)
