"""env/infra.yaml: what the testinfra suites want of hosts."""

from pydantic import Field

from heteropd.config.types import Data, PlatformName


class InfraFacts(Data):
    """Libraries and kernel modules."""

    active_mtu: int = Field(gt=0, description="Bytes that an active RDMA port sends at once, at least")
    libraries: list[str] = Field(min_length=1, description="At most one copy of each in a process")
    rdma_modules: dict[str, str] = Field(description="Kernel module of a device, by how its name begins")
    accelerator_modules: dict[PlatformName, list[str]]
