"""Checks the trees in a LightGBM text before LightGBM reads it. No Django here.

Even writing a loaded model back follows the numbers of its features. So the text is checked, and
has to be as LightGBM writes it: one that LightGBM would read differently, by its offsets or with
repeated names, is refused.

Source: `Tree::Tree` in src/io/tree.cpp and `LoadModelFromString` in
src/boosting/gbdt_model_text.cpp of microsoft/LightGBM.
"""

import re
from itertools import pairwise

import numpy as np

from registry.runtimes.base import LoadError
from registry.runtimes.trees.branches import check_branches, check_indexes, require

_IS_CATEGORICAL = 1
# LightGBM reads no more lines of a tree.
_MAX_TREE_LINES = 22
_INTEGERS = re.compile(r"[-0-9 ]*")
_CLASSES = re.compile(r"num_class:(\d+)")
_WRONG_FEATURE = "a tree for another number of features"
_WRONG_CATEGORY = "a tree with an invalid category"
_WRONG_SIZE = "a tree of the wrong size"


def check_text(text: str) -> None:
    """Raise LoadError if a prediction could leave the memory of the model, or never end."""
    try:
        start = text.index("\nTree=") + 1
        header = dict(line.partition("=")[::2] for line in text[:start].split("\n"))
        trees = _split_trees(text[start:], header.get("tree_sizes"))
        _check_header(header, len(trees))
        width = _integer(header["max_feature_idx"]) + 1
        for tree in trees:
            _check_tree(_fields(tree), width)
    except (KeyError, ValueError, OverflowError) as error:
        raise LoadError(f"the trees of the LightGBM model cannot be checked: {error}") from error


def _split_trees(text: str, sizes: str | None) -> list[str]:
    """The text of each tree, up to its first empty line."""
    require(text.isascii() and "\0" not in text and "\r" not in text, "unusual characters")
    end = text.find("\nend of trees\n")
    text = text if end < 0 else text[: end + 1]
    starts = [0, *(match.start() + 1 for match in re.finditer("\nTree=", text))]
    if sizes is not None:
        # LightGBM finds each tree by the sizes of those before it.
        expected = np.cumsum([0, *_integers(sizes)])[:-1]
        require(expected.tolist() == starts, "trees of other sizes than it says")
    return [text[start:end].partition("\n\n")[0] for start, end in pairwise([*starts, len(text)])]


def _fields(tree: str) -> dict[str, str]:
    _, *lines = tree.removesuffix("\n").split("\n")
    fields = dict(line.split("=", 1) for line in lines)
    require(len(fields) == len(lines) <= _MAX_TREE_LINES, "a tree with repeated lines")
    return fields


def _check_header(header: dict[str, str], n_trees: int) -> None:
    n_classes, n_columns = _integer(header["num_class"]), _integer(header["num_tree_per_iteration"])
    require(
        n_classes >= 1 and n_columns >= 1 and n_trees % n_columns == 0,
        "trees for another number of classes",
    )
    # The objective writes that many values into a row of n_columns.
    if match := _CLASSES.search(header.get("objective", "")):
        require(int(match[1]) == n_columns == n_classes, "an objective for other classes")


def _check_tree(tree: dict[str, str], width: int) -> None:
    n_leaves = _integer(tree["num_leaves"])
    require(n_leaves >= 1 and _count(tree["leaf_value"]) == n_leaves, _WRONG_SIZE)
    if _integer(tree.get("is_linear", "0")):
        _check_linear_leaves(tree, n_leaves, width)
    if n_leaves == 1:
        return
    n_nodes = n_leaves - 1
    left, right, features = (
        _integers(tree[name]) for name in ("left_child", "right_child", "split_feature")
    )
    require(len(left) == len(right) == len(features) == n_nodes, _WRONG_SIZE)
    children = np.concatenate([left, right])
    # A leaf is written as the complement of its number.
    check_branches(children[children >= 0], n_nodes)
    check_indexes(~children[children < 0], n_leaves, "a tree with an invalid leaf")
    check_indexes(features, width, _WRONG_FEATURE)
    _check_categories(tree, n_nodes)


def _check_categories(tree: dict[str, str], n_nodes: int) -> None:
    """A split by category has, in place of a threshold, the number of its set of categories."""
    require(_count(tree["threshold"]) == n_nodes, _WRONG_SIZE)
    if "decision_type" not in tree:
        return
    kinds = _integers(tree["decision_type"])
    require(len(kinds) == n_nodes, _WRONG_SIZE)
    by_category = np.flatnonzero(kinds & _IS_CATEGORICAL)
    if not len(by_category):
        return
    n_sets, thresholds = _integer(tree["num_cat"]), tree["threshold"].split()
    sets = _integers(" ".join(thresholds[node] for node in by_category))
    boundaries = _integers(tree["cat_boundaries"])
    check_indexes(sets, n_sets, _WRONG_CATEGORY)
    require(
        len(boundaries) == n_sets + 1
        and boundaries[0] >= 0
        and (np.diff(boundaries) >= 0).all()
        and boundaries[-1] <= _count(tree["cat_threshold"]),
        _WRONG_CATEGORY,
    )


def _check_linear_leaves(tree: dict[str, str], n_leaves: int, width: int) -> None:
    counts, features = _integers(tree["num_features"]), _integers(tree["leaf_features"])
    require(
        len(counts) == _count(tree["leaf_const"]) == n_leaves
        and (counts >= 0).all()
        and counts.sum() == len(features) == _count(tree["leaf_coeff"]),
        "linear leaves of the wrong size",
    )
    check_indexes(features, width, _WRONG_FEATURE)


def _count(numbers: str) -> int:
    return len(numbers.split())


def _integer(text: str) -> int:
    (number,) = _integers(text)
    return int(number)


def _integers(text: str) -> np.ndarray:
    # Python takes more for an integer than LightGBM does, such as 1_000.
    if not _INTEGERS.fullmatch(text):
        raise ValueError(f"{text[:100]!r} are not integers")
    return np.array(text.split(), dtype=np.int64)
