"""Runs one command so that none of its processes outlives it or us: `python flows/child.py PARENT_PID COMMAND...`.

Killing dvc with -9 leaves the stage it started writing, and a second build would start beside it. So this process, which leads a
session of its own, dies with its parent and takes the whole session along; when the command ends, however it ends, whatever it
left behind is ended too. Kept to the standard library: it starts with every call.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: int) -> None:
    """Asks Linux to send this process a signal when the thread that started it ends; elsewhere does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)


def session_members() -> list[int]:
    """Process ids of this session other than our own."""
    mine, found = os.getsid(0), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid() and os.getsid(int(entry.name)) == mine:
                found.append(int(entry.name))
        except ProcessLookupError:
            continue
    return found


def end_session() -> None:
    """Kills what is left of this session; twice, because a dying parent may have forked in between."""
    for _ in range(2):
        for pid in session_members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def main(argv: list[str]) -> int:
    """The exit status of the command; 128 + n when signal n ended it."""
    parent, command = int(argv[0]), argv[1:]
    ended = []

    def stop(number: int, _frame: object) -> None:
        ended.append(number)
        end_session()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        return 128 + signal.SIGTERM
    code = subprocess.Popen(command, preexec_fn=lambda: die_with_parent(signal.SIGKILL)).wait()
    end_session()
    code = -ended[0] if ended else code
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
