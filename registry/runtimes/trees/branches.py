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


def check_indexes(indexes: np.ndarray, size: int, otherwise: str) -> None:
    """Check that each index is one of `size` places."""
    require(((indexes >= 0) & (indexes < size)).all(), otherwise)
