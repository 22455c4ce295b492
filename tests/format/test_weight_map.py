"""Places of constants and `_weight_map.csv` (cli.md section 15.4, formats/cvimodel.md 12.2)."""

from __future__ import annotations

import hashlib
import itertools
import random

import pytest
from tpuforge.compiler.errors import UserInputError
from tpuforge.compiler.format.weight_map import (
    Entry,
    WeightMap,
    assign_weights,
    overlaid,
    parse,
    rekeyed,
    render,
)

A, B, C = b"a" * 20, b"bb" * 8, b"c"


def test_offsets_are_aligned_and_shared():
    offsets, section, table = assign_weights([("a", A), ("b", B), ("a2", A), ("c", C)])
    assert offsets == {"a": 0, "b": 32, "a2": 0, "c": 48}
    assert section == A + bytes(12) + B + C + bytes(15)
    assert [(e.name, e.offset, e.size) for e in table.entries] == [
        ("a", 0, 20), ("b", 32, 16), ("a2", 0, 20), ("c", 48, 1),
    ]  # fmt: skip
    assert table.entries[1].md5 == hashlib.md5(B).hexdigest()


def test_second_batch_size_gives_the_same_section_and_map():
    items = [("a", A), ("b", B), ("c", C)]
    offsets, section, table = assign_weights(items)
    assert assign_weights(reversed(items), table) == (offsets, section, table)


def test_second_network_gets_holes_and_appends():
    _, _, table = assign_weights([("a", A), ("b", B)])
    offsets, section, both = assign_weights([("other", B), ("new", C)], table)
    assert offsets == {"other": 32, "new": 48}
    assert section == bytes(32) + B + C + bytes(15)
    assert both.entries[:2] == table.entries and len(table.entries) == 2
    assert [e.name for e in both.entries[2:]] == ["other", "new"]


def test_new_constants_start_aligned_behind_the_map():
    existing = WeightMap([Entry("x", 16, "0" * 32, 21)])
    assert assign_weights([("a", A)], existing)[0] == {"a": 48}


def test_same_bytes_of_another_size_are_not_shared():
    offsets, section, _ = assign_weights([("z1", bytes(16)), ("z2", bytes(17)), ("e", b"")])
    assert offsets == {"z1": 0, "z2": 16, "e": 48} and section == bytes(48)


def test_one_name_for_two_constants_is_refused():
    assert assign_weights([("a", A), ("a", A)])[0] == {"a": 0}
    with pytest.raises(UserInputError, match="called 'a'"):
        assign_weights([("a", A), ("a", B)])


def test_every_constant_is_where_the_map_says():
    generator = random.Random(2)
    items = [(f"w{i}", generator.randbytes(generator.randint(1, 70))) for i in range(200)]
    items += [(f"v{i}", items[generator.randrange(200)][1]) for i in range(50)]
    offsets, section, table = assign_weights(items)
    for name, data in items:
        assert offsets[name] % 16 == 0
        assert section[offsets[name] : offsets[name] + len(data)] == data
    assert len(table.entries) == 250
    spans = sorted({(e.offset, e.offset + e.size) for e in table.entries})
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_text():
    text = "r2_Relu_filter_reordered,0x00000170,c876d52e77099e3630fce1f6ebedb22b,4608\n"
    table = parse(text)
    assert table.entries == [
        Entry("r2_Relu_filter_reordered", 0x170, "c876d52e77099e3630fce1f6ebedb22b", 4608)
    ]
    assert render(table) == text
    assert parse(text.replace("\n", "\r\n") + "\n").entries == table.entries
    assert parse("") == WeightMap() and render(WeightMap()) == ""


def test_text_is_in_order_of_offset_and_names_may_have_commas():
    table = WeightMap([Entry("b,1", 32, "1" * 32, 4), Entry("a", 0, "2" * 32, 20)])
    assert render(table).splitlines() == [
        f"a,0x00000000,{'2' * 32},20",
        f"b,1,0x00000020,{'1' * 32},4",
    ]
    assert parse(render(table)).entries == [table.entries[1], table.entries[0]]


@pytest.mark.parametrize(
    "line",
    [
        "a,0x0,123,4",
        "a",
        "a,12," + "0" * 32 + ",4",
        "a,0x10," + "0" * 32 + ",-4",
        "a,0xfffffff0," + "0" * 32 + ",4",
        "a,0x10," + "0" * 32 + ",9999999999",
    ],
)
def test_bad_lines_are_named(line):
    good = f"a,0x00000000,{'0' * 32},4\n"
    with pytest.raises(UserInputError, match=r"map\.csv, line 2: "):
        parse(good + line + "\n", "map.csv")


def test_chip_is_a_comment_and_comments_are_skipped():
    table = WeightMap([Entry("#a", 0, "1" * 32, 4)], "cv181x")
    text = render(table)
    assert text.splitlines()[0] == "# chip: cv181x" and parse(text) == table
    assert parse("# anything\n" + text.split("\n", 1)[1]) == WeightMap(table.entries)
    assert assign_weights([("b", B)], table)[2].chip == "cv181x"


def test_stored_bytes_are_the_key():
    """A map of the vendor's, whose md5 may be of anything: what lies there counts."""
    items = [("a", A), ("b", B)]
    offsets, section, table = assign_weights(items)
    foreign = WeightMap([Entry(e.name, e.offset, "0" * 32, e.size) for e in table.entries])
    assert rekeyed(foreign, section).entries == table.entries
    assert assign_weights(items, rekeyed(foreign, section))[0] == offsets
    assert assign_weights(items, foreign)[0] != offsets


def test_stored_bytes_of_another_map_are_refused():
    _, section, table = assign_weights([("a", A), ("b", B)])
    with pytest.raises(UserInputError, match=r"w\.bin: ends before 'b' \(16 bytes at 0x20\)"):
        rekeyed(table, section[:40], "w.bin")
    table.chip = "cv183x"
    assert rekeyed(table, section) == table
    with pytest.raises(UserInputError, match="has other bytes for 'a'"):
        rekeyed(table, bytes([section[0] ^ 1]) + section[1:])


def test_bytes_of_all_models():
    """What only an earlier model has stays; the section of the later one has zeros there."""
    _, first, table = assign_weights([("a", A), ("b", B)])
    offsets, second, both = assign_weights([("other", B), ("new", C)], table)
    places = [(offsets["other"], len(B)), (offsets["new"], len(C))]
    whole = overlaid(second, places, first)
    assert whole == A + bytes(12) + B + C + bytes(15)
    assert rekeyed(both, whole).entries == both.entries
    assert overlaid(second, places) == second
