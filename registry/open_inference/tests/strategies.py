"""Tensors for tests with hypothesis."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from hypothesis import strategies as st

from registry.open_inference.json_data import Scalar
from registry.open_inference.tensors import Tensor
from registry.signatures.signature import DTYPES

_FLOAT_WIDTHS: Mapping[str, Literal[16, 32, 64]] = {"FP16": 16, "FP32": 32, "FP64": 64}


def values_of(datatype: str) -> st.SearchStrategy[Scalar]:
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        return st.none() | st.floats(
            width=_FLOAT_WIDTHS[datatype], allow_nan=False, allow_infinity=False
        )
    if dtype.kind in "iu":
        return st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if dtype.kind == "b":
        return st.booleans()
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Tensors of any datatype with up to 81 values."""
    datatype = draw(st.sampled_from(list(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    size = math.prod(shape)
    values = draw(st.lists(values_of(datatype), min_size=size, max_size=size))
    return Tensor("x", datatype, shape, values)
