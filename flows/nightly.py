"""The Prefect flow `nightly`: pull, plan, run what is stale, save, compare with the last good night, publish, and say so."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows import node, nights, remote
from flows.build import run_plan
from flows.graph import GRAPH, HEADER, Outcome, current_graph
from flows.licences import guard
from flows.nights import FAILED, GOOD
from flows.plan import plan
from flows.runner import at_once, only_build

ARTIFACT = "babelface-night"


class NightFailed(RuntimeError):
    """The night is not good; `night` is its record."""

    def __init__(self, night: dict[str, Any]):
        super().__init__(nights.sentence(night))
        self.night = night


@dataclass(frozen=True, slots=True)
class _Wishes:
    """How a night is to be run; the parameters of `nightly`."""

    metrics: list[str]
    git_pull: bool
    push: bool
    accept: bool
    attempts: int
    retry_delay_s: float
    jobs: int


def _run_name() -> str:
    return tonight(flow_run.parameters.get("timezone") or "UTC")


def tonight(timezone: str = "UTC") -> str:
    """The name of this night, by the time at which its flow run was to start."""
    return nights.name_of(flow_run.scheduled_start_time, timezone)


@flow(name="nightly", flow_run_name=_run_name, validate_parameters=False, persist_result=False)
def nightly(publish: str | None = None, url: str | None = None, metrics: list[str] | None = None, timezone: str = "UTC",
            git_pull: bool = False, push: bool = False, accept: bool = False, attempts: int = 2, retry_delay_s: float = 60.0,
            keep: int = nights.KEEP, jobs: int | None = None) -> dict[str, Any]:
    """Brings everything up to date and compares it with the last good night. Fails where a language got worse beyond noise, where
    one, a system or the expert can no longer be judged, or where something could not be built.

    publish: the folder for reports and records (default: BABELFACE_PUBLISH, else .babelface/nightly). url: its address, for
    links. metrics: which may fail the night (default: what the last good report showed first). timezone: in which nights are
    named. git_pull: fast-forward the branch first. push: copy the results to DVC's remote. accept: tonight is good whatever the
    comparison says. attempts: how often to plan and run while something fails, `retry_delay_s` apart. keep: how many nights to
    keep published.
    """
    name = tonight(timezone)
    wishes = _Wishes(list(metrics or ()), git_pull, push, accept, max(attempts, 1), retry_delay_s, jobs or at_once())
    folder = nights.publish_folder(publish)
    cause: Exception | None = None
    with only_build(f"nightly ({name})", wait=True):
        try:
            night, compared = _night(name, wishes, folder)
            nights.publish(night, folder, compared=compared, keep=keep)
        except Exception as error:  # noqa: BLE001  recorded, published and raised below as a failed night
            cause, night = error, nights.record(name, FAILED, note=f"{type(error).__name__}: {error}")
            nights.publish(night, folder, keep=keep)
    link = (url or folder.resolve().as_uri()).rstrip("/")
    create_markdown_artifact(nights.markdown(night, link), key=ARTIFACT, description=nights.sentence(night))
    print(nights.sentence(night), flush=True)
    if night["status"] != GOOD:
        raise NightFailed(night) from cause
    return {"name": name, "status": night["status"], "commit": night["commit"], "baseline": night["baseline"]}


def _night(name: str, wishes: _Wishes, folder: Path) -> tuple[dict[str, Any], Any]:
    """(the record, the comparison or None)"""
    metrics = nights.check_metrics(wishes.metrics)
    pull.with_options(retries=wishes.attempts - 1, retry_delay_seconds=wishes.retry_delay_s)(git=wishes.git_pull)
    if GRAPH.read_text(encoding="utf-8").startswith(HEADER):  # one that was written by hand is nobody's to check
        guard(current_graph())
    ran, outcomes = _bring_up_to_date(wishes)
    failed = nights.failures(outcomes)
    if failed:
        return nights.record(name, FAILED, failures=failed, ran=ran, code=remote.head()), None
    commit = save(name, push=wishes.push)
    shown = nights.figures()
    compared, facts = nights.judge(name, nights.read_nights(folder), metrics, shown=shown, accept=wishes.accept)
    return nights.record(name, commit=commit, code=remote.head(), ran=ran, report=nights.REPORT_PAGE.is_file(),
                         comparison=compared is not None, **shown, **facts), compared


@task(name="pull", cache_policy=NO_CACHE, persist_result=False)
def pull(git: bool) -> None:
    """Brings the code (where asked) and what DVC's remote has, and takes in what GPU nodes have trained."""
    if git and remote.git_pull():
        print("the branch moved; what changed in flows/ itself counts from the next night on", flush=True)
    if remote.has_remote():
        remote.fetch()
        node.collect(say=lambda text: print(text, flush=True))


def _bring_up_to_date(wishes: _Wishes) -> tuple[int, list[Outcome]]:
    """(how many instances ran, the outcomes of the last attempt). Each attempt plans anew: what failed, and what hangs on it."""
    ran, outcomes = 0, []
    for attempt in range(wishes.attempts):
        todo = plan()
        if not todo:
            return ran, outcomes if not attempt else []
        if attempt:
            again = ", ".join(o.name for o in outcomes if o.status == "failed")
            print(f"attempt {attempt + 1} of {wishes.attempts}: {again}", flush=True)
            time.sleep(wishes.retry_delay_s)
        outcomes = run_plan("evaluate", todo, wishes.jobs)
        ran += sum(o.status == "ran" for o in outcomes)
        if not any(o.status == "failed" for o in outcomes):
            break
    return ran, outcomes


@task(name="save", cache_policy=NO_CACHE, persist_result=False)
def save(name: str, push: bool) -> str:
    """The commit of the DVC experiment that holds tonight's results."""
    commit = remote.save_experiment(name)
    if push:
        remote.push()
        remote.send_lock(remote.open_side())
    return commit
