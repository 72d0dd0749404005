"""The video of a web page, by yt-dlp in a process of its own: what hangs there is ended, what it leaves half done is not seen.

No ffmpeg is asked of anybody: where a page has picture and sound in one file that is tall enough, that file is taken; otherwise
both come as they are, two files, and whoever cuts a stretch reads the one's frames and the other's sound.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from core.records import Reject
from core.workers import die_with_parent
from corpora.fetch import said as words_of
from corpora.fetch.hosts import Hosts
from corpora.fetch.http import SURE, check_address
from corpora.fetch.limits import Again, Limits, Log, Slower, persist

# What yt-dlp calls a JavaScript runtime, best first as it has them: the program, the word that makes it tell its version, how it
# tells it, and the least version that yt-dlp takes (a test holds these against the installed yt-dlp).
RUNTIMES = {"deno": ("deno", "--version", r"deno (\S+)", (2, 3, 0)), "node": ("node", "--version", r"v(\S+)", (22, 0, 0)),
            "quickjs": ("qjs", "--help", r"QuickJS(?:-ng)?\s+version\s+(\S+)", (2023, 12, 9)),
            "bun": ("bun", "--version", r"(\S+)", (1, 2, 11))}
SOLVER = "yt-dlp-ejs"  # the package with the scripts that solve the challenges of YouTube's pages in such a runtime
GOOD_HEIGHT = 720  # one file at least this tall is better than two that are taller: it needs no second look

# What yt-dlp says of a challenge that was not solved, in a warning or an error.
_UNSOLVED = re.compile(r"javascript runtime|js runtime|(signature|challenge) solving failed|error solving .*challenge"
                       r"|challenge solver|js challenge|(nsig|signature) extraction failed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """The files of a page's video: one with picture and sound, or one with the picture and one with the sound."""

    video: Path
    sound: Path | None
    format: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """A JavaScript runtime of this machine: yt-dlp's name for it, its program, its version, and whether yt-dlp takes that."""

    name: str
    path: str
    version: str
    usable: bool


def runtimes() -> list[Runtime]:
    """All JavaScript runtimes found on PATH or beside this Python's own programs (as pip installs them), best first."""
    beside = sysconfig.get_path("scripts")
    found = [(name, shutil.which(kind[0], path=beside) or shutil.which(kind[0])) for name, kind in RUNTIMES.items()]
    return [_asked(name, path) for name, path in found if path]


def runtime() -> Runtime | None:
    """The best JavaScript runtime on this machine that yt-dlp can use, or None."""
    return next((found for found in runtimes() if found.usable), None)


