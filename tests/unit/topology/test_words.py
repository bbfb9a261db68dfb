"""What is said: differences, hints, last words, progress, locks. No processes."""

import io
import signal

import pytest
from rich.console import Console

from heteropd.console.log_tail import last_lines, last_word
from heteropd.console.progress import Progress, Row
from heteropd.errors import BadInput
from heteropd.topology import hints, logs, status
from heteropd.topology.reuse import differences


def test_differences_name_parameters_first(kit):
    old = kit.plan(parameters={"prefill_port": 8100, "model": "a"})
    new = kit.plan(parameters={"prefill_port": 8101, "model": "a"}, case="case2")
    assert differences(old, new) == ["case case1 -> case2", "prefill_port 8100 -> 8101"]
    assert differences(old, old) == []


def test_differences_reach_into_roles_when_nothing_else_changed(kit):
    old, new = kit.plan(), kit.plan(env={"UCX_TLS": "tcp"})
    assert differences(old, new)[0] == "roles.prefill-0.env.UCX_TLS (none) -> tcp"


def test_differences_are_bounded(kit):
    old = kit.plan(parameters={f"p{number}": 0 for number in range(9)})
    new = kit.plan(parameters={f"p{number}": 1 for number in range(9)})
    assert differences(old, new)[-1] == "and 4 more"


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (
            "ib_md.c:324 UCX ERROR ibv_reg_mr(address=0x7f, access=0xf) failed: Cannot allocate memory",
            "memlock",
        ),
        ("UCX ERROR ibv_create_cq(cqe=4096) failed: Cannot allocate memory", "memlock"),
        ("UCX WARN Please set max locked memory (ulimit -l) to 'unlimited' (current: 64 kbytes)", "memlock"),
        (
            "[nixl_connector.py:820] zmq.error.Again: Resource temporarily unavailable",
            "side channel did not answer",
        ),
        ("zmq.error.ZMQError: No such device (addr='tcp://192.0.2.9:5')", "not an address of this host"),
        (
            "AssertionError: SPLIT region 0: remote P KV block_len 24576 must equal local 49152 * remote_h",
            "--dtype",
        ),
        ("AssertionError: KV cache sizes must match between P and D when replicated (region 0: …", "--dtype"),
        ("must be of shape [2, N, local_kv_heads, block_size, head_dim] and same dtype.", "--dtype"),
        ("nixl_cu12._bindings.nixlRemoteDisconnectError: NIXL_ERR_REMOTE_DISCONNECT", "restart the pair"),
        ("RuntimeError: The NVIDIA driver on your system is too old (found version 12080).", "T2-64"),
        ("torch.AcceleratorError: CUDA error: invalid device ordinal", "T2-61"),
        ("RuntimeError: synStatus=26 [Generic failure] Device acquire failed.", "T2-61"),
        ("OSError: [Errno 98] Address already in use", "another program took the port"),
        ("ValueError: No available memory for the cache blocks. Try increasing", "KV cache does not fit"),
        ("torch.OutOfMemoryError: CUDA out of memory.", "memory ran out"),
        (
            "RuntimeError: DefaultCPUAllocator: can't allocate memory: Cannot allocate memory",
            "memory ran out",
        ),
        ("api_server.py: error: unrecognized arguments: --no-such", "do the pins match"),
        ("error: unexpected argument '--kv-connector' found", "do the pins match"),
        ("os.sched_setaffinity: [Errno 22] Invalid argument", "core binding"),
        ("nixl_cu12._bindings.nixlBackendError: NIXL_ERR_BACKEND", "UCX_TLS"),
        ("[1732279] UCX  WARN  transport 'rc' is not available", "UCX_TLS"),
        ("RuntimeError: NIXL compatibility hash mismatch", "do not accept each other"),
        ("NIXL handshake failed with tcp://10.0.0.1:5600", "do not accept each other"),
        ("OSError: We couldn't connect to 'https://huggingface.co' to load the files", "local folder"),
        (
            "huggingface_hub.errors.LocalEntryNotFoundError: outgoing traffic has been disabled",
            "local folder",
        ),
        ("OSError: Repo id must be in the form 'repo_name' or …: '/root/m'.", "nothing below /root"),
        ("huggingface_hub.errors.GatedRepoError: 403 Client Error.", "HF_TOKEN"),
        ("ModuleNotFoundError: No module named 'vllm'", "make prepare"),
        ("OSError: [Errno 28] No space left on device", "is full"),
    ],
)
def test_hints(line, advice):
    assert advice in hints.hint(["INFO all fine", line, "[rank0]: bye"])


