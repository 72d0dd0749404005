"""Fixtures that every room's tests share. Nothing here needs the network, a GPU or a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

# Before numpy is imported, which reads them then: several processes run tests, and threads that wait for a core that another
# has got spin meanwhile.
for name, value in (("DVC_NO_ANALYTICS", "1"), ("DO_NOT_TRACK", "1"), ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
                    ("PYANNOTE_METRICS_ENABLED", "0"), ("GIT_CONFIG_NOSYSTEM", "1"), ("OMP_NUM_THREADS", "1"),
                    ("OPENBLAS_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1"), ("OPENCV_FOR_THREADS_NUM", "1")):
    os.environ.setdefault(name, value)

import numpy as np  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


# The files that take longest, first: begun last, one of them would keep one process busy while the other has nothing to do.
# test_bench and test_notebooks are last of them, for they read the run that test_whole makes.
LONG = ("tests/test_whole.py", "tests/flows/test_nightly.py", "tests/stages/test_real.py", "tests/flows/test_run.py",
        "tests/stages/test_judge.py", "tests/flows/test_worker.py", "tests/flows/test_node.py", "tests/core/test_executor_faults.py",
        "tests/stages/test_train.py", "tests/core/test_workers_dask.py", "tests/flows/test_remotes.py",
        "tests/models/test_speech2vid.py", "tests/corpora/test_speech.py", "tests/test_bench.py", "tests/test_notebooks.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts LONG first; the others keep their order."""
    rank = {name: k for k, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(LONG)))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips, golden values and models that is not part of the repository; skips without it."""
    named = os.environ.get("BABELFACE_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder of real clips: set BABELFACE_SHARED to it")
    return folder.resolve()


@pytest.fixture(scope="session")
def librosa():
    """librosa, without what it has Numba compile when it is first imported: half a minute for functions that no test calls."""
    if "librosa.core.audio" not in sys.modules:
        numba, sys.modules["numba"] = sys.modules.get("numba"), MagicMock()
        try:
            import librosa

            librosa.stft(np.zeros(800), n_fft=800)  # its modules are imported when a function first needs them
            librosa.filters.mel(sr=16_000, n_fft=800)
        except ImportError:
            pass  # said below
        finally:
            del sys.modules["numba"]
            sys.modules.update({"numba": numba} if numba else {})
    return pytest.importorskip("librosa")


@pytest.fixture
def workspace(tmp_path: Path):
    """A function that makes a workspace of the project in a folder of its own, with params changed: workspace({...}) -> Path."""
    from flows.workspace import create_workspace

    made = iter(range(1000))

    def make(overrides: dict | None = None) -> Path:
        return create_workspace(tmp_path / f"workspace{next(made)}", overrides, root=ROOT)

    return make


@pytest.fixture
def small_disk(tmp_path: Path):
    """A function that mounts a file system of so many MB and gives its folder; skips where none can be mounted."""
    mounted = []

    def mount(size_mb: int) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(place)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for Prefect's database, one for all tests of a process. Making one takes ten seconds: the others are copies."""
    import shutil

    import filelock

    base = tmp_path_factory.getbasetemp()
    first = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "first-prefect"
    with filelock.FileLock(f"{first}.lock"):
        if not first.exists():
            subprocess.run([sys.executable, "-m", "prefect", "--no-prompt", "server", "database", "upgrade", "-y"], check=True,
                           env={**os.environ, "PREFECT_HOME": f"{first}.next"}, capture_output=True, stdin=subprocess.DEVNULL)
            Path(f"{first}.next").rename(first)
    return Path(shutil.copytree(first, tmp_path_factory.mktemp("prefect"), dirs_exist_ok=True))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny workspace, made once by plain `dvc repro` (also when several processes run tests). Read it, do not change it."""
    import sys

    import filelock

    from flows.workspace import create_workspace
    from tests import whole

    base = tmp_path_factory.getbasetemp()
    shared_by_workers = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, done = shared_by_workers / "built", shared_by_workers / "built.ok"
    with filelock.FileLock(shared_by_workers / "built.lock"):
        if not done.exists():
            create_workspace(folder, whole.tiny_overrides(), root=ROOT)
            ran = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=folder, env=whole.environment(), text=True,
                                 capture_output=True, timeout=1200, stdin=subprocess.DEVNULL, check=False)
            if ran.returncode:
                pytest.fail(f"dvc repro failed in {folder}:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
            done.touch()
    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of seven clips in two languages with a near-duplicate and rejects, down to its splits, made once (also when several
    processes run tests). Read it, do not change it."""
    import shutil

    import filelock

    from tests.flows.small_dataset import make

    base = tmp_path_factory.getbasetemp()
    shared_by_workers = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, done = shared_by_workers / "small", shared_by_workers / "small.ok"
    with filelock.FileLock(shared_by_workers / "small.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder
