"""Pickles of every protocol, and whose they are. Nothing is unpickled here. No Django here."""

import io
import pickletools
import re
from collections.abc import Iterator

from registry.artifacts.foreign import advice
from registry.artifacts.foreign.advice import Foreign

_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# torch.save wrote this number in front of everything, before PyTorch 1.6 wrote zip archives.
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_IMPORTS = ("GLOBAL", "INST")
_MEMOIZING = ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")
# They say nothing of the library that the model is of.
_PLUMBING = {
    "__builtin__",
    "_codecs",
    "builtins",
    "cloudpickle",
    "collections",
    "copy_reg",
    "copyreg",
    "dill",
    "functools",
    "joblib",
    "numpy",
    "scipy",
    "types",
}
_BOOSTERS = {
    "xgboost": ("XGBoost", advice.XGBOOST_SAVE),
    "lightgbm": ("LightGBM", advice.LIGHTGBM_SAVE),
    "catboost": ("CatBoost", advice.CATBOOST_SAVE),
}
_MARK = pickletools.markobject


def describe_pickle(head: bytes, where: str = "", *, is_whole: bool) -> Foreign | None:
    """What the pickle is that begins with `head`, or is `head`; None if it is none. `where` is
    appended.
    """
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        protocol = f"protocol {head[1]}"
    elif is_text_pickle(head, is_whole=is_whole):
        protocol = "protocol 0 or 1"
    else:
        return None
    if head.startswith(_OLD_TORCH, 2):
        return advice.torch(f"an old PyTorch file, which is a pickle{where}")
    names = list(_imported_names(head))
    what = f"a pickle of {protocol}{where}"
    for name in names:
        root = name.partition(".")[0]
        # A crafted name may hold anything, and is part of a message.
        if root in _PLUMBING or len(name) > 200 or not _DOTTED_NAME.fullmatch(name):
            continue
        what = f"a pickle of {name} ({protocol}){where}"
        if root in _BOOSTERS:
            library, save = _BOOSTERS[root]
            return advice.pickled_booster(what, f"{library}'s {save}")
        if root == "torch":
            return advice.torch(what)
        if root in ("keras", "tensorflow"):
            return advice.keras(what)
        if root == "pandas":
            return advice.data(what)
        break
    return advice.pickled(what)


def is_text_pickle(head: bytes, *, is_whole: bool) -> bool:
    """Whether the bytes are the opcodes of a pickle of protocol 0 or 1.

    Many texts begin with letters that are opcodes. In a pickle every opcode also finds on the stack
    what it takes, and names of classes are names in Python, up to the end of the file or of `head`.
    """
    stream = io.BytesIO(head)
    stack: list[bool] = []
    n_taking = 0
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in _IMPORTS and not _is_class(argument):
                return False
            if opcode.name == "STOP":
                return len(stack) == 1 and not stream.read(1)
            if not _apply(opcode, stack):
                return False
            n_taking += bool(opcode.stack_before)
    except (ValueError, OverflowError, UnicodeError):
        # Only the opcode at the end of `head` is cut; any other is none.
        # A column of words that begin with V passes for texts that nothing takes from the stack.
        return not is_whole and n_taking > 0 and not stream.read(1)
    return False


def _is_class(argument: object) -> bool:
    names = str(argument).split(" ")
    return len(names) == 2 and all(map(_DOTTED_NAME.fullmatch, names))


def _apply(opcode: pickletools.OpcodeInfo, stack: list[bool]) -> bool:
    """Do what the opcode does to the stack, whose marks are True; False if it cannot."""
    taken = opcode.stack_before
    if _MARK in taken:
        try:
            while not stack.pop():
                pass
        except IndexError:
            return False
        taken = taken[: taken.index(_MARK)]
    if len(stack) < len(taken):
        return False
    del stack[len(stack) - len(taken) :]
    stack += [item is _MARK for item in opcode.stack_after]
    return True


def _imported_names(head: bytes) -> Iterator[str]:
    """The classes and functions that the opcodes in `head` import, as dotted names."""
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(head):
            if opcode.name in _IMPORTS:
                yield str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
                yield ".".join(texts[-2:])
            elif isinstance(argument, str):
                texts.append(argument)
            elif opcode.name not in _MEMOIZING:
                texts.clear()
    except (ValueError, OverflowError, UnicodeError):
        return
