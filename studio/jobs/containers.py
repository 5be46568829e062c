"""What a script's run needs of the dev machines' side: an image, a node with an engine, a drive."""

from engine.specs import CONTAINABLE_KINDS, ScriptSpec
from studio.compute.models import Flavor, Node
from studio.core.errors import BadInput, StudioError, Unavailable
from studio.core.sentences import find_told
from studio.jobs.models import Job, Run
from studio.machines.disks import get_disk_limits, get_sizes
from studio.machines.models import Image
from studio.machines.placing import list_able_nodes
from studio.machines.selectors import get_why_no_machines, list_offered_images
from workers.machines.orders import MachineLimits
from workers.orders import ContainerOrder

_GIB = 2**30


def needs_container(job: Job) -> bool:
    """Say whether the job's runs go only where a Docker engine may be used."""
    return job.kind == "script"


def keep_able(online: dict[int, Node], job: Job) -> dict[int, Node]:
    """Return those of the nodes that can run the job at all."""
    if job.kind in CONTAINABLE_KINDS:
        return {pk: node for pk, node in online.items() if not node.runtime_problem}
    if not needs_container(job):
        return online
    able = list_able_nodes()
    return {pk: node for pk, node in online.items() if pk in able}


def find_image(spec: ScriptSpec, flavor: Flavor | None) -> Image:
    """Return the image that a script runs in; the first that is offered where it names none.

    Raises:
        BadInput: there is none of that name, or it does not go with the flavor.
    """
    offered = list(list_offered_images())
    images = [image for image in offered if not spec.image or image.name == spec.image]
    if not images:
        if not offered:
            message = "spec.image: no image is registered yet: ask an operator to register one."
            raise BadInput(message, field="spec.image", code="no_image")
        names = ", ".join(image.name for image in offered)
        message = f"spec.image: there is no image {spec.image!r} here; pick one of {names}."
        raise BadInput(message, field="spec.image", code="image_not_found", image=spec.image)
    fitting = [image for image in images if flavor is None or _goes_with(image, flavor)]
    if not fitting:
        assert flavor is not None
        message = f"spec.image: {images[0].name} is not offered on {flavor.title}; pick another."
        raise BadInput(
            message, field="spec.image", code="image_not_on_flavor", image=images[0].name
        )
    return fitting[0]


def list_problems(spec: ScriptSpec, flavor: Flavor | None) -> list[StudioError]:
    """Return what stands against a script wherever it would run; each is one sentence."""
    if why := get_why_no_machines():
        message = f"A script runs in a container only, and no node can make one now. {why}"
        named = {"why": {"message": why, "told": find_told(why)}}
        return [Unavailable(message, field="spec.kind", code="no_container_engine", **named)]
    try:
        find_image(spec, flavor)
    except StudioError as error:
        return [error]
    return []


def make_container_order(run: Run, spec: ScriptSpec) -> ContainerOrder:
    """Return what the run's container is made of."""
    job, flavor = run.job, run.job.flavor
    devices = run.node.devices if run.node else []
    return ContainerOrder(
        image=job.image_reference,
        tenant=f"u{job.owner_id}",
        home=str(job.owner_id) if spec.home == "drive" else None,
        limits=MachineLimits(
            cpus=flavor.cores,
            memory_bytes=flavor.memory_bytes,
            shm_bytes=max(64 * 2**20, min(flavor.memory_bytes // 2, 16 * _GIB)),
            **get_disk_limits(get_sizes(flavor)),
        ),
        devices=tuple(
            str(device["uuid"]) for device in devices if int(device["index"]) in run.device_indexes
        ),
    )


def _goes_with(image: Image, flavor: Flavor) -> bool:
    chosen = {each.pk for each in image.flavors.all()}
    return not chosen or flavor.pk in chosen
