"""The verb `compare`: two reports of the load benchmark, or two verdicts."""

from heteropd.app import wiring
from heteropd.bench.load.compare import compare_results, find_result, names
from heteropd.config.checkout import root
from heteropd.errors import EXIT_OK, BadInput
from heteropd.proof.report import compare_reports


def compare(*, a: str | None, b: str | None) -> int:
    """Print in what they differ. Raises BadInput for what is missing, unknown, or not of one kind."""
    context = wiring.context(root())
    loads = context.state_dir / "bench"
    kept = ", ".join(names(loads)[-4:]) or "none"
    fix = f"give a=NAME b=NAME, of `make reports` or of the load benchmark's ({kept})"
    if a is None or b is None:
        missing = " and ".join(name for name, given in (("a=", a), ("b=", b)) if given is None)
        raise BadInput("command line", None, None, f"{missing} not given", fix)
    one, other = find_result(loads, a), find_result(loads, b)
    if one and other:
        compare_results(one, other, context.console)
    elif one or other:
        wrong = b if one else a
        raise BadInput("command line", "a, b", wrong, "is no load report, as the other is", fix)
    else:
        compare_reports(context.state_dir / "reports", [a, b], context.console)
    return EXIT_OK
