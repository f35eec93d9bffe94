"""Reads what a pickle would import and call, without importing or calling it. No Django here.

Python's own unpickler runs here with stand-ins for everything that a pickle imports. It follows the
pickle exactly, also where the name of an import is assembled at run time; a list of opcodes would
miss that.
"""

import _compat_pickle
import math
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

ARRAY_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
OLD_ARRAY_WRAPPERS = (
    "joblib.numpy_pickle_compat.NDArrayWrapper",
    "joblib.numpy_pickle.NDArrayWrapper",
    "joblib.numpy_pickle_compat.ZNDArrayWrapper",
    "joblib.numpy_pickle.ZNDArrayWrapper",
)
MAX_PREVIEW = 120
_DTYPE = re.compile(r"^[<>|=]?[a-zA-Z](\d+)$")


class StandIn:
    """Stands for whatever a pickle creates by calling something: remembers it and does nothing."""

    path = ""
    arguments: tuple[object, ...] = ()
    state: object = None
    log: "Log"

    def __new__(cls, *arguments: object, **named: object) -> "StandIn":
        instance = super().__new__(cls)
        instance.arguments = (*arguments, *named.values())
        cls.log.calls.setdefault(cls.path, instance.arguments)
        return instance

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __call__(self, *arguments: object, **named: object) -> "StandIn":
        """A pickle may call what it created, as `getattr(module, "name")` does."""
        return self.log.import_name(f"{self.path}(...)")(*arguments)

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        pass

    extend = add = update = append


@dataclass(slots=True)
class Log:
    """What a pickle imports, in order, and the arguments of the first call of each name."""

    names: dict[str, type[StandIn]] = field(default_factory=dict)
    calls: dict[str, tuple[object, ...]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def import_name(self, name: str) -> type[StandIn]:
        if name not in self.names:
            self.names[name] = type("StandIn", (StandIn,), {"path": name, "log": self})
        return self.names[name]


class Walker(pickle._Unpickler):
    """Follows one pickle in `file` and notes in `log` what it imports and calls."""

    # Python's own class sets it while it loads.
    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: BinaryIO, log: Log) -> None:
        super().__init__(file)
        self._source = file
        self._log = log

    def find_class(self, module: str, name: str) -> type[StandIn]:
        # Pickles of Python 2 use its names.
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        return self._log.import_name(f"{module}.{name}")

    def persistent_load(self, pid: object) -> StandIn:
        """PyTorch's storages."""
        return self._log.import_name("torch (a storage)")()

    def load_build(self) -> None:
        state = self.stack.pop()
        instance = self.stack[-1]
        if not isinstance(instance, StandIn):
            return
        instance.state = state
        if isinstance(state, dict):
            version = state.get("_sklearn_version")
            if isinstance(version, str):
                self._log.versions["scikit-learn"] = version
            if instance.path == ARRAY_WRAPPER:
                self._skip_array(state)

    dispatch[pickle.BUILD[0]] = load_build

    def _skip_array(self, state: dict[Any, Any]) -> None:
        """joblib writes the bytes of an array behind its description, in the midst of the pickle.

        An array of objects is a pickle of its own there.
        """
        dtype = state.get("dtype")
        item_bytes = _item_bytes(dtype)
        if item_bytes is None:
            Walker(self._source, self._log).load()
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = self._source.read(1)
            self._source.read(padding[0] if padding else 0)
        n_bytes = math.prod(state["shape"]) * item_bytes
        if n_bytes < 0:
            raise pickle.UnpicklingError("an array of negative size")
        self._source.seek(n_bytes, 1)


def _item_bytes(dtype: object) -> int | None:
    """The size of an array's items by its pickled dtype; None for objects."""
    if not isinstance(dtype, StandIn) or not dtype.arguments:
        raise pickle.UnpicklingError("an array without a type")
    match = _DTYPE.match(str(dtype.arguments[0]))
    if match is None:
        raise pickle.UnpicklingError(f"an array of the unknown type {dtype.arguments[0]!r:.40}")
    has_objects = "O" in str(dtype.arguments[0])
    size = int(match[1])
    # NumPy's state of a dtype: (version, order, subdtype, names, fields, size, alignment, flags).
    if isinstance(dtype.state, tuple) and len(dtype.state) >= 8:
        if isinstance(dtype.state[5], int) and dtype.state[5] >= 0:
            size = dtype.state[5]
        has_objects = has_objects or bool(int(dtype.state[7]) & 1)
    return None if has_objects else size


def preview(value: object, depth: int = 0) -> str:
    """A short rendering of a call's arguments, without control characters."""
    if isinstance(value, StandIn):
        return value.path
    if isinstance(value, type) and issubclass(value, StandIn):
        return value.path
    if isinstance(value, tuple | list) and depth < 3:
        inner = ", ".join(preview(item, depth + 1) for item in value[:5])
        return f"({inner})"
    if isinstance(value, str | bytes):
        return repr(value[:MAX_PREVIEW])
    # The digits of a huge integer take time.
    is_small = isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**64)
    return repr(value) if is_small else "..."


def class_of(value: object) -> str:
    """The class of the object that the pickle would create."""
    if not isinstance(value, StandIn):
        return type(value).__name__
    if value.path == "copyreg._reconstructor" and value.arguments:
        created = value.arguments[0]
        if isinstance(created, type) and issubclass(created, StandIn):
            return created.path
    return value.path


def described_imports(log: Log) -> Iterator[tuple[str, str]]:
    """Each imported name with the arguments of its first call, "" if it is not called."""
    for name in log.names:
        arguments = log.calls.get(name)
        yield name, "" if arguments is None else preview(arguments)[: 2 * MAX_PREVIEW]
