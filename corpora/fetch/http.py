"""One file over HTTP, whole or not at all: resumed where the server can, checked against every promise, bounded in time.

Bytes are read from the connection itself and counted against Content-Length, so that a server that promises less than it sends
is noticed as one that sends less than it promises.
"""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import json
import os
import re
import select
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import is_full
from core.records import Reject
from corpora.fetch.hosts import Hosts
from corpora.fetch.limits import Again, Limits, Log, persist

BLOCK_BYTES = 1 << 16
SURPLUS_S = 0.2
"""How long a connection is watched for bytes after the promised last one."""
AGENT = "babelface/0.1 (research dataset builder)"
SURE = 2  # times that a refusal must come before it is believed


@dataclass(frozen=True, slots=True)
class Got:
    """What arrived: its size and hash, what the server called that version of it, and what kind of file it said it is."""

    bytes: int
    sha256: str
    etag: str | None = None
    content_type: str | None = None


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Redirects to web addresses only: never to ftp or a file."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_address(address: str) -> str:
    """`address` where it is http or https with a host. Raises Reject(bad_url)."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise Reject("bad_url", f"{address[:200]!r}: {error}") from error
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or any(ord(c) <= 32 or ord(c) == 127 for c in address):
        raise Reject("bad_url", f"{address[:200]!r} is not an http or https address")
    return address


def download(address: str, target: Path, limits: Limits, hosts: Hosts, *, sha256: str | None = None, log: Log = Log(None)) -> Got:
    """Puts the file at `address` in `target`, through a part file beside it that a later call goes on with.

    Raises Reject: gone, forbidden, unreachable (time or attempts ran out, the server fails or asks to come back too late),
    incomplete (Content-Length does not fit what came), wrong_hash, too_large, bad_url.
    """
    check_address(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target)

    def attempt(deadline: float) -> Got:
        with hosts.turn(address, deadline):
            had = part.size
            try:
                kind = _receive(address, part, limits, hosts, deadline)
            except (OSError, http.client.HTTPException) as error:  # timeouts, resets, broken framing
                if is_full(error):  # no fault of the item
                    raise
                raise Again("unreachable", _words(error), brought=part.size - had) from error
        got = Got(part.size, part.digest(), part.etag, kind)
        if sha256 and got.sha256 != sha256.lower():
            part.drop()
            raise Again("wrong_hash", f"sha256 is {got.sha256}, the index promises {sha256.lower()}", at_most=SURE)
        return got

    got = persist(attempt, address, limits, log)
    part.publish()
    return got


class _Part:
    """The part file of a download and, in a small file beside it, which version of the source it is a part of."""

    def __init__(self, target: Path):
        self._target, self.path = target, target.with_name(f".{target.name}.part")
        self._about = target.with_name(f".{target.name}.part.json")
        self.address: str | None = None
        self.etag: str | None = None
        self.validator: str | None = None
        self.total: int | None = None
        try:
            said = json.loads(self._about.read_text())
            self.address, self.etag, self.validator, self.total = (said[k] for k in ("address", "etag", "validator", "total"))
        except (OSError, ValueError, KeyError, TypeError):
            self.drop()

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self, address: str, headers, total: int | None) -> None:
        """Starts over with the version that these headers tell of."""
        self.drop()
        self.address, self.total, self.etag = address, total, headers.get("ETag")
        # A weak tag or none cannot promise the same bytes; a date can, as far as servers go.
        self.validator = self.etag if self.etag and not self.etag.startswith("W/") else headers.get("Last-Modified")
        self._about.write_text(json.dumps({"address": address, "etag": self.etag, "validator": self.validator, "total": total}))

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)
        self.address = self.etag = self.validator = self.total = None

    def digest(self) -> str:
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def publish(self) -> None:
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.path, self._target)
        self._about.unlink(missing_ok=True)


def _receive(address: str, part: _Part, limits: Limits, hosts: Hosts, deadline: float) -> str | None:
    """One request, whose bytes go to the part file until it is whole; the kind of file that the server says it is."""
    headers = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
    had = part.size if part.validator and part.address == address else 0
    if had:
        headers |= {"Range": f"bytes={had}-", "If-Range": part.validator}
    opener = urllib.request.build_opener(_OnlyWeb)
    stall_s = max(0.01, min(limits.stall_s, deadline - time.monotonic()))
    try:
        response = opener.open(urllib.request.Request(address, headers=headers), timeout=stall_s)  # noqa: S310: checked above
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and had:
                if part.total == had:
                    return None  # it was whole already
                part.drop()
                raise Again("incomplete", "the server's file is not as long as it said", status=416) from error
            _refused(error.code, error.headers, address, hosts)
            raise AssertionError from error
    with response:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Again("unreachable", f"sent as {response.headers['Content-Encoding']}, which was not asked for", at_most=SURE)
        length = _number(response.headers.get("Content-Length"))
        if response.status == 206 and had:
            start, total = _range(response.headers.get("Content-Range"))
            if start != had or (part.total is not None and total != part.total):
                part.drop()
                raise Again("incomplete",
                            f"asked for bytes from {had} on of {part.total}, got {response.headers.get('Content-Range')!r}")
        elif response.status == 200:
            part.begin(address, response.headers, length)
            had = 0
        else:
            raise Again("unreachable", f"answered {response.status}", status=response.status)
        if max(part.total or 0, had + (length or 0)) > limits.max_bytes:
            part.drop()
            raise Reject("too_large",
                         f"{address}: {had + (length or 0)} bytes, the limit is {limits.max_bytes} (fetch.max_bytes)")
        _copy(response, part, had, length, limits, deadline)
        return response.headers.get_content_type()


def _copy(response, part: _Part, had: int, length: int | None, limits: Limits, deadline: float) -> None:
    # Past Content-Length http.client closes the connection without a look at what follows, so its file is read instead.
    source = response if response.chunked or length is None else response.fp
    n_bytes = 0
    with part.path.open("ab") as file:
        try:
            while length is None or n_bytes < length:
                block = source.read1(BLOCK_BYTES)
                if not block:
                    break
                n_bytes += len(block)
                file.write(block)
                if had + n_bytes > limits.max_bytes:
                    raise Reject("too_large", f"{part.address}: more than {limits.max_bytes} bytes (fetch.max_bytes)")
                if time.monotonic() > deadline:
                    raise Again("unreachable", f"{had + n_bytes} bytes after {limits.timeout_s:g} s", brought=n_bytes)
        finally:
            file.flush()
    if length is None:
        return
    if n_bytes == length and select.select([response.fp.fileno()], [], [], SURPLUS_S)[0]:
        n_bytes += len(source.read1(1))  # b"" where the server has closed the connection, as it should
    if n_bytes > length:
        part.drop()
        raise Again("incomplete", f"Content-Length promises {length} bytes, and more came", at_most=SURE)
    if n_bytes < length:
        raise Again("incomplete", f"{had + n_bytes} of {had + length} bytes came", brought=n_bytes)


def _refused(code: int, headers, address: str, hosts: Hosts) -> None:
    """Raises what an answer other than 200 and 206 means."""
    words = f"answered {code} {http.client.responses.get(code, '')}".strip()
    if code < 400:
        raise Reject("bad_url", f"{address}: {words} and leads to {str(headers.get('Location'))[:200]!r}")
    if code in (404, 410):
        raise Again("gone", words, at_most=SURE, status=code)
    if code in (401, 402, 403, 407, 451):
        raise Again("forbidden", words, at_most=SURE, status=code)
    if code in (408, 425, 429) or code >= 500:
        wait_s = retry_after(headers.get("Retry-After"))
        if wait_s is not None:
            hosts.hold(address, wait_s)
        raise Again("unreachable", words + ("" if wait_s is None else f", asks for {wait_s:.0f} s of pause"), wait_s=wait_s,
                    status=code)
    raise Reject("unreachable", f"{address}: {words}")


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds that a Retry-After asks for, given as a number or as a date (RFC 9110, 10.2.3); None for anything else."""
    if not value:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, when.timestamp() - (time.time() if now is None else now))


def _number(value: str | None) -> int | None:
    return int(value) if value and re.fullmatch(r"\d{1,18}", value.strip()) else None


def _range(value: str | None) -> tuple[int | None, int | None]:
    """First byte and total of a Content-Range; None for what it does not say."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", (value or "").strip())
    return (int(found[1]), _number(found[2])) if found else (None, None)


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__
