"""What is found in an image against what env/ says: no difference in a sound one, one line for each fault."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from heteropd.config import env as room
from heteropd.config.images import Image
from heteropd.errors import BadInput, KitError
from heteropd.images import contents, contents_expected, recipe
from heteropd.images import contents_compare as compare
from heteropd.images.contents_expected import by_hand
from heteropd.images.contents_expected import expected as make_expected

ROOT = Path(__file__).parents[3]
PYTHON = {"version": "3.11.16", "executable": "/opt/heteropd/bin/python", "machine": "x86_64"}
PYTHON["environment"] = "/opt/heteropd"
UCP = "/opt/heteropd/lib/libucp-1.so.0"


@pytest.fixture(scope="module")
def env():
    return room.load(ROOT)


@pytest.fixture
def cpu(env):
    return make_expected(recipe.choose("cpu", None, None, env), env, ROOT)


@pytest.fixture
def gaudi(env):
    """The Gaudi image of a pin set that builds everything from sources; its lock is the router's."""
    choice = recipe.choose("router", "v0.26", None, env)
    built = env.pins["doc-2025-12"]
    sources = {**built.sources, **choice.pins.sources}
    choice = replace(
        choice, pins=choice.pins.model_copy(update={"sources": sources, "nixl": built.nixl, "parts": {}})
    )
    spec = choice.spec.model_copy(
        update={"sources": ["vllm", "vllm-gaudi"], "libraries": ["uct_gaudi"], "optional_sources": []}
    )
    assert isinstance(spec, Image)
    return replace(make_expected(replace(choice, image="gaudi", spec=spec), env, ROOT), labels={})


def found(expected):
    """The contents of an image that is exactly what it should be."""
    choice, version = expected.choice, expected.nixl_version
    locked = expected.locked(PYTHON)
    torch = {"version": "2.9.0", "path": "/usr/lib/torch"}
    if "torch" in locked:
        torch["version"] = locked["torch"]
    gaudi = expected.choice.image == "gaudi"
    return {
        "total_mb": 100.0,
        "added_mb": 50.0,
        "config": {
            "user": choice.spec.user,
            "entrypoint": [],
            "stop_signal": "SIGTERM",
            "healthcheck": ["CMD", "heteropd-health"],
            "env": {"PATH": "/bin", **choice.spec.env},
            "labels": {"io.heteropd.base": choice.base.shipped.pinned, **expected.labels},
        },
        "inventory": {
            "python": dict(PYTHON),
            "packages": {**locked, "heteropd-engine": "0.1.0"},
            "inherited": {},
            "repeated": [],
            "vllm": {"version": f"{expected.vllm}+empty", "commit": None},
            "vllm_gaudi": {"version": expected.vllm_gaudi, "commit": None} if gaudi else None,
            "torch": {**torch, "package_version": torch["version"]},
            "records": {"base-torch": torch} if gaudi else {},
            "ucx": {
                "copies": [UCP],
                "version": expected.ucx_version or "1.23.0",
                "flags": [*expected.ucx_flags, "--prefix=/opt/ucx"],
                "modules": {name: [] for name in choice.spec.libraries},
            },
            "nixl": {
                "packages": {"nixl": version},
                "version": version,
                "copies": ["/opt/libnixl.so"],
                "plugins": ["POSIX", "UCX"],
                "agent_starts": True,
                "loaded_ucx": [UCP],
            },
            "problems": {},
        },
    }


def changed(made, path, value):
    """A copy of the contents with one thing in it changed."""
    made = copy.deepcopy(made)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


def lines(contents, expected):
    """What is said of it; every finding is a FAIL with a fix, named by its check."""
    findings = compare.compare(contents, expected)
    for finding in findings:
        assert (finding.status, finding.place) == ("FAIL", expected.tag)
        assert finding.id.startswith("image.")
        assert "make build images=" in (finding.fix or "")
    return [finding.text for finding in findings]


def test_a_sound_image_has_no_differences(cpu):
    assert lines(found(cpu), cpu) == []


def test_a_sound_gaudi_image_has_no_differences(gaudi):
    assert lines(found(gaudi), gaudi) == []


