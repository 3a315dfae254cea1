"""Pictures and a model that the tests of `relahash_search` make for themselves."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from relahash_nb.model_file import METADATA_KEY, Metadata
from relahash_search.index import Index
from relahash_search.model import Model
from relahash_search.tables import Folder

BITS = 12  # no multiple of 8
SIZE = 16  # pixels


def draw(folder: Path, count: int, seed: int = 0, side: int = 16) -> Path:
    """Pictures of random smooth colours, in two folders."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(generator.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        small.resize((side, side + 4), Image.Resampling.BICUBIC).save(path)
    return folder


def tiny_model(bits: int = BITS, seed: int = 0, run: str | None = None, dataset: str | None = None) -> bytes:
    """A `model.onnx` of random projections of an image's means over blocks of 4 × 4 pixels."""
    weight = np.random.default_rng(seed).standard_normal((3 * SIZE * SIZE // 16, bits)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("AveragePool", ["pixels"], ["means"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["means"], ["features"]),
        helper.make_node("Sub", ["features", "grey"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weight"], ["codes"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, SIZE, SIZE])
    codes = helper.make_tensor_value_info("codes", TensorProto.FLOAT, ["N", bits])
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.float32(127.5), "grey")]
    graph = helper.make_graph(nodes, "tiny", [images], [codes], constants)
    model = onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    facts = dict(
        bits=bits, image_size=SIZE, decoded_size=SIZE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), digest=f"{seed:016x}",
        run=run, dataset=dataset, loss="lsh", backbone="tiny", weights="none",
    )  # fmt: skip
    text = Metadata.from_json(json.dumps(facts)).model_dump_json()
    model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA_KEY, value=text))
    return model.SerializeToString()


def list_files(folder: Path) -> list[Path]:
    """The files below a folder, in order of their paths."""
    return sorted((path for path in folder.rglob("*") if path.is_file()), key=str)


def nearest_by_hand(folder: Path, query: Path, k: int, content: bytes | None = None) -> list[tuple[int, str]]:
    """The k nearest pictures of a folder by NumPy, without an index: distance and path, of ties the first by path."""
    model = Model.from_bytes(content or tiny_model())
    code = model.hash(query)
    files = list_files(folder)
    distances = [int(np.bitwise_count(model.hash(file) ^ code).sum()) for file in files]
    return sorted(zip(distances, map(str, files), strict=True))[:k]


def add_folder(index: Index, place: str) -> Folder:
    """A folder of made-up pictures in an index."""
    with index.tables.begin():
        return index.tables.add_folder(place)
