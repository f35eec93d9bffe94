"""Binary files are named by the format's own magic number, and models of other libraries too."""

import gzip
import io
import lzma
import sqlite3
import struct
from collections.abc import Callable
from hashlib import sha512
from pathlib import Path

import catboost
import numpy as np
import onnx
import pyarrow
import pytest
from onnx import TensorProto, helper, numpy_helper
from pyarrow import feather, ipc, orc, parquet
from sklearn.datasets import load_iris

from registry.artifacts.foreign.advice import TAKES
from registry.artifacts.sniffing import sniff

R_COMMAND = "xgb.save(model, 'model.ubj')"
DATA = "skops.io.dump"
RDS = b"X\n\x00\x00\x00\x03\x00\x04\x03\x01\x00\x03\x05\x00" + bytes(40)
SAFETENSORS = struct.pack("<Q", 20) + b'{"__metadata__":{}}' + bytes(20)


def old_xgboost(magic: bytes) -> bytes:
    """The start of a file of XGBoost 0.9: LearnerModelParam, and two names with their lengths."""
    parameters = struct.pack("<fIi", 0.5, 4, 3).ljust(136, b"\0")
    names = (b"multi:softprob", b"gbtree")
    return magic + parameters + b"".join(struct.pack("<Q", len(n)) + n for n in names) + bytes(99)


def flatbuffer(identifier: bytes) -> bytes:
    return struct.pack("<I", 28) + identifier + bytes(64)


