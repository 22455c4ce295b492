"""cvi_nn.Model on hand-made files: the worked example, views, clones, programs, async runs."""

import gc
import threading

import cvi_nn
import numpy as np
import pytest
from runtime import builder as b

DATA = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)


@pytest.mark.parametrize("chip", b.CHIPS)
def test_worked_example_on_every_chip(chip):
    with cvi_nn.Model(b.tiny(chip).write()) as model:
        assert model.target == chip
        assert model.version == (1, 4)
        assert [(t.name, t.shape, t.dtype) for t in model.inputs] == [
            ("in", (1, 1, 1, 64), np.int8)
        ]
        assert (model.forward({"in": DATA})["out"] == DATA).all()
        assert (model.forward([-DATA])["out"] == -DATA).all()
        assert (model.forward(DATA)["out"] == DATA).all()


def test_from_path_and_buffers(tmp_path):
    file = tmp_path / "tiny.cvimodel"
    file.write_bytes(b.tiny().write())
    for source in (file, str(file), bytearray(file.read_bytes()), memoryview(file.read_bytes())):
        assert (cvi_nn.Model(source).forward([DATA])["out"] == DATA).all()


def test_tensor_description():
    tensors = [
        b.Tensor(
            "x",
            [1, 3, 4, 5],
            "uint8",
            b.io(3),
            2.0,
            3.0,
            pixel_format="RGB_PLANAR",
            scale=[0.5, 0.25, 1],
            mean=[1, 2, 3],
        ),
        b.Tensor("y", [2, 7, 1, 1], "bf16", qscale=None),
    ]
    model = cvi_nn.Model(b.Model([b.Program(["x"], ["y"], tensors)]).write())
    x, y = model.inputs[0], model.outputs[0]
    assert (x.qscale, x.zero_point, x.pixel_format, x.aligned) == (2.0, 3, "RGB_PLANAR", False)
    assert (x.scale, x.mean, x.count, x.nbytes) == ((0.5, 0.25, 1.0), (1.0, 2.0, 3.0), 60, 60)
    assert x.paddr % 4096 == 0
    assert (y.format, y.dtype, y.shape, y.nbytes, y.paddr) == (
        "bf16",
        np.uint16,
        (2, 7, 1, 1),
        28,
        0,
    )
    assert (y.scale, y.mean, y.pixel_format) == ((1.0,) * 3, (0.0,) * 3, "TENSOR")
    assert model.input("x*") is x
    with pytest.raises(KeyError):
        model.output("z")


def test_wrong_inputs_are_refused():
    model = cvi_nn.Model(b.tiny().write())
    for bad in (
        {"other": DATA},
        {},
        {"in": DATA.astype(np.float32)},
        {"in": DATA[..., :63]},
        [DATA, DATA],
        [],
    ):
        with pytest.raises(ValueError):
            model.forward(bad)
    with pytest.raises(ValueError, match="missing: in"):
        model.forward({"out": DATA})


def test_trailing_ones_may_be_missing():
    tensors = [b.Tensor("x", [2, 5, 1, 1], "fp32")]
    model = cvi_nn.Model(b.Model([b.Program(["x"], ["x"], tensors)]).write())
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    assert (model.forward([x])["x"][..., 0, 0] == x).all()


def test_view_is_zero_copy_and_outlives_the_model():
    model = cvi_nn.Model(b.tiny().write())
    source, result = model.inputs[0].view(), model.outputs[0].view()
    source[...] = DATA
    model.run()
    assert (result == DATA).all()
    model.close()
    del model
    gc.collect()
    source[...] = 5
    assert (result == DATA).all() and (source == 5).all()


def test_closed_model():
    model = cvi_nn.Model(b.tiny().write())
    tensor = model.inputs[0]
    model.close()
    model.close()
    assert model.closed and tensor.name == "in"
    for call in (
        model.run,
        tensor.view,
        lambda: model.forward([DATA]),
        model.clone,
        lambda: model.target,
        lambda: tensor.paddr,
    ):
        with pytest.raises(cvi_nn.ClosedError):
            call()


