"""LPIPS over a seeded stand-in for its backbone, against torchmetrics' own LPIPS, and what a wrong file says."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lpips")

from core import weights  # noqa: E402
from models.experts import perceptual  # noqa: E402


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """AlexNet's convolutions as torchvision names them, seeded, with one layer of its classifier that LPIPS has no use for."""
    rng = np.random.default_rng(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    state = {"classifier.6.bias": torch.zeros(1000)}
    for i, shape in shapes.items():
        scale = np.sqrt(2 / np.prod(shape[1:]))
        state[f"features.{i}.weight"] = torch.from_numpy((scale * rng.standard_normal(shape)).astype(np.float32))
        state[f"features.{i}.bias"] = torch.from_numpy((0.1 * rng.standard_normal(shape[0])).astype(np.float32))
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(state, path)
    return path, state


@pytest.fixture(scope="module")
def expert(alexnet):
    return perceptual.open_perceptual(alexnet[0])


def clip(seed: int, t: int = 3, side: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (t, side, side + 10, 3), dtype=np.uint8)


def test_equals_torchmetrics_over_the_same_backbone(alexnet, expert):
    reference = pytest.importorskip("torchmetrics.functional.image.lpips")
    net = reference._LPIPS(pretrained=True, net="alex", pnet_rand=True).eval()
    net.net.load_state_dict({k: alexnet[1]["features." + k.split(".", 1)[1]] for k in net.net.state_dict()})
    real, made = clip(1), clip(2)
    tensors = [torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1 for x in (real, made)]
    with torch.no_grad():
        expected = net(*tensors).flatten().numpy()
    found = expert.distances(real, made)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == np.float64 and (found > 0).all()


def test_equal_pictures_are_at_distance_zero_and_more_noise_is_further(expert):
    rows = (120 + 60 * np.sin(np.arange(64) / 6)).astype(np.uint8)
    real = np.ascontiguousarray(np.broadcast_to(rows[None, :, None, None], (1, 64, 64, 3)))
    assert expert.distances(real, real).tolist() == [0]
    noise = np.random.default_rng(0).normal(0, 1, real.shape)
    values = [expert.distances(real, np.clip(real + s * noise, 0, 255).astype(np.uint8))[0] for s in (3, 12, 40)]
    assert values == sorted(values) and values[0] > 0


def test_symmetric_and_the_same_one_by_one_as_in_batches(expert, monkeypatch):
    real, made = clip(3, 5), clip(4, 5)
    whole = expert.distances(real, made)
    np.testing.assert_allclose(expert.distances(made, real), whole, rtol=1e-5)
    monkeypatch.setattr(perceptual, "BATCH", 2)
    np.testing.assert_allclose(expert.distances(real, made), whole, rtol=1e-5)


def test_unlike_clips_are_refused(expert):
    for a, b in ((clip(1), clip(1, 2)), (clip(1, side=30), clip(2, side=30))):
        with pytest.raises(ValueError, match="one shape"):
            expert.distances(a, b)
    with pytest.raises(ValueError, match="uint8"):
        expert.distances(clip(1).astype(np.float32), clip(1))


def test_another_networks_file_is_named(tmp_path, alexnet):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="other.pth.*10 of 10 tensors"):
        perceptual.open_perceptual(tmp_path / "other.pth")
    with pytest.raises(ValueError, match="backbone 'vgg'"):
        perceptual.open_perceptual(alexnet[0], "vgg")
    with pytest.raises(ValueError, match="alex, vgg"):
        perceptual.open_perceptual(alexnet[0], "squeeze")


def test_its_weights_are_in_the_table():
    for name in perceptual.WEIGHTS.values():
        entry = weights.lookup(name)
        # torch's files carry the first eight digits of their hash in their name
        assert entry.sha256[0][:8] in entry.file and entry.address.endswith(entry.file)
