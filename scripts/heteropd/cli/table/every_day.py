"""A case: bring it up, prove it, look at it, end it."""

from heteropd.cli.options import Option, Verb, flag
from heteropd.cli.table.common import HOSTS_FILE, JSON, ROLE, SSH_CONFIG

_MODULE = "heteropd.cli.verbs.topology"
_PROOF = "heteropd.cli.verbs.proof"
_START = (
    flag("dry_run", "print what would run where; nobody is asked, nothing is started"),
    flag("doctor", "look first for what is wrong with other hosts; 0 leaves it out", default=True),
    SSH_CONFIG,
)
_THOROUGH = flag("thorough", "send what costs more, too: the longest prompts, weights read whole")
# Of a topology that the kit did not start.
_ELSEWHERE = (
    Option("url", "router of a topology that the kit did not start; nothing of it is touched", "URL"),
    Option("prefill", "its prefill engines", "URL,…", "list"),
    Option("decode", "its decode engines", "URL,…", "list"),
    Option("prefill_kv_layout", "NHD or HND", "LAYOUT"),
    Option("decode_kv_layout", "NHD or HND", "LAYOUT"),
    Option("prefill_block_size", "tokens; asked of the engines unless given", "TOKENS", "count"),
    Option("decode_block_size", "likewise", "TOKENS", "count"),
    Option("agreed_block_size", "tokens, where the prefill converts before it hands over", "TOKENS", "count"),
    Option("model", "name that requests carry; asked of the prefill unless given", "NAME"),
)

EVERY_DAY = (
    Verb(
        "case1",
        "Bring up CUDA prefill + Gaudi decode, prove its KV cache right, report, leave it running",
        f"{_PROOF}:run",
        (*_START, _THOROUGH),
        plans=True,
        fixed="case1",
        page="docs/cases.md",
        examples=("", "prefill_block_size=64 port=9000", "hosts=env/hosts/example.yaml dry_run=1"),
    ),
    Verb(
        "case2",
        "Bring up Gaudi prefill + CUDA decode, prove its KV cache right, report, leave it running",
        f"{_PROOF}:run",
        (*_START, _THOROUGH),
        plans=True,
        fixed="case2",
        page="docs/cases.md",
        examples=("", "runtime=docker"),
    ),
    Verb(
        "run",
        "Bring a case up and prove it, as case1 and case2 do",
        f"{_PROOF}:run",
        (*_START, _THOROUGH),
        plans=True,
        session=False,
    ),
    Verb(
        "up",
        "Bring a case up without proving it",
        f"{_MODULE}:up",
        _START,
        plans=True,
        page="docs/cases.md",
        examples=("case=case1",),
    ),
    Verb(
        "plan",
        "Print what a case would run, starting nothing: a table, JSON, bash, compose or k8s",
        "heteropd.cli.verbs.plan:plan",
        (Option("format", "table, json, bash, compose or k8s (default: table)", "FORMAT"),),
        plans=True,
        page="docs/parameters.md",
        examples=("case=case1 hosts=env/hosts/example.yaml format=bash",),
    ),
    Verb(
        "validate",
        "Prove the running topology again: a report, and exit status 0 or 1",
        f"{_PROOF}:validate",
        (_THOROUGH, *_ELSEWHERE),
        page="docs/proof.md",
        examples=(
            "",
            "thorough=1",
            "url=http://192.0.2.30:8000 prefill=http://192.0.2.10:8100 decode=http://192.0.2.20:8200 "
            "prefill_kv_layout=HND decode_kv_layout=NHD",
        ),
    ),
    Verb(
        "reports",
        "List the verdicts that are kept, or say in what two of them differ",
        f"{_PROOF}:reports",
        (Option("of", "two reports to compare, by their names in the list", "NAME,NAME", "list"),),
        words="of",
        page="docs/proof.md",
        examples=("", "of=20261126T060000Z-case1,latest"),
    ),
    Verb(
        "compare",
        "Say in what two reports of the load benchmark differ, or two verdicts",
        "heteropd.cli.verbs.compare:compare",
        (Option("a", "a report: its name, or its file", "NAME"), Option("b", "the other", "NAME")),
        page="docs/measurements.md",
        examples=("a=load-20261126T060000Z b=load-20261127T060000Z", "a=20261126T060000Z-case1 b=latest"),
    ),
    Verb(
        "evidence",
        "Write the newest verdict as a page that says on what it was seen, to keep or to send",
        "heteropd.cli.verbs.evidence:evidence",
        (Option("to", "folder (default: docs/evidence/runs)", "FOLDER"),),
        words="to",
        page="docs/evidence/README.md",
        examples=("", "to=~/evidence"),
    ),
    Verb(
        "status",
        "Say what is running, where, since when, and whether it is a stand-in",
        f"{_MODULE}:status",
        (JSON, HOSTS_FILE, SSH_CONFIG),
        page="docs/hosts.md",
        examples=("", "json=1"),
    ),
    Verb(
        "logs",
        "Print the last lines of every role's log, or of one",
        f"{_MODULE}:logs",
        (
            ROLE,
            flag("follow", "go on with what is added, until ctrl-C"),
            Option("tail", "lines of each role (default: 50)", "N", "count", default=50, least=0),
            flag("all", "also polls of health and metrics that went well"),
            HOSTS_FILE,
            SSH_CONFIG,
        ),
        words="role",
        page="docs/troubleshooting.md",
        examples=("", "role=decode-0 follow=1"),
    ),
    Verb(
        "observe",
        "Start Prometheus and Grafana beside what runs: a dashboard, and alerts",
        "heteropd.cli.verbs.observe:observe",
        (
            flag("off", "end them; `make down` does, too"),
            flag("grafana", "0: Prometheus alone", default=True),
            Option("port", "of Prometheus, on 127.0.0.1 (default: 29090)", "PORT", "count"),
            Option("grafana_port", "of Grafana (default: 29030)", "PORT", "count"),
            HOSTS_FILE,
            SSH_CONFIG,
        ),
        page="docs/observability.md",
        examples=("", "off=1"),
    ),
    Verb(
        "restart",
        "Restart a role of what runs, with the engines that must go with it",
        f"{_MODULE}:restart",
        (ROLE, HOSTS_FILE, SSH_CONFIG),
        words="role",
        page="docs/operations.md",
        examples=("role=decode-0",),
    ),
    Verb(
        "down",
        "End the running topology: no process, port or temporary file stays",
        f"{_MODULE}:down",
        (HOSTS_FILE, SSH_CONFIG),
        page="docs/hosts.md",
    ),
)
