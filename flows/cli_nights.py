"""The commands for nights and nodes: `nightly`, `serve`, `node send`, `node train` and `node collect`. Joined to flows/cli.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

JOBS = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Instances at once, counted in the cores they use.",
                                          show_default="cores + 1")]
PUBLISH = Annotated[Path | None, typer.Option(metavar="DIR", help="Where reports and records of nights go.",
                                              show_default="$BABELFACE_PUBLISH, else .babelface/nightly")]
URL = Annotated[str | None, typer.Option(help="The address of that folder, for links.", show_default="file://...")]
COUNTS = Annotated[list[str] | None, typer.Option("--metric", help="A metric that may fail the night; may be given again.",
                                                  show_default="the last good report's first")]
ZONE = Annotated[str, typer.Option(help="Time zone of the schedule and of the nights' names.")]
GIT = Annotated[bool, typer.Option("--git-pull", help="Fast-forward the branch first.")]
PUSH = Annotated[bool, typer.Option("--push", help="Copy the results to DVC's remote.")]
KEEP = Annotated[int, typer.Option(min=1, help="How many nights stay published.")]
ATTEMPTS = Annotated[int, typer.Option(min=1, help="How often to plan and run while something fails.")]
DELAY = Annotated[float, typer.Option("--retry-delay", min=0, help="Seconds between attempts.")]


@app.command(epilog="[b]Examples[/b]\n\nbabelface nightly\n\nbabelface nightly --metric lse_c --metric energy_correlation\n\n"
                    "babelface nightly --accept    tonight is the new measure\n\nExit status: 0 for a good night; 1 where a "
                    "language got worse beyond noise or is missing, or something failed; 2 where the call was wrong. Every night "
                    "at its hour: babelface serve.")
def nightly(publish: PUBLISH = None, url: URL = None, metric: COUNTS = None, timezone: ZONE = "UTC", git_pull: GIT = False,
            push: PUSH = False,
            accept: Annotated[bool, typer.Option("--accept", help="Good, whatever the comparison says.")] = False,
            attempts: ATTEMPTS = 2, retry_delay: DELAY = 60.0, keep: KEEP = 30, jobs: JOBS = None) -> None:
    """Run tonight's night now: pull, build, save, compare with the last good night, publish."""
    from flows.nights import check_metrics
    from flows.server import prefect_api

    check_metrics(metric or ())
    with prefect_api():
        from flows.nightly import NightFailed
        from flows.nightly import nightly as flow

        try:
            flow(publish=str(publish) if publish else None, url=url, metrics=metric, timezone=timezone, git_pull=git_pull,
                 push=push, accept=accept, attempts=attempts, retry_delay_s=retry_delay, keep=keep, jobs=jobs)
        except NightFailed:
            raise typer.Exit(1) from None


@app.command(epilog="[b]Examples[/b]\n\nbabelface serve                                      nightly at two, UTC\n\n"
                    "babelface serve --cron '30 22 * * 1-5' --timezone Europe/Berlin --publish /var/www/nights\n\n"
                    "PREFECT_API_URL=http://prefect.lan:4200/api babelface serve    against a server that runs already\n\n"
                    "Serves build, evaluate and nightly from this folder until Ctrl-C. Without PREFECT_API_URL it brings a "
                    "Prefect server of its own along, on the loopback, with its pages at --port. Several machines and GPU nodes: "
                    "prefect.yaml and docs/gpu_nodes.md.")
def serve(cron: Annotated[str, typer.Option(help="When nightly runs: minute, hour, day, month, weekday.")] = "0 2 * * *",
          timezone: ZONE = "UTC", publish: PUBLISH = None, url: URL = None, metric: COUNTS = None, git_pull: GIT = False,
          push: PUSH = False, attempts: ATTEMPTS = 2, retry_delay: DELAY = 60.0, keep: KEEP = 30, jobs: JOBS = None,
          name: Annotated[str, typer.Option(help="Name of the deployments.")] = "babelface",
          port: Annotated[int, typer.Option(help="Port of its own Prefect server.")] = 4200) -> None:
    """Serve the flows with their schedule, in one process on one machine."""
    from flows import serve as serving
    from flows.nights import check_metrics

    check_metrics(metric or ())
    serving.serve(cron=cron, timezone=timezone, name=name, port=port, publish=str(publish.resolve()) if publish else None,
                  url=url, metrics=metric, git_pull=git_pull, push=push, attempts=attempts, retry_delay_s=retry_delay, keep=keep,
                  jobs=jobs)


node_app = typer.Typer(no_args_is_help=True, help="Train on another machine; what passes between goes through DVC's remote.")
app.add_typer(node_app, name="node")


@node_app.command(name="send")
def node_send() -> None:
    """Put the outputs and dvc.lock into the remote, where nodes at the same commit find them."""
    from flows.node import send

    send()


@node_app.command(name="train", epilog="[b]Example[/b]\n\nbabelface node train speech2vid-mix\n\nExit status: 0 done; 1 "
                                       "failed; 75 told to stop (SIGTERM, SIGUSR1): the checkpoint is in the remote, start it "
                                       "again anywhere.")
def node_train(name: Annotated[str, typer.Argument(help="A key of train.experts or train.systems.")],
               every: Annotated[float, typer.Option(min=1, help="Seconds between copies of the checkpoint.")] = 60.0) -> None:
    """Train one model here: fetch its data, go on at its last checkpoint, push its result."""
    from flows.node import PREEMPTED, Preempted, stopped_by_signal, train

    try:
        with stopped_by_signal() as stop:
            outcome = train(name, every_s=every, stop=stop)
    except Preempted as error:
        print(error, file=sys.stderr)
        raise typer.Exit(PREEMPTED) from None
    print(f"train-{name} {outcome.status}" + (f": {outcome.why}" if outcome.why else ""))
    for line in outcome.tail if outcome.status == "failed" else ():
        print(f"    {line}", file=sys.stderr)
    raise typer.Exit(1 if outcome.status == "failed" else 0)


@node_app.command(name="collect")
def node_collect() -> None:
    """Take in the trainings that nodes have finished."""
    from flows.node import collect
    from flows.runner import only_build

    with only_build("node collect", wait=True):
        collect()


@node_app.command(name="worker", epilog="[b]Example[/b]\n\nPREFECT_API_URL=http://prefect.lan:4200/api babelface node worker\n\n"
                                        "Send SIGTERM, SIGUSR1 or Ctrl-C to this process only (systemd: KillMode=mixed; Slurm: "
                                        "--signal=B:...).")
def node_worker(pool: Annotated[str, typer.Option(help="The work pool whose runs it takes.")] = "babelface-gpu",
                limit: Annotated[int, typer.Option(min=1, help="How many runs at once.")] = 1) -> None:
    """Serve a Prefect work pool from this node; told to stop, its trainings go back into the queue with their checkpoints."""
    from flows.worker import run_worker

    raise typer.Exit(run_worker(pool, limit))
