"""Plain functions that make rows for tests. People have names: see conftest."""

import hashlib
from typing import Any

from django.utils import timezone

from studio.accounts.models import Role, User
from studio.compute.models import Flavor, Node
from studio.jobs.models import Job, Run


def make_user(username: str, *, role: str = Role.MEMBER) -> User:
    """Make a person whose password is their name followed by `-password`."""
    return User.objects.create_user(username=username, password=f"{username}-password", role=role)


def make_node(
    name: str = "lab-1", *, cores: int = 4, memory_gib: int = 16, num_devices: int = 0
) -> Node:
    """Make a node that is online now."""
    devices = [
        {"index": index, "name": "H200", "memory_bytes": 141 * 2**30, "uuid": f"GPU-{index}"}
        for index in range(num_devices)
    ]
    return Node.objects.create(
        name=name,
        token_hash=hashlib.sha256(name.encode()).hexdigest(),
        last_seen_at=timezone.now(),
        cores=cores,
        memory_bytes=memory_gib * 2**30,
        devices=devices,
    )


def make_job(
    *,
    owner: User,
    name: str = "a finetune",
    flavor: str = "cpu-1",
    kind: str = "train",
    **run_fields: Any,
) -> Job:
    """Make a job with its first run; `run_fields` are the run's own, such as its status."""
    shape = Flavor.objects.get(name=flavor)
    spec = {"kind": kind, "model": "athanor/tiny"}
    job = Job.objects.create(
        owner=owner,
        name=name,
        kind=kind,
        spec=spec | ({"dataset": "athanor/guide"} if kind == "train" else {}),
        flavor=shape,
        is_platform=kind != "train",
        output_repo=f"{owner.username}/tuned" if kind == "train" else "",
    )
    job.current_run = make_run(job, **run_fields)
    job.save()
    return job


def make_run(job: Job, **fields: Any) -> Run:
    """Make the next run of a job, queued where nothing else is said."""
    now = timezone.now()
    rate = job.flavor.price_mpoints_per_hour
    defaults = {"created_at": now, "status_since": now, "rate_mpoints_per_hour": rate}
    return Run.objects.create(job=job, index=job.runs.count() + 1, **(defaults | fields))


def make_claimed_run(owner: User, node: Node | None = None, **fields: Any) -> Run:
    """Make a run that a node has claimed and nothing is heard of yet."""
    now = timezone.now()
    claimed = {"status": "starting", "claimed_at": now, "last_heartbeat_at": now}
    claimed |= {"node": node or make_node(), "placement_number": 1}
    run = make_job(owner=owner, **(claimed | fields)).current_run
    assert run is not None
    return run
