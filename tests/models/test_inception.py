"""FID's feature network with seeded weights: its shape, and its features through torchmetrics with the same file."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core import weights  # noqa: E402
from core.errors import UserError  # noqa: E402
from models.experts.inception import DIM, WEIGHTS, open_inception  # noqa: E402


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Seeded weights under the names of the real file."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")  # here: every process collects, one runs this
    with torch.device("meta"):
        class Shape(fidelity.FeatureExtractorInceptionV3):
            def load_state_dict(self, *_, **__):
                return None
        fetch, fidelity.load_state_dict_from_url = fidelity.load_state_dict_from_url, lambda *_, **__: {}
        try:
            own = Shape("shape", ["2048"]).state_dict()
        finally:
            fidelity.load_state_dict_from_url = fetch
    rng = np.random.default_rng(0)
    state = {}
    for key in sorted(own):
        shape = tuple(own[key].shape)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1)
            continue
        value = rng.standard_normal(shape, dtype=np.float32)
        if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
            value = 1 + 0.1 * np.abs(value)
        else:
            value *= np.float32(np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1)
        state[key] = torch.from_numpy(value)
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(state, path)
    return path


def frames(seed: int, t: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (t, 40, 40, 3), dtype=np.uint8)


def test_features_equal_torchmetrics_with_the_same_weights(stand_in):
    """With antialias=False, TensorFlow's resizing; torchmetrics' own default smooths first and gives other features."""
    fid = pytest.importorskip("torchmetrics.image.fid")
    real = frames(0, 4)
    embedded = open_inception(stand_in).embed(real)
    assert embedded.shape == (4, DIM) and embedded.dtype == np.float32 and np.isfinite(embedded).all()
    metric = fid.FrechetInceptionDistance(feature=DIM, feature_extractor_weights_path=str(stand_in), antialias=False)
    metric.update(torch.from_numpy(real).permute(0, 3, 1, 2), real=True)
    np.testing.assert_allclose(metric.real_features_sum.numpy(), embedded.sum(0, dtype=np.float64), rtol=1e-4, atol=1e-4)


def test_a_frame_has_the_same_features_alone_as_among_others(stand_in):
    net, several = open_inception(stand_in), frames(2, 2)
    np.testing.assert_allclose(net.embed(several)[1:], net.embed(several[1:]), rtol=1e-3, atol=1e-4)


def test_what_is_no_frame_and_no_network_is_refused(stand_in, tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        open_inception(stand_in).embed(np.zeros((2, 40, 40, 3)))
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="other.pth: not the weights"):
        open_inception(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("nothing")
    with pytest.raises(UserError, match="text.pth: not a torch file"):
        open_inception(tmp_path / "text.pth")


def test_its_weights_are_in_the_table():
    entry = weights.lookup(WEIGHTS)
    assert entry.sha256[0][:8] in entry.file and entry.address.endswith(entry.file)
