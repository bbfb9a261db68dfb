"""What is shown while validation runs."""

from io import StringIO

from rich.console import Console

from heteropd.proof.progress import Phases


def test_a_log_has_a_line_for_each_finished_phase(clock):
    out = StringIO()
    with Phases(Console(file=out), clock) as phases:
        phases.begin("probes", 2)
        clock.sleep(1)
        phases.step("probes")
        assert out.getvalue() == ""
        clock.sleep(2)
        phases.step("probes")
    assert out.getvalue() == "validate: probes done in 3.0 s\n"


def test_a_terminal_shows_how_far_it_is(clock):
    out = StringIO()
    with Phases(Console(file=out, force_terminal=True, width=100), clock) as phases:
        phases.begin("probes together", 4)
        phases.step("probes together")
    assert "probes together" in out.getvalue()
    assert "1/4" in out.getvalue()


def test_an_unfinished_phase_has_lasted_until_now(clock):
    phases = Phases(Console(file=StringIO()), clock)
    clock.sleep(5)
    phases.begin("probes", 2)
    clock.sleep(7)
    (only,) = phases.done()
    assert (only.name, only.started_s, only.seconds) == ("probes", 5, 7)
