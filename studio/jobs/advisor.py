"""The advisor: what a spec on a flavor will need, and what stands in its way.

The launch page asks it at each change, and `submit_job` asks the same, so that a launch is refused
in the words the page showed.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError as SpecValidationError

from engine.specs import JOB_SPEC, QuantizeSpec, ScriptSpec, TrainSpec
from engine.specs.estimate import (
    DataFacts,
    Machine,
    ModelShape,
    TrainEstimate,
    estimate_train,
)
from engine.specs.quantize import fit_group_size
from engine.specs.quantize_cost import QuantizeEstimate, estimate_quantize
from studio.accounts.models import User
from studio.compute.models import Flavor, Node
from studio.compute.selectors import get_flavor, get_why_not, list_flavors, list_online_nodes
from studio.core.errors import StudioError, spec_errors
from studio.hub.models import Commit
from studio.hub.selectors import get_model_shape, is_quantized_commit, is_reward_model
from studio.jobs.containers import find_image, list_problems
from studio.jobs.data_advice import weigh_data
from studio.jobs.mends import Mend, find_mend, pick_flavor
from studio.jobs.metering import TICK_S
from studio.jobs.refs import Pinned, find_taken, name_output, pin_refs
from studio.jobs.refusals import Refusal
from studio.jobs.speeds import Speed, find_speed
from studio.points.selectors import get_balance
from studio.points.services import PointsExhausted

Need = Callable[[Machine], TrainEstimate | QuantizeEstimate]
"""What a run needs, by what its machine has."""

_HOLD_FACTOR = 1.5
_LEAST_HOLD_S = 60.0


@dataclass
class Advice:
    """What the advisor can say of a launch. Numbers are None where a refusal hides them."""

    spec: TrainSpec | QuantizeSpec | ScriptSpec | None = None
    flavor: Flavor | None = None
    image_reference: str = ""
    """What a script runs in."""
    resolved: dict[str, Any] = dataclasses.field(default_factory=dict)
    estimate: TrainEstimate | QuantizeEstimate | None = None
    speed: Speed | None = None
    """What the estimate's duration rests on; None where it is guessed, or there is no estimate."""
    memory_bytes: int | None = None
    """What the flavor has: of the GPU where it has one."""
    smallest_flavor: str | None = None
    cost_mpoints: int | None = None
    hold_mpoints: int | None = None
    available_mpoints: int = 0
    spec_problem: SpecValidationError | None = None
    refusals: list[Refusal] = dataclasses.field(default_factory=list)
    warnings: list[Refusal] = dataclasses.field(default_factory=list)


def advise(viewer: User, spec: dict[str, Any], flavor_name: str) -> Advice:
    """Weigh a launch. Never raises for what the viewer typed: it is all in the refusals."""
    advice = Advice(available_mpoints=get_balance(viewer).available_mpoints)
    nodes = list_online_nodes()
    advice.spec = _read_spec(advice, spec)
    advice.flavor = _read_flavor(advice, flavor_name, nodes)
    if advice.spec is None:
        return advice
    if isinstance(advice.spec, ScriptSpec):
        _weigh_script(advice, viewer, advice.spec)
        return advice
    if isinstance(advice.spec, QuantizeSpec):
        _weigh_quantize(advice, viewer, advice.spec, nodes)
        return advice
    facts = _read_inputs(advice, viewer, advice.spec)
    if facts is not None and advice.flavor is not None:
        _weigh(advice, advice.spec, advice.flavor, facts, nodes)
    return advice


