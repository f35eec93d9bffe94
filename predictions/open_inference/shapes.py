"""Whether the answers of a request fit into one tensor per output. No ORM."""

from collections.abc import Sequence

from predictions.open_inference.selection import Selection
from predictions.serving.answers import Answer, output_values, targets_of
from registry.open_inference.binary import TensorError
from registry.signatures.signature import Output, Signature


def may_differ(output: Output) -> bool:
    """Whether the shape of the output may be another in each row: a label and its probabilities
    have the same in all, and so have single values.
    """
    return output.kind == "value" and len(output.shape) > 1


def require_one_shape(
    answers: Sequence[Answer], signature: Signature, selected: Sequence[Selection]
) -> None:
    """Raise TensorError if a selected output has another shape in one row than in another.

    A detector finds another number of objects in each image: the rows of a tensor cannot differ.
    """
    targets = targets_of(signature.outputs)
    wanted = {item.output.name for item in selected}
    for target in targets:
        output = target[0]
        if output.name not in wanted or not may_differ(output):
            continue
        rows = [output_values(answer, target, len(targets))[0] for answer in answers]
        _require_same(output, [_shape_of(row) for row in rows])


def _require_same(output: Output, shapes: Sequence[tuple[int, ...]]) -> None:
    for place, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise TensorError(
                f"rows[{place}]: '{output.name}' has the shape {list(shape)}, but"
                f" {list(shapes[0])} in rows[0], and a tensor needs rows of one shape; send these"
                " rows in requests of their own, or leave the output out"
            )


def _shape_of(value: object) -> tuple[int, ...]:
    sizes: list[int] = []
    while isinstance(value, list):
        sizes.append(len(value))
        value = value[0] if value else None
    return tuple(sizes)
