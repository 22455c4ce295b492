"""Selection, grouping and reading of calibration samples (cli.md section 4.2)."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tpuforge.compiler.calibrate import Preprocess
from tpuforge.compiler.calibrate.samples import InputSpec, SampleReader, load_npz, read_list, select
from tpuforge.compiler.errors import OptionError, UserInputError


def picture_input(batch: int = 1) -> InputSpec:
    return InputSpec("input", (batch, 3, 4, 4), Preprocess.from_attrs((batch, 3, 4, 4), {}))


def write_pictures(folder, count: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"p{i}.png"), np.full((4, 4, 3), i, np.uint8))
    return [str(folder / f"p{i}.png") for i in range(count)]


def test_order_of_ten_names(tmp_path):
    for i in range(10):
        (tmp_path / f"a{i}.jpg").touch()
    names = [f.rsplit("/", 1)[-1] for (f,) in select(tmp_path)]
    assert names == [f"a{i}.jpg" for i in (1, 8, 9, 6, 5, 3, 2, 4, 0, 7)]


def test_order_of_a_hundred_names(tmp_path):
    for i in range(100):
        (tmp_path / f"img_{i:03}.jpg").touch()
    first = [f.rsplit("/", 1)[-1] for (f,) in select(tmp_path, 8)]
    assert first == [f"img_{i:03}.jpg" for i in (55, 78, 59, 96, 93, 23, 12, 10)]


def test_the_vendors_hundred_images(shared_dir):
    listed = (shared_dir / "zoo" / "vendor" / "calibration_images.txt").read_text().split()
    assert [
        f.rsplit("/", 1)[-1] for (f,) in select(shared_dir / "data" / "ILSVRC2012", 100)
    ] == listed


def test_folders_are_searched_and_other_files_ignored(tmp_path):
    for name in ("b/c/1.JPEG", "a/2.Png", "3.txt", "4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert {f.rsplit("/", 1)[-1] for (f,) in select(tmp_path)} == {"1.JPEG", "2.Png"}


def test_fewer_than_asked_is_said(tmp_path):
    (tmp_path / "a.jpg").touch()
    said: list[str] = []
    assert len(select(tmp_path, 5, said.append)) == 1
    assert "holds 1 samples, 5 were asked for" in said[0]


def test_selection_errors(tmp_path):
    with pytest.raises(UserInputError, match="no such folder"):
        select(tmp_path / "nowhere")
    with pytest.raises(UserInputError, match="no samples"):
        select(tmp_path)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.npz").touch()
    with pytest.raises(UserInputError, match=r"mixes \.npz files and pictures"):
        select(tmp_path)
    with pytest.raises(OptionError):
        select(tmp_path, -1)


def test_a_list_keeps_its_order(tmp_path):
    names = write_pictures(tmp_path, 3)
    (tmp_path / "list.txt").write_text(f"# comment\n{names[2]}\n\n p0.png \np1.png\n")
    assert [f.rsplit("/", 1)[-1] for (f,) in read_list(tmp_path / "list.txt")] == [
        "p2.png",
        "p0.png",
        "p1.png",
    ]
    assert len(read_list(tmp_path / "list.txt", 2)) == 2
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(UserInputError, match=r"none\.txt: the sample list is empty"):
        read_list(tmp_path / "none.txt")
    with pytest.raises(UserInputError, match=r"gone\.txt"):
        read_list(tmp_path / "gone.txt")


def test_batches_are_filled_with_the_last_sample(tmp_path):
    reader = SampleReader([picture_input(2)], [(f,) for f in write_pictures(tmp_path, 3)])
    groups = [b["input"][:, 0, 0, 0].tolist() for b in reader]
    assert groups == [[0, 1], [2, 2]] and len(reader) == 2 and len(reader.used) == 3


def test_unreadable_samples_are_skipped_with_a_warning(tmp_path):
    samples = [(f,) for f in write_pictures(tmp_path, 2)]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    samples.insert(1, (str(tmp_path / "bad.png"),))
    said: list[str] = []
    reader = SampleReader([picture_input()], samples, warn=said.append)
    assert [b["input"][0, 0, 0, 0] for b in reader] == [0, 1] and len(reader.used) == 2
    assert len(said) == 1 and "bad.png" in said[0]
    with pytest.raises(UserInputError, match=r"bad\.png"):
        list(SampleReader([picture_input()], samples, strict=True))
    with pytest.raises(UserInputError, match="none of the 1 calibration samples"):
        list(SampleReader([picture_input()], samples[1:2]))


def test_samples_are_read_when_they_are_needed(tmp_path):
    names = write_pictures(tmp_path, 3)
    batches = iter(SampleReader([picture_input()], [(f,) for f in names], strict=True))
    next(batches)
    (tmp_path / "p2.png").unlink()
    next(batches)
    with pytest.raises(UserInputError):
        next(batches)


def test_npz_holds_every_input_by_name(tmp_path):
    specs = [InputSpec("a", (2, 3)), InputSpec("b", (2, 1))]
    np.savez(tmp_path / "s.npz", a=np.zeros((1, 3), np.float32), b=np.ones((1,), np.float64))
    loaded = load_npz(tmp_path / "s.npz", specs)
    assert loaded["a"].shape == (1, 3) and loaded["b"].dtype == np.float32
    batch = list(SampleReader(specs, [(str(tmp_path / "s.npz"),)]))
    assert batch[0]["a"].shape == (2, 3)
    with pytest.raises(UserInputError, match="no array named c"):
        load_npz(tmp_path / "s.npz", [InputSpec("c", (1,)), InputSpec("a", (2, 3))])
    with pytest.raises(UserInputError, match=r"s\.npz, input 'a'"):
        load_npz(tmp_path / "s.npz", [InputSpec("a", (1, 4)), InputSpec("b", (2, 1))])


def test_a_single_array_needs_no_name_and_may_hold_the_batch(tmp_path):
    np.savez(tmp_path / "s.npz", whatever=np.arange(8, dtype=np.float32).reshape(4, 2))
    batches = list(SampleReader([InputSpec("x", (4, 2))], [(str(tmp_path / "s.npz"),)] * 2))
    assert len(batches) == 2 and batches[0]["x"].shape == (4, 2)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x93NUMPY", b"text"])
def test_damaged_npz(tmp_path, content):
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(UserInputError, match=r"s\.npz"):
        load_npz(tmp_path / "s.npz", [InputSpec("x", (1,))])


def test_a_npy_named_npz(tmp_path):
    with (tmp_path / "s.npz").open("wb") as f:
        np.save(f, np.zeros(3))
    with pytest.raises(UserInputError, match="single array"):
        load_npz(tmp_path / "s.npz", [InputSpec("x", (1, 3))])


def test_several_inputs_take_several_files(tmp_path):
    specs = [InputSpec("a", (1, 2)), InputSpec("b", (1, 3))]
    np.save(tmp_path / "a.npy", np.zeros((1, 2)))
    np.save(tmp_path / "b.npy", np.ones(3))
    sample = (str(tmp_path / "a.npy"), str(tmp_path / "b.npy"))
    assert next(iter(SampleReader(specs, [sample])))["b"].tolist() == [[1, 1, 1]]
    with pytest.raises(OptionError, match=r"1 files for 2 inputs \(a, b\)"):
        list(SampleReader(specs, [sample[:1]], strict=True))
