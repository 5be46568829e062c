"""What the queue can make a node do: keep an order, and answer a ping. No engine ever runs here."""

import json
import time

import structlog
from pydantic import ValidationError

from workers.launch import is_expired
from workers.node_dir import NodeDir
from workers.orders import OrderHead, RunOrder

log = structlog.get_logger()

last_ping: dict[str, str] = {}
"""The stamp of the last ping this process answered: how the watchdog sees that it consumes."""


def start_run(node: NodeDir, order_json: str) -> str:
    """Keep an order for the supervisor, once; a repeated or late one does nothing.

    So is one that cannot be read here, as long as it says whose it is: the supervisor tells the
    studio, which would send it again for ever.
    """
    try:
        order: OrderHead = RunOrder.model_validate_json(order_json)
        is_read = True
    except ValidationError as error:  # a studio of another age
        log.error("order_refused", problems=error.errors(include_input=False, include_url=False))
        try:
            order, is_read = OrderHead.model_validate_json(order_json), False
        except ValidationError:
            return "refused"
    if is_expired(order, time.time()):
        log.warning("order_late", run_id=order.run_id)
        return "late"
    is_new = node.spool(order.run_id, json.loads(order_json))
    log.info("order_spooled" if is_new else "order_known", run_id=order.run_id)
    if not is_read:
        return "refused"
    return "spooled" if is_new else "known"


def ping(stamp: str | None) -> dict[str, float]:
    """Answer, and remember that this process was asked."""
    if stamp is not None:
        last_ping["stamp"] = stamp
    return {"time": time.time()}
