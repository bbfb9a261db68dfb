"""The verb `schema`."""

from __future__ import annotations

from heteropd.cli import reference
from heteropd.config import drills, env
from heteropd.config import schema as schemas
from heteropd.config.checkout import root
from heteropd.doctor import pages
from heteropd.drills import report
from heteropd.errors import EXIT_OK
from heteropd.plan import page as rules_page


def schema() -> int:
    """Write env/schema/*.json, and the sections of docs that come from env/ and from the table of verbs."""
    schemas.export(root() / "env" / "schema")
    pages.export(root())
    rules_page.export(env.load(root()), root())
    report.export_catalogue(root(), drills.load(root()))
    reference.export(root())
    return EXIT_OK
