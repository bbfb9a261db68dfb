"""What no second opinion can mend is left as it was, without asking anybody."""

from types import SimpleNamespace

from heteropd.engine_api.responses import Step
from heteropd.plan.model import KVGeometry
from heteropd.proof.integrity import Replies, Reply, judge_probe
from heteropd.proof.probes import Probe
from heteropd.proof.second_opinion import reconsider

SAME = KVGeometry(layout="HND", block_size=16, wire_layout="HND", wire_block_size=16)
A, B = {"token_id:1": -0.5, "token_id:2": -0.6}, {"token_id:1": -0.6, "token_id:2": -0.5}


def test_a_probe_that_lacks_log_probabilities_before_a_tie_stays_diverged():
    alone = Reply([Step("token_id:9", {}), Step("token_id:1", A)])
    routed = Reply([Step("token_id:9", {}), Step("token_id:2", B)])
    replies = Replies(routed={0: routed}, again={}, prefill={}, decode={0: alone})
    probe = Probe(0, (1, 2, 3), 0)
    result = judge_probe(probe, "together", replies, 1.0, (SAME, SAME))
    assert result.outcome == "diverged"
    assert reconsider(SimpleNamespace(), probe, result, replies, 1.0) == result
