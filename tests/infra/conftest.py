"""What every suite stands on: a host of testinfra's (any backend), and what env/ says must be there."""

import json

import pytest

from heteropd.config import env as room
from heteropd.config.env import pick
from heteropd.images import contents, recipe
from heteropd.images.contents_expected import by_hand
from heteropd.images.contents_expected import expected as make_expected

_INVENTORIES = pytest.StashKey[dict]()
_SETTINGS = pytest.StashKey[dict]()


def pytest_addoption(parser):
    group = parser.getgroup("heteropd")
    group.addoption("--image", help="the image of env/images.yaml that the host is, or runs")
    group.addoption("--pins", help="its pin set, if not the image's usual one")
    group.addoption("--variant", help="its variant, if not the pin set's first")
    group.addoption("--strict-facts", action="store_true", help="a fact that cannot be had is a failure")


def pytest_configure(config):
    config.stash[_INVENTORIES] = {}
    config.stash[_SETTINGS] = {}


@pytest.fixture(scope="session")
def env(request):
    """Everything that env/ says."""
    return room.load(request.config.rootpath)


@pytest.fixture
def expected(request, env, settings):
    """What the image must be, but for what its labels say was given by hand."""
    option = request.config.getoption
    if not option("--image"):
        pytest.fail("--image is missing: run `make infra image=NAME`")
    pick("image", option("--image"), env.images.images)
    choice = recipe.choose(option("--image"), option("--pins"), option("--variant"), env)
    return make_expected(choice, env, request.config.rootpath, by_hand((settings or {}).get("labels", {})))


@pytest.fixture
def pinned(expected):
    """Call it with inputs: skips, naming it, where one was given by hand and no pin says what to expect."""

    def need(*inputs):
        for name in sorted(expected.by_hand & set(inputs)):
            pytest.skip(f"nothing to compare with: the image was built with {name}= by hand")

    return need


@pytest.fixture
def inventory(request, host):
    """What heteropd-inventory says on the host; asked once, for it starts an agent."""
    known, name = request.config.stash[_INVENTORIES], host.backend.get_pytest_id()
    if name not in known:
        done = host.run("heteropd-inventory")
        known[name] = contents.parse(name, done.rc, done.stdout, done.stderr)
    return known[name]


@pytest.fixture
def settings(request, host):
    """What the engine says about the image, asked once; None for a host that is no container."""
    known, name = request.config.stash[_SETTINGS], host.backend.get_pytest_id()
    if name not in known and host.backend.NAME == "docker":
        ask = host.backend.run_local
        container = json.loads(ask("docker inspect --type container %s", host.backend.name).stdout)[0]
        image = json.loads(ask("docker image inspect %s", container["Image"]).stdout)[0]
        known[name] = contents.config(image["Config"])
    return known.get(name)


@pytest.fixture
def image_config(host, settings, unknown):
    """The settings, where there must be some."""
    if settings is None:
        unknown(f"the image's settings: {host.backend.NAME} reaches a machine, not an image")
    return settings


@pytest.fixture
def unknown(request):
    """Call it with a fact that cannot be had here: skipped, or a failure with --strict."""

    def say(fact):
        (pytest.fail if request.config.getoption("--strict-facts") else pytest.skip)(f"cannot be had: {fact}")

    return say


@pytest.fixture
def device(host):
    """Call it with a device and its file: skips, naming them, where it is absent; --strict or not."""

    def need(what, path):
        if not host.file(path).exists:
            pytest.skip(f"needs {what}: there is no {path} here")

    return need


@pytest.fixture
def agree():
    """Fails with every difference on a line of its own."""

    def judge(differences):
        found = list(differences)
        if found:
            pytest.fail("\n".join(found), pytrace=False)

    return judge
