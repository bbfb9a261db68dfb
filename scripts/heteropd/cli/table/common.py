"""Options that several verbs have."""

from heteropd.cli.options import Option, flag

CASE = Option("case", "case1 or case2", "CASE")
HOSTS_FILE = Option("hosts", "the hosts file of what runs; finds it from any checkout", "FILE")
SSH_CONFIG = Option("ssh_config", "reach hosts with ssh -F FILE", "FILE")
JSON = flag("json", "for programs: JSON on stdout, all else on stderr")
ALL = flag("all", "list also what could not be looked at")
ROLE = Option("role", "a role, such as prefill-0, decode-0 or router", "ROLE")
IMAGE_NAMES = Option("images", "one or more of cpu, router, cuda, gaudi", "IMAGES", "list")
PINS = Option("pins", "another pin set than the image's own (env/images.yaml)", "SET")
VARIANT = Option("variant", "another variant than the pin set's first", "NAME")
BASE = Option("base", "build on this image, not on the pinned one; labelled as not locked", "IMAGE")
