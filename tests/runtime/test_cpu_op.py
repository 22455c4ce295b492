"""CPU functions against independent numpy formulas and, in the parity tier, against the vendor's
runtime (api/cvi_nn.md section 10)."""

import cvi_nn
import numpy as np
import pytest
from runtime import builder as b
from runtime import detection_cases  # noqa: F401  (fills CASES)
from runtime.cpu_cases import CASES, Case

DTYPE_NAMES = {"float32": "fp32", "uint16": "bf16"}


def model_of(case: Case) -> bytes:
    outputs = []
    for i, array in enumerate(case.expected):
        name = DTYPE_NAMES.get(array.dtype.name, array.dtype.name)
        outputs.append((array.shape, case.out_dtypes[i] if case.out_dtypes else name))
    return b.cpu_model(case.function, case.arguments, case.inputs, outputs, dtypes=case.dtypes)


def ours(case: Case) -> list[np.ndarray]:
    model = cvi_nn.Model(model_of(case))
    out = model.forward([_four(x) for x in case.inputs])
    return [out[f"o{i}"] for i in range(len(case.expected))]


def _four(x: np.ndarray) -> np.ndarray:
    return x.reshape((*x.shape, 1, 1, 1, 1)[:4])


def compare(got: np.ndarray, expected: np.ndarray, exact: bool) -> None:
    assert got.dtype == expected.dtype
    if exact:
        assert got.tobytes() == np.ascontiguousarray(expected).tobytes()
    else:
        np.testing.assert_allclose(got.ravel(), expected.ravel(), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_formula(name, seed):
    case = CASES[name](np.random.default_rng(seed))
    for got, expected in zip(ours(case), case.expected, strict=True):
        compare(got, expected, case.exact)


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_vendor(name, oracle):
    case = CASES[name](np.random.default_rng(2))
    if not case.vendor:
        pytest.skip(CASES[name].__doc__ or "differs on purpose")
    inputs = {f"i{n}": x for n, x in enumerate(case.inputs)}
    theirs = oracle.vendor_run(model_of(case), inputs)
    for i, got in enumerate(ours(case)):
        expected = theirs[f"o{i}"].reshape(got.shape)
        if not case.exact:
            np.testing.assert_allclose(got, expected, rtol=2e-6, atol=2e-6)
        else:
            assert got.tobytes() == expected.tobytes()


def test_deform_im2col_without_output_positions():
    """2^30 taps over nothing: an error, not minutes of empty loops (found by fuzzing)."""
    arguments = {"kernel_h": 1 << 15, "kernel_w": 1 << 15, "deform_group": 1}
    arguments |= {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1}
    arguments |= {"padding_t": 0, "padding_l": 0}
    x = np.zeros((1, 1, 4, 4), np.float32)
    data = b.cpu_model("deform_im2col", arguments, [x, x, x], [((1, 1, 4, 4), "fp32")])
    with pytest.raises(cvi_nn.CviError, match="does not fit"):
        cvi_nn.Model(data).forward([x, x, x])
