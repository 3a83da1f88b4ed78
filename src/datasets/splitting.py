"""Assigns pictures to parts: drawn one by one as published, by group, or around a given test part."""

import logging

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from src.config import PUBLISHED_HELD_BACK
from src.datasets.listing import LEFT_OUT, USED, rows_in_test_folder
from src.datasets.patterns import compile_pattern, find_text, name_class
from src.running.messages import quote

logger = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
FIFTHS = 5  # three for training, one for validation, one for test: the published shares
DRAWS = 200  # random draws of groups; the best one is used
RARE = 0.1  # share of a class, below which accuracy says little about it


def find_groups(names: pd.Series, pattern: str) -> pd.Series:
    """Returns the group of each name: what the pattern finds in it, see `patterns.find_text`.

    A name in which it finds nothing, or an empty text, forms a group of its own; a warning says how many do.

    Args:
        names: of the pictures, including their folders.
        pattern: a regular expression, such as `person[0-9]+`.

    Raises:
        ValueError: the pattern is not a valid regular expression, or finds nothing in any name.
    """
    expression = compile_pattern(pattern, "group_pattern", "the split")
    texts = names.map(lambda name: find_text(expression, name))
    found = texts != ""
    if not found.any():
        example = quote(names.iloc[0])
        raise ValueError(f"group_pattern {quote(pattern)} finds nothing in any name, such as {example}")
    if not found.all():
        example = quote(names[~found].iloc[0])
        logger.warning(
            "group_pattern finds nothing in %d names, such as %s: each is its own group",
            (~found).sum(),
            example,
        )
    return texts.where(found, names.map("alone: {}".format))


def draw_parts(used: pd.DataFrame, seed: int, group_pattern: str, keep_test_folder: bool) -> pd.DataFrame:
    """Returns the columns `split` (train, validation, test), `status`, `reason` and, with a pattern, `group`.

    One by one, as published: 40 % are held back, stratified by category, then halved. By group: a fifth of
    each class goes to test and a fifth to validation, as closely as whole groups allow. If the test folder is
    kept, a quarter of all other pictures goes to validation; any that share a group with a test picture are
    left out, as `status` and `reason` say.

    Args:
        used: the used rows of the features table, sorted by name.
        seed: random state of all draws.
        group_pattern: see `find_groups`; all pictures of a group go into the same part.
        keep_test_folder: whether the pictures below a folder named test form the test part.

    Raises:
        ValueError: there is no test folder, there are too few groups, a part would lack a class, or the
            pattern is not a valid regular expression or finds nothing.
    """
    category = used["category"]
    groups = find_groups(used["image_name"], group_pattern) if group_pattern else None
    parts = used.assign(split="train")[["split", "status", "reason"]]
    remedies = ["set keep_test_folder to False"] * keep_test_folder
    remedies += ["give a group_pattern of smaller groups"] * (groups is not None)
    remedy = ", or ".join(remedies)
    if keep_test_folder:
        given = rows_in_test_folder(used)
        if not given.any():
            raise ValueError(
                "keep_test_folder: no labelled picture that can be used lies below a folder named test; set "
                "it to False"
            )
        parts.loc[given, "split"] = "test"
        if groups is not None:
            _leave_out_tested(parts, groups, given)
    elif groups is not None:
        parts.loc[_draw_groups(category, groups, 1 / FIFTHS, 2, seed), "split"] = "test"
    rest = parts["split"] == "train"
    counts = category[rest].value_counts().reindex(sorted(category.unique()), fill_value=0)
    if counts.min() < 2 or counts.sum() < FIFTHS:  # a quarter of 4 is one picture
        raise ValueError(
            f"the test part leaves too few pictures for the others ({counts.to_dict()}): {remedy}"
        )
    _warn_rare(counts / counts.sum())
    if groups is not None:
        validation = _draw_groups(category[rest], groups[rest], 1 / (FIFTHS - 1), 1, seed)
    elif keep_test_folder:
        validation = _draw(category[rest], 1 / (FIFTHS - 1), seed)
    else:
        held_back = _draw(category, PUBLISHED_HELD_BACK, seed)
        test = _draw(category[held_back], 0.5, seed)
        validation = held_back.difference(test)
        parts.loc[test, "split"] = "test"
    parts.loc[validation, "split"] = "validation"
    for name in PARTS:
        found = sorted(category[parts["split"] == name].unique())
        if len(found) < category.nunique():
            alone = ", ".join(map(quote, found))
            raise ValueError(f"the {name} part would hold {alone} alone: {remedy}")
    return parts if groups is None else parts.assign(group=groups)


