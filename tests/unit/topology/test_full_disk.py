"""A disk without room, and places that are not what they should be: what is to end ends all the same."""

import resource
from dataclasses import replace

import pytest

from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.processes.identity import alive
from heteropd.system import LocalRunner
from heteropd.topology import down, load, restart, status, up

UNLIMITED = resource.RLIM_INFINITY


def no_room(work):
    """Every write to a file fails in the process that does this, as on a full disk."""

    def run():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, UNLIMITED))
        try:
            print(work())
        except KitError as stop:
            print(f"{type(stop).__name__}: {stop}", flush=True)
            return stop.exit_code
        return 0

    return run


class Roomy(LocalRunner):
    """What it starts has room: a stub would die of its first line, which an engine does not."""

    def spawn(self, *words, **options):
        resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
        try:
            return super().spawn(*words, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, UNLIMITED))


def test_down_ends_everything_on_a_full_disk(kit):
    up(kit.plan(decode=["--stubborn"], prefill=["--child"]), kit.context)
    code, said = kit.fork(no_room(lambda: down(kit.with_timeouts(stop=0.3)).processes)).end()
    assert (code, said.splitlines()) == (0, ["command started", "4"])
    kit.assert_nothing_left()


def test_restart_ends_and_starts_on_a_full_disk_and_says_that_it_is_not_recorded(kit):
    before = up(kit.plan(), kit.context)
    context = replace(kit.context, runner=Roomy())
    code, said = kit.fork(no_room(lambda: restart("decode-0", context))).end()
    assert code == 1
    line = said.splitlines()[-1]
    assert "KitError: prefill-0, decode-0 restarted, but" in line
    assert "state.json cannot be written (File too large)" in line
    assert [alive(role.process) for role in before.roles] == [False, False, True]
    assert len(kit.tagged()) == 3, "the new engines run"
    restart("decode-0", kit.context)  # with room again
    assert status(kit.context).state == "up"
    assert len(kit.tagged()) == 3


def test_a_restart_that_cannot_start_anything_ends_what_it_was_to_end(kit):
    """The stubs cannot write their first line."""
    before = up(kit.plan(), kit.context)
    code, said = kit.fork(no_room(lambda: restart("decode-0", kit.context))).end()
    assert code == 1
    assert "died" in said
    assert "make down" in said
    assert [alive(role.process) for role in before.roles] == [False, False, True]
    assert down(kit.context).was_running
    kit.assert_nothing_left()


def test_nothing_starts_where_its_state_cannot_be_written(kit):
    code, said = kit.fork(no_room(lambda: up(kit.plan(), kit.context))).end()
    assert code == 1
    assert "StateNotWritten" in said.splitlines()[-1]
    kit.assert_nothing_left()


def test_a_state_folder_that_cannot_be_made_is_one_line_and_down_goes_on(kit, tmp_path):
    (tmp_path / "file").touch()
    context = replace(kit.context, state_dir=tmp_path / "file" / "state")
    with pytest.raises(MissingPrerequisite, match=r"Not a directory; a .*HETEROPD_STATE_DIR=FOLDER"):
        up(kit.plan(), context)
    assert not down(context).was_running


def test_an_empty_folder_in_the_states_place_goes(kit):
    """Docker makes one where a file was to be mounted."""
    up(kit.plan(), kit.context)
    state = kit.state_dir / "state.json"
    state.unlink()
    state.mkdir()
    assert down(kit.context).processes == 3
    kit.assert_nothing_left()
    state.mkdir()
    up(kit.plan(), kit.context)
    assert load(kit.context).phase == "up"


def test_a_folder_with_something_in_it_is_named_when_all_has_ended(kit):
    up(kit.plan(), kit.context)
    state = kit.state_dir / "state.json"
    state.unlink()
    (state / "mine").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"state\.json: is a folder and not empty; remove it"):
        down(kit.context)
    assert not kit.tagged()
    with pytest.raises(KitError, match=r"state\.json"):
        up(kit.plan(), kit.context)
    (state / "mine").rmdir()
