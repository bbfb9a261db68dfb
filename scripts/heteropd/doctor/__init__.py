"""What a host, a pair of hosts and a running topology are checked for, before and beside the engines.

A node's facts are read once, by one command; checks are pure functions from facts to an outcome. "Could not
check" is a SKIP or a WARN, never a PASS. What a check is called and what fixes it stands in env/checks.yaml.
"""
