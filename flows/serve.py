"""`babelface serve`: the flows build, evaluate and nightly served from this folder by one process, nightly at its hour."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from core.stage import UserError
from flows.server import standing_api

CRON = "0 2 * * *"
PORT = 4200
# Before Prefect is imported: what a run prints is kept with it, and shown in the user interface.
_LOGS = {"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_LOGGING_TO_API_ENABLED": "1", "PREFECT_LOGGING_LOG_PRINTS": "1"}


def deployments(name: str, cron: str, timezone: str, nightly_parameters: dict[str, Any]) -> list[Any]:
    """The three deployments; UserError for a cron line or a time zone that there is none of."""
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    from flows.build import build, evaluate
    from flows.nightly import nightly

    try:
        schedule = Cron(cron, timezone=timezone)
        common = {"name": name, "entrypoint_type": EntrypointType.MODULE_PATH, "enforce_parameter_schema": False,
                  "tags": ["babelface"]}
        return [build.to_deployment(**common, description="The data of all corpora and languages, up to the splits."),
                evaluate.to_deployment(**common, description="Everything that is out of date, up to the report."),
                nightly.to_deployment(**common, schedules=[schedule], parameters={"timezone": timezone, **nightly_parameters},
                                      description="Everything, compared with the last good night.")]
    except ValueError as error:
        raise UserError(f"--cron {cron!r} --timezone {timezone!r}: {str(error).splitlines()[-1].strip()}; expected five fields "
                        "such as '0 2 * * *' (every night at two) and a zone such as Europe/Berlin") from error


def serve(*, cron: str = CRON, timezone: str = "UTC", name: str = "babelface", port: int = PORT,
          **nightly_parameters: Any) -> None:
    """Serves until it is told to stop (Ctrl-C, SIGTERM). One run at a time: builds in one folder exclude each other anyway."""
    os.environ |= {k: v for k, v in _LOGS.items() if k not in os.environ}
    with standing_api(port) as address:
        made = deployments(name, cron, timezone, nightly_parameters)
        from prefect import serve as serve_deployments

        print(f"serving {Path.cwd()}\n  nightly at {cron} ({timezone})\n  look: {address.removesuffix('/api')}\n"
              + "".join(f"  now:  prefect deployment run {d.flow_name}/{d.name}\n" for d in made)
              + f"  with: export PREFECT_API_URL={address}\n", end="", flush=True)
        # The schedule goes on when this process comes back: paused ones would have to be resumed by hand.
        serve_deployments(*made, pause_on_shutdown=False, print_starting_message=False, limit=1)
