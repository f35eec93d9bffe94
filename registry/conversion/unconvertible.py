"""Why a model cannot be converted to ONNX, in a sentence. No Django here."""

import re
from collections.abc import Sequence

MAX_REASON = 300
REGISTER_AS_IT_IS = "Register the model as it is, without --to onnx."
_NO_CONVERTER = re.compile(
    r"shape calculator for type '<class '([\w.]+)'>'|shape calculator for type '([\w.]+)'"
    r"|^\"?'?<class '([\w.]+)'>'?\"?$"
)
_ONNXRUNTIME = re.compile(r"\[ONNXRuntimeError\] : \d+ : (\w+)")


class Unconvertible(Exception):
    """The model cannot be converted; the message says why, in a sentence."""


def reason(error: Exception) -> str:
    """What the converters' exception means to a user, as a sentence."""
    if isinstance(error, Unconvertible):
        return str(error)
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:MAX_REASON]
    if match := _NO_CONVERTER.search(text):
        name = next(group for group in match.groups() if group)
        return f"There is no converter to ONNX for {name.rpartition('.')[2]}."
    if match := _ONNXRUNTIME.search(text):
        return f"Its converter writes a graph that onnxruntime cannot load ({match[1]})."
    text = re.sub(r"\s*You may raise an iss?ue at \S+", "", text).rstrip(".")
    if isinstance(error, KeyError | StopIteration | AttributeError | IndexError | TypeError):
        return f"Its converter to ONNX failed ({type(error).__name__}: {text})."
    return f"{text[:1].upper()}{text[1:]}."


def explanation(errors: Sequence[Exception]) -> str:
    """One message for all attempts to convert a model, without repetitions."""
    reasons = list(dict.fromkeys(reason(error) for error in errors))
    return f"It cannot be converted to ONNX. {reasons[0]} {REGISTER_AS_IT_IS}"
