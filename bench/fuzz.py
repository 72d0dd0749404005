"""Damaged media files and indexes read in bulk: every one must come as frames, rows or a reject, none as a crash, a hang or
another error.

    python -m bench.fuzz                        five minutes, all readers
    python -m bench.fuzz --minutes 1 --seed 7 --only media

Exit status 1 where a file did anything else; such files are kept in the folder named by --keep, to be looked at again with
--file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_S = 20.0  # for one file, of which none takes a second when whole
MEMORY_BYTES = 3 << 30  # that one process may take
BORING = ("frames", "reject", "rows", "bad index", "no files")
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mpg", ".mov", ".wav", ".flac", ".mp3", ".txt")


# ---- files that are whole -----------------------------------------------------------------------------------------------------
def media_seeds(folder: Path) -> list[Path]:
    """Small whole files in the containers and codecs of the field."""
    import av

    from core.media_write import encode_flac, write_video, write_wav

    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:80]
    frames = [np.stack([(x * 3 + k * 5) % 256, (y * 4 + k * 3) % 256, (x + y + k * 9) % 256], -1).astype(np.uint8)
              for k in range(30)]
    sound = (rng.standard_normal(19200) * 3000).astype(np.int16)
    made = []
    for name, codec in (("a.mp4", "aac"), ("b.mkv", "flac"), ("c.mov", "pcm_s16le")):
        write_video(folder / name, frames, audio=sound, audio_codec=codec)
        made.append(folder / name)
    for name, video, audio in (("d.webm", "libvpx-vp9", "libopus"), ("e.avi", "mpeg4", "libmp3lame"),
                               ("f.mpg", "mpeg1video", "mp2"),
                               ("g.webm", "libvpx", "libvorbis"), ("h.mp4", "libx265", "aac"), ("i.flv", "flv1", "pcm_s16le")):
        rate = 44100 if audio == "mp2" else 48000 if "webm" in name or "mp3" in audio else 16000
        # not every build has every codec
        with contextlib.suppress(av.FFmpegError, ValueError), av.open(str(folder / name), "w") as out:
            quiet = {"x265-params": "log-level=none"} if video == "libx265" else {}
            picture, heard = out.add_stream(video, rate=25, options=quiet), out.add_stream(audio, rate=rate, layout="mono")
            picture.width, picture.height, picture.pix_fmt = 80, 64, "yuv420p"
            for rgb in frames:
                out.mux(picture.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            out.mux(picture.encode(None))
            one = av.AudioFrame.from_ndarray(np.resize(sound, (1, rate)), format="s16", layout="mono")
            one.sample_rate = rate
            out.mux(heard.encode(one))
            out.mux(heard.encode(None))
        if (folder / name).is_file() and (folder / name).stat().st_size > 1000:
            made.append(folder / name)
    write_wav(folder / "j.wav", sound)
    (folder / "k.flac").write_bytes(encode_flac(sound))
    return [*made, folder / "j.wav", folder / "k.flac"]


_TALK = {"id": "videovideoabcdefghijk-scene1", "height": 1080, "width": 1920, "fps": 24.0, "start-time": 0.5, "end-time": 5.5,
         "info": {"Person ID": "597", "Video Link": "https://www.youtube.com/watch?v=abcdefghijk", "Language": "Polish"},
         "head_detail": {"scores": {"avg_movement": 97.9}}}
_CELEB = {"meta_info": {"clips": 1}, "clips": {f"M2Ohb0FAaJU_{k}": {
    "ytb_id": "M2Ohb0FAaJU", "duration": {"start_sec": 81.62, "end_sec": 86.17}, "attributes": {"emotion": {"labels": "neutral"}},
    "bbox": {"top": 0.0, "bottom": 0.8815, "left": 0.1964, "right": 0.6922}} for k in range(3)}}
_TABLE = ("id,file,url,start_s,end_s,x0,y0,x1,y1,box_unit,box_frame_height,language,speaker,kind,sha256,fetch\n"
          "a,,https://host/v.mp4,0,2.5,0.1,0.1,0.5,0.5,share,,en,anna,real,,http\n"
          + "b,clip.mp4,,1,2,,,,,,,de,bert,generated,," + "\n"
          'c,,https://host/"w".mp4,,,10,10,90,90,pixels,720,x-tag,,real,' + "0" * 64 + ",page\n")
_CLIP = "trainval/0Fi83BHQsMA/00002"
# adapter -> (files, the path in params.yaml); the first file is the one that is damaged
INDEXES: dict[str, tuple[dict[str, str], str]] = {
    "talkvid": ({"clips.json": json.dumps([_TALK, {**_TALK, "id": "b"}])}, "clips.json"),
    "talkvid lines": ({"clips.jsonl": json.dumps(_TALK) + "\n" + json.dumps({**_TALK, "id": "b"}) + "\n"}, "clips.jsonl"),
    "celebv_hq": ({"i.json": json.dumps(_CELEB)}, "i.json"),
    "avspeech": ({"t.csv": "abcdefghijk,1.5,5.25,0.4,0.6\n-bcdefghij_,90.0,93.0,0.5,0.5\n"}, "t.csv"),
    "csv": ({"t.csv": _TABLE, "clip.mp4": "x"}, "t.csv"),
    "csv tabs": ({"t.tsv": _TABLE.replace(",", "\t"), "clip.mp4": "x"}, "t.tsv"),
    "folder": ({"index.csv": "file,language,speaker,kind\nclip.mp4,en,anna,real\nb.mp4,de,,\n", "clip.mp4": "x", "b.mp4": "y"},
               ""),
    "voxceleb2": ({"vox2_meta.csv": "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000002 ,f ,dev \n",
                   "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4": "x"}, ""),
    "muavic": ({"mtedx/es-es/data/train/txt/segments": "abcdefghijk_0001 abcdefghijk 1.50 4.00\nabcdefghijk_0002 abcdefghijk "
                "4.00 5.00\n",
                "mtedx/es-es/data/train/txt/train.es": "hola\nadios\n"}, ""),
    "lrs3": ({f"{_CLIP}.txt": "Text:  HELLO: THERE\nConf:  4\nRef:  0Fi83BHQsMA\n\nFRAME X Y W H\n000000 0.4 0.1 0.2 0.3\n",
              f"{_CLIP}.mp4": "x"}, ""),
    "lrs2": ({"train.txt": "5535/00001\n5536/00009 NF\n", "mvlrs_v1/main/5535/00001.mp4": "x",
              "mvlrs_v1/main/5536/00009.mp4": "x", "mvlrs_v1/main/5535/00001.txt": "Text:  WHEN YOU'RE\nConf:  4\n"}, "mvlrs_v1"),
    "lrw": ({"lipread_mp4/ABOUT/train/ABOUT_00001.txt": "Disk reference: 552\nDuration: 0.27 seconds\n",
             "lipread_mp4/ABOUT/train/ABOUT_00001.mp4": "x"}, ""),
    "lrw1000": ({"info/trn_1000.txt": "f0a,\u4f60\u597d,ni hao,0.3,0.8\nf0b,\u597d,hao,1.2,2.1\n"}, ""),
    "crema_d": ({"VideoDemographics.csv": "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n",
                 "VideoFlash/1001_DFA_ANG_XX.flv": "x"}, ""),
}
_WORDS = ("NaN", "-Infinity", "1e999", "-0", "9" * 5000, "1e-400", "true", "null", "[]", "{}", '""', "-1", "\\ud800",
          "../../etc/passwd",
          "\x00", "\ufeff", "x" * 70_000, "[" * 30_000, '{"a":' * 3000, '"', "\r", "https://[::1", "http://a:b@c:99999/",
          "file:///etc/passwd", "\u202e", "1_000", "\u0664\u0662", "inf", "0x1F", "1:02:03", "-" * 200)


# ---- and the ways in which they come damaged ----------------------------------------------------------------------------------
def damaged(data: bytes, rng: random.Random, text: bool = False) -> bytes:
    """One damaged copy: bits, blocks, lengths, ends; of a text also its cells and values."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not out:
            break
        at, size = rng.randrange(len(out)), min(len(out), rng.choice((1, 4, 16, 64, 512, 4096)))
        end = min(len(out), at + size)
        how = rng.randrange(12 if text else 9)
        if how == 0:
            for _ in range(rng.choice((1, 8, 64))):
                out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        elif how == 1:
            del out[rng.randrange(len(out) + 1):]
        elif how == 2:
            out[at:end] = bytes(end - at)
        elif how == 3:
            out[at:end] = b"\xff" * (end - at)
        elif how == 4:  # two blocks change places
            other = rng.randrange(len(out))
            stop = min(len(out), other + end - at)
            out[at:end], out[other:stop] = out[other:stop], out[at:end]
        elif how == 5:
            out[at:at] = rng.randbytes(size)
        elif how == 6:
            out[at:at] = out[at:end] * rng.choice((1, 2, 50))
        elif how == 7:  # a length or a count near the beginning, where headers are
            at = rng.randrange(min(len(out), 2000))
            out[at:at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f",
                                         b"\x00\x00\xff\xff"))
        elif how == 8:
            del out[at:end]
        else:  # a word or a number becomes another
            places = list(re.finditer(rb"[\w.-]+", out)) or [re.match(rb"", out)]
            place = rng.choice(places)
            out[place.start():place.end()] = rng.choice(_WORDS).encode("utf-8", "surrogatepass")
    return bytes(out)


