"""`model.safetensors` from elsewhere: a model, or one ValueError of one line."""

import json
import os
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from relahash_nb.backbones import small_cnn
from relahash_nb.config import RunConfig
from relahash_nb.models import HashModel, build_model

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["os:system", "hf-hub:a/b", "alexnet", "resnet18", "small_cnn ", "../x", "", "a" * 5000])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model, its file and what is in it."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model = build_model(RunConfig(bits=16))
    model.save(path, RunConfig(bits=16))
    with safe_open(path, "pt") as file:
        return path, load_file(path), file.metadata()


def load_or_refuse(path):
    """The model, or None where it was refused in one line."""
    try:
        return HashModel.load(path)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return None


def codes_of(model):
    with torch.no_grad():
        return model(torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0)))


@QUICK
@given(data=st.data())
def test_any_metadata_give_a_model_or_one_line(data, saved, tmp_path):
    _, tensors, metadata = saved
    facts = json.loads(metadata["relahash_nb"])
    for name in data.draw(st.lists(st.sampled_from(sorted(facts)), min_size=1, max_size=2)):
        if data.draw(st.booleans()):
            facts[name] = data.draw(NAMES if name in ("backbone", "weights") else VALUES)
        else:
            facts.pop(name, None)
    save_file(tensors, tmp_path / "other.safetensors", {"relahash_nb": json.dumps(facts)})
    load_or_refuse(tmp_path / "other.safetensors")


@QUICK
@given(text=st.text(max_size=20) | VALUES.map(json.dumps))
def test_metadata_that_are_no_facts_are_refused(text, saved, tmp_path):
    save_file(saved[1], tmp_path / "other.safetensors", {"relahash_nb": text})
    assert load_or_refuse(tmp_path / "other.safetensors") is None


@QUICK
@given(place=st.floats(0, 1), bit=st.integers(0, 7), is_header=st.booleans())
def test_a_flipped_bit_is_found(place, bit, is_header, saved, tmp_path):
    content = bytearray(saved[0].read_bytes())
    length = 8 + struct.unpack("<Q", content[:8])[0] if is_header else len(content)
    content[min(int(place * length), length - 1)] ^= 1 << bit
    (tmp_path / "other.safetensors").write_bytes(content)
    model = load_or_refuse(tmp_path / "other.safetensors")
    assert model is None or torch.equal(codes_of(model), codes_of(HashModel.load(saved[0])))


@QUICK
@given(share=st.floats(0, 1), rest=st.binary(max_size=50))
def test_a_file_that_is_cut_or_has_a_tail_is_refused(share, rest, saved, tmp_path):
    content = saved[0].read_bytes()
    other = content[: int(share * len(content))] + rest
    (tmp_path / "other.safetensors").write_bytes(other)
    assert load_or_refuse(tmp_path / "other.safetensors") is None or other == content


def test_a_file_of_before_the_digest_is_loaded(saved, tmp_path):
    path, tensors, metadata = saved
    save_file(tensors, tmp_path / "old.safetensors", {"relahash_nb": metadata["relahash_nb"]})
    assert torch.equal(codes_of(HashModel.load(tmp_path / "old.safetensors")), codes_of(HashModel.load(path)))


def changed(name, change):
    def make(tensors):
        tensors[name] = change(tensors[name])

    return make


TENSORS = {
    "a wider hash layer": changed("hash_layer.0.weight", lambda weight: torch.cat([weight, weight])),
    "a hash layer of one row": changed("hash_layer.0.weight", lambda weight: weight[0].clone()),
    "NaN": changed("hash_layer.1.weight", lambda weight: weight * torch.nan),
    "half precision": changed("backbone.0.weight", lambda weight: weight.half()),
    "complex numbers": changed("backbone.0.weight", lambda weight: weight.to(torch.complex64)),
    "another shape": changed("backbone.0.weight", lambda weight: weight[:1].clone()),
    "one missing": lambda tensors: tensors.pop("backbone.0.weight"),
    "one more": lambda tensors: tensors.update(more=torch.zeros(2)),
    "none": lambda tensors: tensors.clear(),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_other_tensors_are_refused(kind, saved, tmp_path):
    tensors = dict(saved[1])
    TENSORS[kind](tensors)
    save_file(tensors, tmp_path / "other.safetensors", {"relahash_nb": saved[2]["relahash_nb"]})
    assert load_or_refuse(tmp_path / "other.safetensors") is None


def test_a_header_of_many_names_is_refused_before_it_is_read(tmp_path):
    header = b'{"__metadata__":{"relahash_nb":"{}"}' + b" " * 2**22 + b"}"
    (tmp_path / "other.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match=r"header"):
        HashModel.load(tmp_path / "other.safetensors")


def test_a_pipe_is_not_waited_for(saved, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert load_or_refuse(tmp_path / "pipe") is None
    facts = json.loads(saved[2]["relahash_nb"]) | {"weights": str(tmp_path / "pipe"), "weights_digest": "0" * 16}
    save_file(saved[1], tmp_path / "other.safetensors", {"relahash_nb": json.dumps(facts)})
    assert load_or_refuse(tmp_path / "other.safetensors") is None


def test_a_huge_network_is_compared_on_paper(saved, tmp_path, monkeypatch):
    pytest.importorskip("timm")
    facts = json.loads(saved[2]["relahash_nb"]) | {"backbone": "vit_giant_patch14_clip_224"}
    save_file(saved[1], tmp_path / "other.safetensors", {"relahash_nb": json.dumps(facts)})
    with pytest.raises(ValueError, match=r"vit_giant.*none of its tensors"):
        HashModel.load(tmp_path / "other.safetensors")


def test_a_backbone_of_one_s_own_is_the_caller_s(saved, tmp_path):
    path, tensors, metadata = saved
    facts = json.loads(metadata["relahash_nb"]) | {"backbone": "mine.networks:tiny"}
    save_file(tensors, tmp_path / "own.safetensors", {"relahash_nb": json.dumps(facts)})
    with pytest.raises(ValueError, match=r"backbone=mine\.networks\.tiny"):
        HashModel.load(tmp_path / "own.safetensors")
    for backbone in (small_cnn, small_cnn("none")):
        assert torch.equal(
            codes_of(HashModel.load(tmp_path / "own.safetensors", backbone=backbone)), codes_of(HashModel.load(path))
        )
