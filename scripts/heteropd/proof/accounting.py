"""What was sent, and what each engine counted over the whole run: requests, tokens, failures."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from heteropd.engine_api.metrics import Counts
from heteropd.findings import Evidence
from heteropd.proof.verdict import Check, checked, measured, skipped

_TINY = 8  # tokens of a prompt that only asks whether an engine computes
ROUTER_FIX = (
    "the router must run in PD mode with the nixl connector, with both engines registered (make logs)"
)


@dataclass(frozen=True)
class ExpectedTransfer:
    """What the probes call for. ``token_bytes`` and ``layers`` are None where the model's configuration is
    not to be had. Blocks are of ``wire_block`` tokens, in which the prefill's KV is addressed."""

    prompt_tokens: list[int]
    wire_block: int
    token_bytes: int | None
    layers: int | None

    @property
    def blocks(self) -> list[int]:
        return [-(-tokens // self.wire_block) for tokens in self.prompt_tokens]


@dataclass(frozen=True)
class Workload:
    """Requests of one kind, with the tokens of their prompts and answers."""

    requests: int = 0
    prompt_tokens: int = 0
    generated: int = 0

    def __add__(self, more: "Workload") -> "Workload":
        return Workload(
            self.requests + more.requests,
            self.prompt_tokens + more.prompt_tokens,
            self.generated + more.generated,
        )


def workload(prompt_tokens: Iterable[int], generated: int) -> Workload:
    """A request for each of the prompts, each with an answer of ``generated`` tokens."""
    prompts = list(prompt_tokens)
    return Workload(len(prompts), sum(prompts), len(prompts) * generated)


@dataclass(frozen=True)
class Traffic:
    """What was sent over the whole run. ``routed`` went through the router, and of it ``cacheable`` may be
    found in prefix caches; ``cold`` is what each side computed alone, ``warm`` what it was asked once more.
    ``stopped`` answers may have ended by themselves: engines differ in whether the last token counts."""

    routed: Workload
    cacheable: Workload
    cold: dict[str, Workload]
    warm: dict[str, Workload]
    stopped: int = 0


@dataclass(frozen=True)
class Observed:
    """Counter movements. ``window`` is the decode's over the probes alone, in which no other request used
    the connector; ``prefill`` and ``decode`` are over the whole run; ``single`` pairs a probe's length with
    the bytes that the decode counted while it was the only one. ``abandoned`` is how many hand-overs expired
    so soon that they were not ours."""

    window: Counts
    prefill: Counts
    decode: Counts
    single: list[tuple[int, int | None]] = field(default_factory=list)
    abandoned: int = 0

    def side(self, role: str) -> Counts:
        return self.prefill if role == "prefill" else self.decode


def uncounted(check_id: str, metric: str) -> Check:
    """Not checked, since this vLLM has no such counter."""
    return skipped(check_id, f"this vLLM does not count {metric}, so this was not checked")


def check_failures(observed: Observed) -> Check:
    """Nothing failed or expired. A lease that ran out lets another request's KV be read (aws-do-eks #84).

    A hand-over that somebody abandoned before expires meanwhile without harm.
    """
    names = ("failed_transfers", "failed_notifications", "expired", "late_notifications")
    counted = {
        f"{role}_{name}": observed.side(role)[name] for role in ("prefill", "decode") for name in names
    }
    known = {name: count for name, count in counted.items() if count is not None}
    if not known:
        return uncounted("kv_transfer.failures", "vllm:nixl_num_failed_transfers")
    ours = {**known, "prefill_expired": known.get("prefill_expired", 0) - observed.abandoned}
    good = "no failed or expired transfer"
    good += f"; {observed.abandoned} hand-overs of others expired" if observed.abandoned else ""
    return checked(
        "kv_transfer.failures",
        ", ".join(f"{name} {count}" for name, count in ours.items() if count),
        good,
        {**known, "abandoned_by_others": observed.abandoned},
        "read the engines' logs; raise the lease or abort timeout if transfers are slow",
    )


def check_recomputed(sent: Traffic, decode: Counts) -> Check:
    """Beyond its own references the decode computed at most one prompt token a request."""
    if decode["computed"] is None:
        return uncounted("kv_transfer.recomputed", "vllm:prompt_tokens_by_source")
    own, again = sent.cold["decode"].prompt_tokens, sent.warm["decode"].prompt_tokens
    extra, most = decode["computed"] - own, sent.routed.requests + again
    requests = sent.routed.requests
    text = f"the decode engine computed {extra:,} prompt tokens of {requests} disaggregated requests"
    if extra < 0:
        text = f"the decode engine computed {decode['computed']:,} of its references' {own:,} prompt tokens"
    evidence: Evidence = {"tokens": extra, "most": most}
    return measured("kv_transfer.recomputed", 0 <= extra <= most, text, evidence, ROUTER_FIX)


def check_requests(role: str, sent: Traffic, observed: Observed) -> Check:
    """An engine saw each request once, with its whole prompt. Those of `make status` may come between."""
    check_id, counts = f"kv_transfer.{role}_saw", observed.side(role)
    if counts["requests"] is None:
        return uncounted(check_id, "vllm:request_success")
    expected = sent.routed + sent.cold[role] + sent.warm[role]
    others = counts["requests"] - expected.requests
    tokens = None if counts["prompt_tokens"] is None else counts["prompt_tokens"] - expected.prompt_tokens
    tiny = others > 0 and tokens is not None and 0 < tokens <= others * _TINY
    good = tiny or (others == 0 and not tokens)
    text = f"the {role} engine saw {counts['requests'] - others * tiny} of {expected.requests} requests"
    text += f", and {others} of a few tokens from others" if tiny else ""
    evidence: Evidence = {
        "requests": counts["requests"],
        "expected": expected.requests,
        "prompt_tokens": counts["prompt_tokens"],
        "expected_tokens": expected.prompt_tokens,
    }
    fix = f"fewer: {ROUTER_FIX}; more: other requests ran, validate an idle topology"
    return measured(check_id, good, text, evidence, fix)


def check_generated(role: str, sent: Traffic, observed: Observed) -> Check:
    """The decode generated the answers, and the prefill one token of each, which a hand-over needs."""
    check_id, generated = f"kv_transfer.{role}_generated", observed.side(role)["generation_tokens"]
    if generated is None:
        return uncounted(check_id, "vllm:generation_tokens")
    routed = sent.routed.requests if role == "prefill" else sent.routed.generated
    expected = routed + sent.cold[role].generated + sent.warm[role].generated
    text = f"the {role} engine generated {generated:,} of {expected:,} tokens"
    right = abs(generated - expected) <= sent.stopped
    evidence: Evidence = {"tokens": generated, "expected": expected, "routed": routed}
    return measured(check_id, right, text, evidence, f"answers are to be the decode's: {ROUTER_FIX}")


def check_honest(sent: Traffic, observed: Observed) -> Check:
    """No cold reference and no probe was served from a prefix cache. Only what was sent again on purpose may
    have been, and requests without a salt, when validation runs for the second time."""
    hits = {role: observed.side(role)["local_hits"] for role in ("prefill", "decode")}
    most = {role: sent.cacheable.prompt_tokens + sent.warm[role].prompt_tokens for role in hits}
    known = {role: count for role, count in hits.items() if count is not None}
    if not known:
        return uncounted("kv_transfer.honest", "vllm:prefix_cache_hits")
    cached = [role for role, count in known.items() if count > most[role]]
    return checked(
        "kv_transfer.honest",
        f"prompts that {' and '.join(cached)} must compute were found in a prefix cache" if cached else None,
        "prompts were computed, not found in a prefix cache",
        {
            "prefill_hits": hits["prefill"],
            "decode_hits": hits["decode"],
            "most": [most["prefill"], most["decode"]],
        },
        "cache_salt has no effect on this engine: restart it, then validate again",
    )
