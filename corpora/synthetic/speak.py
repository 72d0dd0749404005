"""One sentence through espeak-ng, in a process of its own: `python -m corpora.synthetic.speak`, one JSON in, one utterance out.

A second synthesis in the same process gives other bytes, so this process speaks once and ends. It imports only ctypes and json:
its start is most of its cost. espeak-ng and its data are GPL-3 (the wheel `espeakng-loader`); they are loaded here only.

In:  {"library", "data", "text", "voice" ("en" or "en+f3"), "rate_wpm", "pitch", "pitch_range"}
Out: one line of JSON {"sample_rate", "events": [[first_sample, symbols], ...], "end_sample", "n_samples"}, then the samples,
     int16, little-endian. A failure leaves the reason on stderr and exits 3.
"""

from __future__ import annotations

import ctypes
import json
import sys

RETRIEVAL, UTF8 = 1, 1
PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 0x0001, 0x0002, 0x8000
EVENT_END, EVENT_PHONEME = 5, 7
RATE, PITCH, RANGE = 1, 3, 4
BUFFER_MS = 200


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    # speak_lib.h, espeak_EVENT
    _fields_ = [("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
                ("length", ctypes.c_int), ("audio_position_ms", ctypes.c_int), ("sample", ctypes.c_int),
                ("user_data", ctypes.c_void_p), ("id", _Id)]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def synthesize(request: dict) -> tuple[dict, bytes]:
    """The header and the int16 samples of one spoken sentence. Raises RuntimeError when espeak-ng refuses anything."""
    lib = ctypes.CDLL(request["library"])
    lib.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    lib.espeak_Synth.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
                                 ctypes.c_void_p, ctypes.c_void_p]
    rate_hz = lib.espeak_Initialize(RETRIEVAL, BUFFER_MS, request["data"].encode(), PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT)
    if rate_hz <= 0:
        raise RuntimeError(f"espeak-ng did not start (code {rate_hz}): is its data folder whole?")
    chunks: list[bytes] = []
    events: list[tuple[int, str]] = []
    end_sample = 0

    def collect(samples, n_samples, event):  # called by the library for every buffer; returning 0 means "go on"
        nonlocal end_sample
        if samples and n_samples > 0:
            chunks.append(ctypes.string_at(samples, 2 * n_samples))
        i = 0
        while event[i].type != 0:
            if event[i].type == EVENT_PHONEME:
                # eight bytes at most: a symbol that the field cut in two is dropped with errors="ignore"
                raw = ctypes.string_at(ctypes.addressof(event[i].id), 8).split(b"\0", 1)[0]
                events.append((event[i].sample, raw.decode("utf-8", errors="ignore")))
            elif event[i].type == EVENT_END:
                end_sample = event[i].sample
            i += 1
        return 0

    keep = _CALLBACK(collect)
    lib.espeak_SetSynthCallback(keep)
    code = lib.espeak_SetVoiceByName(request["voice"].encode())
    if code != 0:
        raise RuntimeError(f"espeak-ng has no voice {request['voice']!r} (code {code})")
    for parameter, name in ((RATE, "rate_wpm"), (PITCH, "pitch"), (RANGE, "pitch_range")):
        code = lib.espeak_SetParameter(parameter, int(request[name]), 0)
        if code != 0:
            raise RuntimeError(f"espeak-ng refused {name}={request[name]} (code {code})")
    text = request["text"].encode() + b"\0"
    code = lib.espeak_Synth(text, len(text), 0, 1, 0, UTF8, None, None)
    if code != 0 or lib.espeak_Synchronize() != 0:
        raise RuntimeError(f"espeak-ng could not speak {request['text']!r} (code {code})")
    samples = b"".join(chunks)
    return {"sample_rate": rate_hz, "events": events, "end_sample": end_sample, "n_samples": len(samples) // 2}, samples


def main() -> int:
    """Exit status 0 after one utterance on stdout, 3 with a reason on stderr."""
    try:
        header, samples = synthesize(json.load(sys.stdin))
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 3
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + samples)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
