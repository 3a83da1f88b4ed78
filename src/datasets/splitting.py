"""Which picture goes into which part: drawn one by one as published, by groups, around a given test part."""

import logging
import re

import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from src.config import PUBLISHED_HELD_BACK
from src.datasets.layouts import is_in_test_folder
from src.running.messages import quote

logger = logging.getLogger(__name__)

FIFTHS = 5  # three of them train, one validates, one tests: the published shares


def find_groups(names: pd.Series, pattern: str) -> pd.Series:
    """Returns what the pattern finds in each name: its groups, joined, or the whole match without any.

    A name in which it finds nothing is a group of its own; a warning says how many there are.

    Args:
        names: of the pictures, with their folders.
        pattern: a regular expression, such as `person[0-9]+`.

    Raises:
        ValueError: it is no regular expression, or finds nothing in any name.
    """
    try:
        matches = names.map(re.compile(pattern).search)
    except re.error as error:
        raise ValueError(f"group_pattern {quote(pattern)} is no regular expression: {error}") from error
    found = matches.notna()
    if not found.any():
        example = quote(names.iloc[0])
        raise ValueError(f"group_pattern {quote(pattern)} finds nothing in any name, such as {example}")
    if not found.all():
        example = quote(names[~found].iloc[0])
        logger.warning(
            "group_pattern finds nothing in %d names, such as %s: each for itself", (~found).sum(), example
        )
    groups = names.map("alone: {}".format)
    groups[found] = matches[found].map(lambda match: " ".join(map(str, match.groups() or [match[0]])))
    return groups


def draw_parts(
    used: pd.DataFrame, seed: int, group_pattern: str = "", keep_test_folder: bool = False
) -> pd.DataFrame:
    """Returns the column `split` (train, validation, test) and, with a pattern, the column `group`.

    One by one, as published: 40 % are taken off, stratified by category, then that is halved. By groups: a
    fifth of the pictures tests and a fifth validates, as nearly as whole groups allow, stratified likewise.
    With the test folder kept a quarter of all other pictures validates.

    Args:
        used: rows of the features table, sorted by name.
        seed: random state of all draws.
        group_pattern: as of `find_groups`; pictures of one group come into one part.
        keep_test_folder: whether the pictures below a folder named test are the test part.

    Raises:
        ValueError: there is no test folder, there are too few groups, or a part would lack a class.
    """
    category = used["category"]
    groups = find_groups(used["image_name"], group_pattern) if group_pattern else None
    parts = pd.Series("train", used.index)
    if keep_test_folder:
        given = used["image_name"].map(is_in_test_folder).astype(bool)
        if not given.any():
            raise ValueError("keep_test_folder: no picture lies below a folder named test; set it to False")
        parts[given] = "test"
        if groups is not None and (both := set(groups[given]) & set(groups[~given])):
            example = quote(min(both))
            logger.warning("%d groups are in the test folder and outside, such as %s", len(both), example)
    elif groups is not None:
        parts[_draw_groups(category, groups, FIFTHS, seed)] = "test"
    if groups is not None:
        rest = parts == "train"
        parts[_draw_groups(category[rest], groups[rest], FIFTHS - 1, seed)] = "validation"
    elif keep_test_folder:
        parts[_draw(category[~given], 1 / (FIFTHS - 1), seed)] = "validation"
    else:
        held_back = _draw(category, PUBLISHED_HELD_BACK, seed)
        parts[held_back] = "validation"
        parts[_draw(category[held_back], 0.5, seed)] = "test"
    for name in ("train", "validation", "test"):
        found = sorted(category[parts == name].unique())
        if len(found) < category.nunique():
            raise ValueError(
                f"the {name} part would hold {', '.join(map(quote, found)) or 'no class'} alone; set "
                "keep_test_folder to False, or group_pattern to what makes smaller groups"
            )
    columns = {"split": parts} if groups is None else {"split": parts, "group": groups}
    return pd.DataFrame(columns)


def _draw(category: pd.Series, share: float, seed: int) -> pd.Index:
    """Returns the rows of a share of the pictures, stratified."""
    return train_test_split(category.index, test_size=share, stratify=category, random_state=seed)[1]


def _draw_groups(category: pd.Series, groups: pd.Series, folds: int, seed: int) -> pd.Index:
    """Returns the rows of one of so many folds of whole groups, stratified as nearly as they allow."""
    number = groups.nunique()
    if number < folds:
        raise ValueError(
            f"group_pattern finds {number} groups in {len(groups)} pictures; it takes {folds} to divide them"
        )
    folding = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return category.index[next(folding.split(category, category, groups))[1]]
