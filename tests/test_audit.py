"""No picture stands on both sides of the split, and no different pictures are taken for one."""

import logging

import numpy as np
import pandas as pd
import pytest

from src.datasets.audit import (
    NEAR_BITS,
    audit_table,
    copies_across,
    drop_extreme_aspect,
    leave_out_duplicates,
    left_out,
    mark_duplicates,
)


def flip_bits(code: str, number: int) -> str:
    """Returns the hash with its first bits changed."""
    return f"{int(code, 16) ^ ((1 << number) - 1 << 256 - number):064x}"


def random_hash(seed: int) -> str:
    return np.random.default_rng(seed).bytes(32).hex()


def make_table(**rows: tuple[str, str, str]) -> pd.DataFrame:
    """Returns a table of the given category, content hash and perceptual hash a name."""
    table = pd.DataFrame.from_dict(rows, "index", columns=["category", "content_hash", "perceptual_hash"])
    return table.assign(status="used", reason="").rename_axis("image_name").reset_index()


def marks(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["image_name"], table["duplicate_of"], strict=True))


def statuses(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    return {row.image_name: (row.status, row.reason) for row in table.itertuples()}


def test_the_same_bytes_make_a_group_named_after_its_first():
    table = make_table(c=("cat", "1", ""), a=("cat", "1", ""), b=("cat", "2", ""))
    assert marks(mark_duplicates(table)) == {"c": "a", "a": "a", "b": ""}


@pytest.mark.parametrize(("bits", "same"), [(0, True), (NEAR_BITS, True), (NEAR_BITS + 1, False)])
def test_near_duplicates_are_those_within_the_stated_bits(bits, same):
    code = random_hash(0)
    table = make_table(
        a=("cat", "1", code), b=("cat", "2", flip_bits(code, bits)), c=("cat", "3", random_hash(1))
    )
    assert marks(mark_duplicates(table)) == {"a": "a" if same else "", "b": "a" if same else "", "c": ""}


def test_exact_and_near_links_join_one_group():
    code = random_hash(0)
    table = make_table(
        a=("cat", "1", code), b=("cat", "2", flip_bits(code, 30)), c=("cat", "2", random_hash(5)),
        d=("cat", "4", flip_bits(code, 60)),
    )  # fmt: skip
    assert marks(mark_duplicates(table)) == dict.fromkeys("abcd", "a")


def test_of_copies_the_one_in_a_kept_test_folder_stays():
    names = ["Train/Cat/1.jpg", "test/Cat/9.jpg", "test_set/Cat/1.jpg"]
    table = make_table(**{name: ("cat", "1", "") for name in names})
    assert set(mark_duplicates(table)["duplicate_of"]) == {"Train/Cat/1.jpg"}
    kept = mark_duplicates(table, keep_test_folder=True)
    assert set(kept["duplicate_of"]) == {"test/Cat/9.jpg"}
    assert statuses(leave_out_duplicates(kept))["test/Cat/9.jpg"] == ("used", "")


def test_pictures_without_contrast_or_left_out_are_no_duplicates():
    table = make_table(a=("cat", "1", ""), b=("dog", "2", ""), c=("cat", "9", ""), d=("cat", "9", ""))
    table.loc[2:, "status"] = "left out"
    assert set(marks(mark_duplicates(table)).values()) == {""}


def test_pairs_are_found_across_blocks_of_a_big_table():
    number = 3000
    rows = {f"{index:04d}": ("cat", str(index), random_hash(index)) for index in range(number)}
    rows["zzzz"] = ("cat", "z", flip_bits(random_hash(1234), 7))
    found = mark_duplicates(make_table(**rows))
    assert {name: mark for name, mark in marks(found).items() if mark} == {"1234": "1234", "zzzz": "1234"}


def test_one_of_a_group_stays_whatever_the_order_of_rows():
    table = make_table(
        b=("cat", "1", ""), a=("cat", "1", ""), c=("cat", "1", ""), d=("dog", "2", ""), e=("dog", "3", "")
    )
    marked = mark_duplicates(table.sample(frac=1, random_state=1))
    assert statuses(leave_out_duplicates(marked)) == {
        "a": ("used", ""),
        "b": ("left out", "duplicate of a"),
        "c": ("left out", "duplicate of a"),
        "d": ("used", ""),
        "e": ("used", ""),
    }
    assert (marked["status"] == "used").all()


def test_the_same_picture_under_both_labels_leaves_all_of_it_out():
    table = make_table(a=("cat", "1", ""), b=("cat", "1", ""), c=("dog", "1", ""), d=("dog", "2", ""))
    assert statuses(leave_out_duplicates(mark_duplicates(table))) == {
        "a": ("left out", "both labels: the same picture is dog in c"),
        "b": ("left out", "both labels: the same picture is dog in c"),
        "c": ("left out", "both labels: the same picture is cat in a"),
        "d": ("used", ""),
    }


def test_so_many_copies_that_they_may_be_none_are_told(caplog):
    """Of a hundred pictures five are copies, then six."""
    for copies in (5, 6):
        rows = {f"{n:03d}": ("cat", "0" if n <= copies else str(n), "") for n in range(100)}
        caplog.clear()
        leave_out_duplicates(mark_duplicates(make_table(**rows)))
        assert bool(caplog.text) == (copies == 6)
    assert "6 of 100 pictures are left out as copies of others, 6 byte for byte: look" in caplog.text
    assert "leave_out_duplicates = False keeps them" in caplog.text
    both = {f"{n:02d}": (("cat", "dog")[n < 4], str(n % 4), "") for n in range(8)}
    leave_out_duplicates(mark_duplicates(make_table(**both)))
    assert "8 of 8 pictures are left out as copies of others, 8 byte for byte" in caplog.text
    caplog.clear()
    leave_out_duplicates(mark_duplicates(make_table(**{name: rows[name] for name in list(rows)[5:]})))
    assert caplog.text == ""


def test_leaving_out_without_marks_is_refused():
    with pytest.raises(ValueError, match="mark_duplicates"):
        leave_out_duplicates(make_table(a=("cat", "1", "")))


def shapes(*ratios: float) -> pd.DataFrame:
    names = [f"{index}.jpg" for index in range(len(ratios))]
    return pd.DataFrame({"image_name": names, "aspect_ratio": ratios, "status": "used", "reason": ""})


def test_the_smallest_aspect_ratios_of_used_pictures_are_left_out():
    table = shapes(1.0, 0.3, 0.1, 0.2, 0.05)
    table.loc[4, ["status", "reason"]] = ["left out", "zero bytes"]
    result = drop_extreme_aspect(table, 2)
    assert list(result.index[result["status"] == "used"]) == [0, 1]
    assert result.loc[2, "reason"] == "extreme aspect ratio: 0.100"
    assert result.loc[4, "reason"] == "zero bytes"


def test_none_is_left_out_where_a_tie_makes_it_arbitrary(caplog):
    with caplog.at_level(logging.WARNING):
        result = drop_extreme_aspect(shapes(0.1, 0.2, 0.2, 1.0), 2)
    assert (result["status"] == "used").all()
    assert "arbitrary" in caplog.text
    # The tie is inside: both go, nothing is arbitrary.
    assert (drop_extreme_aspect(shapes(0.1, 0.2, 0.2, 1.0), 3)["status"] == "left out").sum() == 3


def test_none_is_left_out_and_nothing_said_where_none_was_asked_for(caplog):
    """Of pictures that are all square, or of which none is left, too."""
    assert (drop_extreme_aspect(shapes(1.0, 1.0), 0)["status"] == "used").all()
    assert drop_extreme_aspect(shapes(1.0).assign(status="left out"), 0)["reason"].tolist() == [""]
    assert caplog.text == ""


def test_numbers_that_make_no_sense_are_refused():
    for number in (-1, 2):
        with pytest.raises(ValueError, match=f"drop_extreme_aspect is {number}"):
            drop_extreme_aspect(shapes(0.1, 0.2), number)


def test_the_audit_counts_every_row_left_out_by_kind():
    table = shapes(1, 1, 1, 1, 1, 1)
    texts = [
        "duplicate of a.jpg",
        "duplicate of b: c\nd.jpg",
        "zero bytes",
        "too small: 1 x 1 pixels",
        "zero bytes",
    ]
    table.loc[1:, "reason"] = texts
    table.loc[1:, "status"] = "left out"
    assert audit_table(table).to_numpy().tolist() == [["duplicate", 2], ["zero bytes", 2], ["too small", 1]]
    assert list(audit_table(table)) == ["reason", "count"]
    assert len(left_out(table)) == 5
    assert audit_table(shapes(1.0)).empty


def test_what_only_looks_alike_under_both_labels_is_not_called_the_same_picture():
    code = random_hash(1)
    table = make_table(a=("cat", "1", code), b=("dog", "2", flip_bits(code, 20)))
    reasons = leave_out_duplicates(mark_duplicates(table))["reason"].tolist()
    assert reasons == [
        "both labels: one that looks alike is dog in b",
        "both labels: one that looks alike is cat in a",
    ]


def test_copies_that_are_kept_are_counted_where_they_lie_in_two_parts():
    table = pd.DataFrame({"duplicate_of": ["a", "a", "b", "b", "b", "", "c", "c"]})
    table["split"] = ["train", "test", "train", "train", "", "test", "validation", "train"]
    assert copies_across(table) == 4  # both of a, both of c; those of b that are used are in one part
