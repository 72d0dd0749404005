"""The Prefect flow `train`: one training on a worker of a GPU pool. All that it does is in flows/node.py."""

from __future__ import annotations

import os
import threading

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.states import AwaitingRetry

from flows import build, gpu, node
from flows.graph import Outcome


@flow(name="train", flow_run_name="train-{name}", validate_parameters=False, persist_result=False)
def train(name: str, every_s: float = node.EVERY_S) -> Outcome:
    """Trains one model on this node: data out of DVC's remote, the checkpoint along with it, the result back into the remote.

    A worker that is taken away (SIGTERM) leaves the checkpoint and puts the run back into its queue: the next worker goes on.
    """
    stop, over, done, failed = threading.Event(), threading.Event(), [], []

    def work() -> None:
        try:
            done.append(node.train(name, every_s=every_s, stop=stop))
        except BaseException as error:  # noqa: BLE001  raised again in the flow's own thread
            failed.append(error)
        finally:
            over.set()

    interrupted: BaseException | None = None
    with build.limited(min(1, len(gpu.cards())), stop):
        threading.Thread(target=work, daemon=True).start()
        try:
            # An event, not join: a signal that raises inside join makes Python 3.11 take the thread for ended.
            while not over.wait(0.2):
                pass
        except BaseException as error:
            interrupted = error
            stop.set()
            over.wait()
    # Outside of the limit: its slot must be free before somebody else takes this run up.
    if interrupted is not None:
        preempted = isinstance(interrupted, TerminationSignal) and failed and isinstance(failed[0], node.Preempted)
        if preempted and _back_into_the_queue():
            os._exit(0)  # the engine would report a crash over the state that was just set
        raise interrupted
    if failed:
        raise failed[0]
    if done[0].status == "failed":
        raise build.StageFailed(done[0])
    return done[0]


def _back_into_the_queue() -> bool:
    """Schedules this run again; False where it was cancelled, or has no deployment whose workers could take it."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run.id)
        if run.deployment_id is None or (run.state is not None and run.state.is_cancelling()):
            return False
        again = AwaitingRetry(message="the worker was taken away; goes on at the last checkpoint")
        client.set_flow_run_state(run.id, again, force=True)
    return True