FAULTS = [
    (("inventory", "packages", "httpx"), "0.1", "packages.httpx: 0.1 in the image, "),
    (("inventory", "packages", "stray"), "1", "packages.stray: 1 in the image, not in its locks"),
    (("inventory", "repeated"), ["httpx"], "packages.httpx: installed more than once"),
    (
        ("inventory", "vllm", "version"),
        "0.31.0",
        "vllm: 0.31.0 in the image, 0.30.0 in env/pins/standin.yaml",
    ),
    (("inventory", "torch", "package_version"), "2.0", "torch.package_version: 2.0 in the image, "),
    (("inventory", "ucx", "copies"), [UCP, "/opt/b"], f"ucx: 2 in the image, 1 expected: {UCP}, /opt/b"),
    (("inventory", "ucx", "copies"), [], "ucx: 0 in the image, 1 expected"),
    (
        ("inventory", "ucx", "modules"),
        {"uct_ib": []},
        "ucx.modules: no libuct_cma.so in the image (there: uct_ib)",
    ),
    (("inventory", "nixl", "version"), "1.4.0", "nixl: nixl 1.4.1 in the image, 1.4.1 in"),
    (("inventory", "nixl", "copies"), ["/a", "/b"], "nixl: 2 in the image, 1 expected: /a, /b"),
    (("inventory", "nixl", "plugins"), ["POSIX"], "nixl.plugins: no UCX (there: POSIX; no reason given)"),
    (("inventory", "nixl", "agent_starts"), False, "nixl.agent: does not start"),
    (("inventory", "nixl", "loaded_ucx"), [UCP, "/b"], "nixl.agent: loads 2 UCX"),
    (("inventory", "nixl"), None, "nixl: not in the image"),
    (
        ("config", "env", "UCX_MEMTYPE_CACHE"),
        "1",
        "env.UCX_MEMTYPE_CACHE: '1' in the image, '0' in env/images.yaml",
    ),
    (("config", "user"), "", "user: root in the image, heteropd in env/images.yaml"),
    (("config", "entrypoint"), ["sh"], "entrypoint: ['sh'] in the image, none expected"),
    (("config", "stop_signal"), "", "stop_signal:  in the image, SIGTERM expected"),
    (("config", "healthcheck"), ["NONE"], "healthcheck: ['NONE'] in the image, "),
    (("config", "labels", "io.heteropd.variant"), "b", "labels.io.heteropd.variant: b in the image, base in"),
    (("total_mb",), 5000.0, "size: 5000 MB of layers, at most 2200 MB in env/images.yaml"),
]


@pytest.mark.parametrize(("path", "value", "said"), FAULTS)
def test_a_planted_difference_is_one_line(path, value, said, cpu):
    (line,) = lines(changed(found(cpu), path, value), cpu)
    assert line.startswith(said), line
    assert "\n" not in line


GAUDI_FAULTS = [
    (
        ("inventory", "torch", "path"),
        "/opt/torch",
        "torch.path: /opt/torch in the image, /usr/lib/torch in its base",
    ),
    (("inventory", "records"), {}, "torch: the build left no record"),
    (("inventory", "vllm_gaudi"), None, "vllm_gaudi: absent in the image, 0.26.0"),
    (("inventory", "vllm_gaudi", "commit"), "0" * 40, "vllm_gaudi.commit: 0000"),
    (("inventory", "ucx", "version"), "1.19.0", "ucx.version: 1.19.0 in the image, 1.21.0"),
    (
        ("inventory", "ucx", "flags"),
        ["--with-verbs", "--enable-mt", "--with-mlx5=no"],
        "ucx.flags: configured without",
    ),
    (("inventory", "ucx", "modules"), {}, "ucx.modules: no libuct_gaudi.so in the image (there: none)"),
]


@pytest.mark.parametrize(("path", "value", "said"), GAUDI_FAULTS)
def test_a_difference_of_gaudi(path, value, said, gaudi):
    (line, *_) = lines(changed(found(gaudi), path, value), gaudi)
    assert line.startswith(said), line


