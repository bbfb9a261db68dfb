# Thin aliases of nox sessions: `make case1` is `nox -s case1`. What follows as NAME=VALUE goes to the kit:
#   make case2 prefill_block_size=128 decode_block_size=16 model=Qwen/Qwen3-0.6B
# `make help` lists them from the table of verbs (scripts/heteropd/cli/table); the logic is in noxfile.py and
# scripts/heteropd. Exit statuses other than 0 and 2 need nox itself (docs/reference.md).

NOX := .venv/bin/nox
# Variables of the command line, with what the shell would take for its own quoted; PYTHON is for the set-up alone.
WORDS := $(subst $$$$,$$,$(filter-out PYTHON=%,$(MAKEOVERRIDES)))
$(foreach c,; & | < > ( ) " ' ` * ? [ ] { } ~ \# $$,$(eval WORDS := $$(subst $$c,\$$c,$$(WORDS))))
ANY_PYTHON := $(firstword $(wildcard .venv/bin/python) python3)

EVERY_DAY := case1 case2 up plan validate reports compare evidence status logs observe restart down
HOSTS := hosts doctor infra drill
IMAGES := build lock publish bundle
TESTS := test lint types unit coverage e2e test-images fabric_lab node_lab bench soak
KIT := prepare schema relock clean
SESSIONS := $(EVERY_DAY) $(HOSTS) $(IMAGES) $(TESTS) $(KIT)

# The caller's own Python settings are not the kit's.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONINSPECT PYTHONOPTIMIZE PYTHONWARNINGS PYTHONSAFEPATH

.DEFAULT_GOAL := help

# Targets that nobody knows are refused before others start.
UNKNOWN := $(filter-out help setup $(NOX) $(SESSIONS),$(MAKECMDGOALS))
.PHONY: help setup $(SESSIONS) $(UNKNOWN)

OVERVIEW := @cd scripts && $(if $(filter .venv%,$(ANY_PYTHON)),../)$(ANY_PYTHON) -m heteropd.cli.overview

help $(UNKNOWN):
	$(OVERVIEW) '$@'

setup: $(if $(WORDS),,$(NOX))
	$(if $(WORDS),$(OVERVIEW) $@ $(WORDS),@:)

$(NOX): env/locks/nox.txt scripts/bootstrap.sh
	@sh scripts/bootstrap.sh

$(SESSIONS): $(NOX) | $(UNKNOWN)
	@$(NOX) -s $@ -- $(WORDS)
