"""What this machine has and lacks: versions, system libraries, models, GPU, DVC, Prefect. Each finding says what to do."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

# library -> the Debian package that has it; OpenCV links the first four, MediaPipe the last two.
LIBRARIES = {"libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0", "libgthread-2.0.so.0": "libglib2.0-0",
             "libxcb.so.1": "libxcb1", "libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}
PACKAGES = ("prefect", "dvc", "torch", "torchaudio", "torchvision", "mediapipe", "ai-edge-litert",
            "opencv-contrib-python", "av", "pyarrow", "numpy", "pandas", "scikit-image", "lpips", "pyannote.audio", "scenedetect",
            "lightning", "torchmetrics", "pydantic", "typer", "rich", "altair", "Jinja2", "langcodes")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. level: ok, note (works without) or bad (something will fail)."""

    level: str
    topic: str
    text: str


def missing_libraries() -> list[str]:
    """System libraries that the vision packages link and this machine has not."""
    if sys.platform != "linux":
        return []
    return [name for name in LIBRARIES if not _loads(name)]


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def library_advice(missing: list[str]) -> str:
    """The one line that installs what is missing."""
    packages = " ".join(dict.fromkeys(LIBRARIES[name] for name in missing))
    return f"missing system libraries: {', '.join(missing)}\n  install them with: sudo apt-get install -y {packages}"


def examine() -> list[Finding]:
    """Every finding, worst last in no topic; nothing is changed and nothing fetched."""
    return [f for check in (_python, _versions, _known_bad, _libraries, _pages, _models, _licences, _tracked, _gpu, _dvc,
                            _prefect) for f in check()]


def _python() -> Iterator[Finding]:
    fine = sys.version_info >= (3, 11)
    yield Finding("ok" if fine else "bad", "python", platform.python_version() + ("" if fine else ": 3.11 or later is needed"))


def _versions() -> Iterator[Finding]:
    found = {name: _version(name) for name in PACKAGES}
    absent = [name for name, v in found.items() if v is None]
    yield Finding("ok", "packages", ", ".join(f"{n} {v}" for n, v in found.items() if v))
    if absent:
        yield Finding("bad", "packages", f"not installed: {', '.join(absent)}; run: make demo, or pip install -c constraints.txt "
                      "-e .")


def _known_bad() -> Iterator[Finding]:
    """Pairs of versions that install together and do not run together."""
    def at_least(name: str, *floor: int) -> bool:
        found = _numbers(_version(name))
        return found is not None and found >= floor

    if at_least("fastapi", 0, 155):
        yield Finding("bad", "fastapi", f"{_version('fastapi')}: Prefect's server fails to import from 0.155 on; use "
                      "fastapi<0.151")
    elif at_least("fastapi", 0, 151):
        yield Finding("bad", "fastapi", f"{_version('fastapi')}: Prefect's server refuses `prefect deploy` from 0.151 on; use "
                      "fastapi<0.151")
    if at_least("sqlalchemy", 2, 1):
        yield Finding("bad", "sqlalchemy", f"{_version('sqlalchemy')}: Prefect schedules no runs from 2.1 on; use sqlalchemy<2.1")
    torch, audio = _numbers(_version("torch")), _numbers(_version("torchaudio"))
    if torch and audio and torch[:2] != audio[:2]:
        yield Finding("bad", "torch", f"torch {_version('torch')} with torchaudio {_version('torchaudio')}: importing "
                      "pyannote.audio fails; use torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0 torchcodec==0.11.1")
    mediapipe = _numbers(_version("mediapipe"))
    if mediapipe and mediapipe < (1,):
        yield Finding("bad", "mediapipe", f"{_version('mediapipe')}: its tasks need other versions of protobuf and numpy; use "
                      "mediapipe>=1.2")
    plain, contrib = _version("opencv-python"), _version("opencv-contrib-python")
    if plain and contrib and plain != contrib:
        yield Finding("bad", "opencv", f"opencv-python {plain} and opencv-contrib-python {contrib} write the same folder; use "
                      "one version")