def test_programs_by_index_and_shape():
    data = b.two_programs()
    model = cvi_nn.Model(data)
    assert [p.inputs[0].shape for p in model.programs] == [(1, 1, 1, 64), (4, 1, 1, 64)]
    assert model.programs[1].outputs == (cvi_nn.TensorInfo("out", (4, 1, 1, 64), "int8"),)
    for choice in (1, (4, 1, 1, 64), {"in": (4, 1, 1, 64)}):
        other = model.clone(program=choice)
        assert other.program_index == 1
        x = np.arange(256, dtype=np.uint8).view(np.int8).reshape(4, 1, 1, 64)
        assert (other.forward([x])["out"] == x).all()
    assert (model.forward([DATA])["out"] == DATA).all()
    with pytest.raises(ValueError, match="no program"):
        cvi_nn.Model(data, program=(2, 1, 1, 64))
    with pytest.raises(cvi_nn.CviError) as error:
        cvi_nn.Model(data, program=2)
    assert error.value.name == "INVALID_ARG"


def test_clone_outlives_the_original():
    model = cvi_nn.Model(b.tiny().write())
    clone = model.clone()
    model.close()
    assert (clone.forward([DATA])["out"] == DATA).all()


def test_all_tensors_in_order_of_names():
    tensors = [
        b.Tensor("z", [1, 1, 1, 4]),
        b.Tensor("a", [1, 1, 1, 4]),
        b.Tensor("lost", [1, 1, 1, 4], overwrote=True),
        b.Tensor("B", [1, 1, 1, 4]),
    ]
    data = b.Model([b.Program(["z"], ["a"], tensors)]).write()
    model = cvi_nn.Model(data, output_all_tensors=True)
    assert [t.name for t in model.outputs] == ["B", "a", "z"]
    z = np.array([1, 2, 3, 4], np.int8).reshape(1, 1, 1, 4)
    assert (model.forward([z])["z"] == z).all()


def test_async_runs_keep_their_own_data():
    model = cvi_nn.Model(b.tiny().write())
    tasks = [model.forward_async([DATA + i]) for i in range(12)]
    for i, task in reversed(list(enumerate(tasks))):
        assert (task.wait()["out"] == DATA + i).all()
        assert (task.wait()["out"] == DATA + i).all()
    abandoned = model.forward_async([DATA])
    model.close()
    del abandoned
    with pytest.raises(ValueError):
        cvi_nn.Model(b.tiny().write()).forward_async({})


def test_async_from_many_threads():
    model = cvi_nn.Model(b.tiny().write())
    wrong = []

    def work(i: int) -> None:
        for j in range(20):
            data = DATA + i + j
            if not (model.forward_async([data]).wait()["out"] == data).all():
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_forward_from_many_threads_and_clones():
    model = cvi_nn.Model(b.tiny().write())
    wrong = []

    def work(i: int) -> None:
        own = model.clone() if i % 2 else model
        for j in range(30):
            data = DATA + i + j
            if not (own.forward([data])["out"] == data).all():
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bind_replaces_the_buffer_and_unbind_restores_it():
    model = cvi_nn.Model(b.tiny().write())
    context = cvi_nn.Context()
    memory = context.alloc(256)
    memory.view()[64:128] = DATA.view(np.uint8).ravel() + 7
    model.inputs[0].bind(memory, 64)
    assert model.inputs[0].bound
    assert (model.forward()["out"] == DATA + 7).all()
    with pytest.raises(ValueError, match="is bound to memory of yours"):
        model.forward([DATA])
    result = context.alloc(64)
    model.outputs[0].bind(result)
    assert model.forward() == {}
    assert (result.view(np.int8) == (DATA + 7).ravel()).all()
    model.inputs[0].unbind()
    model.outputs[0].unbind()
    assert (model.forward([DATA])["out"] == DATA).all()


def test_chain_of_two_models_without_a_copy():
    first, second = cvi_nn.Model(b.tiny().write()), cvi_nn.Model(b.tiny().write())
    memory = cvi_nn.Context().alloc(64)
    first.outputs[0].bind(memory)
    second.inputs[0].bind(memory)
    first.forward([DATA])
    assert (second.forward()["out"] == DATA).all()


def test_bound_memory_may_be_freed():
    model = cvi_nn.Model(b.tiny().write())
    memory = cvi_nn.Context().alloc(64)
    memory.view()[...] = 9
    model.inputs[0].bind(memory)
    memory.close()
    del memory
    gc.collect()
    assert (model.forward()["out"] == 9).all()


