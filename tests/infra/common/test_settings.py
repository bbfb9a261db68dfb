"""What the image sets for whoever runs it. Numbers: rows of the failure table in docs/images.md."""

import re

import pytest

from heteropd.images import contents_compare as compare

_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def test_environment_is_baked_in(host, expected, agree):
    """UCX_MEMTYPE_CACHE and the library path decide which memory UCX believes it sees (4, 6)."""
    agree(compare.environment({"env": host.environment()}, expected))


def test_user_is_the_one_it_should_be(host, expected):
    """Engines that need no privilege have none; those that reach devices say so in env/images.yaml."""
    assert host.user().name == expected.choice.spec.user


def test_entrypoint_stays_out_of_the_way(image_config, expected, agree):
    """A plan's command is the container's command, and SIGTERM ends it."""
    agree(compare.entrypoint(image_config, expected))


def test_healthcheck_asks_the_role(host, image_config, expected, agree):
    """The engine and the kit's own waiting go by it; here nothing answers yet, so it must say so."""
    agree(compare.healthcheck(image_config, expected))
    done = host.run(" ".join(expected.images.healthcheck[1:]))
    assert done.rc == 1
    assert "http://127.0.0.1:8000/health" in done.stderr


def test_labels_say_what_it_is_made_of(image_config, expected, agree):
    """Pin set, variant and commits, readable without starting it (23: a variant is not visible elsewhere)."""
    agree(compare.labels(image_config, expected))


def test_no_secret_is_baked_in(image_config):
    """Registries' passwords are mounted while building; none may be in the environment or a label."""
    given = {**image_config["env"], **image_config["labels"]}
    found = [
        name
        for name, value in given.items()
        if _SECRET.search(name) or re.search(r"://[^/\s]+:[^/\s]+@", value)
    ]
    assert found == []


@pytest.mark.parametrize("program", ["heteropd-inventory", "heteropd-health"])
def test_programs_of_the_kit_belong_to_root(host, program):
    """What the image runs by itself cannot be changed by what runs in it."""
    file = host.file(f"/usr/local/bin/{program}")
    assert (file.user, file.mode) == ("root", 0o755)