def _libraries() -> Iterator[Finding]:
    missing = missing_libraries()
    yield (Finding("bad", "libraries", library_advice(missing)) if missing
           else Finding("ok", "libraries", "all that OpenCV and MediaPipe link"))


def _pages() -> Iterator[Finding]:
    """Which JavaScript runtime yt-dlp can use: without one and its scripts YouTube's pages give their smallest format or none."""
    from corpora.fetch import page

    yield Finding("ok" if page.runtime() and page.solver() else "note", "pages", page.runtime_words())


def _models() -> Iterator[Finding]:
    from core.weights import describe

    for row in describe():
        level = {"absent": "note", "must_be_named": "note", "wrong_hash": "bad"}.get(row["state"], "ok")
        where = f", {row['path']}" if row["path"] else ""
        yield Finding(level, "model", f"{row['name']} ({row['kind']}, {row['licence']}): {row['state'].replace('_', ' ')}{where}")


def _licences() -> Iterator[Finding]:
    """What the licence guard is against, and models of which nobody states a licence: a person has to judge those."""
    from core.params import ParamsError, load_params
    from core.stage import UserError
    from flows.licences import guard, unstated

    try:
        params = load_params()
        for model in unstated(params):
            yield Finding("note", "licence", f"{model.name}: {model.licence}; whether you may use it is for you to judge")
        guard(params)
    except UserError as error:
        yield Finding("bad", "licence", str(error))
    except (ParamsError, OSError, ValueError):
        return  # said elsewhere


def _tracked() -> Iterator[Finding]:
    """What DVC cannot see: `auto` in params.track means the best model that is here, and that may have changed."""
    from core.choose import other_models
    from core.params import ParamsError, load_params

    try:
        others = other_models(load_params().track)
    except (ParamsError, OSError):
        return  # said elsewhere
    for instance, what in others.items():
        yield Finding("note", "tracks", f"track@{instance} was made with {what}; remove data/track/{instance} to make it again, "
                      "or name the model in params.yaml")


def _gpu() -> Iterator[Finding]:
    try:
        names = subprocess.run(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
                               capture_output=True, text=True, timeout=20, check=True).stdout.strip().splitlines()
    except (OSError, subprocess.SubprocessError):
        names = []
    yield Finding("ok", "gpu", "; ".join(names)) if names else Finding("note", "gpu", "none: everything runs on the CPU")


def _dvc() -> Iterator[Finding]:
    run = subprocess.run([sys.executable, "-m", "dvc", "remote", "list"], capture_output=True, text=True, check=False,
                         env={**os.environ, "DVC_NO_ANALYTICS": "1"})
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding("bad", "dvc", f"{last} (run from the project's root, a git clone)")
    else:
        remotes = ", ".join(line.split()[0] for line in run.stdout.splitlines())
        yield (Finding("ok", "dvc remote", remotes) if remotes
               else Finding("note", "dvc remote", "none: results stay on this machine"))
    from core.params import load_params
    from flows.graph import GraphError, check_graph

    try:
        check_graph(load_params())
        yield Finding("ok", "graph", "dvc.yaml fits params.yaml")
    except (GraphError, ValueError) as error:
        yield Finding("bad", "graph", str(error))


def _prefect() -> Iterator[Finding]:
    from flows.server import answers

    address = os.environ.get("PREFECT_API_URL")
    if not address:
        yield Finding("ok", "prefect", "PREFECT_API_URL is not set: every build starts a private API of its own")
    elif answers(address, 3.0):
        yield Finding("ok", "prefect", f"API answers at {address}")
    else:
        yield Finding("bad", "prefect", f"nothing answers at PREFECT_API_URL={address}; start it, or unset the variable")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = []
    for part in text.split("+")[0].split("."):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)


def main() -> int:
    """`python -m flows.doctor`: the system libraries alone, before anything heavy is imported. 1 and the advice where some
    lack."""
    missing = missing_libraries()
    if missing:
        print(library_advice(missing), file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
