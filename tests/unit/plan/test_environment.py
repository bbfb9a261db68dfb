"""What a child inherits, what it does not, and how placeholders are filled."""

from heteropd.plan.environment import child_argv, child_environment, places_used

PLACES = {"ENGINE_PYTHON": "/env/bin/python", "ENGINE_BIN": "/env/bin", "MODEL_DIR": "/models/m"}


def variables(asked=(), parent=(), extra=(), peers=()):
    return child_environment(dict(asked), dict(parent), PLACES, dict(extra), peers)


def test_parent_variables_are_filled_in_and_unset_ones_are_empty():
    asked = {"LD_LIBRARY_PATH": "/opt/ucx/lib:${LD_LIBRARY_PATH}", "X": "<${NOT_SET}>", "M": "${MODEL_DIR}"}
    child = variables(asked, {"LD_LIBRARY_PATH": "/usr/lib"}).variables
    assert child["LD_LIBRARY_PATH"] == "/opt/ucx/lib:/usr/lib"
    assert child["X"] == "<>"
    assert child["M"] == "/models/m"


def test_what_would_change_an_engine_is_dropped_by_name_and_told():
    parent = {
        "HOME": "/root",
        "HF_TOKEN": "secret",
        "VLLM_USE_V1": "0",
        "UCX_TLS": "all",
        "NIXL_LOG_LEVEL": "TRACE",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": "/elsewhere",
        "HETEROPD_STANDIN": "1",
    }
    child = variables({}, parent)
    assert child.variables == {"HOME": "/root", "HF_TOKEN": "secret"}
    assert set(child.dropped) == set(parent) - {"HOME", "HF_TOKEN"}
    assert "secret" not in repr(child.dropped)


def test_the_plan_may_ask_for_what_is_otherwise_dropped():
    child = variables({"UCX_TLS": "${UCX_TLS}"}, {"UCX_TLS": "tcp,self"})
    assert child.variables == {"UCX_TLS": "tcp,self"}
    assert child.dropped == ()


def test_the_plan_wins_over_the_parent_and_the_kit_over_the_plan():
    child = variables({"A": "plan", "B": "plan"}, {"A": "parent"}, {"B": "kit"})
    assert child.variables == {"A": "plan", "B": "kit"}


def test_peers_are_never_reached_through_a_proxy():
    parent = {"HTTP_PROXY": "http://proxy:3128", "no_proxy": "corp"}
    child = variables({}, parent, peers=["10.0.0.1", "10.0.0.2", "10.0.0.1"]).variables
    assert child["no_proxy"] == child["NO_PROXY"] == "corp,10.0.0.1,10.0.0.2,localhost,127.0.0.1,::1"
    assert "NO_PROXY" not in variables({}, {"no_proxy": "corp"}, peers=["10.0.0.1"]).variables


def test_arguments_get_places_only():
    argv = ["${ENGINE_BIN}/vllm-router", "${HOME}", '{"a": "${MODEL_DIR}"}', "$MODEL_DIR"]
    assert child_argv(argv, PLACES) == ["/env/bin/vllm-router", "${HOME}", '{"a": "/models/m"}', "$MODEL_DIR"]


def test_places_used():
    assert places_used(["${ENGINE_PYTHON}", "${HOME}"], {"A": "x${MODEL_DIR}"}) == {
        "ENGINE_PYTHON",
        "MODEL_DIR",
    }
