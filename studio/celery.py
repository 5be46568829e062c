"""The control worker's Celery app: the studio's periodic work, and what sends orders to nodes."""

import logging
import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")

app = Celery("studio")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # An order that cannot be sent is sent again by the scheduler: fail, never hang a request.
    broker_transport_options={
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0,
    },
    redis_socket_timeout=5.0,
    result_expires=60,
    beat_schedule={
        "schedule-runs": {
            "task": "studio.jobs.tasks.schedule_runs",
            "schedule": 2.0,
            "options": {"expires": 2.0},
        },
        "meter-runs": {
            "task": "studio.jobs.tasks.meter_runs",
            "schedule": 10.0,
            "options": {"expires": 10.0},
        },
        "reap-runs": {
            "task": "studio.jobs.tasks.reap_runs",
            "schedule": 5.0,
            "options": {"expires": 5.0},
        },
        "tend-deployments": {
            "task": "studio.serving.tasks.tend_deployments",
            "schedule": 5.0,
            "options": {"expires": 5.0},
        },
        "tend-rollouts": {
            "task": "studio.serving.tasks.tend_rollouts",
            "schedule": 5.0,
            "options": {"expires": 5.0},
        },
        "settle-uses": {
            "task": "studio.serving.tasks.settle_uses",
            "schedule": 60.0,
            "options": {"expires": 60.0},
        },
        "tend-draftings": {
            "task": "studio.labelling.tasks.tend_draftings",
            "schedule": 5.0,
            "options": {"expires": 5.0},
        },
        "tend-drains": {
            "task": "studio.compute.tasks.tend_drains",
            "schedule": 4.0,
            "options": {"expires": 4.0},
        },
        "place-machines": {
            "task": "studio.machines.tasks.place_machines",
            "schedule": 1.0,
            "options": {"expires": 1.0},
        },
        "tend-machines": {
            "task": "studio.machines.tasks.tend_machines",
            "schedule": 4.0,
            "options": {"expires": 4.0},
        },
        "judge-machines": {
            "task": "studio.machines.tasks.judge_machines",
            "schedule": 10.0,
            "options": {"expires": 10.0},
        },
        "forget-machine-minutes": {
            "task": "studio.machines.tasks.forget_old_minutes",
            "schedule": 600.0,
            "options": {"expires": 600.0},
        },
        "meter-machines": {
            "task": "studio.machines.tasks.meter_machines",
            "schedule": 10.0,
            "options": {"expires": 10.0},
        },
        "tend-drive-works": {
            "task": "studio.drive.tasks.tend_works",
            "schedule": 20.0,
            "options": {"expires": 20.0},
        },
        "end-expired-uploads": {
            "task": "studio.drive.tasks.end_expired_uploads",
            "schedule": 3600.0,
            "options": {"expires": 600.0},
        },
        "tend-imports": {
            "task": "studio.importing.tasks.tend_imports",
            "schedule": 20.0,
            "options": {"expires": 20.0},
        },
        "sweep-imports": {
            "task": "studio.importing.tasks.sweep_imports",
            "schedule": 3600.0,
            "options": {"expires": 600.0},
        },
        "sweep-hub": {
            "task": "studio.hub.tasks.sweep_hub",
            "schedule": 3600.0,
            "options": {"expires": 600.0},
        },
    },
)
app.autodiscover_tasks()


@setup_logging.connect
def _leave_logging_alone(**_: object) -> None:
    """Django's settings make every line JSON; with nothing connected, Celery undoes them."""
    # Two lines for each of the ticks that come every two seconds would bury everything else.
    for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