def damaged_media(folder: Path, seed: int) -> Iterator[Path]:
    """Damaged media files without end, one at a time in `folder`: the same seed gives the same files."""
    rng = random.Random(f"media {seed}")
    with tempfile.TemporaryDirectory() as place:
        seeds = [(path.suffix, path.read_bytes()) for path in media_seeds(Path(place))]
    yield from _written(folder, [("empty.mp4", b""), ("one.mp4", b"\0"), ("noise.mp4", rng.randbytes(50_000)),
                                 ("noise.avi", rng.randbytes(50_000)),
                                 ("zeros.mpg", bytes(50_000)), ("text.mp4", b"#EXTM3U\nhttp://127.0.0.1:9/x.mp4\n"),
                                 ("list.mkv", b"ffconcat version 1.0\nfile /etc/passwd\n")])
    while True:
        suffix, data = rng.choice(seeds)
        wrong = rng.choice(SUFFIXES) if rng.random() < 0.1 else suffix
        yield from _written(folder, [(f"fuzz{wrong}", data if wrong != suffix and rng.random() < 0.5 else damaged(data, rng))])


def _written(folder: Path, files: list[tuple[str, bytes]]) -> Iterator[Path]:
    for name, data in files:
        path = folder / name
        path.write_bytes(data)
        yield path
        path.unlink(missing_ok=True)