def test_bind_errors():
    model = cvi_nn.Model(b.tiny().write())
    small = cvi_nn.Context().alloc(32)
    with pytest.raises(cvi_nn.CviError) as error:
        model.inputs[0].bind(small)
    assert error.value.name == "INVALID_ARG"
    assert (model.forward([DATA])["out"] == DATA).all()


def test_errors_carry_code_and_text(tmp_path):
    with pytest.raises(cvi_nn.CviError, match="No such file") as error:
        cvi_nn.Model(tmp_path / "missing.cvimodel")
    assert error.value.name == "INVALID_ARG" and error.value.code == -1065910269
    with pytest.raises(cvi_nn.CviError, match="does not begin with"):
        cvi_nn.Model(b"x" * 100)
    with pytest.raises(cvi_nn.CviError, match="more than 48"):
        cvi_nn.Model(b"")


def test_library_override(monkeypatch, tmp_path):
    default = cvi_nn.library_path()
    assert cvi_nn.Model(b.tiny().write(), library=default).target == "cv181x"
    monkeypatch.setenv("CVI_NN_LIB", str(tmp_path / "none.so"))
    with pytest.raises(cvi_nn.LibraryNotFound, match="CVI_NN_LIB"):
        cvi_nn.Model(b.tiny().write())


def test_context_runs_bare_commands():
    context = cvi_nn.Context()
    source, target = context.alloc(100), context.alloc(100)
    source.view()[...] = np.arange(100)
    stream = b.copy_command("cv182x", (2, 10), (5, 20), 50)
    context.run(stream, [None, None, source, None, None, target])
    assert (target.view()[20:70] == np.arange(10, 60)).all()
    assert not target.view()[:20].any() and not target.view()[70:].any()
    with pytest.raises(cvi_nn.CviError) as error:
        context.run(b.copy_command("cv182x", (2, 60), (5, 20), 50), [0, 0, source, 0, 0, target])
    assert error.value.name == "DATA_ERR"


def test_contexts_and_memory_in_with_blocks():
    """What is closed refuses; what still is in use lives on."""
    with cvi_nn.Context() as context, context.alloc(64) as memory:
        view = memory.view(np.int8)
        view[:] = DATA.ravel()
        other = context.alloc(64)
        place = memory.paddr
        assert place
    for call in (
        lambda: context.alloc(1),
        lambda: context.run(b"", []),
        lambda: context.raw,
        lambda: memory.paddr,
        memory.view,
        memory.flush,
        memory.invalidate,
    ):
        with pytest.raises(cvi_nn.ClosedError):
            call()
    del context, memory
    gc.collect()
    assert (view == DATA.ravel()).all()
    view[:] = 1
    other.view()[:] = 2
    other.flush()
    context, memory = cvi_nn.Context(), None
    assert all(context.alloc(64).paddr != place for _ in range(3))  # the view keeps it
    del view
    gc.collect()
    assert (other.view() == 2).all()
    other.close()
    context.close()
    context.close()


def test_quantize_and_bf16_helpers():
    model = cvi_nn.Model(b.tiny().write())
    x = np.array([0.5, -0.5, 1.5, 200, -200, 2.4], np.float32)
    assert model.inputs[0].quantize(x).tolist() == [1, -1, 2, 127, -128, 2]
    values = np.array([1.0, -2.5, 3.0e38, np.inf], np.float32)
    assert (cvi_nn.bf16_to_float32(cvi_nn.float32_to_bf16(values))[:2] == values[:2]).all()
    assert np.isnan(cvi_nn.bf16_to_float32(cvi_nn.float32_to_bf16(np.float32([np.nan]))))[0]


def test_generated_binding_is_up_to_date(tmp_path):
    import importlib.util
    from pathlib import Path

    package = Path(cvi_nn.__file__).parent
    spec = importlib.util.spec_from_file_location("build_cffi", package / "build_cffi.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate(tmp_path / "_cviruntime_cffi.py")
    made = (tmp_path / "_cviruntime_cffi.py").read_text()
    assert made == (package / "_cviruntime_cffi.py").read_text()
