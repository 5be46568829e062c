"""The node's Celery app, for `celery -A workers.app worker`: consumes the node's own queue only.

Its tasks spool, in milliseconds; so they run in threads and are acknowledged at receipt.
"""

from typing import Any, Self

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from kombu import Connection

from workers import tasks
from workers.config import NodeConfig, read_config
from workers.logs import configure_logs
from workers.node_dir import NodeDir
from workers.orders import PING, START_RUN, queue_name
from workers.watchdog import Watchdog


class PatientConnection(Connection):
    """Asks an absent broker each second. Kombu would wait 2 s longer each time, up to 30 s."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Self:
        super().ensure_connection(*args, **({"interval_start": 1, "interval_step": 0} | kwargs))
        return self


class PatientAMQP(AMQP):
    Connection = PatientConnection


def make_app(config: NodeConfig) -> Celery:
    """Build the app of this node."""
    # Without fixups: Celery's Django one wakes up at a mere DJANGO_SETTINGS_MODULE.
    celery = Celery(
        "workers", broker=config.broker_url, backend=config.broker_url, amqp=PatientAMQP, fixups=[]
    )
    celery.conf.update(
        task_default_queue=queue_name(config.node_name),
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        result_expires=60,
        worker_pool="threads",
        worker_concurrency=2,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,  # one thing less to lose its connection
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": 3,
            "socket_timeout": 10,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    node = NodeDir(config.node_dir)
    node.create()
    _register_tasks(celery, node)
    return celery


def _register_tasks(celery: Celery, node: NodeDir) -> None:
    @celery.task(name=START_RUN)
    def start_run(order_json: str) -> str:
        return tasks.start_run(node, order_json)

    @celery.task(name=PING)
    def ping(stamp: str | None = None) -> dict[str, float]:
        return tasks.ping(stamp)


app = make_app(read_config())
_watchdog = Watchdog(app)


@setup_logging.connect
def _set_up_logs(**_: object) -> None:
    configure_logs("worker")


@worker_ready.connect
def _watch(**_: object) -> None:
    _watchdog.start()


@worker_shutting_down.connect
def _stop_watching(**_: object) -> None:
    _watchdog.stop()