def test_a_plugin_that_waits_for_nvidias_driver_is_judged_where_no_driver_ever_comes(cpu, gaudi, env):
    """NIXL 0.7's wheel cannot start an agent where the image is built; in a Gaudi image it never can."""
    why = "nixlNotFoundError: NIXL_ERR_NOT_FOUND; libcuda.so.1: cannot open shared object file"
    made = changed(found(cpu), ("inventory", "problems", "nixl.agent"), why)
    made = changed(made, ("inventory", "nixl", "plugins"), ["POSIX"])
    cuda = make_expected(recipe.choose("cuda", "doc-2025-12", None, env), env, ROOT)
    assert not list(compare.agent(made["inventory"], cuda))
    assert list(compare.agent(made["inventory"], gaudi)) == [f"nixl.plugins: no UCX (there: POSIX; {why})"]
    other = changed(made, ("inventory", "problems", "nixl.agent"), "nixlNotFoundError: NIXL_ERR_NOT_FOUND")
    assert list(compare.agent(other["inventory"], cuda))


def test_what_a_base_brings_is_not_counted_as_stray(gaudi):
    """A base's own Python has packages that nobody locked; they are told apart only in an environment."""
    made = changed(found(gaudi), ("inventory", "packages", "jupyter"), "1")
    assert lines(made, gaudi) == ["packages.jupyter: 1 in the image, not in its locks"]
    assert lines(changed(made, ("inventory", "python", "environment"), None), gaudi) == []


def test_a_base_by_hand_is_not_judged_by_its_size(cpu, env):
    made = changed(found(cpu), ("total_mb",), 5000.0)
    given = make_expected(cpu.choice, env, ROOT, by_hand({"io.heteropd.unlocked": "command line: base"}))
    assert lines(made, given) == []
    assert lines({**made, "added_mb": 2201.0}, given)[0].startswith("size: 2201 MB")


def test_what_was_given_by_hand_is_not_judged_but_the_rest_is(gaudi):
    said = {"io.heteropd.unlocked": "env/pins/x.yaml: y, command line: lock, command line: source.nixl"}
    given = replace(gaudi, by_hand=by_hand(said))
    assert given.by_hand == {"lock", "source.nixl"}
    made = changed(found(gaudi), ("inventory", "packages", "stray"), "1")
    made = changed(made, ("inventory", "nixl", "plugins"), None)
    assert len(lines(made, gaudi)) == 2
    assert lines(made, given) == []
    made = changed(made, ("inventory", "ucx", "copies"), [])
    assert lines(made, given) == ["ucx: 0 in the image, 1 expected: "]
    hand = replace(gaudi, by_hand=frozenset({"source.ucx", "source.vllm", "source.vllm-gaudi"}))
    assert (hand.ucx_version, hand.ucx_flags, hand.vllm, hand.vllm_gaudi) == (None, [], None, None)
    assert hand.commit("vllm") is None
    parts = replace(gaudi, by_hand=frozenset({"part.nixl", "part.ucx", "part.vllm"}))
    assert (parts.ucx_version, parts.nixl_version, parts.vllm, parts.vllm_gaudi) == (None, None, None, None)
    made = changed(found(gaudi), ("inventory", "vllm_gaudi"), None)
    assert lines(made, parts) == []
    assert gaudi.commit("vllm") is not None


def test_a_router_has_neither_ucx_nor_nixl(env):
    router = make_expected(recipe.choose("router", None, None, env), env, ROOT)
    made = found(router)["inventory"]
    assert list(compare.one_ucx(made, router)) == [f"ucx: 1 in the image, 0 expected: {UCP}"]
    assert list(compare.one_nixl({**made, "nixl": None}, router)) == []
    assert list(compare.one_nixl({**made, "nixl": {"version": "1.0"}}, router)) == [
        "nixl: 1.0 in the image, none expected"
    ]


@pytest.mark.parametrize(
    ("found_version", "wanted", "same"),
    [
        ("0.13.0.dev0+empty", "0.13.0.dev", True),
        ("0.13.0.dev12", "0.13.0.dev", True),
        ("0.26.0+cu128", "0.26.0", True),
        ("0.26.01", "0.26.0", False),
        ("0.13.0", "0.13.0.dev", False),
        (None, "0.26.0", False),
    ],
)
def test_versions_are_the_same_but_for_the_local_part(found_version, wanted, same):
    assert compare.same_version(found_version, wanted) is same