def message(number: int, content: bytes) -> bytes:
    """A field of Protocol Buffers with bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([byte | 0x80 for byte in low[:-1]] + low[-1:])


def frozen_graph() -> bytes:
    node = message(1, b"input/x") + message(2, b"Placeholder")
    return message(1, node) * 3


def saved_model() -> bytes:
    meta = message(1, message(4, b"serve") + message(5, b"2.16.1")) + message(2, frozen_graph())
    return b"\x08\x01" + message(2, meta)


@pytest.mark.parametrize(
    ("content", "what", "instead"),
    [
        (old_xgboost(b""), "old binary format", "save_model('model.ubj')"),
        (old_xgboost(b"binf"), "old binary format", "save_model('model.ubj')"),
        (flatbuffer(b"TFL3"), "TensorFlow Lite", "tf2onnx.convert --tflite FILE"),
        (flatbuffer(b"ORTM"), "ONNX Runtime's own format", "Send the .onnx file"),
        (flatbuffer(b"ET12"), "ExecuTorch", "torch.onnx.export("),
        (frozen_graph(), "TensorFlow graph", "tf2onnx.convert --graphdef FILE"),
        (saved_model(), "SavedModel", "tf2onnx.convert --saved-model FOLDER"),
        (b"GGUF\x03\x00\x00\x00", "GGUF", "llama.cpp"),
        (struct.pack("<ii", 793712314, 12), "fastText", "on another server"),
        (RDS, "R data (.rds)", R_COMMAND),
        (gzip.compress(RDS), "R data (.rds), compressed by gzip", R_COMMAND),
        (lzma.compress(RDS), "R data (.rds), compressed by xz", R_COMMAND),
        (b"A\n3\n263169\n197888\n5\nUTF-8\n", "R data (.rds) as text", R_COMMAND),
        (gzip.compress(b"RDX3\n" + RDS), "R data (.RData), compressed", R_COMMAND),
        (b"RDX2\n" + RDS, "R data (.RData)", R_COMMAND),
        (b"\x89HDF\r\n\x1a\n" + bytes(90) + b"keras_version", "Keras", ".export('model.onnx'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90) + b"PYTABLES_FORMAT_VERSION", "HDF5 data", DATA),
        (SAFETENSORS, "safetensors", "torch.onnx.export("),
        (b"\x93NUMPY\x01\x00", "NumPy array", DATA),
        (b"Obj\x01\x04\x14avro.codec", "Avro", DATA),
        (bytes(8) + b"DUCK", "DuckDB", DATA),
        (b"MATLAB 5.0 MAT-file, Platform", "MATLAB", DATA),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "PNG image", DATA),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "JPEG image", DATA),
        (b"GIF89a\x04\x00\x04\x00", "GIF image", DATA),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "WebP image", DATA),
        (b"%PDF-1.7\n", "PDF", DATA),
        (b"\x7fELF\x02\x01", "ELF", DATA),
        (b"MZ\x90\x00\x03", "Windows program", DATA),
        (b"\xcf\xfa\xed\xfe\x0c", "Mach-O", DATA),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office", DATA),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z archive", "7z x FILE"),
        (b"Rar!\x1a\x07\x01\x00", "RAR archive", "unrar x FILE"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "compressed by zstd", "zstd -d FILE"),
        (bytes(64), "not a model file that mlapi knows", DATA),
        (b"\xc1\xfe" + sha512(b"noise").digest() * 8, "not a model file that mlapi knows", DATA),
    ],
    # The workers of a test run must agree, and gzip writes the time into its files.
    ids=lambda value: value if isinstance(value, str) else "file",
)  # fmt: skip
def test_a_binary_file_is_named_with_what_to_do(
    refusal: Callable[[bytes], str], content: bytes, what: str, instead: str
) -> None:
    text = refusal(content)

    assert what in text
    assert TAKES in text
    assert instead in text


def test_an_empty_file_is_refused(refusal: Callable[[bytes], str]) -> None:
    assert refusal(b"") == "The file is empty. Send the complete file."


def test_tables_of_other_formats_are_data(refusal: Callable[[bytes], str], tmp_path: Path) -> None:
    table, path = pyarrow.table({"age": [1, 2]}), tmp_path / "table"
    stream = io.BytesIO()
    with ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    contents = {"an Arrow stream": stream.getvalue()}
    for name, write in (
        ("Parquet", parquet.write_table),
        ("Arrow or Feather", feather.write_feather),
        ("ORC", orc.write_table),
    ):
        write(table, path)
        contents[name] = path.read_bytes()
    contents["Feather data"] = b"FEA1" + bytes(40)
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (a)")
    database.close()
    contents["SQLite"] = path.read_bytes()

    for name, content in contents.items():
        assert name in refusal(content)


# -- Protocol Buffers that are not ONNX, and ONNX


@pytest.fixture(scope="module")
def exported_by_catboost(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    rows, labels = load_iris(return_X_y=True)
    model = catboost.CatBoostClassifier(
        iterations=2, depth=2, verbose=0, thread_count=1, allow_writing_files=False
    ).fit(rows[:100], labels[:100])
    path = tmp_path_factory.mktemp("catboost") / "model"

    def export(kind: str) -> bytes:
        model.save_model(str(path), format=kind)
        return path.read_bytes()

    return export


@pytest.mark.parametrize(
    ("kind", "what", "instead"),
    [
        ("coreml", "Core ML model", "skl2onnx.to_onnx"),
        ("json", "CatBoost model as JSON", "model.save_model('model.cbm')"),
        ("cpp", "CatBoost model as C++", "model.save_model('model.cbm')"),
        ("python", "CatBoost model as Python", "model.save_model('model.cbm')"),
        ("pmml", "PMML", "skl2onnx.to_onnx"),
    ],
)
def test_what_catboost_exports_is_named(
    refusal: Callable[[bytes], str],
    exported_by_catboost: Callable[[str], bytes],
    kind: str,
    what: str,
    instead: str,
) -> None:
    text = refusal(exported_by_catboost(kind))

    assert what in text
    assert instead in text


def test_onnx_of_any_writer_is_accepted(
    exported_by_catboost: Callable[[str], bytes], tmp_path: Path
) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    models = [
        exported_by_catboost("onnx"),
        onnx.ModelProto(ir_version=10, graph=graph).SerializeToString(),
        onnx.ModelProto(ir_version=3, producer_name="p" * 500, graph=graph).SerializeToString(),
        # Larger than what is read of other files.
        helper.make_model(graph, doc_string="d" * 100_000).SerializeToString(),
        exported_by_catboost("onnx")[:200],
    ]

    for content in models:
        path = tmp_path / "model"
        path.write_bytes(content)
        assert sniff(path) == "onnx"


def test_other_messages_than_models_are_named(refusal: Callable[[bytes], str]) -> None:
    tensor = numpy_helper.from_array(np.ones((3, 4), np.float32), "x").SerializeToString()
    model_without_graph = onnx.ModelProto(ir_version=10, producer_name="p").SerializeToString()

    assert "a tensor of ONNX" in refusal(tensor)
    assert "without an ONNX graph" in refusal(model_without_graph)


def test_no_bytes_make_the_recognition_fail(refusal: Callable[[bytes], str]) -> None:
    random = np.random.default_rng(0)
    starts = [b"", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x80\x04", b"PK\x03\x04", b"<", b"["]

    for start in starts * 20:
        content = start + random.bytes(int(random.integers(1, 300)))
        assert refusal(content)
