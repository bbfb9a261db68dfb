"""Every verb, session and target, once. `heteropd help`, `heteropd VERB --help`, `make help`, `nox -l`, the
command line's parser and the table in docs/reference.md are made from this."""

from heteropd.cli.table.every_day import EVERY_DAY
from heteropd.cli.table.hosts import HOSTS
from heteropd.cli.table.images import IMAGES
from heteropd.cli.table.kit import KIT, TESTS

GROUPS = {
    "every day": EVERY_DAY,
    "hosts, and what runs on them": HOSTS,
    "images": IMAGES,
    "tests and labs": TESTS,
    "the kit itself": KIT,
}
BY_NAME = {verb.name: verb for group in GROUPS.values() for verb in group}
OF_THE_KIT = {name: verb for name, verb in BY_NAME.items() if verb.function}
SESSIONS = {name: verb for name, verb in BY_NAME.items() if verb.session}
