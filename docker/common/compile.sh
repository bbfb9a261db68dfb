#!/usr/bin/env bash
# Usage: compile.sh VENV [PACKAGE] - bytecode of a virtual environment, or of one package of it.
# An engine is three processes that each would compile vLLM anew in an image that nothing may write to. Unchecked
# hashes, a fixed seed and one process a package make the files the same in every build; so does -S, without which the
# compiling process itself has already imported what .pth files name, and then marshals those modules differently.
set -euo pipefail
cd "$(echo "$1"/lib/python3*/site-packages)"
compile=("$1/bin/python" -S -m compileall -q --invalidation-mode unchecked-hash)
export PYTHONHASHSEED=0
find . -mindepth 1 -maxdepth 1 \( -type d -o -name '*.py' \) -name "${2:-*}" ! -name '*.libs' ! -name '*.dist-info' \
    ! -name __pycache__ -print0 | sort -z | xargs -0 -r -n 1 -P "$(nproc)" "${compile[@]}" || {
    # Templates and tests of some packages are not Python of this version; what matters is imported by the tests.
    [ $? -eq 123 ]
}
