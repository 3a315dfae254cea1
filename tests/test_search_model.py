"""A model's file hashes pictures by itself: alone, without torch, whatever stands in it and wherever it comes from."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from relahash_nb import metrics
from relahash_nb.model_file import METADATA_KEY, Metadata
from relahash_nb.pictures import read_square
from relahash_search.model import Model, pack

ROOT = Path(__file__).parent.parent
SIDE, BITS = 8, 20
RIGHT = dict(
    schema_number=1, bits=BITS, image_size=SIDE, decoded_size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2),
    bit_order="big", digest="0123456789abcdef", run="a run", dataset=None, loss=None, backbone="none", weights="none",
)  # fmt: skip


def network(weight=None, metadata=RIGHT, side=SIDE, external=None) -> onnx.ModelProto:
    """Codes are the pixels, from −128 to 127, times a weight (3·S·S, K)."""
    if weight is None:
        weight = np.random.default_rng(0).normal(size=(3 * side * side, BITS)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "middle"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["codes"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(128), "middle"),
        external or numpy_helper.from_array(weight, "weight"),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, side, side])
    codes = helper.make_tensor_value_info("codes", TensorProto.FLOAT, ["N", BITS])
    graph = helper.make_graph(nodes, "codes", [images], [codes], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        helper.set_model_props(model, {METADATA_KEY: text})
    return model


def content(*arguments, **options) -> bytes:
    return network(*arguments, **options).SerializeToString()


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.from_bytes(content())


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (50, 3, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(2)
    paths = [folder / f"{number}.png" for number in range(40)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((20, 15)).save(path)
    return paths


# Codes


def test_codes_are_what_the_network_computes(model, images):
    weight = numpy_helper.to_array(network().graph.initializer[1])
    expected = (images.astype(np.float32) - 128).reshape(50, -1) @ weight
    np.testing.assert_allclose(model.codes(images), expected, rtol=1e-4, atol=1e-2)
    assert model.codes(images[:0]).shape == (0, BITS)


def test_a_code_depends_on_nothing_but_its_image(model, images):
    codes = model.codes(images)
    assert np.array_equal(model.codes(images[::-1]), codes[::-1])
    for row in range(3):
        assert np.array_equal(model.codes(images[row : row + 1])[0], codes[row])


@pytest.mark.parametrize("threads", [1, 2, 7, None])
def test_the_number_of_threads_changes_nothing_and_the_order_is_kept(threads, model, pictures):
    one_by_one = [model.hash(path) for path in pictures]
    assert np.array_equal(list(model.hash_many(pictures, threads)), one_by_one)


def test_a_picture_that_cannot_be_read_is_an_error_in_its_place(model, pictures, tmp_path):
    (tmp_path / "broken.png").write_text("<html>")
    found = list(model.hash_many([pictures[0], tmp_path / "broken.png", pictures[1]]))
    assert isinstance(found[1], ValueError) and str(tmp_path / "broken.png") in str(found[1])
    assert np.array_equal(found[0], model.hash(pictures[0])) and np.array_equal(found[2], model.hash(pictures[1]))


def test_no_more_pictures_are_asked_for_than_are_needed(model, pictures):
    asked = []

    def paths():
        for path in pictures:
            asked.append(path)
            yield path

    hashed = model.hash_many(paths(), threads=2)
    next(hashed)
    hashed.close()
    assert len(asked) <= 5


def test_a_path_its_content_and_an_image_have_one_packed_code(model, pictures):
    path = pictures[0]
    image = read_square(path, SIDE)[None]
    expected = metrics.pack(model.codes(image))[0]
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        assert np.array_equal(model.hash(source), expected)
    assert expected.shape == (3,) and model.metadata.code_bytes == 3


def test_packed_codes_are_the_project_s(images, model):
    codes = model.codes(images)
    codes[:, 3] = 0
    assert np.array_equal(pack(codes), metrics.pack(codes))


def test_a_model_of_crops_takes_the_middle_of_what_is_decoded():
    side = 28
    right = RIGHT | dict(image_size=side, decoded_size=32)
    crops = Model.from_bytes(content(side=side, metadata=right))
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    middle = np.asarray(image)[2:30, 2:30].transpose(2, 0, 1)
    assert np.array_equal(crops.hash(image), pack(crops.codes(middle[None]))[0])


def test_images_of_another_shape_or_dtype_are_refused(model, images):
    for wrong in (images[:, :1], images.astype(np.float32), images[0], images[:, :, :4]):
        with pytest.raises(ValueError, match="uint8"):
            model.codes(wrong)


def test_codes_that_are_none_are_refused(images):
    weight = np.full((3 * SIDE * SIDE, BITS), np.nan, np.float32)
    with pytest.raises(ValueError, match="NaN"):
        Model.from_bytes(content(weight)).codes(images)


# Files from elsewhere


def refused(file: bytes) -> str:
    with pytest.raises(ValueError) as caught:
        Model.from_bytes(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("change", [
    {"bits": 21}, {"bits": 0}, {"bits": "20"}, {"image_size": 9}, {"decoded_size": 10}, {"digest": "../../etc"},
    {"digest": "0123456789abcdef\n"}, {"schema_number": 2}, {"bit_order": "little"}, {"mean": [0.5]}, {"run": 3},
    {"mean": [float("nan")] * 3}, {"backbone": None}, {"bits": 10**400}, {"image_size": True},
])  # fmt: skip
def test_metadata_that_do_not_fit_the_network_are_refused(change):
    refused(content(metadata=RIGHT | change))


def test_metadata_that_lack_something_are_refused_and_more_of_them_are_not():
    for name in set(RIGHT) - {"schema_number", "bit_order"}:
        assert name in refused(content(metadata={key: value for key, value in RIGHT.items() if key != name}))
    assert Model.from_bytes(content(metadata=RIGHT | {"more": [1]})).metadata == Metadata(**RIGHT)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\0", '{"bits": 1e999}'])
def test_metadata_that_are_no_record_are_refused(text):
    refused(content(metadata=text))


VALUE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = VALUE | st.lists(VALUE, max_size=4) | st.dictionaries(st.text(max_size=5), VALUE, max_size=2)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(RIGHT)), value=JSON)
def test_any_metadata_give_a_model_or_one_error(name, value):
    try:
        Metadata.from_json(json.dumps(RIGHT | {name: value}))
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 500


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_with_flipped_or_missing_bytes_gives_a_model_or_one_error(data):
    damaged = bytearray(content())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    for file in (bytes(damaged), bytes(damaged[:end])):
        try:
            Model.from_bytes(file).codes(np.zeros((1, 3, SIDE, SIDE), np.uint8))
        except ValueError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("file", [b"", b"\0" * 1000, b"<html>", b"\x08\x07", b"PK\x03\x04"])
def test_what_is_no_network_is_refused(file):
    refused(file)


def test_a_network_without_metadata_or_with_other_inputs_is_refused():
    assert "relahash export" in refused(content(metadata=None))
    other = network()
    other.graph.input[0].name = other.graph.node[0].input[0] = "pixels"
    assert "pixels" in refused(other.SerializeToString())


@pytest.mark.parametrize("place", ["weight.bin", "deeper/weight.bin", "absolute", "../weight.bin"])
def test_weights_in_another_file_are_refused(place, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    (folder / "deeper").mkdir(parents=True)
    weight = np.ones((3 * SIDE * SIDE, BITS), np.float32).tobytes()
    for path in (folder / "weight.bin", folder / "deeper" / "weight.bin", tmp_path / "weight.bin"):
        path.write_bytes(weight)
    monkeypatch.chdir(folder)
    location = str(folder / "weight.bin") if place == "absolute" else place
    external = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[3 * SIDE * SIDE, BITS])
    external.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(weight)))):
        external.external_data.add(key=key, value=value)
    file = content(external=external)
    refused(file)
    (folder / "model.onnx").write_bytes(file)
    with pytest.raises(ValueError, match=re.escape("model.onnx")):
        Model.from_file(folder / "model.onnx")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    for name in ("pipe", "sparse", "nothing", "."):
        with pytest.raises(ValueError, match=name) as caught:
            Model.from_file(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_provider_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="CPUExecutionProvider"):
        Model.from_bytes(content(), providers=["NoSuchProvider"])


# Other machines


def test_no_torch_is_imported(pictures, tmp_path):
    (tmp_path / "model.onnx").write_bytes(content())
    code = f"""
import sys
from relahash_search.model import Model
Model.from_file({str(tmp_path / "model.onnx")!r}).hash({str(pictures[0])!r})
print([name for name in ("torch", "torchvision", "pandas", "scipy", "matplotlib", "onnx") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_ten_lines_of_plain_python_hash_a_picture(model, pictures, tmp_path):
    """The block of docs/search.md, where neither torch nor this package can be imported."""
    page = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    (block,) = [part for part in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "onnxruntime" in part]
    forbid = "import sys\nfor name in ('torch', 'relahash_nb', 'relahash_search', 'onnx'): sys.modules[name] = None\n"
    cases = {"plain": content(), "crops": content(side=28, metadata=RIGHT | dict(image_size=28, decoded_size=32))}
    for name, file in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.onnx").write_bytes(file)
        Image.open(pictures[0]).convert("RGB").save(folder / "holiday.jpg")
        command = [sys.executable, "-c", f"{forbid}{block}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        expected = Model.from_bytes(file).hash(folder / "holiday.jpg")
        assert done.stdout.strip() == expected.tobytes().hex()
