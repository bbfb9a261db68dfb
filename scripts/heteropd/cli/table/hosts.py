"""Hosts: what they have, what is wrong with them, and what happens when something on them breaks."""

from heteropd.cli.options import Option, Verb, flag
from heteropd.cli.table.common import ALL, JSON, SSH_CONFIG

HOSTS = (
    Verb(
        "hosts",
        "Write a hosts file from what nodes say of themselves over ssh",
        "heteropd.cli.verbs.hosts:hosts",
        (
            Option("nodes", "the nodes, as ssh takes them", "NODES", "list"),
            Option("to", "the file to write", "FILE"),
            Option("router", "the node that runs the router", "NODE"),
            flag("standin", "nodes without accelerators stand in for platforms that no node has"),
            flag("force", "write over a file that is there already"),
            SSH_CONFIG,
        ),
        words="nodes",
        page="docs/hosts.md",
        examples=('nodes="root@cuda-host root@gaudi-host" to=env/hosts/mine.yaml',),
    ),
    Verb(
        "doctor",
        "Say what is wrong with hosts and with what runs, and what fixes it",
        "heteropd.cli.verbs.checks:doctor",
        (Option("container", "look into this container of this machine", "NAME"), JSON, ALL, SSH_CONFIG),
        plans=True,
        page="docs/doctor.md",
        examples=("", "case=case1 hosts=env/hosts/example.yaml"),
    ),
    Verb(
        "infra",
        "Test what runs, hosts, or a built image, fact by fact with testinfra",
        "heteropd.cli.verbs.checks:infra",
        (
            Option("on", "local, ssh://HOST, docker://NAME …; also as --hosts", "WHERE,…", dashed="hosts"),
            flag("running", "engines run there: look at their processes"),
            flag("strict", "a fact that cannot be had is a failure"),
            ALL,
            Option("image", "test this built image", "IMAGE"),
            Option("image_ref", "test this image in its place", "REFERENCE"),
            Option("junit", "write results there, as JUnit's XML", "FILE"),
            Option("json", "write results there, as JSON", "FILE"),
            SSH_CONFIG,
        ),
        plans=True,
        dev=True,
        page="docs/infra.md",
        examples=("", "on=ssh://rack-a case=case1 hosts=racks.yaml", "image=cpu"),
    ),
    Verb(
        "drill",
        "Break what runs on purpose: is what is promised for that kept?",
        "heteropd.cli.verbs.drill:drill",
        (
            Option("name", "faults of docs/operations.md, or all", "NAMES", "list"),
            Option("case", "bring this case up first where it does not run", "CASE"),
            Option("times", "how often each (default: 1)", "N", "count", default=1),
            flag("yes", "break hardware and other hosts, too"),
            flag("write", "write what was seen into docs/evidence/drills.md"),
            JSON,
            Option("hosts", "the hosts file of the case, or of what runs", "FILE"),
            SSH_CONFIG,
        ),
        words="name",
        page="docs/operations.md",
        examples=('name="decode-killed router-killed" times=5', "name=all case=case1"),
    ),
)
