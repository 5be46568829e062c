"""Makes images of machines' containers (`docker commit`), and removes those nobody wants any more.

A home, `/share`, `/scratch` and the secrets are mounts, so no image has any of them. What is done
the engine itself remembers, by a label: a node that was killed meanwhile finds it and does it once.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import docker
import structlog
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from workers.machines.engine import SLOT, container_name
from workers.machines.orders import MachineOrder, SavedState
from workers.machines.walls import NODE_LABEL
from workers.sentences import NODE_SENTENCES

log = structlog.get_logger()

LABEL = "athanor.saved"
REPOSITORY = "athanor-saved"
_TIMEOUT_S = 3600
"""A commit copies all that a container has changed, and answers when it has."""
_TIDY_EVERY_S = 60.0
_MOST_TOLD = 300
# What a machine with a GPU was told of it is not to be believed in one without; the last is what
# machines were told that an earlier Athanor made.
_FORGET = "ENV ATHANOR_DEVICES= ATHANOR_DEVICE_PERCENT= PYTORCH_CUDA_ALLOC_CONF="


# One that was made before anybody wanted it says so still; what is made of its image does not wait.
_NO_SPARE = (f"LABEL {SLOT}=", "ENV ATHANOR_SPARE=")


class Saver:
    """One node's saved images. A commit takes minutes, so it goes on beside the node's passes."""

    def __init__(
        self,
        node: str,
        *,
        host: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the engine at `host`, or at DOCKER_HOST. Nothing is asked of it yet."""
        self._node, self._host, self._clock = node, host, clock
        self._client: docker.DockerClient | None = None
        self._one = threading.Lock()
        self._going: dict[str, Future[SavedState]] = {}
        self._tidied: tuple[frozenset[str], float] | None = None

    def look(self, orders: Iterable[MachineOrder]) -> tuple[SavedState, ...]:
        """Begin what is ordered and is not there, and return what has come of all the orders."""
        wanted = {order.save: order for order in orders if order.save is not None}
        for key in set(self._going) - set(wanted):
            if self._going[key].done():
                del self._going[key]  # its order is gone: the studio has heard
        for key, order in wanted.items():
            if key not in self._going:
                self._going[key] = self._begin(key, order)
        return tuple(self._going[key].result() for key in wanted if self._going[key].done())

    def tidy(self, keep: Iterable[str]) -> None:
        """Remove this node's saved images but those of these keys and those that are being made.

        One that a container or another image still needs is left for the next time.
        """
        kept = frozenset(keep) | frozenset(self._going)
        now = self._clock()
        if self._tidied and self._tidied[0] == kept and now - self._tidied[1] < _TIDY_EVERY_S:
            return
        try:
            for image in self._list():
                if image["Labels"][LABEL] not in kept:
                    self._remove(image)
        except (DockerException, RequestException, OSError) as error:
            self._client = None
            log.warning("saved_images_untidied", error=str(error)[:_MOST_TOLD])
            return
        self._tidied = kept, now

    def _begin(self, key: str, order: MachineOrder) -> Future[SavedState]:
        """Save on a thread that no end of this process waits for: the label is found again."""
        told: Future[SavedState] = Future()
        threading.Thread(
            target=lambda: told.set_result(self._save(key, order)), name="saving", daemon=True
        ).start()
        return told

    def _save(self, key: str, order: MachineOrder) -> SavedState:
        try:
            with self._one:
                found = self._find(key)
                if found is None:
                    self._commit(key, order)
                    found = self._find(key)
            if found is None:
                raise DockerException("the image is not there after it was made")
        except (DockerException, RequestException, OSError) as error:
            self._client = None
            log.warning("machine_not_saved", machine=order.machine, error=str(error))
            return SavedState(key=key, problem=_tell(error))
        log.info("machine_saved", machine=order.machine, image=found["Id"])
        return SavedState(key=key, image=found["Id"], size_bytes=found["Size"])

    def _commit(self, key: str, order: MachineOrder) -> None:
        changes = [f"LABEL {LABEL}={key}", f"LABEL {NODE_LABEL}={self._node}", *_NO_SPARE]
        self._docker.api.commit(
            container_name(order),
            repository=REPOSITORY,
            tag=key,
            pause=True,
            changes=[*changes, *([_FORGET] if order.devices else [])],
        )

    def _find(self, key: str) -> dict[str, Any] | None:
        """Return the image of a key, the first of two that a killed node began."""
        found = [image for image in self._list() if image["Labels"][LABEL] == key]
        return min(found, key=lambda image: (image["Created"], image["Id"]), default=None)

    def _list(self) -> list[dict[str, Any]]:
        wanted = {"label": [LABEL, f"{NODE_LABEL}={self._node}"]}
        return list(self._docker.api.images(filters=wanted))

    def _remove(self, image: dict[str, Any]) -> None:
        try:
            self._docker.api.remove_image(image["Id"])
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:  # in use
                raise
        else:
            log.info("saved_image_removed", image=image["Id"])

    @property
    def _docker(self) -> docker.DockerClient:
        if self._client is None:
            if self._host is None:
                self._client = docker.from_env(timeout=_TIMEOUT_S)
            else:
                self._client = docker.DockerClient(base_url=self._host, timeout=_TIMEOUT_S)
        return self._client


def _tell(error: Exception) -> str:
    if isinstance(error, NotFound):
        return NODE_SENTENCES.say("nothing_to_save_there")
    told = error.explanation if isinstance(error, APIError) else str(error)
    sentence = " ".join(str(told).split())[:_MOST_TOLD]
    if "no space left" in sentence:
        return NODE_SENTENCES.say("save_disk_full")
    return NODE_SENTENCES.say("engine_says", words=sentence)
