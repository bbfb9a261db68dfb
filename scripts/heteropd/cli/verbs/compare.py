"""The verb `compare`: two reports of the load benchmark, or two verdicts."""

from heteropd.app import wiring
from heteropd.bench.load.compare import compare_results, find_result, names
from heteropd.config.checkout import root
from heteropd.errors import EXIT_OK, BadInput
from heteropd.proof.report import compare_reports, find_report


def compare(*, a: str | None, b: str | None) -> int:
    """Print in what they differ. Raises BadInput for what is missing, unknown, or not of one kind."""
    context = wiring.context(root())
    loads, reports = context.state_dir / "bench", context.state_dir / "reports"
    kept = ", ".join(names(loads)[-4:]) or "none"
    if a is None or b is None:
        missing = " and ".join(name for name, given in (("a=", a), ("b=", b)) if given is None)
        fix = f"give a=NAME b=NAME, of `make reports` or of {loads} (the last: {kept})"
        raise BadInput("command line", None, None, f"{missing} not given", fix)
    found = {name: find_result(loads, name) for name in (a, b)}
    one, other = found[a], found[b]
    if one and other:
        compare_results(one, other, context.console)
        return EXIT_OK
    kind = f"a report of the load benchmark, of {loads} (the last: {kept}), or a verdict"
    for option, name in (("a", a), ("b", b)):
        if not found[name]:
            find_report(reports, name, option, kind)
    if one or other:
        option, name = ("b", b) if one else ("a", a)
        problem = "is a verdict, and the other is a report of the load benchmark"
        raise BadInput("command line", option, name, problem, "give two of one kind")
    compare_reports(reports, [a, b], context.console)
    return EXIT_OK