def add_groups(predictions: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Returns predictions with the column `group` if the features table has it, otherwise without."""
    predictions = predictions.drop(columns="group", errors="ignore")
    if "group" not in features:
        return predictions
    return predictions.merge(features[["image_name", "group"]], on="image_name", validate="1:1")


def set_positive_class(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Returns the features table with the class of that name, in any case, as code 1; "" changes nothing.

    Raises:
        ValueError: no used picture is of that class.
    """
    if not name:
        return table
    classes = sorted(set(table.loc[table["status"] == USED, "category"]))
    if name_class(name) not in classes:
        raise ValueError(f"positive_class is {quote(name)}; give one of {', '.join(map(quote, classes))}")
    codes = table["category"].map({category: int(category == name_class(name)) for category in classes})
    return table.assign(code=codes.astype("Int64"))


def class_balance(table: pd.DataFrame) -> pd.DataFrame:
    """Returns file counts with `split` as rows and `category` as columns; no split counts as "left out"."""
    counts = pd.crosstab(table["split"].replace("", "left out"), table["category"].replace("", "unlabelled"))
    parts = [part for part in (*PARTS, "left out") if part in counts.index]
    return counts.loc[parts, sorted(counts, key=lambda category: category == "unlabelled")]  # that last


def groups_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per part of a table split by group: groups, pictures, largest group and its size."""
    rows = {}
    for part in PARTS:
        sizes = table.loc[table["split"] == part, "group"].value_counts()
        largest = {"largest_group": sizes.index[0], "its_size": sizes.iloc[0]}
        rows[part] = {"groups": len(sizes), "pictures": sizes.sum(), **largest}
    return pd.DataFrame.from_dict(rows, orient="index")


def _warn_rare(shares: pd.Series) -> None:
    """Logs a warning if a class has a small share of the pictures to learn from."""
    if shares.min() < RARE:
        logger.warning(
            "%s are only %.1f %% of the pictures to learn from: always predicting %s is right for the others."
            " objective = 'val_log_loss' makes the search judge probabilities, not only right and wrong",
            shares.idxmin(),
            100 * shares.min(),
            shares.idxmax(),
        )


def _leave_out_tested(parts: pd.DataFrame, groups: pd.Series, given: pd.Series) -> None:
    """Leaves out the pictures outside the given test part that share a group with it."""
    tested = ~given & groups.isin(groups[given])
    if tested.any():
        logger.warning("%d pictures outside the test folder belong to its groups: left out", tested.sum())
    parts.loc[tested, ["split", "status"]] = ["", LEFT_OUT]
    parts.loc[tested, "reason"] = groups[tested].map("its group is in the test folder: {}".format)


def _draw(category: pd.Series, share: float, seed: int) -> pd.Index:
    """Returns the rows of a stratified random share of the pictures."""
    return train_test_split(category.index, test_size=share, stratify=category, random_state=seed)[1]


def _draw_groups(category: pd.Series, groups: pd.Series, share: float, others: int, seed: int) -> pd.Index:
    """Returns the rows of whole groups, as close to that share of each class as the best of `DRAWS` comes.

    Each class is among them and left for as many other parts, if that is possible.
    """
    counts = pd.crosstab(groups, category)
    if len(counts) * share < 1:
        raise ValueError(
            f"group_pattern makes too few groups ({len(counts)}) of {len(groups)} pictures to divide them: "
            f"it takes {round(1 / share)}"
        )
    random, found = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        order = random.permutation(len(counts))
        shares = counts.to_numpy()[order].cumsum(axis=0) / counts.to_numpy().sum(axis=0)
        errors = np.square(shares[:-1] - share).sum(axis=1)  # after each group, in this order
        have = (counts.to_numpy()[order] > 0).cumsum(axis=0)  # groups with each class
        errors[((have < 1) | (have[-1] - have < others)).any(axis=1)[:-1]] += 2  # no error is that large
        found.append((errors.min(), order[: errors.argmin() + 1]))
    best = min(found, key=lambda draw: draw[0])[1]
    return category.index[groups.isin(counts.index[best])]
