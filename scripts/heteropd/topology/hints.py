"""From the last lines of a dead role's log to what a user can do about it."""

import itertools
import re
import signal
from collections.abc import Sequence

_HINTS: tuple[tuple[str, str], ...] = (
    (
        # UCX's words where ibv_reg_mr, ibv_create_cq and others fail (openucx/ucx#8229, #6264)
        r"max locked memory|memlock|ibv_\w+\(.*failed: Cannot allocate memory",
        "memory for RDMA may not be locked: give the container --ulimit=memlock=-1 or --cap-add=IPC_LOCK, a "
        "process `ulimit -l unlimited`",
    ),
    (
        r"zmq\.error\.Again|zmq/.*\bAgain\b",  # vllm-project/vllm#26171: the handshake's time limit
        "the peer's side channel did not answer: does that engine run, is its VLLM_NIXL_SIDE_CHANNEL_HOST "
        "right, and its port open in the firewall? `make doctor` tries it (T3-16)",
    ),
    (
        r"ZMQError: (No such device|Cannot assign requested address)",
        "VLLM_NIXL_SIDE_CHANNEL_HOST is not an address of this host: correct its address in the hosts file",
    ),
    (
        # NixlConnector's comparison of both sides' regions, from 0.13 to 0.32
        r"KV block_len \d+ must equal|KV cache sizes must match|block lengths must match|and same dtype",
        "a token's KV has another size on the two sides: give both one --dtype and one --kv-cache-dtype (a "
        "stand-in has float32), and the plan's block sizes",
    ),
    (
        r"NIXL_ERR_REMOTE_DISCONNECT|nixlRemoteDisconnectError",
        "the peer ended, or the fabric between the two broke: restart the pair, never one side "
        "(`make restart role=prefill-0`)",
    ),
    (
        r"driver on your system is too old|driver version is insuff|forward compatibility was attempted",
        "the host's NVIDIA driver is older than the image's CUDA: `make doctor` says which is wanted (T2-64)",
    ),
    (
        r"invalid device ordinal|No CUDA GPUs are available|Device acquire failed|synDeviceAcquire",
        "the engine cannot have its device: `make doctor` says whether it is there and free (T2-61, T2-35)",
    ),
    (
        r"address already in use|EADDRINUSE|errno 98",
        "another program took the port meanwhile: choose another port, or find it with `ss -ltnp`",
    ),
    (
        r"No available memory for the cache blocks|Cannot allocate KV cache|KV cache .* larger than",
        "the KV cache does not fit: give the engine more cache space or a smaller maximum model length",
    ),
    (
        r"out of memory|OutOfMemory|MemoryError|Cannot allocate memory|std::bad_alloc",
        "memory ran out: end other programs, or use a smaller model",
    ),
    (
        r"unrecognized arguments?|unknown argument|no such option|unexpected argument|invalid choice",
        "this engine or router version does not know an argument of the plan: do the pins match?",
    ),
    (
        r"sched_setaffinity",
        "the engine may not use the cores it was given: container CPU limits and core binding do not mix",
    ),
    (
        r"outgoing traffic has been disabled|LocalEntryNotFound|couldn't connect to 'https://huggingface|"
        r"Cannot find the requested files|is not a local folder and is not a valid model",
        "the model is not on this machine and could not be fetched: give model= a local folder",
    ),
    (
        r"Repo id must be in the form",  # what a path is taken for that is no folder to the engine
        "the engine finds no such folder: it must be on the engine's host and readable to all; a container "
        "that does not run as root, as stand-ins do not, sees nothing below /root",
    ),
    (
        r"GatedRepo|401 Client Error|403 Client Error",
        "the model hub wants a token: set HF_TOKEN in the environment",
    ),
    (r"No module named|ImportError", "the engine's environment is incomplete: run `make prepare`"),
    (r"No space left on device", "the disk (or /dev/shm) is full"),
)
# What many troubles end with: for want of any of the above, wherever that stands.
_LAST_HINTS = (
    (
        r"NIXL_ERR_BACKEND|transport '[\w,]+' is not available|no usable transports|UCX.*no.*transport",
        "NIXL found no usable transport: compare UCX_TLS in the plan with what `ucx_info -d` lists",
    ),
    (
        r"handshake.*(failed|incompatib|mismatch)|compatibility hash",
        "prefill and decode do not accept each other: same model, dtype and versions on both sides?",
    ),
)

# The exception that ended a Python program, or a native program's last cry.
_ERROR = re.compile(r"\b((?:[\w.]*(?:Error|Exception)|zmq\.error\.Again|thread '[^']*' panicked)\b:? ?.*)")
# What vLLM's inner processes say before their traceback, which process that is, and a traceback's last line.
_FAILED = re.compile(
    r"(?:WorkerProc|EngineCore) (?:failed to start|hit an exception|encountered a fatal error)"
)
_PROCESS = re.compile(r"^\([^()]*pid=\d+\)")
_RAISED = re.compile(r"(?:^|[\])] )(?:[\w.]+(?:Error|Exception)|(?:\w+\.)+[A-Z]\w*)(?::.*)?$")
# An error about the error of another process, which stands above it in the log; and what an end brings.
_WRAPPER = re.compile(
    r"root cause|see stack trace|Engine core (initialization|proc\S*) (failed|died)|EngineDeadError"
    r"|Engine process failed|WorkerProc initialization failed|Exception ignored|KeyboardInterrupt",
    re.IGNORECASE,
)


def hint(lines: Sequence[str], status: int | None = None) -> str | None:
    """What a user can do: from the line that names the cause, else from the newest line that a known pattern
    fits; None when none does."""
    named = _cause_line(lines)
    ordered = [*([named] if named else []), *reversed(lines)]
    for hints in (_HINTS, _LAST_HINTS):
        for line, (pattern, advice) in itertools.product(ordered, hints):
            if re.search(pattern, line, re.IGNORECASE):
                return advice
    if status == -signal.SIGKILL:
        return "somebody killed it, most often the kernel for want of memory: see `dmesg`"
    return None


def cause(lines: Sequence[str]) -> str | None:
    """The error that ended a role, from its name on; None when no line names one.

    That is the newest, but for those that only say that another process failed: of vLLM's processes the
    outer ones end with "see root cause above".
    """
    line = _cause_line(lines)
    found = _ERROR.search(line) if line else None
    return found[1].strip()[:200] if found else None


def _cause_line(lines: Sequence[str]) -> str | None:
    failed = next((index for index, line in enumerate(lines) if _FAILED.search(line)), None)
    if failed is not None:
        # Of several workers the first one that failed; those that waited for it fail after it.
        who = _PROCESS.match(lines[failed])
        own = [line for line in lines[failed + 1 :] if not who or line.startswith(who[0])]
        raised = [line for line in own if _RAISED.search(line) and not _WRAPPER.search(line)]
        if raised:
            return raised[-1]
    errors = [line for line in lines if _ERROR.search(line) and "ld.so" not in line]
    wrapped = next((index for index, line in enumerate(errors) if _WRAPPER.search(line)), len(errors))
    real = errors[:wrapped] or [line for line in errors if not _WRAPPER.search(line)] or errors
    return real[-1] if real else None


def ended_with(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "exit status unknown"
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {status}"
