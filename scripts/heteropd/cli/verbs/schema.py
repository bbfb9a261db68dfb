"""The verb `schema`."""

from heteropd.cli import reference
from heteropd.config import drills, env
from heteropd.config import schema as schemas
from heteropd.config.checkout import root
from heteropd.doctor import judge, pages
from heteropd.drills import report
from heteropd.errors import EXIT_OK
from heteropd.plan import page as rules_page


def schema() -> int:
    """Write env/schema/*.json, and the sections of docs that come from env/ and from the table of verbs."""
    schemas.export(root() / "env" / "schema")
    pages.SECTION.write(root(), pages.render(judge.load(root())))
    rules_page.SECTION.write(root(), rules_page.table(env.load(root())))
    report.CATALOGUE.write(root(), report.catalogue(drills.load(root())))
    reference.SECTION.write(root(), reference.render())
    return EXIT_OK
