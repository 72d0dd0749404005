"""Which cards there are, and that nobody gets one that another holds, in this process or another."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from flows import gpu
from tests.flows.fake import ROOT

LISTING = """GPU 0: NVIDIA A100 (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-a1)
  MIG 3g.20gb     Device  1: (UUID: MIG-a2)
GPU 1: NVIDIA A100 (UUID: GPU-bbbb)
"""


@pytest.fixture(autouse=True)
def two_cards(monkeypatch, tmp_path):
    monkeypatch.setenv("BABELFACE_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("BABELFACE_GPUS", "GPU-aaaa,GPU-bbbb")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_a_card_split_by_mig_counts_as_its_parts():
    assert gpu.parse_listing(LISTING) == ("MIG-a1", "MIG-a2", "GPU-bbbb")
    assert gpu.parse_listing("") == ()


@pytest.mark.parametrize(("given", "found"), [
    (None, ["GPU-aaaa", "GPU-bbbb"]), ("1", ["GPU-bbbb"]), ("1,0", ["GPU-bbbb", "GPU-aaaa"]), ("", []), ("-1", []),
    ("0,-1,1", ["GPU-aaaa"]), ("GPU-bb", ["GPU-bbbb"]), ("7", []), ("0,0", ["GPU-aaaa"])])
def test_what_cuda_may_see_is_obeyed(monkeypatch, given, found):
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpu.cards() == found


def test_without_a_gpu_nothing_is_locked(monkeypatch, two_cards):
    monkeypatch.setenv("BABELFACE_GPUS", "")
    with gpu.held(1) as environment:
        assert environment == {} and not (two_cards / "locks").exists()
    monkeypatch.setenv("BABELFACE_GPUS", "GPU-aaaa")
    with gpu.held(0) as environment:
        assert environment == {} and not (two_cards / "locks").exists()


def test_each_gets_a_card_of_its_own_and_the_third_waits():
    third = []

    def wait():
        with gpu.held(1) as environment:
            third.append(environment["CUDA_VISIBLE_DEVICES"])

    with gpu.held(1) as a:
        with gpu.held(1) as b:
            assert {a["CUDA_VISIBLE_DEVICES"], b["CUDA_VISIBLE_DEVICES"]} == {"GPU-aaaa", "GPU-bbbb"}
            thread = threading.Thread(target=wait)
            thread.start()
            time.sleep(0.2)
            assert not third
        thread.join(20)
        assert third == [b["CUDA_VISIBLE_DEVICES"]]


def test_more_than_there_are_means_all_and_waiting_can_be_ended():
    with gpu.held(5) as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "GPU-aaaa,GPU-bbbb"}
        stop = threading.Event()
        stop.set()
        with gpu.held(1, stop) as nothing:
            assert nothing == {}


def test_a_killed_process_frees_its_card():
    code = "import time\nfrom flows import gpu\nwith gpu.held(2):\n    print('held', flush=True)\n    time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    assert gpu._try("GPU-aaaa") is None, "another process holds it"
    process.kill()
    process.wait(20)
    with gpu.held(2) as environment:
        assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa,GPU-bbbb"
