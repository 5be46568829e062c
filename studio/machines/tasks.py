"""The machines' periodic work, run by the control worker."""

from celery import shared_task

from studio.machines import charging, idling, placing, saving, services, tending, usage


@shared_task(ignore_result=True)
def place_machines() -> None:
    placing.place_machines()


@shared_task(ignore_result=True)
def tend_machines() -> None:
    tending.tend_machines()
    services.end_due()
    saving.fail_overdue_savings()


@shared_task(ignore_result=True)
def judge_machines() -> None:
    idling.judge_machines()


@shared_task(ignore_result=True)
def forget_old_minutes() -> None:
    usage.forget_old_minutes()


@shared_task(ignore_result=True)
def meter_machines() -> None:
    services.end_unpaid(charging.charge_leases())