@functools.cache
def _asked(name: str, path: str) -> Runtime:
    """A program that says nothing of its version is none that yt-dlp takes. Asked once per process, not once per page."""
    _, word, pattern, least = RUNTIMES[name]
    try:
        ran = subprocess.run([path, word], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Runtime(name, path, "of unknown version", False)
    said = re.match(pattern, ran.stdout)
    if not said or (ran.returncode and name != "quickjs"):  # which has no word for its version, and ends its help with 1
        return Runtime(name, path, "of unknown version", False)
    numbers = tuple(int(part) if part.isdigit() else -1 for part in re.split(r"[-.]", said[1]))
    return Runtime(name, path, said[1], numbers >= least or said[0].startswith("QuickJS-ng"))  # which counts from 0 again


def solver() -> str | None:
    """The version of the package whose scripts solve YouTube's challenges, or None where it is not installed."""
    try:
        return importlib.metadata.version(SOLVER)
    except importlib.metadata.PackageNotFoundError:
        return None


def runtime_words() -> str:
    """What there is to say of the runtime and of its scripts to a person."""
    found = runtime()
    missing = "" if solver() else f"; the package {SOLVER} is missing, without which no challenge is solved: pip install {SOLVER}"
    if found:
        return f"JavaScript runtime for pages that need one: {found.name} {found.version}{missing}"
    old = [f"{r.name} {r.version} is passed over, yt-dlp takes {_least(r.name)} or later" for r in runtimes()]
    return (f"no JavaScript runtime that yt-dlp takes{''.join(f' ({words})' for words in old)}: pages such as YouTube's hide "
            f"most formats without one; install deno ({_least('deno')} or later; pip install deno) or node ({_least('node')} or "
            f"later) so that it is found on PATH{missing}")


def _least(name: str) -> str:
    return re.sub(r"(\.0)+$", "", ".".join(map(str, RUNTIMES[name][3])))


def formats(height: int) -> str:
    """yt-dlp's format expression: one file tall enough, else picture and sound apart, else the best there is in one file."""
    good = f"b[height>={min(GOOD_HEIGHT, height)}][height<={height}]"
    return f"{good}/(bv[height<=?{height}],ba)/b[height<=?{height}]/b"


def command(address: str, folder: Path, limits: Limits, cookies: Path | None = None) -> list[str]:
    """The words of one call of yt-dlp, which reads no settings of the user and follows no playlist."""
    found = runtime()
    words = [sys.executable, "-m", "yt_dlp", "--ignore-config", "--no-playlist", "--playlist-items", "1", "--no-progress",
             "--no-cache-dir",
             "--no-mtime", "--fixup", "never", "--abort-on-unavailable-fragments", "--retries", "2", "--fragment-retries", "3",
             "--socket-timeout", f"{limits.stall_s:g}", "--max-filesize", str(limits.max_bytes),
             "--format", formats(limits.height), "--format-sort", f"res:{limits.height},vcodec:h264,ext:mp4",
             "--output", str(folder / "%(format_id)s.%(ext)s"), "--no-simulate",
             "--print", "after_move:%(.{filepath,format_id,vcodec,acodec,height,ext})j"]
    if found:
        words += ["--js-runtimes", f"{found.name}:{found.path}"]
    if cookies:
        words += ["--cookies", str(cookies)]
    return [*words, "--", address]


def download(address: str, folder: Path, limits: Limits, hosts: Hosts, *, log: Log = Log(None)) -> Page:
    """The video of the page at `address`, in files that `folder` then holds (it is emptied before each attempt).

    Raises Reject: gone, forbidden, no_runtime, no_video, too_large, unreachable (also where the host asks us to slow down for
    longer than this run has patience for), bad_url.
    """
    check_address(address)
    folder = folder.resolve()  # the child works elsewhere

    def attempt(deadline: float) -> Page:
        with hosts.turn(address, deadline) as began:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                found = _call(address, folder, limits, deadline, log)
            except Slower as error:
                raise hosts.slower(address, began, error.detail) from error
            hosts.well(address, began)
            return found

    return persist(attempt, address, limits, log)


def _call(address: str, folder: Path, limits: Limits, deadline: float, log: Log) -> Page:
    with tempfile.TemporaryDirectory() as scratch:
        cookies = None
        if limits.cookies:
            given = Path(limits.cookies).expanduser()
            if not given.is_file():
                raise FileNotFoundError(f"fetch.cookies names {limits.cookies}, and there is no such file")
            cookies = Path(shutil.copy(given, Path(scratch) / "cookies.txt"))  # yt-dlp writes into the file it is given
        child = subprocess.Popen(command(address, folder, limits, cookies), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=scratch,
                                 preexec_fn=die_with_parent)  # noqa: PLW1509: a worker that is killed takes it along
        try:
            out, errors = child.communicate(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Again("unreachable", f"yt-dlp was not done after {limits.timeout_s:g} s") from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode:
        raise failure(errors)
    lacked = unsolved(errors)
    if lacked:  # what came is then often the smallest format there is
        log(at=address, outcome="fewer_formats", detail=f"{lacked}; {runtime_words()}")
        _tell(runtime_words())
    return _files([json.loads(line) for line in out.splitlines() if line.startswith("{")], errors)


def unsolved(errors: str) -> str | None:
    """The first warning or error of yt-dlp's that says that a challenge of the page was not solved, or None."""
    for line in errors.splitlines():
        if line.startswith(("WARNING:", "ERROR:")) and _UNSOLVED.search(line):
            return line.partition(":")[2].strip()[:300]
    return None


@functools.cache
def _tell(words: str) -> None:
    """Once per process; the log has each page."""
    print(f"some pages came with fewer formats than they have: {words}", file=sys.stderr)


def failure(errors: str) -> Again | Reject:
    """What an exception to raise yt-dlp's words on standard error amount to."""
    lines = [line for line in errors.splitlines() if line.startswith("ERROR:")] or errors.strip().splitlines()
    lines = lines or ["yt-dlp gave no reason"]
    said = re.sub(r"^ERROR:\s*", "", lines[-1])[:400]
    if "No space left" in said or "Disk quota" in said:
        return OSError(28, f"No space left on device: {said}")
    if asked := words_of.slower(errors):
        return Slower(asked)
    reason = words_of.reason_of(said)
    lacked = unsolved(errors)
    # Without its challenges solved a page shows no format, or addresses that answer 403. What it says of itself stays true.
    if _UNSOLVED.search(said) or (lacked and (reason == "no_video" or "http error 403" in said.lower())):
        return Reject("no_runtime", "; ".join(dict.fromkeys((said, lacked or said, runtime_words()))))
    if reason == "unreachable":
        return Again(reason, said, at_most=SURE if words_of.for_later(said) else None)
    if reason in ("gone", "forbidden"):
        hint = "; fetch.cookies can name a file of cookies" if reason == "forbidden" else ""
        return Again(reason, said + hint, at_most=SURE)
    return Reject(reason, said)


def _files(printed: list[dict], errors: str) -> Page:
    found = [(one, Path(one["filepath"])) for one in printed if one.get("filepath")]
    if not found or not all(path.is_file() and path.stat().st_size for _, path in found):
        if "max-filesize" in errors:
            raise Reject("too_large", "larger than fetch.max_bytes")
        raise Again("incomplete", "yt-dlp ended well and left no file", at_most=SURE)
    sounds = [path for one, path in found if one.get("vcodec") == "none"]
    pictures = [path for _, path in found if path not in sounds]
    if not pictures:
        raise Reject("no_video", "the page has sound and no picture")
    return Page(pictures[0], sounds[0] if sounds and len(found) > 1 else None,
                "+".join(str(one.get("format_id")) for one, _ in found))
