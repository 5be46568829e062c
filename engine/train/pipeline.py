"""Pipeline parallel: who has which layers, and how a step's micro-batches go through them.

One forward, one backward (1F1B, arXiv 2104.04473, section 2.2): stage s of P runs ahead by P - s
micro-batches at most. Rows differ in length and every stage collates them all, so each knows what
shape comes to it, and nothing is padded or announced. A pipeline of one stage is a plain step.
T positions of a row, E hidden width.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from engine.data.batch import Batch
from engine.errors import EngineError
from engine.status import Reason
from engine.train.mesh import Mesh
from engine.train.stages import Sums
from engine.train.trainee import Elsewhere, Trainee


def cut_layers(trainee: Trainee, mesh: Mesh) -> None:
    """Leave this process its range of the layers, in place: names stay those of the whole model.

    The first stage keeps the embedding, the last one norm, head and loss; where embedding and head
    are one matrix, both keep it.

    Raises:
        EngineError: bad_spec, when the model has too few layers or cannot be entered between two.
    """
    num_stages, stage = mesh.options.pipeline, mesh.pipeline_stage
    if num_stages == 1:
        return
    base, decoder = trainee.base, trainee.base.get_decoder()
    layers, norm = _find_layers(trainee), _find_norm(base)
    if num_stages > len(layers):
        raise _refuse(f"{num_stages} stages cannot share the model's {len(layers)} layers")
    embedding, head = base.get_input_embeddings(), base.get_output_embeddings()
    is_tied = embedding.weight is head.weight
    trainee.hidden_dtype = embedding.weight.dtype
    trainee.is_first_stage, trainee.is_last_stage = stage == 0, stage == num_stages - 1
    mine = _take_range(len(layers), num_stages, stage)
    own = list(layers)
    for number, layer in enumerate(own):
        layers[number] = Elsewhere(layer)
    last_norm = decoder.get_submodule(norm)
    decoder.set_submodule(norm, Elsewhere())
    _check_passage(trainee, mesh.device)
    for number in mine:
        layers[number] = own[number]
    if trainee.is_last_stage:
        decoder.set_submodule(norm, last_norm)
    else:
        trainee.stage.requires_grad_(False)
    is_end = trainee.is_first_stage or trainee.is_last_stage
    if not trainee.is_first_stage and not (is_tied and is_end):
        base.set_input_embeddings(Elsewhere())
    if not trainee.is_last_stage and not (is_tied and is_end):
        base.set_output_embeddings(Elsewhere())
    if is_tied and is_end and embedding.weight.requires_grad:
        trainee.shared_matrix = next(
            name for name, p in trainee.named_parameters() if p is embedding.weight
        )


def _find_layers(trainee: Trainee) -> nn.ModuleList:
    decoder = trainee.base.get_decoder()
    found = next(child for child in decoder.modules() if isinstance(child, nn.ModuleList))
    assert isinstance(found, nn.ModuleList)
    return found


def _find_norm(base: Any) -> str:
    """Return the name of what comes behind the layers, as the model's own plan has it."""
    plan = getattr(base.config, "base_model_pp_plan", None)
    if not plan:
        raise _refuse("this model says nowhere how its layers are cut")
    return str(list(plan)[-1])


def _take_range(num_layers: int, num_stages: int, stage: int) -> range:
    """Return a stage's layers; the first ones take one more, since the last has the head."""
    each, more = divmod(num_layers, num_stages)
    start = stage * each + min(stage, more)
    return range(start, start + each + (stage < more))


def _check_passage(trainee: Trainee, device: torch.device) -> None:
    """Refuse a decoder that changes what it passes from one layer to the next."""
    config = trainee.base.config
    hidden = torch.ones(1, 2, config.hidden_size, dtype=trainee.hidden_dtype, device=device)
    positions = torch.arange(2, device=device)[None]
    with torch.no_grad():
        out = trainee.base.get_decoder()(
            inputs_embeds=hidden, position_ids=positions, use_cache=False
        ).last_hidden_state
    if out.shape != hidden.shape or not torch.equal(out, hidden):
        raise _refuse("this model changes hidden states outside its layers")


def _refuse(what: str) -> EngineError:
    return EngineError(Reason.BAD_SPEC, f"parallel.pipeline: {what}: set it to 1, or lower it.")


@dataclass(frozen=True)
class _Done:
    """A micro-batch that went forward and waits for its gradient."""

    entered: Tensor | None
    """What came from the stage before."""
    left: Tensor
    """What went to the next stage; of the last one the sum of the losses, or log-probabilities."""
    measures_M: Tensor | None
    """Of the last stage, with the losses."""
    sending: dist.Work | None


