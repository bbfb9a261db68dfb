"""Tests and labs, measurements, and what keeps the kit itself."""

from heteropd.cli.options import Option, Verb

TESTS = (
    Verb("test", "Run all that needs no hardware: lint, types, unit tests, then both cases on real engines"),
    Verb("lint", "Check style, formatting and the floors of the house", passes="ruff check"),
    Verb("types", "Check the packages' types with mypy in strict mode", passes="mypy"),
    Verb(
        "unit",
        "Run the unit tests: no network, no vLLM; about a minute and a half on two cores",
        passes="pytest",
    ),
    Verb("coverage", "Run the unit tests under coverage: plan, proof and config at least 95 %"),
    Verb(
        "e2e", "Run both cases on real engines, with planted faults; needs 8 GiB of memory", passes="pytest"
    ),
    Verb(
        "test-images",
        "Build the images, run both cases in containers, publish, bundle; root where no Docker answers",
        passes="pytest",
        page="docs/containers.md",
    ),
    Verb(
        "fabric_lab",
        "Break real verbs on two QEMU guests with Soft-RoCE; root where QEMU is missing",
        passes="pytest",
        page="docs/fabric-lab.md",
    ),
    Verb(
        "node_lab",
        "Run both cases and drills over ssh on three hosts made here; root, 20 to 30 minutes",
        passes="pytest",
        page="docs/hosts.md",
    ),
    Verb(
        "bench",
        "Measure the router, the engines, a bring-up, the KV path, or what runs under load; takes minutes",
        "heteropd.cli.verbs.bench:bench",
        (Option("what", "router, engines, bringup, kv or load", "WHAT"),),
        words="what",
        more="heteropd.cli.bench_options:BENCH",
        page="docs/measurements.md",
        examples=("what=router rounds=5", "what=load profile=smoke"),
    ),
    Verb(
        "soak",
        "Send steady traffic through what runs: answers, memory, leases and restarts, a verdict",
        "heteropd.cli.verbs.bench:soak",
        more="heteropd.cli.bench_options:SOAK",
        page="docs/measurements.md",
        examples=("minutes=30",),
    ),
)

KIT = (
    Verb("setup", "Make the kit's own .venv with nox and uv, and nothing else", session=False),
    Verb(
        "prepare",
        "Make the stand-ins' environment and the default model, starting nothing",
        "heteropd.cli.verbs.topology:prepare",
    ),
    Verb(
        "schema",
        "Write the JSON Schemas of env/, and the sections of docs that are made from data",
        "heteropd.cli.verbs.schema:schema",
    ),
    Verb(
        "relock",
        "Resolve env/locks/*.in anew into hashed locks: asks registries what is new",
        passes="uv pip compile",
    ),
    Verb(
        "clean",
        "Remove environments and state of this checkout; refuses while a topology is running",
        "heteropd.cli.verbs.topology:clean",
    ),
    Verb("version", "Print the kit's version", "heteropd.cli.verbs.version:version", session=False),
)
