"""Archives of something else than a scikit-learn model, by the names of their members. No Django
here.
"""

import io
import itertools
import tarfile
from collections.abc import Callable, Set
from pathlib import Path, PurePosixPath

from registry.artifacts.foreign import advice
from registry.artifacts.foreign.advice import Foreign
from registry.runtimes import FRAMEWORKS

_MODEL_SUFFIXES = tuple(
    dict.fromkeys(suffix for row in FRAMEWORKS.values() for suffix in row.suffixes)
)
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib")
_TRANSFORMER_WEIGHTS = {"pytorch_model.bin", "model.safetensors", "tf_model.h5"}
_MAX_MEMBERS = 100


def _ends(names: Set[str], *suffixes: str) -> bool:
    return any(name.endswith(suffixes) for name in names)


def _in_folder(names: Set[str], folder: str) -> bool:
    return any(f"/{folder}/" in f"/{name}" for name in names)


# {} is the archive or folder that holds the files; the others are always zip archives.
_HELD: tuple[tuple[Callable[[Set[str], Set[str]], bool], Foreign], ...] = (
    (
        lambda names, base: "MLmodel" in base,
        Foreign("{} of an MLflow folder", f"Register the folder itself: {advice.REGISTER_FOLDER}."),
    ),
    (
        lambda names, base: "saved_model.pb" in base,
        advice.tensorflow("{} of a TensorFlow SavedModel", "--saved-model FOLDER"),
    ),
    (
        lambda names, base: "com.apple.CoreML" in "".join(names) or "model.mlmodel" in base,
        advice.reexport("{} of a Core ML package (.mlpackage)"),
    ),
    (
        lambda names, base: _in_folder(names, "metadata") and "part-00000" in base,
        Foreign(
            "{} of a Spark ML model",
            "Export it to ONNX: onnxmltools.convert_sparkml(model, 'model', initial_types).",
        ),
    ),
    (
        lambda names, base: "config.json" in base and bool(base & _TRANSFORMER_WEIGHTS),
        Foreign(
            "{} of a Hugging Face model",
            "Export it to ONNX: optimum-cli export onnx --model FOLDER FOLDER.onnx.",
        ),
    ),
)
# (whether the zip archive is this kind, from its names and from their last parts; what it is)
_ZIPS: tuple[tuple[Callable[[Set[str], Set[str]], bool], Foreign], ...] = (
    (
        lambda names, base: "model.weights.h5" in base,
        advice.keras("a Keras model (.keras)"),
    ),
    (
        lambda names, base: bool(base & {"archive_format", "serialized_exported_program.json"}),
        advice.torch("a torch.export program (.pt2)", "torch.export.load('FILE').module()"),
    ),
    (
        lambda names, base: "data.pkl" in base and _in_folder(names, "code"),
        # The exporter that is now the default takes no TorchScript.
        advice.torch("a TorchScript model", "torch.jit.load('FILE')", ", dynamo=False"),
    ),
    (
        lambda names, base: "data.pkl" in base,
        advice.torch("a PyTorch file, which contains a pickle"),
    ),
    (
        lambda names, base: "MAR-INF" in "".join(names),
        advice.torch("a TorchServe archive (.mar)"),
    ),
    (
        lambda names, base: "model.ini" in base and _in_folder(names, "domains"),
        Foreign(
            "an H2O MOJO", "Export it to ONNX: onnxmltools.convert_h2o('FILE'), for GBM models."
        ),
    ),
    (lambda names, base: "workbook.xml" in base, advice.data("an Excel workbook (.xlsx)")),
    (lambda names, base: "word/document.xml" in names, advice.data("a Word document (.docx)")),
    (lambda names, base: "ppt/presentation.xml" in names, advice.data("a presentation (.pptx)")),
    (lambda names, base: {"mimetype", "content.xml"} <= names, advice.data("an Office document")),
    (lambda names, base: _ends(names, ".dist-info/WHEEL"), advice.data("a Python wheel")),
    (lambda names, base: "META-INF/MANIFEST.MF" in names, advice.data("a Java archive (.jar)")),
    (
        lambda names, base: bool(names) and all(name.endswith(".npy") for name in names),
        advice.data("an archive of NumPy arrays (.npz)"),
    ),
)


def describe_zip(names: Set[str]) -> Foreign:
    """What a zip archive with these members is."""
    base_names = _base_names(names)
    for is_kind, foreign in _ZIPS:
        if is_kind(names, base_names):
            return foreign
    return _describe_members("a zip archive", names, "unzip FILE")


def describe_tar(start: bytes, what: str) -> Foreign:
    """What the tar archive is that begins with `start`; it may be cut."""
    names: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(start), mode="r:") as archive:
            for member in archive:
                names.add(member.name.removeprefix("./"))
                if len(names) >= _MAX_MEMBERS:
                    break
    # A cut archive ends with ReadError; its members until then count.
    except (tarfile.TarError, OSError, ValueError, EOFError):
        pass
    return _describe_members(what, names, "tar -xf FILE")


def describe_folder(folder: Path) -> Foreign | None:
    """What the folder holds, if that is a model of another kind; None if it is not known."""
    paths = itertools.islice(folder.rglob("*"), _MAX_MEMBERS)
    names = {str(path.relative_to(folder)) for path in paths}
    # A folder that holds folders of MLflow is none itself.
    return _describe_held("the folder", {name for name in names if not name.endswith("MLmodel")})


def _describe_members(what: str, names: Set[str], unpack: str) -> Foreign:
    """An archive of files in a folder: which of them to send."""
    if (held := _describe_held(what, names)) is not None:
        return Foreign(held.what, f"Unpack it with {unpack}. {held.instead}")
    shown = sorted(name for name in names if _is_model_name(name))
    if shown:
        return advice.packed(f"{what} that holds {_quoted(shown)}", unpack)
    pickles = sorted(name for name in names if name.endswith(_PICKLE_SUFFIXES))
    if pickles:
        pickled = advice.pickled(f"{what} that holds the pickle {_quoted(pickles)}")
        return Foreign(pickled.what, f"Unpack it with {unpack}. {pickled.instead}")
    held_names = f" of {_quoted(sorted(names))}" if names else " of an unknown kind"
    return advice.data(what + held_names)


def _is_model_name(name: str) -> bool:
    # Most texts and JSON documents are no models.
    is_plain = name.endswith((".txt", ".json"))
    return name.endswith(_MODEL_SUFFIXES) and (not is_plain or "model" in name.rpartition("/")[2])


def _describe_held(what: str, names: Set[str]) -> Foreign | None:
    base_names = _base_names(names)
    for is_kind, foreign in _HELD:
        if is_kind(names, base_names):
            return Foreign(foreign.what.format(what), foreign.instead)
    return None


def _base_names(names: Set[str]) -> set[str]:
    return {PurePosixPath(name).name for name in names}


def _quoted(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    # Names may hold any character, and tarfile's even halves of surrogate pairs.
    return ", ".join(repr(name[:60]) for name in names[:3]) + more
