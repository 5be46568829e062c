"""ServeSpec: one base model with any of its adapters behind one OpenAI-compatible address."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from engine.specs.base import RepoRef, Spec

# Under which backends a field means something; a field without them is of every backend.
_NATIVE: dict[str, Any] = {"only": {"backend": ["native"]}}
_ALL = {"backend": ["native", "lmdeploy", "remote"]}
_LOADED: dict[str, Any] = {"only": {"backend": ["native", "lmdeploy"]}}


class ServeSpec(Spec):
    """Serve a base model and its adapters."""

    kind: Literal["serve"] = "serve"
    model: RepoRef = Field(
        title="Base model", json_schema_extra={"part": "what", "widget": "model"}
    )
    """The model that answers."""
    adapters: tuple[RepoRef, ...] = Field(
        default=(), title="Adapters", json_schema_extra={"part": "what", "widget": "adapters"}
    )
    """Loaded at the start; more can be added while it runs."""
    backend: Literal["native", "lmdeploy", "remote"] = Field(
        default="native", title="Backend", json_schema_extra={"part": "how", "advanced": True}
    )
    """What makes the answers: the engine here, LMDeploy in its own environment, or a server that
    speaks OpenAI's HTTP already."""
    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        max_length=2000,
        title="Address of the remote server",
        json_schema_extra={"part": "how", "advanced": True, "only": {"backend": ["remote"]}},
    )
    """Up to and with /v1, such as http://10.0.0.5:8000/v1."""
    precision: Literal["bf16", "fp32", "fp8"] = Field(
        default="bf16",
        title="Precision",
        json_schema_extra={"part": "how", "advanced": True, **_LOADED},
    )
    """Number format of the weights. `fp8` is bf16 with the layers' matrices rounded to 8 bits as
    they are loaded, and multiplied so: half the memory, on GPUs that do it."""
    tensor_parallel: int = Field(
        default=1,
        ge=1,
        le=64,
        title="Devices that share the model",
        json_schema_extra={"part": "how", "advanced": True, **_LOADED},
    )
    """Each holds a part of every layer and of the contexts, so that together they hold a model that
    is too large for one. It must divide the model's heads; adapters are divided too."""
    max_context: int = Field(
        default=4096,
        ge=64,
        le=262_144,
        title="Longest context",
        json_schema_extra={"part": "how", "unit": "tokens"},
    )
    """Prompt and answer together; a longer request is refused."""
    max_waiting: int = Field(
        default=128,
        ge=1,
        le=10_000,
        title="Longest queue",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Requests that may wait; one more is told to come back later."""
    adapter_memory_bytes: int = Field(
        default=2**30,
        ge=0,
        title="Memory for adapters",
        json_schema_extra={"part": "how", "unit": "bytes", "advanced": True, **_NATIVE},
    )
    """All adapters together; beyond it the one that was asked least recently is unloaded."""
    least_agreement: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Least agreement",
        json_schema_extra={"part": "how", "advanced": True, **_LOADED},
    )
    """Of a quantized model: the share of tokens on which it must agree with its base, as its report
    card says. 0 asks for nothing."""
    on_low_agreement: Literal["warn", "refuse"] = Field(
        default="warn",
        title="Below it",
        json_schema_extra={"part": "how", "advanced": True, **_LOADED},
    )
    """Whether a model that agrees less is served with a warning in the log, or not at all."""

    kv_memory_bytes: int | None = Field(
        default=None,
        ge=2**20,
        title="Memory for contexts",
        json_schema_extra={"part": "how", "unit": "bytes", "advanced": True, **_NATIVE},
    )
    """Keys and values of all requests that run, and of prefixes kept ready; by default what the
    device has to spare, and no more than all that may run could fill."""
    kv_precision: Literal["full", "int8", "int4"] = Field(
        default="full",
        title="Precision of contexts",
        json_schema_extra={"part": "how", "advanced": True, **_LOADED},
    )
    """Keys and values: as the weights are computed, or rounded as they come, each token and head by
    itself. int8 holds twice as many contexts, int4 nearly four times; a report card says what it
    costs a model."""
    is_batch_invariant: bool = Field(
        default=False,
        title="Same numbers always",
        json_schema_extra={"part": "how", "advanced": True, **_NATIVE},
    )
    """An answer's log-probabilities are bit for bit the same whatever else is served; slower where
    the decoder is not so by itself, which on a processor it is."""
    max_running: int = Field(
        default=64,
        ge=1,
        le=4096,
        title="Requests at once",
        json_schema_extra={"part": "how", "advanced": True, **_LOADED},
    )
    """Answers made at the same time; more make each slower and all together faster."""
    max_batch_tokens: int = Field(
        default=512,
        ge=2,
        le=65_536,
        title="Tokens of a step",
        json_schema_extra={"part": "how", "unit": "tokens", "advanced": True, **_LOADED},
    )
    """Prompts are read in pieces of up to so many tokens, between which running answers go on: more
    read prompts faster, fewer keep answers steady. More than the requests at once."""
    has_prefix_cache: bool = Field(
        default=True,
        title="Keep prefixes ready",
        json_schema_extra={"part": "how", "advanced": True, **_LOADED},
    )
    """Do not compute again what a tenant's earlier request began with."""
    max_waiting_of_tenant: int | None = Field(
        default=None,
        ge=1,
        title="Longest queue of one tenant",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Requests of one tenant that may wait; none of the others' places are taken by more."""
    max_running_of_tenant: int | None = Field(
        default=None,
        ge=1,
        title="Requests of one tenant at once",
        json_schema_extra={"part": "how", "advanced": True, **_NATIVE},
    )
    """Answers made for one tenant at the same time, also when nobody else is there."""

    @model_validator(mode="after")
    def _check_step(self) -> Self:
        if self.backend == "native" and self.max_batch_tokens <= self.max_running:
            raise ValueError(
                f"max_batch_tokens is {self.max_batch_tokens} and max_running "
                f"{self.max_running}: raise the first above the second, or lower the second."
            )
        return self

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        if (self.backend == "remote") != (self.url is not None):
            raise ValueError("url goes with backend: remote, and that needs it; set both or none")
        return self

    @model_validator(mode="after")
    def _check_backend(self) -> Self:
        """Refuse what the backend would pass over in silence; what is at its default asks nothing.

        `max_waiting` and `max_waiting_of_tenant` are of every backend: that queue is ours.
        """
        for name, field in type(self).model_fields.items():
            extra: Any = field.json_schema_extra
            is_heard = self.backend in extra.get("only", _ALL)["backend"] if extra else True
            if is_heard or getattr(self, name) == field.default:
                continue
            if self.backend == "remote":
                raise ValueError(
                    f"{name}: it is the other server's affair: leave it out, or change backend"
                )
            raise ValueError(
                f"{name}: LMDeploy has no such setting: leave it out, or change backend"
            )
        if self.backend == "lmdeploy" and self.precision != "bf16":
            raise ValueError(
                f"precision: LMDeploy has no {self.precision}: take bf16, or change backend"
            )
        return self
