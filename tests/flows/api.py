"""The few questions that tests ask of a Prefect server, without importing Prefect."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Api:
    """The few questions that the tests ask of a Prefect server."""

    def __init__(self, address: str):
        self.address = address

    def ask(self, path: str, body: dict | None = None, **options):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/{path}", data, {"Content-Type": "application/json"}, **options)
        for left in reversed(range(20)):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read() or "null")
            except urllib.error.HTTPError as error:
                if error.code != 503 or not left:  # SQLite is busy; Prefect's own client tries again too
                    raise
                time.sleep(0.5)

    def deployment(self, name: str) -> dict:
        return self.ask(f"deployments/name/{name}")

    def start(self, deployment: str, when: str, **parameters) -> str:
        """The id of a run that was to start at `when`."""
        found = self.deployment(deployment)
        body = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": when}},
                "parameters": {**found["parameters"], **parameters}}
        return self.ask(f"deployments/{found['id']}/create_flow_run", body)["id"]

    def wait(self, run: str, alive: subprocess.Popen, timeout_s: float = 150, until: tuple[str, ...] = FINAL) -> dict:
        """The run, once its state is one of `until`."""
        end = time.monotonic() + timeout_s
        while True:
            found = self.ask(f"flow_runs/{run}")
            if found["state_type"] in until:
                return found
            assert alive.poll() is None, "the worker ended"
            assert time.monotonic() < end, f"still {found['state_name']} after {timeout_s} s"
            time.sleep(0.3)

    def artifact(self, run: str, key: str) -> dict:
        return self.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}}})[0]
