"""What an index says, checked: languages, numbers, times, boxes, addresses, ids. Whatever cannot be used raises Reject."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from math import isfinite, nan
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core.records import SAFE_ID, Box, Reject, Source
from core.stage import UserError

UNKNOWN = "und"  # BCP-47 for "undetermined": entries without a language, and those whose language is not a tag
KINDS = ("real", "generated", "negative")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".mpg", ".mpeg", ".flv", ".m4v", ".ts")

# English names of languages as the corpora write them.
NAMES = {
    "arabic": "ar", "catalan": "ca", "chinese": "zh", "croatian": "hr", "czech": "cs", "dutch": "nl", "english": "en",
    "french": "fr",
    "german": "de", "greek": "el", "hindi": "hi", "italian": "it", "japanese": "ja", "korean": "ko", "mandarin": "zh",
    "polish": "pl",
    "portuguese": "pt", "russian": "ru", "spanish": "es", "thai": "th", "turkish": "tr", "ukrainian": "uk", "other": UNKNOWN,
}

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{2}(?:\.\d+)?)")


class BadIndex(UserError, ValueError):
    """An index that is none as a whole: what was expected of which file."""


@lru_cache(maxsize=4096)
def tag_of(language: str) -> tuple[str, str]:
    """The normalised BCP-47 tag and "", or "und" and what is wrong."""
    import langcodes

    if not language:
        return UNKNOWN, ""
    try:
        if language.lower().startswith("x-") or langcodes.tag_is_valid(language):
            return langcodes.standardize_tag(language), ""
    except ValueError:  # langcodes raises its LanguageTagError, a ValueError, on what cannot be parsed
        pass
    return UNKNOWN, f"{language!r} is not a BCP-47 language tag (such as en, pt-BR, zh-Hant)"


def named(language: str) -> str:
    """The tag of a language's English name; what is none comes back as it is."""
    return NAMES.get(language.strip().lower(), language)


def item_id(name: str, taken: set[str], *, is_file: bool = False) -> str:
    """A safe id from a name that is not in `taken`, to which it is added: the name itself, "/" as "_", without a file's suffix.

    A name that had to change, or whose id is taken, gets eight digits of its hash; the same name twice gets a number.
    """
    plain = name
    if is_file:
        dot = name.rfind(".")
        plain = name[:dot] if name.rfind("/") + 1 < dot < len(name) - 1 else name
    plain = plain.replace("/", "_")
    if plain in taken or not SAFE_ID.fullmatch(plain):
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).lstrip("._-")[:80] or "file"
        plain, count = f"{stem}-{digest}", 1
        while plain in taken:
            count += 1
            plain = f"{stem}-{digest}-{count}"
    taken.add(plain)
    return plain


def need(raw: Any, *keys: str) -> Any:
    """The value under nested keys. Raises Reject(bad_row) that names what is missing."""
    for depth, key in enumerate(keys):
        raw = raw.get(key) if isinstance(raw, dict) else None
        if raw is None:
            raise Reject("bad_row", f"{'.'.join(keys[:depth + 1])} is missing")
    return raw


def text(raw: Any, *keys: str) -> str:
    """The string under nested keys, stripped. Raises Reject(bad_row) where it is missing, empty or no string."""
    value = need(raw, *keys)
    if not isinstance(value, str) or not (value := value.strip()):
        raise Reject("bad_row", f"{'.'.join(keys)} is {value!r}, expected text")
    return value


def number(value: Any, name: str, reason: str = "bad_row") -> float:
    """A finite float. Raises Reject(`reason`) with the name of what it should have been."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = nan
    if not isfinite(found) or isinstance(value, bool):
        raise Reject(reason, f"{name} is {str(value)[:80]!r}, expected a number")
    return found


def span(start: Any, end: Any) -> tuple[float, float]:
    """(start_s, end_s) of a stretch of video. Raises Reject(bad_time) unless 0 <= start < end."""
    start_s, end_s = number(start, "start", "bad_time"), number(end, "end", "bad_time")
    if not 0 <= start_s < end_s:
        raise Reject("bad_time", f"{start_s:g} to {end_s:g} s is no stretch of time")
    return start_s, end_s


def clock(value: str) -> float:
    """Seconds of "mm:ss" or "h:mm:ss". Raises Reject(bad_time)."""
    found = _CLOCK.fullmatch(value)
    if not found:
        raise Reject("bad_time", f"{value!r} is not a time such as 04:40")
    hours, minutes, seconds = found.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)


def box(x0: Any, y0: Any, x1: Any, y1: Any, *, unit: str = "share", frame_height: int | None = None) -> Box:
    """A crop box. Raises Reject(bad_box) unless it has an area and lies in the frame, as far as the frame is known."""
    if unit not in ("share", "px"):
        raise Reject("bad_box", f"unit {unit!r}: expected share or px")
    try:
        left, top, right, bottom = float(x0), float(y0), float(x1), float(y1)
    except (TypeError, ValueError, OverflowError):
        left, top, right, bottom = (number(value, "a side of the box", "bad_box") for value in (x0, y0, x1, y1))
    high, wide = (1.0, 1.0) if unit == "share" else (frame_height or 1e6, 1e6)
    if not (0 <= left < right <= wide and 0 <= top < bottom <= high):
        raise Reject("bad_box", f"{left:g} {top:g} {right:g} {bottom:g} ({unit}) is no box inside the frame")
    return Box(left, top, right, bottom, unit, frame_height)


def youtube(video: str, start_s: float | None = None, end_s: float | None = None) -> Source:
    """The page of a YouTube video id. Raises Reject(bad_url) for what is none."""
    return Source("page", _watch(video), start_s, end_s)


@lru_cache(maxsize=4096)
def _watch(video: str) -> str:
    """The address of a video, as one text for all its stretches: there may be a million."""
    if not _VIDEO_ID.fullmatch(video):
        raise Reject("bad_url", f"{video!r} is not a YouTube video id (11 letters, digits, - or _)")
    return f"https://www.youtube.com/watch?v={video}"


def address(url: str, start_s: float | None = None, end_s: float | None = None, *, kind: str | None = None,
            sha256: str | None = None) -> Source:
    """The source at a web address: "http" where its path ends like a media file's, else "page"; `kind` overrules that.

    Raises Reject(bad_url) unless it is http(s) with a host and without spaces, user name or control characters.
    """
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username and len(url) <= 2000
        fine = fine and parts.port != 0 and not re.search(r"[\x00-\x20\x7f\\]", url)
    except ValueError:
        fine = False
    if not fine:
        raise Reject("bad_url", f"{url[:200]!r} is not the http(s) address of a page or file")
    if kind not in (None, "", "page", "http"):
        raise Reject("bad_row", f"fetch {kind!r}: expected page or http")
    return Source(kind or ("http" if parts.path.lower().endswith(VIDEO_SUFFIXES) else "page"), url, start_s, end_s, sha256)


def video_of(url: str) -> str:
    """What identifies a video page: the id in a YouTube address, else the address."""
    parts = urlsplit(url)
    host, path = (parts.hostname or "").removeprefix("www.").removeprefix("m."), parts.path.strip("/").split("/")
    if host == "youtu.be":
        found = path[0]
    elif host in ("youtube.com", "youtube-nocookie.com"):
        found = path[1] if len(path) == 2 and path[0] in ("shorts", "embed", "v") else (parse_qs(parts.query).get("v") or [""])[0]
    else:
        return url
    return found if _VIDEO_ID.fullmatch(found) else url
