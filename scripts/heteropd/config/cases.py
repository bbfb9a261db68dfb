"""A case: which platform plays which role, and how each keeps its KV cache."""

from pydantic import Field

from heteropd.config.types import BlockSize, Data, KVLayout, PlatformName


class EngineCase(Data):
    """One engine's part of a case."""

    platform: PlatformName
    kv_layout: KVLayout
    block_size: BlockSize
    convert_on_save: bool = Field(
        default=False, description="Prefill only: present HND blocks of the agreed size to the peer"
    )
    prefix_caching: bool = Field(default=True, description="False adds --no-enable-prefix-caching")


class Case(Data):
    """One file of env/cases."""

    title: str
    prefill: EngineCase
    decode: EngineCase

    def parameters(self) -> dict[str, str | int]:
        """The case's values for the user's parameters."""
        return {
            "prefill_kv_layout": self.prefill.kv_layout,
            "prefill_block_size": self.prefill.block_size,
            "decode_kv_layout": self.decode.kv_layout,
            "decode_block_size": self.decode.block_size,
        }
