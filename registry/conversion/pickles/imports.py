"""Which names a pickle imports are usual in a model, and which run code. No Django here."""

import re
from typing import Literal, TypeAlias

Risk: TypeAlias = Literal["known", "unknown", "dangerous"]

# Libraries whose classes fitted models consist of.
_LIBRARIES = frozenset(
    (
        "sklearn",
        "numpy",
        "scipy",
        "xgboost",
        "lightgbm",
        "catboost",
        "pandas",
        "pyarrow",
        "joblib",
        "category_encoders",
        "imblearn",
    )
)
# What pickles of these libraries call to rebuild an object, besides classes.
_REBUILDING = frozenset(
    (
        "_codecs.encode",
        "copyreg._reconstructor",
        "copyreg.__newobj__",
        "copyreg.__newobj_ex__",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.core.numeric._frombuffer",
        "numpy._core.numeric._frombuffer",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.random._pickle.__randomstate_ctor",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random.__RandomState_ctor",
        "numpy.ma.core._mareconstruct",
        "scipy.sparse._csr.csr_matrix",
        "scipy.sparse._csr.csr_array",
        "scipy.sparse._csc.csc_matrix",
        "scipy.sparse._csc.csc_array",
        "scipy.sparse._coo.coo_matrix",
        "scipy.sparse.csr.csr_matrix",
        "scipy.sparse.csc.csc_matrix",
        "sklearn.neighbors._kd_tree.newObj",
        "sklearn.neighbors._ball_tree.newObj",
        "sklearn.metrics._dist_metrics.newObj",
        "pandas._libs.internals._unpickle_block",
        "pandas.core.internals.blocks.new_block",
        "pandas.core.indexes.base._new_Index",
        "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
        "functools.partial",
        "operator.itemgetter",
    )
)
_NUMPY_SCALARS = re.compile(
    r"numpy\.(bool_?|u?int\d+|u?intp|float\d+|complex\d+|longdouble|str_?|bytes_|object_"
    r"|datetime64|timedelta64|void)"
)
_HARMLESS_MODULES = frozenset(("collections", "datetime", "decimal", "fractions", "uuid", "enum"))
_HARMLESS_BUILTINS = frozenset(
    [
        "set",
        "frozenset",
        "list",
        "dict",
        "tuple",
        "str",
        "bytes",
        "bytearray",
        "int",
        "float",
        "bool",
        "complex",
        "slice",
        "range",
        "object",
        "type",
        "NoneType",
        "Ellipsis",
        "NotImplemented",
        "len",
        "sum",
        "min",
        "max",
        "abs",
        "round",
        "sorted",
    ]
)
# Their functions run programs or code, reach the network or files, or find any other function.
_DANGEROUS_MODULES = frozenset(
    [
        "os",
        "posix",
        "nt",
        "posixpath",
        "ntpath",
        "subprocess",
        "sys",
        "shutil",
        "socket",
        "ssl",
        "http",
        "urllib",
        "requests",
        "httpx",
        "aiohttp",
        "ftplib",
        "smtplib",
        "telnetlib",
        "ctypes",
        "cffi",
        "importlib",
        "imp",
        "runpy",
        "pkgutil",
        "pty",
        "code",
        "codeop",
        "commands",
        "pdb",
        "bdb",
        "timeit",
        "trace",
        "profile",
        "cProfile",
        "webbrowser",
        "antigravity",
        "multiprocessing",
        "threading",
        "_thread",
        "asyncio",
        "concurrent",
        "signal",
        "resource",
        "gc",
        "inspect",
        "io",
        "_io",
        "tempfile",
        "glob",
        "pathlib",
        "fileinput",
        "linecache",
        "zipimport",
        "zipfile",
        "tarfile",
        "pip",
        "setuptools",
        "distutils",
        "platform",
        "marshal",
        "pickle",
        "_pickle",
        "shelve",
        "dbm",
        "sqlite3",
        "dill",
        "cloudpickle",
        "types",
        "operator",
        "atexit",
        "builtins",
        "__builtin__",
        "nturl2path",
        "torch",
    ]
)
# In libraries of models: they run code or open files.
_DANGEROUS_NAMES = frozenset(
    (
        "numpy.load",
        "numpy.save",
        "numpy.fromfile",
        "numpy.memmap",
        "numpy.core.memmap.memmap",
        "numpy._core.memmap.memmap",
        "numpy.testing._private.utils.runstring",
        "numpy.testing.runstring",
        "numpy.distutils",
        "numpy.f2py",
        "joblib.load",
        "joblib.numpy_pickle.load",
        "joblib.Parallel",
        "joblib.Memory",
        "pandas.read_pickle",
        "pandas.eval",
        "pandas.core.computation.eval.eval",
        "pandas.io",
        "scipy.io",
        "scipy.weave",
    )
)


def risk(name: str) -> Risk:
    """How far an imported name, `module.name`, can be trusted by its name alone.

    A "known" name is a class of a library for models, or a function that rebuilds their objects. A
    "dangerous" one can run any code by its arguments. All others are "unknown": your own code, for
    example.
    """
    library, _, rest = name.partition(".")
    if name in _REBUILDING or _NUMPY_SCALARS.fullmatch(name):
        return "known"
    if library in ("builtins", "__builtin__"):
        return "known" if rest in _HARMLESS_BUILTINS else "dangerous"
    if library in _DANGEROUS_MODULES or _is_below(name, _DANGEROUS_NAMES):
        return "dangerous"
    if library in _HARMLESS_MODULES:
        return "known"
    if library in _LIBRARIES and _is_class_or_constructor(name.rpartition(".")[2]):
        return "known"
    return "unknown"


def _is_below(name: str, prefixes: frozenset[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:i]) in prefixes for i in range(1, len(parts) + 1))


def _is_class_or_constructor(name: str) -> bool:
    """Whether the name is that of a class, or of what Cython generates to rebuild one."""
    bare = name.lstrip("_")
    return bare[:1].isupper() or bare.startswith("pyx_unpickle_")