def test_no_hint_without_a_reason():
    assert hints.hint(["INFO loading weights", "INFO memory usage 1 GiB"], 1) is None
    assert "dmesg" in hints.hint(["INFO loading weights"], -signal.SIGKILL)


def traceback_of(process: str, error: str, started: str = "") -> list[str]:
    """What a process of vLLM logs when it fails."""
    head = f"({process}) ERROR 11-22 10:00:00 [core.py:866] "
    lines = [
        started,
        "Traceback (most recent call last):",
        '  File "core.py", line 1',
        "    raise RuntimeError(",
        error,
    ]
    return [head + line for line in lines if line]


OUTER = "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above."
WAITED = "RuntimeError: NCCL error: remote process exited or there was a network error"
WORKER = traceback_of(
    "Worker_TP1 pid=8", "torch.OutOfMemoryError: CUDA out of memory.", "WorkerProc failed to start."
)


@pytest.mark.parametrize(
    ("lines", "cause", "advice"),
    [
        (
            [*traceback_of("EngineCore pid=7", "ValueError: bad", "EngineCore failed to start."), OUTER],
            "ValueError: bad",
            None,
        ),
        # A worker that was waited for, then one that waited, the core, and the server.
        (
            [
                "(APIServer pid=1) INFO 11-22 ImportError: no flash_attn, which is fine",
                *WORKER,
                *traceback_of("Worker_TP0 pid=9", WAITED, "WorkerProc failed to start."),
                *traceback_of(
                    "EngineCore pid=7",
                    "Exception: WorkerProc initialization failed. See stack trace for root cause.",
                    "EngineCore failed to start.",
                ),
                OUTER,
            ],
            "torch.OutOfMemoryError: CUDA out of memory.",
            "memory ran out",
        ),
        (
            [
                *traceback_of(
                    "EngineCore pid=7",
                    "zmq.error.Again: Resource temporarily unavailable",
                    "EngineCore encountered a fatal error.",
                ),
                "(APIServer pid=1) EngineDeadError: See stack trace (above) for the root cause.",
            ],
            "zmq.error.Again: Resource temporarily unavailable",
            "side channel",
        ),
        (
            [*traceback_of("EngineCore pid=7", "AssertionError", "EngineCore failed to start."), OUTER],
            "AssertionError",
            None,
        ),
        ([OUTER], "RuntimeError: Engine core initialization failed.", None),
    ],
)
def test_the_cause_is_the_first_real_error(lines, cause, advice):
    assert hints.cause(lines).startswith(cause)
    assert (hints.hint(lines) is None) if advice is None else (advice in hints.hint(lines))


OOM = "(EngineCore pid=7) ERROR 11-22 13:00:00 [core.py:9] torch.OutOfMemoryError: CUDA out of memory."
MEMLOCK = "ib_md.c:324 UCX ERROR ibv_reg_mr(address=0x7f) failed: Cannot allocate memory"
BACKEND = "nixl._bindings.nixlBackendError: NIXL_ERR_BACKEND"
WRAPPERS = [
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed: {}",
    "Exception: WorkerProc initialization failed due to an exception in a background process. See stack…",
    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above)",
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_cause_is_the_first_real_error_and_not_what_wraps_it(wrapper):
    lines = [
        "INFO loading",
        OOM,
        "Traceback (most recent call last):",
        wrapper,
        "ValueError: in a handler, at the end",
    ]
    assert hints.cause(lines) == "torch.OutOfMemoryError: CUDA out of memory."
    assert "memory ran out" in hints.hint(lines)
    assert hints.cause([wrapper]) is not None, "better than nothing"


@pytest.mark.parametrize("lines", [[MEMLOCK, BACKEND], [BACKEND, MEMLOCK], [MEMLOCK, *WRAPPERS, BACKEND]])
def test_what_many_troubles_end_with_gives_the_last_hint(lines):
    assert "may not be locked" in hints.hint(lines)
    assert "UCX_TLS" in hints.hint([BACKEND, "bye"])


def test_the_loaders_complaints_about_a_path_are_no_cause_and_no_progress(tmp_path):
    """LD_PRELOAD takes a space for a separator; what stands in a checkout with one is not preloaded."""
    loader = "ERROR: ld.so: object '/srv/my' from LD_PRELOAD cannot be preloaded (OSError: …): ignored."
    assert hints.cause(["KeyError: 'x'", loader]) == "KeyError: 'x'"
    assert hints.cause([loader]) is None
    log = tmp_path / "log"
    log.write_text(f"Loading weights\n{loader}\n")
    assert last_word(log) == "Loading weights"


