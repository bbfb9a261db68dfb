"""The words that several kinds of file share: ports, block sizes, commits, digests."""

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

UNRESOLVED = "unresolved"

Role = Literal["prefill", "decode", "router"]
KVLayout = Literal["NHD", "HND"]
PlatformName = Literal["cuda", "gaudi", "cpu"]
EngineRole = Literal["prefill", "decode"]
RuntimeName = Literal["process", "docker"]
StandinName = Literal["gaudi", "cuda", "all", "none"]
RouterName = Literal["vllm", "toy"]
SecurityName = Literal["privileged", "least"]
DigestMode = Annotated[
    Literal["off", "observe", "enforce"],
    BeforeValidator(lambda mode: "off" if mode is False else mode),  # YAML reads a bare off as false
]


class Data(BaseModel):
    """Base of everything read from a file: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def matching(pattern: str, problem: str, fix: str) -> AfterValidator:
    """A validator of texts that match a pattern as a whole."""
    expression = re.compile(pattern)

    def check(value: str) -> str:
        if not expression.fullmatch(value):
            raise ValueError(f"{problem}; {fix}")
        return value

    return AfterValidator(check)


def unique(values: list[Any]) -> list[Any]:
    """A validator of lists that name nothing twice."""
    twice = [value for index, value in enumerate(values) if value in values[:index]]
    if twice:
        raise ValueError(f"names {twice[0]} twice; name each once")
    return values


OneOrMore = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
"""Texts, of which a single one may stand without a list."""

Port = Annotated[int, Field(ge=1, le=65535, description="TCP port")]
Count = Annotated[int, Field(ge=1, le=1000)]
BlockSize = Annotated[int, Field(ge=1, le=65536, description="Tokens in a KV block")]
Commit = Annotated[
    str,
    matching(
        rf"[0-9a-f]{{40}}|{UNRESOLVED}",
        "is not a full commit",
        "give all 40 hex digits, or 'unresolved' with the command that resolves it",
    ),
]
Digest = Annotated[
    str,
    matching(
        rf"sha256:[0-9a-f]{{64}}|{UNRESOLVED}",
        "is not an image digest",
        "give sha256:… with 64 hex digits, or 'unresolved' with the command that resolves it",
    ),
]
GitRef = Annotated[
    str,
    matching(
        r"refs/[A-Za-z0-9][^\s~^:?*\[\\]*", "is not a full git ref", "write refs/heads/… or refs/tags/…"
    ),
]
Word = Annotated[str, matching(r"[^\0]*", "holds a null byte", "no program takes one")]
EnvName = Annotated[
    str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "is not a variable name", "use letters, digits and _")
]
Name = Annotated[
    str,
    matching(r"[a-z0-9][a-z0-9._-]*", "is not a name", "use lower-case letters, digits, '.', '_' and '-'"),
]
SshDestination = Annotated[
    str,
    matching(
        # After the @ a name or address; one colon alone would be a port, which ssh takes for part of a name.
        r"[A-Za-z0-9._][A-Za-z0-9._-]*(@([A-Za-z0-9][A-Za-z0-9._-]*|[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}))?",
        "is not an ssh destination",
        "give user@host, or an alias of your ssh configuration, which may also say the port",
    ),
]


HostFile = Annotated[
    str,
    matching(r"/[\w./+-]+", "is not an absolute path of a program", "give it from the root: /opt/…/python"),
]
HostFolder = Annotated[
    str,
    matching(r"/[\w./+-]+", "is not an absolute path of a folder", "give it from the root: /models/…"),
]
HostSocket = Annotated[
    str, matching(r"/[\w./+-]+", "is not the path of a socket", "give it as /run/user/1000/docker.sock")
]
ImageRef = Annotated[
    str,
    matching(
        r"[a-z0-9][\w.-]*(:[0-9]+)?(/[\w.-]+)*(:[\w][\w.-]*)?(@sha256:[0-9a-f]{64})?",
        "is not an image reference",
        "give [REGISTRY/]NAME:TAG or NAME@sha256:…",
    ),
]
NetDevice = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][\w.-]*(:[0-9]+)?",
        "is not a network device of UCX",
        "give DEVICE:PORT, such as mlx5_0:1",
    ),
]
ResourceName = Annotated[
    str,
    matching(
        r"cpu|memory|[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
        "is not a resource of Kubernetes",
        "write cpu, memory, or what a device plugin registers, such as nvidia.com/gpu",
    ),
]
Quantity = Annotated[
    str,
    matching(
        r"[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?", "is not a quantity", 'write "4", 250m, 16Gi or the like'
    ),
]
DnsLabel = Annotated[
    str,
    matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "is not a name in Kubernetes", "use a-z, 0-9 and '-'"),
]


def _address(value: str) -> str:
    fix = "give what the other hosts connect to, such as 192.0.2.10"
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        numeric = re.fullmatch(r"[0-9.]+|.*:.*", value)
        if numeric or not _HOST_NAME.fullmatch(value):
            raise ValueError(f"is neither an IP address nor a host name; {fix}") from None
        return value
    if parsed.is_unspecified or parsed.is_multicast:
        raise ValueError(f"is not the address of one host; {fix}")
    if parsed.version == 6 and parsed.is_link_local:  # with %eth0 or without
        raise ValueError(f"means another machine on every link; {fix}")
    return value


_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")

Address = Annotated[str, AfterValidator(_address)]
