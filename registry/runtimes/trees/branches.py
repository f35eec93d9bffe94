"""The check that every library's trees have in common. No Django here.

Libraries follow the numbers of children and features in a file without looking: a wrong one loops
forever, or ends the process, at the first row that gets there.
"""

import numpy as np

from registry.runtimes.base import LoadError


def require(is_valid: object, otherwise: str) -> None:
    """Raise LoadError, naming what is wrong with the file, unless the condition holds."""
    if not is_valid:
        raise LoadError(f"the file is damaged: it contains {otherwise}. Export the model again")


def check_branches(children: np.ndarray, n_nodes: int) -> None:
    """Check the inner nodes that are children in one tree, whose root is node 0.

    No node has two parents, and the root has none. So a walk from the root meets no node twice:
    the first node of a circle would have one parent outside and one inside of it.
    """
    require(
        ((children > 0) & (children < n_nodes)).all()
        and (np.bincount(children, minlength=1) <= 1).all(),
        "a tree with an invalid branch",
    )


def check_no_circle(is_inner: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Check a tree whose nodes may have several parents, as converters write sets of categories.

    `left` and `right` are the children of the inner nodes, in their order. Each round accepts the
    nodes whose children have been accepted; those of a circle never are.
    """
    accepted = ~is_inner
    pending = np.flatnonzero(is_inner)
    while len(pending):
        is_ready = accepted[left] & accepted[right]
        require(is_ready.any(), "a tree with an invalid branch")
        accepted[pending[is_ready]] = True
        pending, left, right = pending[~is_ready], left[~is_ready], right[~is_ready]


def check_indexes(indexes: np.ndarray, size: int, otherwise: str) -> None:
    """Check that each index is one of `size` places."""
    require(((indexes >= 0) & (indexes < size)).all(), otherwise)