def test_causes():
    assert (
        hints.cause(["x", "(EngineCore pid=1) ERROR 11-22 [core.py:1] ValueError: bad", "exit"])
        == "ValueError: bad"
    )
    assert hints.cause(["all is well"]) is None
    assert [hints.ended_with(status) for status in (None, 3, -9, -99)] == [
        "exit status unknown",
        "exit status 3",
        "killed by SIGKILL",
        "killed by signal 99",
    ]


def test_last_word_is_what_the_role_itself_said(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "(EngineCore pid=7) INFO 11-22 13:00:00 [cpu.py:1] \x1b[32mLoading weights took 3.1 seconds\x1b[0m\n"
        'INFO:     127.0.0.1:5 - "GET /health HTTP/1.1" 503 Service Unavailable\n'
        "Loading:  40%|####      | 4/10\n=====\n\n"
    )
    assert last_word(log) == "Loading weights took 3.1 seconds"
    assert last_word(tmp_path / "none") == ""
    assert last_lines(log, 1) == [""]


def test_progress_without_a_terminal_is_changes_and_heartbeats():
    out = io.StringIO()
    with Progress(Console(file=out, width=200), heartbeat_s=15) as progress:
        slow = Row("decode-0", "cpu", "starting", 0.0, "Loading [weights]")
        for now in (0, 5, 14.9, 15.1, 20, 30.2):
            progress.update([slow], now)
        progress.update([Row("decode-0", "cpu", "healthy", 31.0)], 31)
    assert out.getvalue().splitlines() == [
        "decode-0 (cpu): starting",
        "decode-0 (cpu): still starting after 0 s: Loading [weights]",
        "decode-0 (cpu): still starting after 0 s: Loading [weights]",
        "decode-0 (cpu): healthy after 31.0 s",
    ]


def test_progress_on_a_terminal_shows_all_rows():
    out = io.StringIO()
    with Progress(Console(file=out, width=100, force_terminal=True), heartbeat_s=15) as progress:
        rows = [
            Row("decode-0", "cpu", "starting", 1.0, "Loading " * 50),
            Row("router", "router", "waiting", 0),
        ]
        progress.update(rows, 0)
    shown = out.getvalue()
    assert "decode-0" in shown
    assert "router" in shown
    assert "…" in shown


def test_a_role_without_a_log_is_refused(kit):
    with pytest.raises(BadInput, match="none: nothing was started yet"):
        logs(kit.context, "prefill-0")
    logs(kit.context)
    assert "no logs: nothing was started yet" in kit.said()


POLLS = [
    'INFO:     127.0.0.1:4 - "GET /health HTTP/1.1" 200 OK',
    'INFO:     127.0.0.1:4 - "GET /metrics HTTP/1.1" 200 OK',
    'INFO:     127.0.0.1:4 - "GET /metrics/ HTTP/1.1" 307 Temporary Redirect',
    'INFO:     127.0.0.1:4 - "GET /v1/models HTTP/1.1" 200 OK',
]
NEWS = [
    'INFO:     127.0.0.1:4 - "GET /health HTTP/1.1" 503 Service Unavailable',
    'INFO:     127.0.0.1:4 - "POST /v1/completions HTTP/1.1" 200 OK',
    "INFO 11-22 a prompt may say GET /health too",
]


def test_logs_leave_out_polls_that_went_well_and_count_what_is_left(kit):
    log = kit.context.log("decode-0")
    log.parent.mkdir(parents=True)
    log.write_text("\n".join(["first", *POLLS * 2000, *NEWS, *POLLS * 2000]) + "\n")
    logs(kit.context, tail=4)
    assert kit.said().splitlines() == [f"decode-0 │ {line}" for line in ["first", *NEWS]]
    logs(kit.context, tail=1, everything=True)
    assert POLLS[-1] in kit.said()


@pytest.mark.parametrize("damage", ["{", '{"id": 1}', "folder", "\udcff"])
def test_logs_and_status_of_a_state_that_cannot_be_read_are_one_line(kit, damage):
    state = kit.state_dir / "state.json"
    kit.context.log("decode-0").parent.mkdir(parents=True)
    kit.context.log("decode-0").touch()
    state.mkdir() if damage == "folder" else state.write_text(damage, errors="surrogateescape")
    for verb in (logs, status):
        with pytest.raises(BadInput, match=r"state\.json: not a state file .*make down.*logs are in"):
            verb(kit.context)
