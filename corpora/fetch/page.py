"""The video of a web page, by yt-dlp in a process of its own: what hangs there is ended, what it leaves half done is not seen.

No ffmpeg is asked of anybody: where a page has picture and sound in one file that is tall enough, that file is taken; otherwise
both come as they are, two files, and whoever cuts a stretch reads the one's frames and the other's sound.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from core.records import Reject
from core.workers import die_with_parent
from corpora.fetch.hosts import Hosts
from corpora.fetch.http import SURE, check_address
from corpora.fetch.limits import Again, Limits, Log, persist

RUNTIMES = ("deno", "node", "bun", "quickjs")
_BINARIES = {"quickjs": "qjs"}
GOOD_HEIGHT = 720  # one file at least this tall is better than two that are taller: it needs no second look

# What yt-dlp says, in the order in which it is looked for.
_WORDS = (
    ("no_runtime", r"javascript runtime|js runtime|n challenge solving failed|nsig extraction failed"),
    ("forbidden",
     r"private video|sign in|log ?in|members[- ]only|age[- ]restricted|confirm your age|not available in your (country|location)"
                  r"|geo.?restrict|payment|premium|http error 40[123]|http error 451|cookies"),
    ("gone",
     r"video (is )?(unavailable|not available|no longer available)|has been (removed|terminated|deleted)"
     r"|removed by|does not exist"
             r"|account .*(terminated|closed)|http error 404|http error 410|no longer exists"),
    ("no_video", r"unsupported url|no video formats? found|requested format is not available|there'?s no video"),
    ("too_large", r"larger than max-filesize"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """The files of a page's video: one with picture and sound, or one with the picture and one with the sound."""

    video: Path
    sound: Path | None
    format: str


def runtime() -> tuple[str, str] | None:
    """(name, path) of the first JavaScript runtime on this machine that yt-dlp can use, or None."""
    for name in RUNTIMES:
        found = shutil.which(_BINARIES.get(name, name))
        if found:
            return name, found
    return None


def runtime_words() -> str:
    """What there is to say of the runtime to a person."""
    found = runtime()
    if found:
        return f"JavaScript runtime for pages that need one: {found[0]}"
    return ("no JavaScript runtime: pages such as YouTube's hide most formats without one; install deno (2 or later) or node "
            "(20 or later) so that it is found on PATH")


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
        words += ["--js-runtimes", f"{found[0]}:{found[1]}"]
    if cookies:
        words += ["--cookies", str(cookies)]
    return [*words, "--", address]


def download(address: str, folder: Path, limits: Limits, hosts: Hosts, *, log: Log = Log(None)) -> Page:
    """The video of the page at `address`, in files that `folder` then holds (it is emptied before each attempt).

    Raises Reject: gone, forbidden, no_runtime, no_video, too_large, unreachable, bad_url.
    """
    check_address(address)
    folder = folder.resolve()  # the child works elsewhere

    def attempt(deadline: float) -> Page:
        with hosts.turn(address, deadline):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            return _call(address, folder, limits, deadline)

    return persist(attempt, address, limits, log)


def _call(address: str, folder: Path, limits: Limits, deadline: float) -> Page:
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
    return _files([json.loads(line) for line in out.splitlines() if line.startswith("{")], errors)


def failure(errors: str) -> Again | Reject:
    """What an exception to raise yt-dlp's words on standard error amount to."""
    lines = [line for line in errors.splitlines() if line.startswith("ERROR:")] or errors.strip().splitlines()
    lines = lines or ["yt-dlp gave no reason"]
    said = re.sub(r"^ERROR:\s*", "", lines[-1])[:400]
    if "No space left" in said or "Disk quota" in said:
        return OSError(28, f"No space left on device: {said}")
    for reason, words in _WORDS:
        if re.search(words, errors if reason == "no_runtime" and runtime() is None else said, re.IGNORECASE):
            break
    else:
        return Again("unreachable", said)
    if reason == "no_runtime":
        return Reject(reason, f"{said}; {runtime_words()}")
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
