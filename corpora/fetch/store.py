"""What was fetched, kept whole beside the pipeline: one fetch for all items of a source, and none where the code changed only."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from core import shards
from core.digest import digest_file
from core.records import Reject, Source
from corpora.fetch import http, page
from corpora.fetch.hosts import Hosts
from corpora.fetch.limits import Limits, Log

_SUFFIXES = {"video/mp4": ".mp4", "video/webm": ".webm", "video/x-matroska": ".mkv", "video/quicktime": ".mov",
             "video/x-msvideo": ".avi"}
HEIGHTS = range(144, 4321)  # what params let be asked of a page
_FINAL = {"gone", "forbidden", "no_video", "no_runtime", "wrong_hash", "bad_url", "too_large", "unreachable", "incomplete"}


@dataclass(frozen=True, slots=True)
class Whole:
    """A source that is here: its file, a second one where the sound came apart, and the facts that a ledger row keeps."""

    path: Path
    sound: Path | None
    facts: dict[str, Any]


class Store:
    """Sources by address in `folder`, each in a folder of its own that appears when it is whole.

    run: names one run of the download stage. A source that was refused is not asked for again in the same run.
    """

    def __init__(self, folder: Path, limits: Limits, run: str = "", log: Log = Log(None)):
        self._folder, self._limits, self._run, self._log = Path(folder), limits, run, log
        self._hosts = Hosts(self._folder / "hosts", limits, run)

    def whole(self, source: Source) -> Whole:
        """The source, fetched where it is not here yet. Other processes that want it wait. Raises Reject as http and page do."""
        from filelock import FileLock

        place = self._place(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        # Whoever waits here waits for somebody who is bound by the same limits.
        with FileLock(place.with_suffix(".lock"), thread_local=False):
            refusal = _json(place.with_suffix(".refused"))
            if refusal and self._run and refusal.get("run") == self._run and refusal.get("sha256") == source.sha256:
                raise Reject(refusal["reason"], refusal["detail"])
            found, doubted = self._here(source, place), place.with_suffix(".doubted")
            if found and not doubted.exists():
                return found
            try:
                return self._fetch(source, place)
            except Reject as reject:
                doubted.unlink(missing_ok=True)  # asked once: whoever made something of what is here keeps it
                if self._run and reject.reason in _FINAL:
                    said = {"run": self._run, "reason": reject.reason, "detail": reject.detail, "sha256": source.sha256}
                    shards.write_json(place.with_suffix(".refused"), said)
                raise

    def has(self, source: Source) -> int | None:
        """Bytes of the source where it is here and not doubted, else None. Fetches nothing."""
        place = self._place(source)
        found = None if place.with_suffix(".doubted").exists() else self._here(source, place)
        return found.facts["bytes"] if found else None

    def doubt(self, sources: Iterable[Source]) -> int:
        """Has each source that is here fetched once more when it is next wanted, in place of what is here; how many. Those whose
        sha256 the index gives are what they should be."""
        doubted = {place.with_suffix(".doubted") for source in sources if not source.sha256
                   for place in [self._place(source)] if self._here(source, place)}
        for path in doubted:
            path.touch()
        return len(doubted)

    def addresses(self) -> dict[str, int]:
        """The bytes here of every address, as page or file and of any height. One small file is read for each."""
        found: dict[str, int] = {}
        for path in sorted((self._folder / "wholes").glob("*/source.json")):
            if said := _json(path):
                found[said["at"]] = found.get(said["at"], 0) + said["bytes"]
        return found

    def drop(self, addresses: Iterable[str], heights: Iterable[int] = HEIGHTS) -> dict[str, int]:
        """Takes all that was fetched from some addresses out of the store, as page or file, whatever height was asked of a page,
        and what a killed fetch left half done; the bytes of each address that something was here of."""
        heights = tuple(heights)
        wholes, dropped = self._folder / "wholes", {}
        there: dict[str, list[Path]] = {}
        for path in sorted(wholes.iterdir()) if wholes.is_dir() else ():
            there.setdefault(path.name.partition(".")[0], []).append(path)
        for at in sorted(set(addresses)):
            names = {_name("http", at, None), *(_name("page", at, height) for height in heights)}
            for path in (path for name in sorted(names & there.keys()) for path in there[name] if path.suffix != ".lock"):
                if path.is_dir():
                    size = sum(file.stat().st_size for file in path.iterdir() if file.name != "source.json")
                    dropped[at] = dropped.get(at, 0) + size
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        return dropped

    def _place(self, source: Source) -> Path:
        return self._folder / "wholes" / _name(source.kind, source.at, self._limits.height)

    def _here(self, source: Source, place: Path) -> Whole | None:
        said = _json(place / "source.json")
        if not said or said["at"] != source.at or (source.sha256 and said["sha256"] != source.sha256.lower()):
            return None
        files = [place / name for name in said["files"]]
        sizes = [file.stat().st_size if file.is_file() else -1 for file in files]
        if sum(sizes) != said["bytes"] or -1 in sizes:
            return None
        facts = {k: said[k] for k in ("bytes", "sha256", "etag", "format") if said.get(k) is not None}
        return Whole(files[0], files[1] if len(files) > 1 else None, facts)

    def _fetch(self, source: Source, place: Path) -> Whole:
        following = place.with_suffix(".next")  # stays after a crash: what is there of a file is gone on with
        if source.kind == "http":
            following.mkdir(parents=True, exist_ok=True)
            got = http.download(source.at, following / "whole", self._limits, self._hosts, sha256=source.sha256, log=self._log)
            name = "whole" + suffix_of(source.at, got.content_type)
            os.replace(following / "whole", following / name)
            said = {"files": [name], "bytes": got.bytes, "sha256": got.sha256, "etag": got.etag, "format": None}
        else:
            found = page.download(source.at, following, self._limits, self._hosts, log=self._log)
            files = [found.video, *([found.sound] if found.sound else [])]
            digest = digest_file(found.video)
            if source.sha256 and digest != source.sha256.lower():
                shutil.rmtree(following)
                raise Reject("wrong_hash", f"{source.at}: sha256 is {digest}, the index promises {source.sha256.lower()}")
            said = {"files": [f.name for f in files], "bytes": sum(f.stat().st_size for f in files), "sha256": digest,
                    "etag": None,
                    "format": found.format}
            for file in files:
                with file.open("rb+") as written:
                    os.fsync(written.fileno())
        shards.write_json(following / "source.json", said | {"at": source.at, "kind": source.kind})
        shutil.rmtree(place, ignore_errors=True)
        os.replace(following, place)
        for mark in (".refused", ".doubted"):
            place.with_suffix(mark).unlink(missing_ok=True)
        whole = self._here(source, place)
        if whole is None:
            raise OSError(f"{place}: what was written there a moment ago is not there; is the disk failing?")
        return whole


def _name(kind: str, at: str, height: int | None) -> str:
    tall = f" {height}" if kind == "page" else ""
    return hashlib.sha256(f"{kind} {at}{tall}".encode()).hexdigest()[:32]


def suffix_of(address: str, content_type: str | None) -> str:
    """The suffix for a file at an address: the path's own where it looks like one, else that of the kind it is said to be."""
    own = PurePosixPath(unquote(urlsplit(address).path)).suffix.lower()
    return own if re.fullmatch(r"\.[a-z0-9]{2,5}", own) else _SUFFIXES.get(content_type or "", "")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return shards.read_json(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
