"""Problems of a data set whose files can all be read: duplicates and extreme shapes."""

import logging

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from src.datasets.listing import LEFT_OUT, USED, rows_in_test_folder
from src.running.messages import one_line

logger = logging.getLogger(__name__)

# Of the 256 bits of `perceptual_hash`. Re-saving, resizing, squashing and brightening changed at most 32 bits
# of 1,202 photographs of cats and dogs; any two different ones of 12,498 differed in at least 72.
NEAR_BITS = 40
MANY_COPIES = 0.05  # share of the pictures; more are unlikely to be an accident
HASH_WORDS = 4  # of 64 bits
BLOCK_ROWS = 256


def mark_duplicates(table: pd.DataFrame, keep_test_folder: bool = False) -> pd.DataFrame:
    """Returns the table with a column `duplicate_of`: the first picture of the group, by `image_name`.

    It is set for every member of a group, including the first, and "" for used pictures without duplicates
    and for rows left out. Pictures with the same bytes form a group, and so do those whose perceptual hashes
    differ in at most `NEAR_BITS` bits; two pictures similar to a third are in one group.

    Args:
        table: the features table.
        keep_test_folder: whether pictures in the data set's own test folder come before all others.
    """
    used = table[table["status"] == USED].sort_values("image_name")
    if keep_test_folder:
        used = used.loc[rows_in_test_folder(used).sort_values(ascending=False, kind="stable").index]
    pairs = [_pair_equal(used["content_hash"]), _pair_equal(used["perceptual_hash"])]
    group = _components(np.concatenate([*pairs, _pair_similar(used["perceptual_hash"])]), len(used))
    first, size = np.unique(group, return_index=True, return_counts=True)[1:]
    names = used["image_name"].to_numpy(object)
    table = table.assign(duplicate_of="")
    table.loc[used.index, "duplicate_of"] = np.where(size[group] > 1, names[first[group]], "")
    return table


def leave_out_duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with only one picture of each group of duplicates used, so that no group spans parts.

    A group with both labels is left out entirely, since nobody knows which is right. A warning is logged if
    there are so many copies that they may not be copies at all.

    Raises:
        ValueError: the table has no column `duplicate_of`.
    """
    if "duplicate_of" not in table:
        raise ValueError("the table has no column duplicate_of; call mark_duplicates first")
    members = table[(table["duplicate_of"] != "") & (table["status"] == USED)].sort_values("image_name")
    reasons = {}
    for kept, group in members.groupby("duplicate_of"):
        examples = group.drop_duplicates("category").set_index("category")["image_name"]
        if len(examples) == 1:
            copies = group.index[group["image_name"] != kept]
            reasons |= dict.fromkeys(copies, f"duplicate of {kept}")
            continue
        equal = (group["content_hash"] == group["content_hash"].iloc[0]).all()
        same = "the same picture is" if equal else "one that looks alike is"  # perhaps of one scene
        for row, category in group["category"].items():
            other = examples.drop(category)
            reasons[row] = f"both labels: {same} {other.index[0]} in {other.iloc[0]}"
    used = (table["status"] == USED).sum()
    if len(reasons) > MANY_COPIES * used:
        logger.warning(
            "%d of %d pictures are left out as copies of others, %d byte for byte: look at them below. Where"
            " the rest are different pictures of one scene leave_out_duplicates = False keeps them, and"
            " group_pattern in one part",
            len(reasons),
            used,
            members["content_hash"].duplicated(keep=False)[list(reasons)].sum(),
        )
    return _leave_out(table, reasons)


def drop_extreme_aspect(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """Returns the table with the widest used pictures (those of the smallest aspect ratios) left out.

    Args:
        table: the features table.
        number: how many to leave out; if a tie makes the choice arbitrary, none are.

    Raises:
        ValueError: the number is negative, or not smaller than the number of used pictures.
    """
    ratios = table.loc[table["status"] == USED, "aspect_ratio"].sort_values()
    if not 0 <= number < max(len(ratios), 1):
        raise ValueError(
            f"drop_extreme_aspect is {number}; give 0 to {len(ratios) - 1} pictures to leave out"
        )
    if number and ratios.iloc[number - 1] == ratios.iloc[number]:
        logger.warning(
            "no picture is left out for its shape: the %d smallest are arbitrary, %d have aspect ratio %.3f",
            number,
            (ratios == ratios.iloc[number]).sum(),
            ratios.iloc[number],
        )
        return table.copy()
    reasons = {row: f"extreme aspect ratio: {ratio:.3f}" for row, ratio in ratios[:number].items()}
    return _leave_out(table, reasons)


def left_out(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows that are not used, sorted by reason and name."""
    return table[table["status"] != USED].sort_values(["reason", "image_name"], ignore_index=True)


