"""The Python environment. Numbers in docstrings: rows of the failure table in docs/images.md."""

from heteropd.images import contents_compare as compare


def test_packages_are_the_locked_ones(inventory, expected, agree, pinned):
    """A NIXL or vLLM that drifted breaks the pair, not the image (2, 27): every version is the lock's."""
    pinned("lock")
    agree(compare.packages(inventory, expected))


def test_torch_is_the_one_it_should_be(inventory, expected, agree, pinned):
    """pip likes to replace Gaudi's torch by a CUDA one (36); elsewhere torch is locked like the rest."""
    if "base-torch" not in inventory["records"]:
        pinned("lock")
    agree(compare.torch(inventory, expected))


def test_vllm_is_the_pinned_one(inventory, expected, agree, pinned):
    """vllm-gaudi follows one commit of vLLM; another one fails with AttributeErrors at run time (27)."""
    pinned("source.vllm", "source.vllm-gaudi", "part.vllm")
    agree(compare.vllm(inventory, expected))


def test_python_is_the_engines(host, expected):
    """What `make plan` prints starts programs of this folder."""
    assert host.file(expected.choice.spec.python).exists
    found = host.check_output("command -v python3")
    assert found.startswith(expected.choice.spec.bin), f"python3 is {found}"
