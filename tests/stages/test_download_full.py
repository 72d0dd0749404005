"""Fetching where there is no room: a word about it, nothing half written, and the same bytes once there is."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.media_clips import mux
from tests.corpora.fault_server import fault_server
from tests.stages.sync_clips import SHORT, hum, workspace

ROOT = Path(__file__).resolve().parents[2]
FETCH = {"attempts": 2, "pause_s": 0.01, "stall_s": 5.0, "timeout_s": 60.0, "per_second": 1000.0, "parallel": 1}
OUT = "data/download/net-en"


def download(folder, limit=None):
    return subprocess.run([sys.executable, "-m", "stages.download", "net-en"], cwd=folder, capture_output=True, text=True,
                          env={k: v for k, v in os.environ.items() if k != "DVC_ROOT"} | {"PYTHONPATH": str(ROOT)},
                          preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))


def tree(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_a_fetch_without_room_goes_on_when_there_is_some(tmp_path):
    mux(tmp_path / "film.mp4", times_s=[i / 25 for i in range(75)], tracks=[{"codec": "aac", "samples": hum(SHORT)}])
    film = (tmp_path / "film.mp4").read_bytes()
    with fault_server() as server:
        server.files["film.mp4"] = film
        rows = [f"{name},{server.address}/served/film.mp4,http,{times},en" for name, times in (("whole", ","), ("part", "0,2"))]
        folders = [tmp_path / name for name in ("roomy", "tight")]
        for folder in folders:
            (folder / "index").mkdir(parents=True)
            (folder / "index" / "t.csv").write_text("\n".join(["id,url,fetch,start_s,end_s,language", *rows]) + "\n")
            workspace(folder, {"net": {"adapter": "csv", "path": "index/t.csv", "languages": {"en": {}}}}, fetch=FETCH)
        assert download(folders[0]).returncode == 0
        failed = download(folders[1], len(film) // 2)
        assert failed.returncode == 2 and "Traceback" not in failed.stderr, failed.stderr
        assert "download net-en: no room left in " in failed.stderr and "goes on from there" in failed.stderr
        assert not (folders[1] / "data").exists() or not any(p.is_file() for p in (folders[1] / "data").rglob("*"))
        again = download(folders[1])
        assert again.returncode == 0, again.stderr
    assert tree(folders[0] / OUT) == tree(folders[1] / OUT) and "media/part.mkv" in tree(folders[1] / OUT)