@pytest.mark.parametrize(
    ("marker", "python", "holds"),
    [
        ("python_full_version < '3.12'", "3.11.16", True),
        ("python_full_version >= '3.9'", "3.11.16", True),  # by numbers, not by letters
        ("python_version < '3.9'", "3.11.16", False),
        ("sys_platform == 'win32'", "3.11.16", False),
        ("python_full_version >= '3.12' and sys_platform == 'emscripten'", "3.13.0", False),
        ("implementation_name == 'pypy' or (platform_python_implementation != 'PyPy')", "3.11.1", True),
        ("platform_machine in 'x86_64 aarch64'", "3.11.1", True),
    ],
)
def test_markers(marker, python, holds, tmp_path):
    (tmp_path / "lock").write_text(f"some-package==1.0 ; {marker} \\\n    --hash=sha256:00\n")
    found = contents_expected.locked_versions(
        tmp_path / "lock", "a lock", contents_expected.marker_environment(python, "x86_64")
    )
    assert found == ({"some-package": "1.0"} if holds else {})


@pytest.mark.parametrize("marker", ["python_version <", "nobody == 'x'", "python_version", "f() == 'x'"])
def test_a_marker_that_is_not_understood_is_one_line(marker, tmp_path):
    (tmp_path / "lock").write_text(f"a==1.0 ; {marker}\n")
    with pytest.raises(BadInput, match=r"a lock: requirement: .* is not understood; .*relock"):
        contents_expected.locked_versions(
            tmp_path / "lock", "a lock", contents_expected.marker_environment("3.11.1", "x86_64")
        )


def test_a_lock_gives_one_version_for_each_python(cpu):
    old, new = cpu.locked(PYTHON), cpu.locked({**PYTHON, "version": "3.13.1"})
    assert (old["numpy"], new["numpy"]) == ("2.3.5", "2.4.6")
    assert "colorama" not in old
    assert old["torch"].endswith("+cpu")
    assert "nox" not in old, "the lock of the tools is not in an image"


@pytest.mark.parametrize(
    ("version", "package", "wrong"),
    [
        ("2.13.0+cu130", "2.13.0", []),  # as the common registry's package has it
        ("2.13.0+cpu", "2.13.0+cpu", ["package_version"]),
        ("2.11.0+cu130", "2.11.0", ["version", "package_version"]),
    ],
)
def test_torch_may_say_what_it_was_built_for(version, package, wrong, env):
    expected = make_expected(recipe.choose("cuda", "v0.30", None, env), env, ROOT)
    torch = {"version": version, "package_version": package, "path": "/opt/torch"}
    said = compare.torch({"torch": torch, "records": {}, "python": {**PYTHON, "version": "3.12.3"}}, expected)
    assert [line.partition(":")[0].removeprefix("torch.") for line in said] == wrong


def test_a_lock_that_is_missing_is_one_line(tmp_path):
    with pytest.raises(BadInput, match=r"env/locks/x.txt: cannot be read \(No such file"):
        contents_expected.locked_versions(tmp_path / "x", "env/locks/x.txt", {})


@pytest.mark.parametrize(
    ("status", "out", "said"),
    [
        (127, "", "ended with status 127 and said: exec: no such file"),
        (0, "{}", "ended with status 0"),
        (0, "Traceback", "ended with status 0"),
    ],
)
def test_an_inventory_that_is_none_is_one_line(status, out, said):
    with pytest.raises(KitError, match=said):
        contents.parse("heteropd/cpu:x", status, out, "exec: no such file")


def test_the_file_is_written_whole_and_alike(tmp_path, cpu):
    to = tmp_path / "contents" / "cpu.json"
    contents.write(found(cpu), to)
    first = to.read_bytes()
    contents.write(dict(reversed(list(found(cpu).items()))), to)
    assert to.read_bytes() == first
    assert [file.name for file in to.parent.iterdir()] == ["cpu.json"]


def test_what_a_lock_by_hand_brings_is_not_judged(env):
    given = frozenset({"lock", "part.vllm"})
    cuda = make_expected(recipe.choose("cuda", "v0.26", None, env), env, ROOT, given)
    assert (cuda.nixl_version, cuda.vllm) == (None, None)
    assert (
        "io.heteropd.source.vllm-gaudi"
        not in make_expected(recipe.choose("gaudi", "v0.26", None, env), env, ROOT, given).labels
    )
