"""Stands for an engine or a router: listens, and has libraries mapped. Ends when its standard input does.

Arguments: JSON of ``listen`` (address and port), ``maps`` (files) and ``child`` (the same, for a child
process); what follows is for whoever reads the command line.
"""

import json
import mmap
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path


def main() -> None:
    told = json.loads(sys.argv[1])
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(tuple(one))) for one in told["listen"]]
        files = [stack.enter_context(Path(one).open("rb")) for one in told["maps"]]
        mapped = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for file in files]
        child = None
        if told.get("child"):
            argv = [sys.executable, __file__, json.dumps(told["child"])]
            child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert child.stdout is not None
            child.stdout.readline()
        print(f"ready: {len(listening)} sockets, {len(mapped)} files", flush=True)
        sys.stdin.read()
        if child is not None:
            child.communicate(timeout=30)


main()
