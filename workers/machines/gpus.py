"""What a machine's processes do on its GPUs, by NVIDIA's library (NVML), which sees the node's own
process ids: of a shared GPU only what belongs to the machine is counted."""

from collections.abc import Collection
from typing import Any

import structlog

from workers.machines.measures import DeviceUsage
from workers.machines.orders import MOCK_DEVICE, MachineOrder

log = structlog.get_logger()


class GpuMeter:
    """All GPUs of one node."""

    def __init__(self, nvml: Any = None) -> None:
        """Take the library; None looks for the node's own, and does without where it has none."""
        self._nvml = nvml if nvml is not None else _find_nvml()
        self._seen_us: dict[tuple[str, str], int] = {}

    def read(self, order: MachineOrder, processes: Collection[int] | None) -> list[DeviceUsage]:
        """Return what the machine does on each of its GPUs; `processes` None is not known."""
        return [self._read(order, uuid, processes) for uuid in order.devices]

    def _read(
        self, order: MachineOrder, uuid: str, processes: Collection[int] | None
    ) -> DeviceUsage:
        if uuid.startswith(MOCK_DEVICE):
            return DeviceUsage(uuid=uuid, is_mock=True)
        if self._nvml is None or processes is None:
            return DeviceUsage(uuid=uuid)
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
            total = nvml.nvmlDeviceGetMemoryInfo(handle).total
            return DeviceUsage(
                uuid=uuid,
                memory_limit_bytes=total * order.device_percent // 100,
                memory_bytes=self._read_memory(handle, processes),
                busy_ratio=self._read_busy(handle, order, uuid, processes),
            )
        except nvml.NVMLError as error:
            log.warning("gpu_not_measured", device=uuid, error=str(error))
            return DeviceUsage(uuid=uuid)

    def _read_memory(self, handle: Any, processes: Collection[int]) -> int | None:
        nvml = self._nvml
        there = [
            *nvml.nvmlDeviceGetComputeRunningProcesses(handle),
            *nvml.nvmlDeviceGetGraphicsRunningProcesses(handle),
        ]
        # One that computes and draws is in both lists.
        held = {each.pid: each.usedGpuMemory for each in there if each.pid in processes}
        return None if None in held.values() else sum(held.values())

    def _read_busy(
        self, handle: Any, order: MachineOrder, uuid: str, processes: Collection[int]
    ) -> float | None:
        nvml = self._nvml
        if order.device_percent == 100:  # nobody else is on it
            return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
        since = self._seen_us.get((order.machine, uuid), 0)
        try:
            samples = nvml.nvmlDeviceGetProcessUtilization(handle, since)
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_NOT_FOUND:  # nothing ran since
                return 0.0
            raise
        if samples:
            self._seen_us[order.machine, uuid] = max(each.timeStamp for each in samples)
        # The last word on each process; a process may be told of more than once.
        latest = {each.pid: each for each in sorted(samples, key=lambda each: each.timeStamp)}
        mine = sum(each.smUtil for pid, each in latest.items() if pid in processes)
        return float(min(mine, 100)) / 100

    def forget(self, machines: Collection[str]) -> None:
        """Keep nothing of any machine but these."""
        self._seen_us = {key: at for key, at in self._seen_us.items() if key[0] in machines}


def _find_nvml() -> Any:
    try:
        import pynvml  # optional: only GPU nodes install it
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