def damaged_indexes(folder: Path, seed: int) -> Iterator[Path]:
    """Folders called after an adapter, without end: each holds its files, the first of them damaged, and `path.txt`."""
    import shutil

    rng = random.Random(f"index {seed}")
    while True:
        for name, (files, path) in INDEXES.items():
            place = folder / name.replace(" ", "_")
            for k, (file, content) in enumerate(files.items()):
                (place / file).parent.mkdir(parents=True, exist_ok=True)
                (place / file).write_bytes(content.encode() if k else damaged(content.encode(), rng, text=True))
            (place / "path.txt").write_text(path)
            yield place
            shutil.rmtree(place)


# ---- what a reader makes of one -----------------------------------------------------------------------------------------------
def read_media(path: Path) -> str:
    """Every reader of core.media on one file; "frames", or "reject" where one of them refused. Other errors are not caught."""
    from core import media
    from core.records import Reject

    refused = False
    readers: tuple[Callable[[], Any], ...] = (
        lambda: media.probe(path), lambda: media.frame_times(path), lambda: media.read_audio(path), lambda: all(
            f.dtype == np.uint8 and f.ndim == 3 for f in media.read_frames(path, stop=200)),
        lambda: [None for _ in media.read_small_frames(path, 128)],
        lambda: [None for _ in media.read_frames(path, start=20, stop=30)],
        lambda: [None for _ in media.read_frames_jpeg(path, stop=40)], lambda: media.decode_flac(path.read_bytes()))
    for reader in readers:
        try:
            reader()
        except Reject:
            refused = True
    return "reject" if refused else "frames"


