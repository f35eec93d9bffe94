"""How rows are handed to a scikit-learn model. No Django here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow

from registry.signatures.signature import Input

Layout: TypeAlias = Literal["tensor", "table", "objects", "text"]
"""What the model takes: one float array, a table of named columns, an array of objects, or one
text per row.
"""


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """The inputs of a model, and the layout in which it takes its rows."""

    layout: Layout
    inputs: tuple[Input, ...]

    def arrange(self, arrays: Mapping[str, np.ndarray]) -> object:
        """The rows for the model, from one array (n, ...) for each input: an array, or a
        pyarrow.Table in the layout "table".
        """
        if self.layout == "tensor":
            return arrays["features"]
        if self.layout == "text":
            return arrays["text"]
        if self.layout == "table":
            return pyarrow.table(
                {
                    name: pyarrow.array(
                        column, pyarrow.string() if column.dtype == object else None
                    )
                    for name, column in arrays.items()
                }
            )
        names = [tensor.name for tensor in self.inputs]
        rows = np.empty((len(arrays[names[0]]), len(names)), dtype=object)
        for i, name in enumerate(names):
            rows[:, i] = arrays[name]
        return rows
