"""What yt-dlp says last of a page, and which reason that is. Whoever only asks us to slow down is never taken for gone."""

from __future__ import annotations

import re

# Somebody asks too much, or does not look like a person: no word about this one page, whatever else is said of it. YouTube begins
# some of these with "Video unavailable", as it does for what was deleted.
_SLOWER = (r"rate[- ]?limit|captcha|not a (bot|robot)|try again later|too many requests|http error 429|unusual traffic"
           r"|temporarily blocked|ip is likely being blocked")
# Looked for in this order. A line's words are facts about yt-dlp 2026.10 and the sites behind it; tests hold real ones.
_WORDS = (
    ("unreachable",  # not yet, or not at the moment
     r"live event will begin|premieres? (in|on|will)|check back later|is offline\b|not currently (live|available)"
     r"|live (event has ended|stream recording is not available)"),
    ("forbidden",
     r"private video|video is private|sign in|log ?in|registered users"
     r"|(members|subscribers)[- ]only|(to|for) (this channel's )?(members|subscribers)|join this channel"
     r"|subscription|purchase|authori[sz]ed|authentication"
     r"|age[- ]restricted|confirm your age|(in|from) your (country|location|region)|geo.?restrict|payment|premium"
     r"|http error 40[123]|http error 451|cookies|drm protected|administrator|playback on other websites"
     r"|blocked it from display"
     # As often as not this is a country's, so yt-dlp's maintainers, and never YouTube's word for what was deleted.
     r"|this video is not available(?! any ?more)"),
    ("gone",
     r"video (is )?(unavailable|not available|no longer available)|isn't available anymore|has been (removed|terminated|deleted)"
     r"|removed by|does not exist|account .*(terminated|closed)|http error 404|http error 410|no longer exists"
     r"|blocked it on copyright grounds"),
    ("no_video", r"unsupported url|no video formats? found|requested format is not available|there'?s no video"),
    ("too_large", r"larger than max-filesize"),
)


def slower(errors: str) -> str | None:
    """The first warning or error of yt-dlp's that asks us to slow down or to be a person, without "ERROR:"; None where none does.
    An error beside it is not to be believed."""
    for line in errors.splitlines():
        if line.startswith(("WARNING:", "ERROR:")) and re.search(_SLOWER, _plain(line), re.IGNORECASE):
            return line.partition(":")[2].strip()[:400]
    return None


def reason_of(said: str) -> str:
    """The reject reason for the words of an error: unreachable where they are none that is known here."""
    plain = _plain(said)
    return next((reason for reason, words in _WORDS if re.search(words, plain, re.IGNORECASE)), "unreachable")


def for_later(said: str) -> bool:
    """Whether the words say that the video is not there yet: to ask at once again is of no use."""
    return bool(re.search(_WORDS[0][1], _plain(said), re.IGNORECASE))


def _plain(said: str) -> str:
    """Without addresses, which may hold any word, and with one kind of apostrophe."""
    return re.sub(r"https?://\S+", "", said).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
