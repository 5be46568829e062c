"""What cannot be cut is refused in one sentence, before anything is."""

import threading
import time

import pytest
import torch
from torch.distributed import HashStore
from transformers import MixtralConfig, MixtralForCausalLM

from engine.errors import EngineError
from engine.models.lora import add_adapter
from engine.models.nf4 import quantize_base
from engine.models.tiny import make_model
from engine.specs import LoraOptions
from engine.specs.parallel import ParallelOptions
from engine.train import mesh as mesh_module
from engine.train.matrices import cut_matrices
from engine.train.meeting import meet
from engine.train.mesh import Mesh, open_mesh
from engine.train.pipeline import cut_layers
from engine.train.trainee import Trainee

SHAPE = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip


class Parts:
    """A mesh's tensor dimension as the first of some processes sees it."""

    def __init__(self, number):
        self.number = number

    def get_group(self):
        return None

    def get_local_rank(self):
        return 0

    def size(self):
        return self.number


class TensorMesh:
    def __init__(self, number=2):
        self.tensor_mesh = Parts(number)


def first_stage(num_stages):
    return Mesh(ParallelOptions(pipeline=num_stages), torch.device("cpu"))


def test_the_first_stage_keeps_its_layers_and_their_names():
    trainee = Trainee(make_model(num_hidden_layers=3, tie_word_embeddings=False), torch.float32)
    names = [name for name, _ in trainee.named_parameters()]
    cut_layers(trainee, first_stage(2))
    kept = [name for name, _ in trainee.named_parameters()]
    gone = ("layers.2.", "model.norm", "lm_head")
    assert kept == [name for name in names if not any(part in name for part in gone)]
    assert len(trainee.layers) == 2


def test_a_pipeline_of_more_stages_than_layers_is_refused():
    with pytest.raises(EngineError, match="3 stages cannot share the model's 2 layers"):
        cut_layers(Trainee(make_model(), torch.float32), first_stage(3))


def test_a_decoder_that_changes_hidden_states_outside_its_layers_is_refused(monkeypatch):
    model = make_model()
    forward = type(model.model).forward

    def scaled(self, inputs_embeds=None, **kwargs):
        return forward(self, inputs_embeds=2 * inputs_embeds, **kwargs)

    monkeypatch.setattr(type(model.model), "forward", scaled)
    with pytest.raises(EngineError, match="changes hidden states outside its layers"):
        cut_layers(Trainee(model, torch.float32), first_stage(2))


def test_experts_are_not_cut():
    model = MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=2))
    with pytest.raises(EngineError, match="experts.* would be cut as .*set it to 1"):
        cut_matrices(Trainee(model, torch.float32), TensorMesh())


def test_what_needs_whole_matrices_is_refused():
    dora = add_adapter(make_model(), LoraOptions(variant="dora"), seed=0)
    with pytest.raises(EngineError, match="dora needs whole matrices"):
        cut_matrices(Trainee(dora, torch.float32), TensorMesh())
    four_bits = add_adapter(quantize_base(make_model()), LoraOptions(), seed=0)
    with pytest.raises(EngineError, match="a base at 4 bits"):
        cut_matrices(Trainee(four_bits, torch.float32), TensorMesh())


def test_a_width_that_does_not_divide_is_refused():
    said = r"q_proj cannot be cut \(64 features cannot be divided among 3 ranks\)"
    with pytest.raises(EngineError, match=said):
        cut_matrices(Trainee(make_model(), torch.float32), TensorMesh(3))


@pytest.mark.parametrize(("sizes", "replicas"), [({"replicas": 4}, 2), ({"shards": 2}, 1), ({}, 2)])
def test_under_torchrun_there_are_as_many_replicas_as_processes_make(monkeypatch, sizes, replicas):
    """Machines come and go, and it starts all processes anew."""
    taken = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(mesh_module.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(
        mesh_module, "init_device_mesh", lambda kind, sizes, mesh_dim_names: taken.append(sizes)
    )
    options = ParallelOptions(**sizes)
    if options.num_processes != 2:
        with pytest.raises(EngineError, match="and there are 2"):
            open_mesh(options, torch.device("cpu"))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "some")
    mesh = open_mesh(options, torch.device("cpu"))
    assert mesh.options.replicas == replicas
    assert taken == [(1, replicas, options.shards, 1, 1)]


def test_under_torchrun_what_is_cut_stays_cut(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "some")
    with pytest.raises(EngineError, match="asks for 4 processes and there are 3"):
        open_mesh(ParallelOptions(shards=2, replicas=2), torch.device("cpu"))


def test_a_group_that_is_started_anew_meets_without_those_before_it():
    """The second process comes first, and finds what the group before has left."""
    store = HashStore()

    def start(delays):
        rooms = [None, None]

        def join(rank):
            time.sleep(delays[rank])
            rooms[rank] = meet(store, rank, 2)

        threads = [threading.Thread(target=join, args=[rank], daemon=True) for rank in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return rooms

    for number, delays in enumerate([(0, 0), (0.3, 0), (0, 0.3)]):
        first, second = start(delays)
        assert not first.check(["address"])
        first.set("address", str(number))
        assert second.get("address") == str(number).encode()