class Pipeline:
    """Takes micro-batches through this process's layers, in step with the other stages."""

    def __init__(self, trainee: Trainee, mesh: Mesh) -> None:
        """Take a trainee whose layers are cut; on one stage nobody is waited for."""
        self._trainee = trainee
        self._mesh = mesh
        self._before = self._after = -1
        self._returning: tuple[dist.Work, Tensor] | None = None
        self._is_told = False
        if mesh.devices is None or mesh.options.pipeline == 1:
            return
        self._forth, self._back = mesh.devices["pipeline"].get_group(), mesh.way_back
        ranks = dist.get_process_group_ranks(self._forth)
        stage = mesh.pipeline_stage
        self._first, self._last = ranks[0], ranks[-1]
        self._before = ranks[stage - 1] if stage else -1
        self._after = ranks[stage + 1] if stage + 1 < len(ranks) else -1

    def learn(self, batches: Iterable[Batch], divisor: float) -> list[float]:
        """Take gradients of the batches' losses over `divisor`; return the losses' sum over it.

        The sums of the stage's measures, over it too, come behind. They are known to the last
        stage; others return zeros.
        """
        num_ahead = self._mesh.options.pipeline - 1 - self._mesh.pipeline_stage
        ahead: deque[_Done] = deque()
        total, num_batches = self._zeros(), 0
        for batch in batches:
            num_batches += 1
            ahead.append(self._go_forward(batch))
            if len(ahead) > num_ahead:
                total += self._go_back(ahead.popleft(), divisor)
        while ahead:
            total += self._go_back(ahead.popleft(), divisor)
        self._wait_for_return()
        self._join_shared_matrix()
        self._tell_idleness(num_batches)
        return (total / divisor).tolist()

    def look(self, batches: Iterable[Batch]) -> list[float]:
        """Return what `learn` does of a divisor of 1, without gradients."""
        total = self._zeros()
        for _, done in self._pass(batches, wants_logps=False):
            total += _join_sums(done)
        return total.tolist()

    def read_logps(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield, on the last stage, each batch and the P x 2 log-probabilities of its answers.

        On other stages it yields nothing and has to be run all the same. Takes no gradients.
        """
        for batch, done in self._pass(batches, wants_logps=True):
            yield batch, done.left

    def _pass(
        self, batches: Iterable[Batch], *, wants_logps: bool
    ) -> Iterator[tuple[Batch, _Done]]:
        sending: deque[_Done] = deque()
        for batch in batches:
            with torch.no_grad():
                done = self._go_forward(batch, wants_logps=wants_logps)
            if self._trainee.is_last_stage:
                yield batch, done
                continue
            sending.append(done)
            if len(sending) > self._mesh.options.pipeline:
                _wait(sending.popleft().sending)
        for done in sending:
            _wait(done.sending)

    def _go_forward(self, batch: Batch, *, wants_logps: bool = False) -> _Done:
        trainee = self._trainee
        entered = None
        if not trainee.is_first_stage:
            entered = self._make_room(batch)
            dist.recv(entered, src=self._before, group=self._forth)
            entered.requires_grad_(torch.is_grad_enabled())
        left = trainee(batch, entered, wants_logps=wants_logps)
        if isinstance(left, Sums):
            return _Done(entered, left.loss, left.measures_M, None)
        sending = None
        if not trainee.is_last_stage:
            sending = dist.isend(left.detach().contiguous(), dst=self._after, group=self._forth)
        return _Done(entered, left, None, sending)

    def _go_back(self, done: _Done, divisor: float) -> Tensor:
        """Return the sums of one micro-batch, on the CPU."""
        sums = self._zeros()
        if self._trainee.is_last_stage:
            (done.left / divisor).backward()
            sums = _join_sums(done)
        else:
            grad = torch.empty_like(done.left, memory_format=torch.contiguous_format)
            dist.recv(grad, src=self._after, group=self._back)
            _wait(done.sending)
            if done.left.requires_grad:
                done.left.backward(grad)
        if done.entered is not None:
            assert done.entered.grad is not None
            self._wait_for_return()
            grad = done.entered.grad.contiguous()
            sending = dist.isend(grad, dst=self._before, group=self._back)
            assert sending is not None
            self._returning = sending, grad  # which lives until it is sent
        return sums

    def _zeros(self) -> Tensor:
        return torch.zeros(1 + len(self._trainee.stage.measures), dtype=torch.float64)

    def _make_room(self, batch: Batch) -> Tensor:
        ids, trainee = batch.ids_1T, self._trainee
        width = trainee.base.config.hidden_size
        return torch.empty(*ids.shape, width, dtype=trainee.hidden_dtype, device=ids.device)

    def _wait_for_return(self) -> None:
        if self._returning is not None:
            self._returning[0].wait()
            self._returning = None

    def _join_shared_matrix(self) -> None:
        """Sum the gradients of embedding and head, where these are one matrix on two stages."""
        trainee = self._trainee
        if trainee.shared_matrix is None:
            return
        parameter = trainee.get_parameter(trainee.shared_matrix)
        if parameter.grad is None:  # a reward is read without the head
            parameter.grad = torch.zeros_like(parameter)
        grad = parameter.grad
        own = grad.to_local() if isinstance(grad, DTensor) else grad
        other = torch.empty_like(own)
        is_first = trainee.is_first_stage
        out, back = (self._forth, self._back) if is_first else (self._back, self._forth)
        there = self._last if is_first else self._first
        sending = dist.isend(own.clone(), dst=there, group=out)
        dist.recv(other, src=there, group=back)
        _wait(sending)
        own += other

    def _tell_idleness(self, num_batches: int) -> None:
        """Say at the first step that stages wait for one another: it costs nothing but time."""
        num_stages, is_first_step = self._mesh.options.pipeline, not self._is_told
        self._is_told = True
        if is_first_step and num_batches < num_stages and self._mesh.is_first:
            print(
                f"A step has {num_batches} micro-batches for {num_stages} pipeline stages, which "
                "wait for one another: lower micro_batch_tokens or raise tokens_per_step.",
                flush=True,
            )


def _join_sums(done: _Done) -> Tensor:
    """Lay loss and measures side by side, in one copy to the CPU."""
    assert done.measures_M is not None
    return torch.cat([done.left.detach()[None], done.measures_M]).double().cpu()


def _wait(sending: dist.Work | None) -> None:
    if sending is not None:
        sending.wait()
