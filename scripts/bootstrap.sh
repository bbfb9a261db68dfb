#!/bin/sh
# Makes .venv with nox and uv from env/locks/nox.txt. POSIX sh: it must be able to say what a bare machine lacks.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONINSPECT PYTHONOPTIMIZE # the caller's own, not the kit's

say() { echo "heteropd: $*" >&2; }

suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if suits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    found=$(python3 --version 2>/dev/null || echo 'no python3')
    say "needs CPython 3.11, 3.12 or 3.13, found $found; install one (Ubuntu 22.04: apt install python3.11 python3.11-venv) or name it: make PYTHON=/path/to/python3.12"
    exit 2
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "the venv module of $python is missing; install it: apt install python$version-venv"
    exit 2
fi

# Held to the end: two set-ups at once would remove each other's .venv.
exec 9<scripts/bootstrap.sh
if command -v flock >/dev/null && ! flock -n 9; then
    say "another set-up is at work; waiting for it ..."
    flock 9
    if [ -x .venv/bin/nox ] && [ ! env/locks/nox.txt -nt .venv/bin/nox ]; then exit 0; fi
fi

say "setting up .venv with nox (once) ..."
rm -rf .venv
trap 'rm -rf .venv' INT TERM HUP
if ! { "$python" -m venv .venv &&
       .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r env/locks/nox.txt; }; then
    rm -rf .venv
    say "could not install nox from env/locks/nox.txt; pip's own words are above (no network? a mirror goes into pip's configuration: pip config set global.index-url URL)"
    exit 2
fi
touch .venv/bin/nox
