# Thin aliases of nox sessions: `make case1` is `nox -s case1`. What follows as NAME=VALUE goes to the kit:
#   make case2 prefill_block_size=128 decode_block_size=16 model=Qwen/Qwen3-0.6B
# The logic is in noxfile.py and scripts/heteropd; exit statuses other than 0 and 2 need nox itself (docs/reference.md).

NOX := .venv/bin/nox
WORDS := $(subst $$,$$$$,$(MAKEOVERRIDES))

SESSIONS := case1 case2 plan validate status logs restart drill down doctor hosts test test-images fabric_lab node_lab lint types unit e2e bench build infra lock publish bundle

.DEFAULT_GOAL := help
.PHONY: help setup clean $(SESSIONS)

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9_ -]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Parameters (NAME=VALUE) and their precedence: docs/parameters.md. All sessions: .venv/bin/nox -l"

setup: $(NOX) ## only the kit's own .venv with nox and uv

$(NOX): env/locks/nox.txt scripts/bootstrap.sh
	@sh scripts/bootstrap.sh

case1: ## CUDA prefill + Gaudi decode: bring up, prove, report (no hosts: CPU stand-ins)
case2: ## Gaudi prefill + CUDA decode, likewise
plan: ## print what case=case1|case2 would run; format=table|json|bash|compose|k8s
validate: ## prove the running topology again
status: ## what is running, and where
logs: ## last lines of every role; role=prefill-0, follow=1
down: ## end the topology; leaves no process, port or temporary file
doctor: ## check hosts and what runs, with a fix for what is wrong; case=case1 hosts=FILE, everything=1, json=1
hosts: ## nodes="root@a root@b" to=FILE: write a hosts file from what they have; router=NAME, standin=1, force=1
test: ## everything that runs without hardware: lint, types, unit, both cases on real engines
test-images: ## build the images, run both cases in containers, publish, bundle; root where no Docker answers
fabric_lab: ## real verbs on two QEMU guests with Soft-RoCE, broken in nine ways; root where QEMU is missing
node_lab: ## both cases over ssh on three hosts made here: networks, sshd, engines; root
lint: ## ruff over the whole tree
types: ## mypy, strict, over the package
unit: ## unit tests: no network, no vLLM, seconds
e2e: ## both cases on real engines, with planted faults
bench: ## what=bringup|router|engines: measure, print a table, write JSON
build: ## images="cpu router": build images; also cuda, gaudi, pins=SET, variant=NAME
infra: ## test what runs; on=local,ssh://HOST case=case1 hosts=FILE: hosts; image=cpu: a built image
lock: ## resolve what pin sets leave open; check=1: what has moved upstream
publish: ## images="cpu router" registry=HOST/NAME: push, with digests, SBOM and provenance
bundle: ## images="cpu router" to=FOLDER: every input of a build, for a site without a network

$(SESSIONS): $(NOX)
	@$(NOX) -s $@ -- $(WORDS)

clean: ## remove environments and state (after `make down`)
	@$(NOX) -s clean