def read_index(folder: Path) -> str:
    """The adapter on one folder of `damaged_indexes`: "rows", or "bad index" where it refused the whole, as a user is told."""
    from core.records import Item, Rejected
    from corpora import registry
    from corpora.index.values import BadIndex

    name = folder.name.partition("_lines")[0].partition("_tabs")[0]
    config = {"adapter": name, "name": name, "path": str(folder / (folder / "path.txt").read_text()), "options": {}}
    try:
        module = registry.open_corpus(name)
        total = list(registry.entries(module, config))
        parts = [registry.items(module, config, tag) for tag in registry.languages(module, config)]
    except (BadIndex, FileNotFoundError):
        return "bad index"
    assert all(isinstance(e, Item | Rejected) for e in total)
    assert sorted(e.id for found in parts for e in (*found[0], *found[1])) == sorted(e.id for e in total), "rows were lost"
    return "rows"


READERS = {"media": (damaged_media, read_media), "index": (damaged_indexes, read_index)}


def serve(kind: str) -> None:
    """A process that reads what it is told on stdin, path by path, and answers with one line each."""
    import traceback

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    read = READERS[kind][1]
    for line in sys.stdin:
        try:
            said = read(Path(line.rstrip("\n")))
        except BaseException as error:  # noqa: BLE001  whatever it is, it is what we look for
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {str(error)[:200]!r} in {Path(where.filename).name}:{where.lineno}"
        print("said " + said.replace("\n", " "), flush=True)


class Reader:
    """A process of `serve`, started anew where a file killed it or made it hang."""

    def __init__(self, kind: str, limit_s: float = LIMIT_S):
        self._kind, self._limit_s, self._process = kind, limit_s, None

    def __call__(self, path: Path) -> str:
        """What became of one file: a word of BORING, or a finding."""
        if self._process is None:
            self._process = subprocess.Popen([sys.executable, "-m", "bench.fuzz", "--serve", self._kind], stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._process.stdin.write(f"{path}\n".encode())
        self._process.stdin.flush()
        end, heard = time.monotonic() + self._limit_s, b""
        while (said := re.search(rb"^said (.*)\n", heard, re.MULTILINE)) is None:  # libraries may print, too
            if not select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                self.close()
                return f"hang: not done in {self._limit_s:g} s"
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                status = self._process.wait()
                self.close()
                return f"crash: {signal.Signals(-status).name if status < 0 else f'exit {status}'}"
            heard += more
        return said[1].decode().strip()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


def hunt(kind: str, folder: Path, *, seed: int = 0, n: int | None = None, until: float | None = None,
         keep: Path | None = None) -> tuple[Counter[str], list[str]]:
    """(how often each outcome came, the findings) of `n` damaged files, or of as many as there are before the time `until`."""
    import shutil

    read, counts, findings = Reader(kind), Counter(), []
    try:
        for k, path in enumerate(READERS[kind][0](folder, seed)):
            if k == n or (until is not None and time.monotonic() > until):
                break
            said = read(path)
            counts[said if said in BORING else "finding"] += 1
            if said not in BORING:
                findings.append(f"{kind} {seed}/{k} {path.name}: {said}")
                if keep is not None:
                    (shutil.copytree if path.is_dir() else shutil.copy)(path, keep / f"{kind}-{seed}-{k}-{path.name}")
    finally:
        read.close()
    return counts, findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(READERS), help="media files or indexes; both where not given")
    parser.add_argument("--keep", type=Path, help="folder for the files that did what they must not")
    parser.add_argument("--file", type=Path, help="read this one file and show its error")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return 0
    if given.file:
        print((read_index if given.file.is_dir() else read_media)(given.file))
        return 0
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    kinds, bad = [given.only] if given.only else sorted(READERS), 0
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            counts, findings = hunt(kind, Path(folder), seed=given.seed, keep=given.keep,
                                    until=time.monotonic() + given.minutes * 60 / len(kinds))
        print(f"{kind}: {counts.total():,} files: " + ", ".join(f"{what} {n:,}" for what, n in sorted(counts.items())))
        for finding in findings:
            print("  " + finding)
        bad += len(findings)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
