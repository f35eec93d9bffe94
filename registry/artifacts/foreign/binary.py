"""Binary files by their first bytes. No Django here.

The sources of the numbers are the formats' own descriptions; most are also in the database of the
`file` command.
"""

import re
from collections.abc import Sequence

from registry.artifacts.foreign import advice
from registry.artifacts.foreign.advice import Foreign

_WEIGHTS = "weights without the model's graph"
_ORT = Foreign(
    "an ONNX model in ONNX Runtime's own format (.ort)",
    "Send the .onnx file that it was made from, as torch.onnx.export or skl2onnx wrote it.",
)
_GGUF = Foreign(
    "a GGUF language model",
    "mlapi serves predictive models, not language models: serve it with llama.cpp.",
)

# (offset, bytes, what the file is); the first that fits counts.
_MAGIC: Sequence[tuple[int, bytes, Foreign]] = (
    (4, b"TFL3", advice.tensorflow("a TensorFlow Lite model", "--tflite FILE")),
    (4, b"ORTM", _ORT),
    (4, b"ET12", advice.torch("an ExecuTorch program (.pte)")),
    (0, b"GGUF", _GGUF),
    (0, b"\xba\x16\x4f\x2f", advice.served_elsewhere("a fastText model")),
    (0, b"RDX2\n", Foreign("R data (.RData)", advice.R_MODEL)),
    (0, b"RDX3\n", Foreign("R data (.RData)", advice.R_MODEL)),
    (0, b"RDA2\n", Foreign("R data (.RData) as text", advice.R_MODEL)),
    (0, b"RDA3\n", Foreign("R data (.RData) as text", advice.R_MODEL)),
    (0, b"X\n\x00\x00\x00", Foreign("R data (.rds)", advice.R_MODEL)),
    (0, b"\x93NUMPY", advice.data("a NumPy array")),
    (0, b"PAR1", advice.data("Parquet data")),
    (0, b"ARROW1", advice.data("Arrow or Feather data")),
    (0, b"FEA1", advice.data("Feather data")),
    (0, b"\xff\xff\xff\xff", advice.data("an Arrow stream")),
    (0, b"ORC", advice.data("ORC data")),
    (0, b"Obj\x01", advice.data("Avro data")),
    (0, b"SQLite format 3\x00", advice.data("an SQLite database")),
    (8, b"DUCK", advice.data("a DuckDB database")),
    (0, b"MATLAB 5.0 MAT-file", advice.data("MATLAB data")),
    (0, b"%PDF-", advice.data("a PDF document")),
    (0, b"\x89PNG\r\n\x1a\n", advice.data("a PNG image")),
    (0, b"\xff\xd8\xff", advice.data("a JPEG image")),
    (0, b"GIF8", advice.data("a GIF image")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", advice.data("an old Office document (.xls or .doc)")),
    (0, b"\x7fELF", advice.data("a compiled library or program (ELF)")),
    (0, b"MZ", advice.data("a Windows program or library")),
    (0, b"\xcf\xfa\xed\xfe", advice.data("a compiled library or program (Mach-O)")),
    (0, b"\xca\xfe\xba\xbe", advice.data("a compiled Java class or macOS library")),
    (0, b"7z\xbc\xaf\x27\x1c", advice.packed("a 7z archive", "7z x FILE")),
    (0, b"Rar!\x1a\x07", advice.packed("a RAR archive", "unrar x FILE")),
    (0, b"\x28\xb5\x2f\xfd", advice.packed("compressed by zstd", "zstd -d FILE")),
    (0, b"\x04\x22\x4d\x18", advice.pickled("compressed by lz4, as joblib.dump does")),
    (0, b"ZF", advice.pickled("compressed by an old joblib, which makes it a pickle")),
)  # fmt: skip
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a]")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_KERAS_MARKS = (b"keras_version", b"model_config", b"layer_names", b"model_weights")
_PYTABLES_MARKS = (b"PYTABLES_FORMAT_VERSION", b"pandas_type")

# The objective and then the booster, each behind its length in eight bytes, follow 136 bytes of
# parameters and, since XGBoost 0.6, a magic word.
_OLD_XGBOOST = re.compile(
    rb"(?:binf)?[\x00-\xff]{136}[\x04-\x40]\x00{7}(?:binary|multi|reg|rank|count|survival):[a-z_]+"
)
_OLD_XGBOOST_TEXT = re.compile(rb"bs64\t")


def describe_binary(head: bytes, size: int) -> Foreign | None:
    """What the file of `size` bytes is, by its first bytes; None if they say nothing."""
    if _OLD_XGBOOST.match(head) or head.startswith(b"binf") or _OLD_XGBOOST_TEXT.match(head):
        return Foreign(
            "an XGBoost model in the old binary format, which XGBoost reads up to version 3.0",
            "Convert it with such a version:"
            " xgboost.Booster(model_file='FILE').save_model('model.ubj').",
        )
    is_binary = _CONTROL.search(head) is not None
    for offset, magic, foreign in _MAGIC:
        # A text may begin with the letters of such a word.
        if head.startswith(magic, offset) and (is_binary or not magic.isalnum()):
            return foreign
    if head.startswith(_HDF5):
        return _describe_hdf5(head)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return advice.data("a WebP image")
    if _is_safetensors(head, size):
        return advice.torch(f"a file of safetensors, {_WEIGHTS}")
    return None


def _describe_hdf5(head: bytes) -> Foreign:
    if not any(mark in head for mark in _KERAS_MARKS) and any(
        mark in head for mark in _PYTABLES_MARKS
    ):
        return advice.data("HDF5 data, as pandas writes it")
    return advice.keras("HDF5, as Keras writes a model or its weights (.h5)")


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 9 and head[8:10] == b'{"' and int.from_bytes(head[:8], "little") <= size
