"""The parameters of a plan, by name and type."""

import re
from typing import Annotated

from pydantic import Field, field_validator

from heteropd.config.types import (
    BlockSize,
    Count,
    Data,
    DigestMode,
    HostFile,
    KVLayout,
    Port,
    RouterName,
    RuntimeName,
    SecurityName,
    StandinName,
    matching,
)

PACKAGE = re.compile(r"package:[A-Za-z0-9][A-Za-z0-9._-]*")
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


ModelName = Annotated[
    str, matching(r"[\w./:-]+", "is not a name of a model", "use letters, digits, / . _ : -")
]
Revision = Annotated[str, matching(r"[\w./-]+", "is not a revision", "give a branch, tag or commit")]
PortOffset = Annotated[int, Field(ge=0, le=65535)]
Part = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[int, Field(ge=1, le=86400)]


def _is_none(value: object) -> bool:
    return value is None


def looks_like_a_path(value: str) -> bool:
    """Whether a model is named as a folder."""
    return value.startswith(("/", "./", "../", "~/")) and "\0" not in value and "\n" not in value


class Parameters(Data):
    """The source document's eight parameters, by their own names, and the kit's options."""

    prefill_kv_layout: KVLayout = Field(description="KV cache layout of the prefill engine")
    prefill_block_size: BlockSize = Field(description="KV block size of the prefill engine, in tokens")
    prefill_port: Port = Field(description="HTTP port of the prefill engine")
    decode_kv_layout: KVLayout = Field(description="KV cache layout of the decode engine")
    decode_block_size: BlockSize = Field(description="KV block size of the decode engine, in tokens")
    decode_port: Port = Field(description="HTTP port of the decode engine")
    port: Port = Field(description="HTTP port of the router: the one that clients use")
    model: str = Field(description="Hub id, folder with config.json, or package:NAME")
    side_channel_port: Port = Field(
        description="First port for engines' KV metadata; a second engine on a host takes the next"
    )
    metrics_port: Port = Field(description="Port of vllm-router's Prometheus metrics")
    pins: str = Field(description="Pin set: a file of env/pins")
    variant: str = Field(description="Variant of the pin set; auto takes the first that can do the plan")
    runtime: RuntimeName = Field(description="process, or docker")
    router: RouterName = Field(description="vllm: vllm-router; toy: the source document's proxy")
    security: SecurityName = Field(description="Containers: privileged as documented, or least")
    # Left out of a plan of one each, which is what it was before there could be more.
    prefills: Count = Field(
        description="Prefill engines on this machine", exclude_if=lambda count: count == 1
    )
    decodes: Count = Field(description="Decode engines on this machine", exclude_if=lambda count: count == 1)
    # These too are left out where nobody gives them.
    port_offset: PortOffset = Field(
        description="Added to every default port: a second checkout on a machine needs this alone",
        exclude_if=lambda offset: offset == 0,
    )
    served_model_name: ModelName | None = Field(
        description="Name that requests carry, instead of the model's", exclude_if=_is_none
    )
    revision: Revision | None = Field(
        description="Branch, tag or commit of a model of the hub, for both sides", exclude_if=_is_none
    )
    ready_timeout: Seconds | None = Field(
        description="Seconds that a start may take until requests are answered", exclude_if=_is_none
    )
    digest: DigestMode = Field(
        description="Check that KV arrives as it was computed: off, observe (count) or enforce (refuse)",
        exclude_if=lambda mode: mode == "off",
    )
    digest_sample: Part = Field(
        description="Part of all prompts that the prefill digests", exclude_if=lambda part: part == 1
    )
    standin: StandinName | None = Field(
        description="Platforms whose places CPU stand-ins take; all without hosts, none with them",
        exclude_if=_is_none,
    )
    engine_python: HostFile | None = Field(
        description="Python with vLLM, for the real engine on this machine, instead of the kit's environment",
        exclude_if=_is_none,
    )

    @field_validator("model")
    @classmethod
    def _model_form(cls, value: str) -> str:
        if PACKAGE.fullmatch(value) or HUB_ID.fullmatch(value) or looks_like_a_path(value):
            return value
        raise ValueError("is neither a hub id, a folder nor package:NAME; use something like Qwen/Qwen3-0.6B")


PORT_NAMES = ("port", "prefill_port", "decode_port", "side_channel_port", "metrics_port")
FILE_NAMES = ("hosts", "params", "images")