def get_hold_mpoints(duration_s: float, rate_mpoints_per_hour: int) -> int:
    """Return what a launch sets aside: 1.5 times the expected and a tick, a minute at least."""
    held_s = max(_LEAST_HOLD_S, duration_s * _HOLD_FACTOR + TICK_S)
    return -int(-held_s * rate_mpoints_per_hour // 3600)


def get_machine(flavor: Flavor, nodes: list[Node]) -> Machine:
    """Return what a run on this flavor gets: the smallest GPU among the nodes counts."""
    sizes = [int(d["memory_bytes"]) for node in nodes for d in node.devices]
    device_bytes = min(sizes, default=0) if flavor.num_devices else 0
    return Machine(
        num_cores=flavor.cores,
        memory_bytes=flavor.memory_bytes,
        num_devices=flavor.num_devices,
        device_memory_bytes=device_bytes,
    )


def _read_spec(advice: Advice, raw: dict[str, Any]) -> TrainSpec | QuantizeSpec | ScriptSpec | None:
    try:
        spec = JOB_SPEC.validate_python(raw)
    except SpecValidationError as error:
        advice.spec_problem = error
        for body in spec_errors(error):
            advice.refusals.append(
                Refusal(body["code"], body["message"], body["field"], body["params"])
            )
        return None
    if isinstance(spec, TrainSpec | QuantizeSpec | ScriptSpec):
        return spec
    message = f"spec.kind: a {spec.kind} run is the studio's own; launch train, quantize or script."
    advice.refusals.append(Refusal("kind_not_offered", message, "spec.kind", {"kind": spec.kind}))
    return None


def _read_flavor(advice: Advice, name: str, nodes: list[Node]) -> Flavor | None:
    try:
        flavor = get_flavor(name)
    except StudioError as error:
        advice.refusals.append(Refusal.of(error))
        return None
    why_not = get_why_not(flavor, nodes)
    params = {"flavor": name, "why_not": why_not}
    if why_not == "no_node_online":
        message = "No node is online now: the job will wait in the queue until one is."
        advice.warnings.append(Refusal("no_node_online", message, "flavor", params))
    elif why_not is not None:
        message = f"flavor: no node that is online can hold {flavor.title}; pick another flavor."
        advice.refusals.append(Refusal("flavor_unavailable", message, "flavor", params, status=409))
    return flavor


@dataclass(frozen=True)
class _Inputs:
    shape: ModelShape
    data: DataFacts


def _read_inputs(advice: Advice, viewer: User, spec: TrainSpec) -> _Inputs | None:
    pinned = pin_refs(viewer, spec)
    output = name_output(viewer, spec)
    if taken := find_taken(output, is_adapter=spec.method != "full"):
        advice.refusals.append(_output_taken(output, taken))
    advice.refusals.extend(Refusal.of(error) for error in pinned.errors)
    advice.resolved = pinned.resolved
    data = weigh_data(spec, pinned.commits)
    advice.refusals += data.refusals
    advice.warnings += data.warnings
    shape = _read_shape(advice, spec, pinned)
    if pinned.errors or shape is None or data.facts is None:
        return None
    return _Inputs(shape, data.facts)


def _read_shape(advice: Advice, spec: TrainSpec, pinned: Pinned) -> ModelShape | None:
    """Return the sizes of what is trained, or note why there are none."""
    if spec.from_scratch is not None:
        return ModelShape.from_config(
            spec.from_scratch.to_config(spec.from_scratch.tokenizer.vocab_size)
        )
    commit = pinned.commits.get("model")
    if commit is None:  # its own refusal says why
        return None
    if is_reward_model(commit.repo):
        message = f"spec.model: {spec.model} is a reward model, which writes nothing; pick another."
        params = {"model": spec.model}
        advice.refusals.append(Refusal("model_is_reward", message, "spec.model", params))
    _is_quantized(advice, commit, spec.model)
    return _find_shape(advice, commit)


def _output_taken(repo_id: str, taken: str) -> Refusal:
    what = {"base": "a base model", "adapter": "an adapter"}[taken]
    message = (
        f"spec.output: {repo_id} holds {what}; pick another name for the result, or it would write "
        "over it."
    )
    params = {"repo": repo_id, "taken": taken}
    return Refusal("output_taken", message, "spec.output", params, status=409)


def _check_processes(spec: TrainSpec, flavor: Flavor) -> Refusal | None:
    """A process takes one GPU, or a core where there is none; a GPU without one would lie idle."""
    wanted, has = spec.parallel.num_processes, flavor.num_devices
    if has and wanted != has:
        message = (
            f"spec.parallel: it makes {wanted} processes and {flavor.title} has {has} GPUs, one "
            f"for each; set parallel.shards so that the sizes multiply to {has}."
        )
        rest = wanted // spec.parallel.shards
        shards = {"value": has // rest} if has % rest == 0 else {}
        mend = Mend("set_shards", shards, {"spec": {"parallel": {"shards": has // rest}}})
        params = {"wanted": wanted, "has": has}
        refused = Refusal("processes_not_devices", message, "spec.parallel", params)
        return dataclasses.replace(refused, mend=mend) if shards else refused
    if not has and wanted > flavor.cores:
        message = (
            f"spec.parallel: it makes {wanted} processes and {flavor.title} has {flavor.cores} "
            "cores; lower its sizes, or pick another flavor."
        )
        params = {"wanted": wanted, "has": flavor.cores}
        return Refusal("processes_not_cores", message, "spec.parallel", params)
    return None


def _check_precision(spec: TrainSpec, flavor: Flavor) -> Refusal | None:
    if spec.precision == "fp8" and not flavor.num_devices:
        message = (
            f"spec.precision: fp8 needs a GPU that multiplies 8-bit floats, and {flavor.title} has "
            "none; take bf16, or pick another flavor."
        )
        mend = Mend("take_bf16", {}, {"spec": {"precision": "bf16"}})
        return Refusal("fp8_without_gpu", message, "spec.precision", {}, mend=mend)
    return None


def _weigh(
    advice: Advice, spec: TrainSpec, flavor: Flavor, inputs: _Inputs, nodes: list[Node]
) -> None:
    for refusal in (_check_processes(spec, flavor), _check_precision(spec, flavor)):
        if refusal is not None:
            advice.refusals.append(refusal)
    speed = advice.speed = find_speed(spec, flavor)

    def need(at: Machine) -> TrainEstimate:
        if speed is not None:
            at = at.model_copy(update={"train_flops_per_s": speed.flops_per_s})
        return estimate_train(spec, inputs.shape, inputs.data, at)

    fitting = _price(advice, flavor, nodes, need)
    assert advice.estimate is not None and advice.memory_bytes is not None
    if advice.estimate.peak_memory_bytes > advice.memory_bytes > 0:
        machine = get_machine(flavor, nodes)
        mend = find_mend(spec, inputs.shape, inputs.data, machine, fitting)
        advice.refusals.append(_not_enough_memory(advice, flavor, mend))
    _check_points(advice)


def _price(advice: Advice, flavor: Flavor, nodes: list[Node], need: Need) -> list[Flavor]:
    """Note what a run on a flavor needs and costs; return the flavors that it would fit on."""
    machine = get_machine(flavor, nodes)
    estimate, rate = need(machine), flavor.price_mpoints_per_hour
    advice.estimate = estimate
    advice.memory_bytes = get_memory_bytes(machine)
    advice.cost_mpoints = -int(-estimate.duration_s * rate // 3600)
    advice.hold_mpoints = get_hold_mpoints(estimate.duration_s, rate)
    fitting = _list_fitting_flavors(need, nodes)
    advice.smallest_flavor = fitting[0].name if fitting else None
    return fitting


def _check_points(advice: Advice) -> None:
    if advice.hold_mpoints is not None and advice.hold_mpoints > advice.available_mpoints:
        advice.refusals.append(_not_enough_points(advice))


def get_memory_bytes(machine: Machine) -> int:
    """Return the memory that bounds a finetune: the GPU's where there is one. 0 is unknown."""
    return machine.device_memory_bytes if machine.num_devices else machine.memory_bytes


def _weigh_script(advice: Advice, viewer: User, spec: ScriptSpec) -> None:
    """Nobody knows what a script will need: it may take its time limit, and pays for no more."""
    pinned = pin_refs(viewer, spec)
    advice.resolved = pinned.resolved
    problems = list_problems(spec, advice.flavor)
    advice.refusals.extend(Refusal.of(error) for error in [*problems, *pinned.errors])
    if advice.flavor is None:
        return
    rate = advice.flavor.price_mpoints_per_hour
    advice.cost_mpoints = -int(-60 * spec.time_limit_minutes * rate // 3600)
    advice.hold_mpoints = -int(-(60 * spec.time_limit_minutes + TICK_S) * rate // 3600)
    advice.memory_bytes = advice.flavor.memory_bytes
    if not problems:
        image = find_image(spec, advice.flavor)
        advice.resolved["image"] = image.name
        advice.image_reference = image.reference
    if advice.hold_mpoints > advice.available_mpoints:
        advice.refusals.append(_not_enough_points(advice))


def _weigh_quantize(advice: Advice, viewer: User, spec: QuantizeSpec, nodes: list[Node]) -> None:
    pinned = pin_refs(viewer, spec)
    advice.resolved = pinned.resolved
    advice.refusals.extend(Refusal.of(error) for error in pinned.errors)
    output = name_output(viewer, spec)
    if taken := find_taken(output, is_adapter=False):
        advice.refusals.append(_output_taken(output, taken))
    commit = pinned.commits.get("model")
    if commit is None or advice.flavor is None:
        return
    shape = _find_shape(advice, commit)
    if _is_quantized(advice, commit, spec.model) or shape is None:
        return
    if refusal := _check_group_size(spec, shape):
        advice.refusals.append(refusal)
    fitting = _price(advice, advice.flavor, nodes, lambda at: estimate_quantize(spec, shape, at))
    assert advice.estimate is not None and advice.memory_bytes is not None
    if advice.estimate.peak_memory_bytes > advice.memory_bytes > 0:
        mend = pick_flavor(fitting[0]) if fitting else None
        advice.refusals.append(_not_enough_memory(advice, advice.flavor, mend))
    _check_points(advice)


def _find_shape(advice: Advice, commit: Commit) -> ModelShape | None:
    """Return the sizes of a model, or note why there are none."""
    try:
        return get_model_shape(commit)
    except StudioError as error:
        advice.refusals.append(Refusal.of(error))
        return None


def _is_quantized(advice: Advice, commit: Commit, ref: str) -> bool:
    """Say whether a model is quantized already, and note it: nothing is made of rounded weights."""
    if not is_quantized_commit(commit):
        return False
    message = f"spec.model: {ref} is quantized; pick the model that it was made of."
    advice.refusals.append(Refusal("model_is_quantized", message, "spec.model", {"model": ref}))
    return True


def _check_group_size(spec: QuantizeSpec, shape: ModelShape) -> Refusal | None:
    heads = shape.num_heads * shape.head_dim
    try:
        fit_group_size(spec, {shape.hidden_size, heads, shape.intermediate_size})
    except ValueError as error:
        field = str(error).partition(":")[0]
        params = {"group_size": spec.group_size, "field": field}
        return Refusal("group_size_unfit", f"spec.{error}", f"spec.{field}", params)
    return None


def _list_fitting_flavors(need: Need, nodes: list[Node]) -> list[Flavor]:
    """Return the flavors with memory enough that some online node can hold, cheapest first."""
    fitting = []
    for flavor in list_flavors():
        machine = get_machine(flavor, nodes)
        if need(machine).peak_memory_bytes <= get_memory_bytes(machine) and get_why_not(
            flavor, nodes
        ) in {
            None,
            "no_node_online",
        }:
            fitting.append(flavor)
    return fitting


def _not_enough_memory(advice: Advice, flavor: Flavor, mend: Mend | None) -> Refusal:
    assert advice.estimate is not None and advice.memory_bytes is not None
    needed, has = advice.estimate.peak_memory_bytes, advice.memory_bytes
    message = (
        f"flavor: this run needs about {needed / 2**30:.1f} GiB and {flavor.title} has "
        f"{has / 2**30:.1f} GiB; {mend.sentence if mend else 'pick a smaller model'}."
    )
    params = {"needed_bytes": needed, "has_bytes": has, "flavor": flavor.name}
    return Refusal("not_enough_memory", message, "flavor", params, mend)


def _not_enough_points(advice: Advice) -> Refusal:
    assert advice.hold_mpoints is not None
    needed, has = advice.hold_mpoints, advice.available_mpoints
    return Refusal.of(PointsExhausted(needed=needed, available=has))
