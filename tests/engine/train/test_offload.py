"""What waits on the host: the right tensors go, and what comes back is what went.

The device of these tests is the host, so they take every tensor for one that is elsewhere.
"""

import pytest
import torch
from torch import nn

from engine.models.tiny import make_tokenizer
from engine.train import offload
from engine.train.optim import make_optimizers
from tests.engine.train.cases import run_case
from tests.engine.train.test_equivalence import KINDS, assert_same


@pytest.fixture
def moved(monkeypatch):
    """The shapes of what went to the host."""
    shapes = []
    copy = offload.copy_to_host

    def note_and_copy(tensor):
        shapes.append(tuple(tensor.shape))
        return copy(tensor)

    monkeypatch.setattr(offload, "is_on_host", lambda tensor: False)
    monkeypatch.setattr(offload, "copy_to_host", note_and_copy)
    return shapes


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1]], ids=["lora", "full"])
def test_activations_go_and_weights_stay(tmp_path, moved, kind):
    kind = kind | {"max_steps": 2}
    plain = run_case(kind, tmp_path / "plain")
    assert not moved
    assert_same(run_case(kind | {"offload": "activations"}, tmp_path / "away"), plain)
    assert sum(len(shape) == 4 for shape in moved) > 0
    vocabulary = len(make_tokenizer())
    assert not any(shape in ((64, 64), (128, 64), (vocabulary, 64)) for shape in moved)


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "muon"])
def test_moments_come_and_go_for_some_weights_at_a_time(monkeypatch, moved, name):
    monkeypatch.setattr(offload, "_AT_ONCE", 5000)
    found = []
    for on_host in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(*(nn.Linear(64, 64) for _ in range(3)))
        made = make_optimizers(net.named_parameters(), name=name, weight_decay=0.1, on_host=on_host)
        for _ in range(3):
            net(torch.randn(8, 64)).square().sum().backward()
            made.set_rate(1e-2)
            made.step()
            made.zero_grad()
        found.append(list(net.parameters()))
        assert bool(moved) == on_host
    assert all(torch.equal(near, away) for near, away in zip(*found, strict=True))
