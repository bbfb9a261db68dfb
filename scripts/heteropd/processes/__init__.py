"""Starting and ending the processes of a plan on this machine.

Nothing here knows how a topology becomes ready: `heteropd.topology` does. The modules use the standard
library and psutil only, because the guard (`heteropd.processes.watchdog`) starts with every bring-up and must
cost next to nothing.
"""
