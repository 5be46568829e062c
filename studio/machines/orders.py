"""What each node is told that its machines shall be."""

import json
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone

from studio.compute.models import Node
from studio.machines.charging import get_ends_at
from studio.machines.disks import get_disk_limits, get_sizes
from studio.machines.idling import get_verdict
from studio.machines.machine_tokens import make_machine_token
from studio.machines.models import Image, Machine, NodeEngine, Saving, Status
from studio.machines.progress import list_ports
from studio.machines.ssh.host_keys import read_gateway_key
from workers.machines.orders import MachineLimits, MachineOrder

_GIB = 2**30
_ENDS_STEP_S = 10
"""A told end moves by the second with each proof of life: rounded, files change seldom."""


def list_orders(node: Node) -> list[MachineOrder]:
    """Return what a node shall have; what is not in it, it ends."""
    machines = Machine.objects.filter(node=node)
    machines = machines.exclude(status__in=[Status.DELETING, Status.DELETED])
    engine = NodeEngine.objects.filter(node=node).first()
    studio_url = engine.studio_url if engine and engine.studio_url else settings.PUBLIC_URL
    joined = machines.select_related("owner", "image", "flavor", "lease", "node", "activity")
    ordered = list(joined.order_by("pk"))
    going = Saving.objects.filter(ended_at=None, image__node=node)
    saves = dict(going.values_list("machine_id", "key"))
    orders = [_make_order(machine, node, studio_url) for machine in ordered]
    return [
        order.model_copy(update={"save": saves.get(machine.pk)})
        for machine, order in zip(ordered, orders, strict=True)
    ]


def find_usual_image() -> str:
    """Return what most of the machines that are there are made of, blank where no image is offered.

    Of two that are as usual it is the older.
    """
    machines = Count("machines", filter=~Q(machines__status=Status.DELETED))
    offered = Image.objects.filter(is_active=True, owner=None).annotate(num_machines=machines)
    usual = offered.order_by("-num_machines", "pk").first()
    return usual.reference if usual else ""


def _make_order(machine: Machine, node: Node, studio_url: str) -> MachineOrder:
    flavor = machine.flavor
    return MachineOrder(
        machine=machine.key,
        life=machine.life,
        start=machine.start,
        is_running=machine.status in {Status.STARTING, Status.RUNNING},
        image=machine.image.reference,
        hostname=machine.name,
        tenant=f"u{machine.owner_id}",
        home=str(machine.owner_id),
        limits=MachineLimits(
            cpus=flavor.cores,
            memory_bytes=flavor.memory_bytes,
            shm_bytes=max(64 * 2**20, min(flavor.memory_bytes // 2, 16 * _GIB)),
            **get_disk_limits(get_sizes(flavor)),
        ),
        devices=tuple(
            str(device["uuid"])
            for device in node.devices
            if int(device["index"]) in machine.device_indexes
        ),
        device_percent=flavor.device_percent,
        ports=tuple(list_ports(machine)),
        environment=_make_environment(machine, studio_url),
        lab_port=machine.image.ordered_tools.get("lab", 8888),
        secrets={
            "token": make_machine_token(machine),
            "gateway_key.pub": read_gateway_key().export_public_key().decode(),
            "machine.json": json.dumps(_describe(machine, studio_url)),
        },
    )


def _make_environment(machine: Machine, studio_url: str) -> dict[str, str]:
    bare = urlsplit(studio_url)
    cores = str(machine.flavor.cores)
    return {
        # Libraries that count processors see the node's: they are told the machine's own, and
        # so is `nproc`, which reads the first.
        "OMP_NUM_THREADS": cores,
        "PYTHON_CPU_COUNT": cores,
        "GOMAXPROCS": cores,
        "RAYON_NUM_THREADS": cores,
        "ATHANOR_URL": studio_url,
        "ATHANOR_MACHINE": machine.key,
        "ATHANOR_TOKEN_FILE": "/run/athanor/token",
        "HF_ENDPOINT": studio_url,
        "HF_TOKEN_PATH": "/run/athanor/token",
        "OPENAI_BASE_URL": f"{studio_url}/v1",
        # What goes to the studio goes there directly, whatever proxy a person sets.
        "no_proxy": f"localhost,127.0.0.1,{bare.hostname}",
        # Vite answers to no other host than it knows: what browsers call its ports here.
        "__VITE_ADDITIONAL_SERVER_ALLOWED_HOSTS": _get_browsers_host(),
    }


def _get_browsers_host() -> str:
    if settings.MACHINES_PORTS:
        return urlsplit(settings.PUBLIC_URL).hostname or ""
    return f".{settings.MACHINES_DOMAIN}"


def _describe(machine: Machine, studio_url: str) -> dict[str, object]:
    ends_at = get_ends_at(machine.lease) if machine.lease else None
    drain_at = machine.node.drain_at if machine.node else None
    if ends_at is not None and drain_at is not None:
        ends_at = min(ends_at, drain_at)
    told = None
    if ends_at is not None:
        told = round(ends_at.timestamp() / _ENDS_STEP_S) * _ENDS_STEP_S
    return {
        "key": machine.key,
        "name": machine.name,
        "owner": machine.owner.username,
        "language": machine.owner.language,
        "studio_url": studio_url,
        "public_url": settings.PUBLIC_URL,
        "flavor": machine.flavor.title,
        "ends_at": told,
        "idle_at": _tell_idle(machine),
    }


def _tell_idle(machine: Machine) -> float | None:
    """Return when the machine stops for idleness, Unix seconds; None while it is used."""
    verdict = get_verdict(machine, timezone.now())
    if verdict is None or verdict.stops_at is None:
        return None
    return round(verdict.stops_at.timestamp() / _ENDS_STEP_S) * _ENDS_STEP_S
