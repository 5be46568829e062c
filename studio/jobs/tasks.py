"""The jobs' periodic work, run by the control worker."""

from celery import shared_task

from studio.celery import app
from studio.jobs import billing, reaping, scheduler


@shared_task(ignore_result=True)
def schedule_runs() -> None:
    scheduler.place_runs()
    scheduler.send_orders(app)


@shared_task(ignore_result=True)
def meter_runs() -> None:
    billing.meter_runs()


@shared_task(ignore_result=True)
def reap_runs() -> None:
    reaping.reap_runs()
