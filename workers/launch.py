"""From an order to a started engine. Any step can be the last before a crash; a new start goes on.

| the node died ... | it leaves | and the next start |
| --- | --- | --- |
| before the order was spooled | a hidden partial file | ignores it; the studio sends again |
| before the claim, or a refusal | orders/RUN.json | claims, or refuses |
| after the claim | orders/RUN.json | claims again: the studio says yes until the run reports |
| in making the folder | runs/.new-RUN | makes it anew |
| before the order was dropped | runs/RUN and orders/RUN.json | drops the order |
| before launch.json | runs/RUN | claims again, then launches |
| before or in the start | launch.json, no recorder.json | ends it after 15 s: launch_failed |
| at any time after | recorder.json | adopts it, or ends it as node_lost if its recorder is gone |

`engine close` writes the final event into events.jsonl, and a recorder refuses a folder that has
such a file: even one that comes up after its deadline starts nothing.
"""

import sys
from pathlib import Path

import structlog
from pydantic import ValidationError

from engine.specs import CONTAINABLE, Placement
from workers.config import NodeConfig
from workers.errors import StudioAway, StudioRefused
from workers.node_dir import NodeDir
from workers.orders import OrderHead, RunOrder
from workers.run_dir import RunDir
from workers.runtimes.base import Runtime
from workers.studio_client import StudioClient
from workers.unreadable import name_fields

log = structlog.get_logger()


async def claim(client: StudioClient, order: RunOrder) -> bool | None:
    """Say whether the run may start; None while the studio cannot tell."""
    try:
        answer = await client.claim_run(order.run_id, order.run_token)
    except StudioAway as error:
        log.warning("claim_waits", run_id=order.run_id, error=str(error))
        return None
    except StudioRefused as error:
        log.warning("claim_refused", run_id=order.run_id, error=str(error))
        return False
    if not answer.start:
        log.info("claim_denied", run_id=order.run_id, reason=answer.reason)
    return answer.start


async def refuse(client: StudioClient, order: OrderHead, problem: ValidationError) -> bool:
    """Tell the studio that an order cannot be read here; False while it cannot be told."""
    try:
        await client.refuse_run(order.run_id, order.run_token, name_fields(problem))
    except StudioAway as error:
        log.warning("refusal_waits", run_id=order.run_id, error=str(error))
        return False
    except StudioRefused as error:  # a studio that has no such door gives up by its own clock
        log.warning("refusal_refused", run_id=order.run_id, error=str(error))
    return True


def is_expired(order: OrderHead, now: float) -> bool:
    """Say whether it is too late to start; the studio has then sent anew or given up."""
    return now >= order.expires_at


def place(node: NodeDir, config: NodeConfig, order: RunOrder) -> RunDir:
    """Make the run's folder. Its placement is the one file the engine needs beside the spec."""
    placement = make_placement(node, config, order)
    files = {
        "order.json": order.model_dump_json().encode(),
        "spec.json": order.spec.model_dump_json().encode(),
        "placement.json": placement.model_dump_json().encode(),
    }
    return node.place_run(order, files)


def make_placement(node: NodeDir, config: NodeConfig, order: RunOrder) -> Placement:
    """Say where the run happens on this node."""
    run_dir = node.runs / order.run_id
    carrier = _make_carrier(config, order)
    return Placement(
        run_dir=run_dir,
        devices=tuple(range(len(order.devices))),  # the runtime shows it these devices only
        num_threads=order.num_threads,
        # A container has a limit of its own, and what it holds is not the recorder's.
        memory_bytes=None if carrier else order.memory_bytes,
        hub_url=config.studio_url,
        hub_token=order.run_token,
        push_to=order.push_to,
        resume_from=_find_checkpoint(node, order),
        cache_dir=node.cache,
        host=config.node_host,
        server_token=order.server_token,
        lmdeploy_dir=config.lmdeploy_dir,
        remote_urls=config.model_servers,
        carrier=carrier,
        provenance=order.provenance | {"node": config.node_name},
    )


def start(run: RunDir, runtime: Runtime) -> None:
    """Start the engine, unless it was ever started or tried before."""
    placement = Placement.model_validate_json((run.path / "placement.json").read_bytes())
    order = run.read_order()
    if order is None or not run.mark_launch(runtime.name):
        return
    try:
        runtime.start(run, placement, devices=order.devices)
    except OSError as error:  # the supervisor finds no recorder and ends the run in words
        log.error("start_failed", run_id=run.run_id, error=str(error))
    else:
        log.info("run_started", run_id=run.run_id)


def _make_carrier(config: NodeConfig, order: RunOrder) -> tuple[str, ...]:
    """Return the command that runs the work in a container; empty where the recorder's child is it.

    The engine refuses a script without.
    """
    run = (sys.executable, "-m")
    if order.container is not None:
        drives = () if config.drive_dir is None else (f"--drives={config.drive_dir}",)
        return (*run, "workers.scripts", f"--node={config.node_name}", *drives)
    if config.engine_image and isinstance(order.spec, CONTAINABLE):
        mocked = (f"--mock-devices={config.mock_devices}",) if config.mock_devices else ()
        chosen = (f"--node={config.node_name}", f"--image={config.engine_image}", *mocked)
        return (*run, "workers.engines", *chosen)
    return ()


def _find_checkpoint(node: NodeDir, order: RunOrder) -> Path | None:
    if order.resume_run_id is None:
        return None
    earlier = node.find_run(order.resume_run_id)
    checkpoint = earlier.find_last_checkpoint() if earlier else None
    if checkpoint is not None:
        return checkpoint
    log.warning("no_checkpoint_kept", run_id=order.run_id, earlier=order.resume_run_id)
    # Who resumes does not want to pay for all of it again: the engine says that it is gone.
    return node.runs / order.resume_run_id / "checkpoints" / "last"
