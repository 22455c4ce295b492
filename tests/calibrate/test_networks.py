"""Thresholds of whole networks against the vendor's tables, to 5 digits."""

from __future__ import annotations

import numpy as np
import pytest
from calibrate.networks import differences, shared_names, top_graph
from tpuforge.compiler.calibrate import calibrate, read_table, run
from tpuforge.compiler.calibrate.kl import divergences
from tpuforge.compiler.passes.merge_pointwise import mergeable

pytestmark = pytest.mark.model

NETWORKS = ("efficientnet_lite0", "mobilenet_v2", "squeezenet1_1", "resnet18", "googlenet")


@pytest.mark.parametrize("network", NETWORKS)
def test_thresholds(network, zoo, shared_dir, vendor_dir, monkeypatch):
    """Equal, except where two ranges are equally good: there the vendor's threshold must be one of
    our histogram's, with a divergence within 1 % of the best.

    This is one of the 83 tensors of googlenet: ranges 45 and 48 differ by 0.06 % in divergence.
    The vendor's library takes the same range as we do of the same histogram
    (tests/parity/test_kl.py), but its float kernels give activations that differ by about 1e-5,
    and noise of that size on ours turns the choice in 12 of 40 trials. Nor do exact activations
    decide it: computed in float64 they agree here and turn another near tie (relu_123_Relu, ranges
    45 and 46, 0.03 %).
    """
    vendor = read_table(vendor_dir / f"{network}_cali_table")
    collectors: list[run.Collector] = []
    thresholds = run.Collector.thresholds
    monkeypatch.setattr(
        run.Collector,
        "thresholds",
        lambda self, *more: collectors.append(self) or thresholds(self, *more),
    )
    graph = top_graph(zoo(network), shared_dir)
    ours = calibrate(graph, shared_dir / "data" / "ILSVRC2012", input_num=100)
    assert shared_names(ours, vendor) == list(vendor)
    assert set(ours) - set(vendor) == {first.name for first, _ in mergeable(graph)}
    off = {n: d for n, d in differences(ours, vendor).items() if d > 1e-5}
    assert len(off) <= len(vendor) // 50, off
    for name in off:
        histogram = collectors[0].statistics[name].histogram
        all_of_them = divergences(histogram.counts)
        m = vendor[name].threshold / histogram.width / 128
        assert m == pytest.approx(round(m), abs=1e-3), (name, ours[name], vendor[name])
        assert all_of_them[round(m) - 1] < 1.01 * np.min(all_of_them), name