def audit_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how many files were left out per kind of reason; columns reason, count; most frequent first."""
    kinds = left_out(table)["reason"].str.split(":| of ", n=1, regex=True).str[0]
    counts = kinds.value_counts().rename_axis("reason").reset_index(name="count")
    return counts.sort_values(["count", "reason"], ascending=[False, True], ignore_index=True)


def describe_left_out(table: pd.DataFrame) -> str:
    """Returns a short summary of how many files were left out and why, with an example; "" if none were."""
    counts, rows = audit_table(table), left_out(table)
    if counts.empty:
        return ""
    words = ", ".join(f"{count:,} {reason}" for reason, count in counts.to_numpy()[:8])
    first = rows[rows["reason"].str.startswith(counts["reason"].iloc[0])].iloc[0]
    example = one_line(f"{first['image_name']} ({first['reason']})", 200)
    copies = {"both labels", "duplicate"} & set(counts["reason"])
    remedy = " (leave_out_duplicates = False keeps such copies)" * bool(copies)
    return f"; left out: {words}{remedy}, such as {example}"


def copies_across(table: pd.DataFrame) -> int:
    """Returns how many used pictures have a copy in another part of the split, which flatters its results."""
    copies = table[(table["split"] != "") & (table["duplicate_of"] != "")]
    return int((copies.groupby("duplicate_of")["split"].transform("nunique") > 1).sum())


def _leave_out(table: pd.DataFrame, reasons: dict) -> pd.DataFrame:
    """Returns the table with the rows in `reasons` (reason by index) left out."""
    table = table.copy()
    table.loc[list(reasons), "status"] = LEFT_OUT
    table.loc[list(reasons), "reason"] = list(reasons.values())
    return table


def _pair_equal(texts: pd.Series) -> np.ndarray:
    """Returns position pairs (first with the same text, this one) of all texts but "", shape (n, 2)."""
    texts = texts.to_numpy(object)
    first, code = np.unique(texts, return_index=True, return_inverse=True)[1:]
    return np.column_stack([first[code], np.arange(len(texts))])[texts != ""]


def _pair_similar(hashes: pd.Series) -> np.ndarray:
    """Returns pairs of positions that connect all hashes within `NEAR_BITS` of each other, shape (n, 2).

    Every hash is compared with every other: 312 million bit counts for 25,000 hashes, which takes a few
    seconds, in blocks of about 30 MB.
    """
    different, first = np.unique(hashes.to_numpy(object), return_index=True)
    first = first[different != ""]
    words = np.frombuffer(bytes.fromhex("".join(different)), np.uint64).reshape(-1, HASH_WORDS)
    pairs = [np.empty((0, 2), np.intp)]
    for start in range(0, len(words), BLOCK_ROWS):
        block = words[start : start + BLOCK_ROWS]
        bits = np.zeros((len(block), len(words) - start), "uint16")
        for word in range(HASH_WORDS):
            bits += np.bitwise_count(block[:, None, word] ^ words[None, start:, word])
        near = np.argwhere(bits <= NEAR_BITS) + start
        pairs.append(first[_span(near, len(words)) if len(near) > len(block) else near])
    return np.concatenate(pairs)


def _span(pairs: np.ndarray, number: int) -> np.ndarray:
    """Returns the fewest pairs that form the same groups, shape (m, 2): n - 1 for a group of n."""
    group = _components(pairs, number)
    first = np.unique(group, return_index=True)[1][group]
    return np.column_stack([first, np.arange(number)])[first != np.arange(number)]


def _components(pairs: np.ndarray, number: int) -> np.ndarray:
    """Returns the connected component of each of `number` items, shape (number,)."""
    graph = coo_array((np.ones(len(pairs), "int8"), tuple(pairs.T)), shape=(number, number))
    return connected_components(graph, directed=False)[1]
