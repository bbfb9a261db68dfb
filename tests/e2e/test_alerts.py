"""Each alert fires when it should and not before: promtool over series that are written down here."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_kit import ROOT

RULES = {
    rule["alert"]: rule
    for rule in yaml.safe_load((ROOT / "env/observability/alerts.yml").read_text())["groups"][0]["rules"]
}
pytestmark = pytest.mark.usefixtures("prometheus")
DECODE, PREFILL, ROUTER = (
    f'role="{name.partition("-")[0]}",name="{name}"' for name in ("decode-0", "prefill-0", "router")
)
EVENT = "0x20 1x60"  # a sample every 15 s: it happens after 5 minutes


@dataclass(frozen=True)
class Case:
    """Series of one role; the minutes at which the alert fires, and at which it does not (any more)."""

    series: dict[str, str]
    labels: str
    fires: tuple[int, ...]
    silent: tuple[int, ...]

    @property
    def rule_labels(self) -> dict[str, str]:
        return dict(pair.replace('"', "").split("=") for pair in self.labels.split(","))


def counter(
    name: str, labels: str, fires: tuple[int, ...] = (6, 9), silent: tuple[int, ...] = (4, 12)
) -> Case:
    return Case({f"{name}{{{labels}}}": EVENT}, labels, fires, silent)


def tokens(computed: str, received: str) -> dict[str, str]:
    name = "vllm:prompt_tokens_by_source_total"
    sources = {"local_compute": computed, "external_kv_transfer": received}
    return {f'{name}{{{DECODE},source="{source}"}}': values for source, values in sources.items()}


FAILED, NOTIFIED = (
    f"vllm:nixl_num_failed_{what}_total{{{DECODE}}}" for what in ("transfers", "notifications")
)
SCRAPED = f'job="heteropd",{PREFILL}'
RUNNING, MADE = f"vllm:num_requests_running{{{DECODE}}}", f"vllm:generation_tokens_total{{{DECODE}}}"
UP = f'up{{job="heteropd",{ROUTER}}}'
TO_DECODE, TO_PREFILL = f'{ROUTER},worker="decode-url"', f'{ROUTER},worker="prefill-url"'
DECODE_ERRORS = f"vllm_router_pd_decode_errors_total{{{TO_DECODE}}}"
PREFILL_ERRORS = f"vllm_router_pd_prefill_errors_total{{{TO_PREFILL}}}"
CASES = {
    "RoleDown": [
        Case({f"up{{{SCRAPED}}}": "1x20 0x4 1x60"}, SCRAPED, (6,), (4, 5, 8)),
    ],
    "EngineStalled": [
        Case({RUNNING: "1x60", MADE: "0+9x20 180x40"}, DECODE, (8, 12), (4, 6)),
        Case({RUNNING: "1x60", MADE: "0+9x60"}, DECODE, (), (4, 8, 12)),
        Case({RUNNING: "0x60", MADE: "9x60"}, DECODE, (), (4, 8, 12)),
    ],
    "KVDigestDiffers": [counter("heteropd:kv_digests_differs_total", DECODE)],
    "KVDigestUnknown": [counter("heteropd:kv_digests_unknown_total", DECODE)],
    "KVReadAfterExpiry": [counter("vllm:nixl_num_notifications_after_expiry_total", PREFILL)],
    "KVLeaseExpired": [counter("vllm:nixl_num_kv_expired_reqs_total", PREFILL)],
    "KVTransferFailed": [
        Case({FAILED: EVENT, NOTIFIED: "0x80"}, DECODE, (6, 9), (4, 12)),
        Case({FAILED: "0x80", NOTIFIED: EVENT}, DECODE, (6, 9), (4, 12)),
    ],
    "KVNotTransferred": [
        Case(tokens("0+100x60", "0+10x60"), DECODE, (8, 12), (1, 4)),
        Case(tokens("0+10x60", "0+100x60"), DECODE, (), (4, 8, 12)),
        Case(tokens("0x20 0+900x3 2700x50", "0+1x70"), DECODE, (), (6, 7, 9, 12)),  # a validation
    ],
    "KVCacheNearlyFull": [
        Case({f"vllm:kv_cache_usage_perc{{{PREFILL}}}": "0.5x8 0.97x30 0.5x30"}, PREFILL, (8, 9), (4, 6, 12)),
    ],
    "RequestsWaiting": [
        Case({f"vllm:num_requests_waiting{{{DECODE}}}": "3x60"}, DECODE, (6, 12), (4,)),
        Case({f"vllm:num_requests_waiting{{{DECODE}}}": "3x15 0 3x15 0 3x15"}, DECODE, (), (4, 6, 8, 11)),
    ],
    "RouterErrors": [
        Case({UP: "1x80", DECODE_ERRORS: EVENT}, ROUTER, (6, 9), (4, 12)),
        Case({UP: "1x80", DECODE_ERRORS: "_x24 2x60", PREFILL_ERRORS: "7x80"}, ROUTER, (7, 10), (1, 5, 13)),
    ],
    "RouterSeesUnhealthy": [
        Case({f"vllm_router_worker_health{{{TO_DECODE}}}": "1x20 0x4 1x60"}, TO_DECODE, (6,), (4, 5, 8)),
    ],
}  # fmt: skip


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize(("alert", "case"), [(name, case) for name, cases in CASES.items() for case in cases])
def test_an_alert_fires_when_it_should(alert: str, case: Case, tmp_path: Path) -> None:
    rule = RULES[alert]
    texts = {
        key: re.sub(r"\{\{ \$labels\.(\w+) }}", lambda found: case.rule_labels[found[1]], text)
        for key, text in rule["annotations"].items()
    }
    expected = {"exp_labels": {**case.rule_labels, **rule["labels"]}, "exp_annotations": texts}
    test: dict[str, Any] = {
        "interval": "15s",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "alert_rule_test": [
            {
                "eval_time": f"{minute}m",
                "alertname": alert,
                "exp_alerts": [expected] if minute in case.fires else [],
            }
            for minute in (*case.fires, *case.silent)
        ],
    }
    file = tmp_path / "test.yml"
    rules = str(ROOT / "env/observability/alerts.yml")
    file.write_text(json.dumps({"rule_files": [rules], "evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
