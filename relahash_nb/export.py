"""A model as one file, `model.onnx`: images in, codes out, on any machine, without torch and without this package."""

import copy
import io
import json
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from relahash_nb.baselines import solve
from relahash_nb.config import RunConfig
from relahash_nb.files import watch
from relahash_nb.metrics import pack
from relahash_nb.model_file import METADATA_KEY, Metadata, one_line, open_session
from relahash_nb.models import HashModel, build_model, digest_of, find_model_file
from relahash_nb.pictures import read_square, scan
from relahash_nb.registry import BACKBONES, load
from relahash_nb.threads import map_in_threads

if TYPE_CHECKING:  # of an extra
    from onnx import ModelProto

BASELINE_LOSSES = ("itq", "pcah", "lsh")
FIT = 20_000  # pictures, at most, that a baseline is fitted to
BITS = 256  # of a baseline: with a tenth of them as radius, 3 of 103 groups of near-duplicates are wrong; 64 bits: 21
FEWEST_BITS = 8
TOLERANCE = 1e-4  # of the largest feature: by so much ONNX Runtime's features may differ from torch's


class Baseline(NamedTuple):
    """A baseline that is fitted to a folder, and the codes that it has computed on the way.

    Attributes:
        content: Of its `model.onnx`.
        codes: Of each picture that it was fitted to, by its path relative to the folder: (⌈K/8⌉,) uint8, packed. The
            model itself gives the same.
        faults: For each picture that cannot be read, its path and the reason, in one line.
    """

    content: bytes
    codes: dict[str, np.ndarray]
    faults: list[str]


class Features(nn.Module):
    """Images (N, 3, S, S) uint8 in, features (N, F) out: a backbone with the normalisation before it."""

    def __init__(self, model: HashModel) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.mean = model.mean
        self.std = model.std

    def forward(self, images: Tensor) -> Tensor:
        """Features of images, as `HashModel.features` computes them."""
        return self.backbone((images.to(torch.float32) / 255 - self.mean) / self.std).flatten(1)


def export_run(run: Path | str, weights: str | None = None, backbone: str | None = None) -> bytes:
    """The model of a finished run, as the content of a `model.onnx`.

    Args:
        run: A run's folder, its name in `results/runs`, or its `model.safetensors`.
        weights: What a frozen backbone started from, where it lies elsewhere now.
        backbone: `package.module:function`, where the run's is one's own: what a file names is not imported.

    Raises:
        ValueError: The run keeps no model, or it cannot be exported.
    """
    network = None if backbone is None else load(BACKBONES, backbone)("none")
    model = HashModel.load(run, weights, network)
    folder = find_model_file(run).resolve().parent
    dataset = loss = None
    if (folder / "config.json").is_file():
        config = RunConfig.from_saved(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        dataset, loss = config.dataset, config.loss
    facts = model.facts
    network_names = dict(backbone=facts["backbone"], weights=facts["weights"])
    return export_model(model, run=folder.name, dataset=dataset, loss=loss, **network_names)


def export_baseline(
    folder: Path | str,
    backbone: str,
    *,
    weights: str = "imagenet",
    bits: int | None = None,
    image_size: int = 224,
    loss: str = "itq",
) -> Baseline:
    """Fit ITQ, PCAH or LSH to the features that a backbone has of a folder's pictures, at most 20,000 of them.

    Args:
        folder: Pictures, at any depth.
        backbone: As in `RunConfig`.
        weights: `imagenet`, `none`, or a safetensors file.
        bits: K; None: what `bits_for` gives.
        image_size: S, pixels.
        loss: `itq`, `pcah` or `lsh`.

    Raises:
        ValueError: A value is not allowed, the pictures are too few, or the backbone cannot be exported.
    """
    if loss not in BASELINE_LOSSES:
        raise ValueError(f"loss: {loss!r} given; allowed without a run: {', '.join(BASELINE_LOSSES)}")
    first_bits = bits or FEWEST_BITS
    config = RunConfig(
        backbone=backbone,
        weights=weights,
        bits=first_bits,
        image_size=image_size,
        loss=loss,
        augment="none",
        device="cpu",
    )
    files = scan(folder).files
    chosen = files[:: ceil(len(files) / FIT) or 1]
    check_count(len(chosen), config)
    model = build_model(config).eval()
    network = features_network(model)
    paths, features, faults = compute_features(network, Path(folder), chosen, image_size)
    if bits is None:  # only now it is known how many of the pictures can be read
        config = config.replace(bits=bits_for(*features.shape))
    check_count(len(paths), config)
    targets = torch.ones(len(features), 1)  # a baseline needs no classes
    solve(model, torch.from_numpy(features), targets, config)
    content = finish(network, model, run=None, dataset=None, loss=loss, backbone=backbone, weights=weights)
    codes = hash_features(model, features)
    return Baseline(content, dict(zip(paths, codes, strict=True)), faults)


def bits_for(pictures: int, width: int) -> int:
    """The length of the codes of a baseline: `BITS`, or less where pictures or features do not determine so many.

    Args:
        pictures: N, that can be read; they determine half as many bits.
        width: F, the numbers of a feature.
    """
    bits = BITS
    while bits > min(pictures / 2, width) and bits > FEWEST_BITS:
        bits //= 2
    return bits


def check_count(count: int, config: RunConfig) -> None:
    """Refuses so few pictures that a baseline cannot be fitted to them."""
    if count == 0:
        raise ValueError("folder: no picture in it that can be read")
    if config.loss != "lsh" and count < config.bits:
        limit = f"{config.loss} has at most {count}, as many as pictures that can be read"
        raise ValueError(f"bits: {config.bits}; {limit}; allowed: --bits {count}, or --loss lsh")


def compute_features(
    network: "ModelProto", folder: Path, files: list[str], size: int
) -> tuple[list[str], np.ndarray, list[str]]:
    """Paths (N) and features (N, F) float32 of the pictures that can be read, and a line for each other one."""
    session = open_session(network.SerializeToString())

    def read(path: str) -> np.ndarray | ValueError:
        try:
            image = read_square(folder / path, size)
        except ValueError as error:
            return error
        return session.run(["features"], {"images": np.ascontiguousarray(image[None])})[0]  # (1, F)

    paths, features, faults = [], [], []
    found = zip(files, map_in_threads(read, files), strict=True)
    for path, row in watch(found, len(files), "pictures"):
        if isinstance(row, ValueError):
            faults.append(str(row))
        else:
            paths.append(path)
            features.append(row)
    return paths, np.concatenate([np.empty((0, network_width(network)), np.float32), *features]), faults


def hash_features(model: HashModel, features: np.ndarray) -> np.ndarray:
    """Packed codes (N, ⌈K/8⌉) uint8 of features (N, F), one by one by ONNX Runtime: just those that the file gives."""
    import onnx

    width = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["N", features.shape[1]])
    empty = onnx.helper.make_model(onnx.helper.make_graph([], "hash", [width], [width]))
    layer = append_hash_layer(empty, model.hash_layer)
    session = open_session(layer.SerializeToString())
    codes = [session.run(["codes"], {"features": row[None]})[0] for row in features]
    return pack(np.concatenate(codes))


def export_model(model: HashModel, **names: str | None) -> bytes:
    """A model as the content of a `model.onnx`: images (N, 3, S, S) uint8 to codes (N, K) float32, any N.

    Args:
        model: With an image size, as `build_model` and `HashModel.load` give it.
        names: `run`, `dataset`, `loss`, `backbone` and `weights`, as in `Metadata`; of a path the last name is kept.

    Raises:
        ValueError: Its hash layer is no linear map, its network cannot be exported, or comes out otherwise.
    """
    return finish(features_network(model), model, **names)


def finish(network: "ModelProto", model: HashModel, **names: Any) -> bytes:
    """The features' network with the hash layer and the metadata, as the content of a file."""
    import onnx

    preprocessing: dict[str, Any] = {
        "image_size": model.image_size,
        "decoded_size": model.decoded_size,
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
    }
    facts = preprocessing | names
    facts["bits"] = len(affine(model.hash_layer)[0])
    facts["weights"] = Path(names["weights"]).name  # a file that is passed on need not tell its maker's folders
    facts["digest"] = digest_of(model.state_dict(), json.dumps(preprocessing))
    metadata = Metadata.from_json(json.dumps(facts))
    whole = append_hash_layer(network, model.hash_layer)
    onnx.helper.set_model_props(whole, {METADATA_KEY: metadata.model_dump_json()})
    return whole.SerializeToString(deterministic=True)


def append_hash_layer(network: "ModelProto", hash_layer: nn.Module) -> "ModelProto":
    """A copy of a network whose last output, features (N, F), has become codes (N, K)."""
    import onnx

    weight, bias = affine(hash_layer)
    whole = onnx.ModelProto()
    whole.CopyFrom(network)
    graph = whole.graph
    graph.initializer.append(onnx.numpy_helper.from_array(weight, "hash_weight"))
    graph.initializer.append(onnx.numpy_helper.from_array(bias, "hash_bias"))
    inputs = ["features", "hash_weight", "hash_bias"]
    graph.node.append(onnx.helper.make_node("Gemm", inputs, ["codes"], "hash", transB=1))
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info("codes", onnx.TensorProto.FLOAT, ["N", len(weight)]))
    return whole


def affine(hash_layer: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Weight (K, F) and bias (K,) float32 of a linear layer and the batch norm, if any, that follows it."""
    layers = list(hash_layer) if isinstance(hash_layer, nn.Sequential) else [hash_layer]
    if not layers or not isinstance(layers[0], nn.Linear):
        raise ValueError(f"model: hash layer {layers} given; allowed: a linear layer, alone or with a batch norm")
    weight = layers[0].weight.detach().cpu().double()  # (K, F)
    bias = torch.zeros(len(weight), dtype=torch.float64)
    norm = layers[-1]
    if isinstance(norm, nn.BatchNorm1d):
        assert norm.running_var is not None and norm.running_mean is not None
        scale = (norm.running_var.cpu().double() + norm.eps).rsqrt() * norm.weight.detach().cpu().double()  # (K,)
        bias = norm.bias.detach().cpu().double() - norm.running_mean.cpu().double() * scale
        weight = weight * scale[:, None]
    return weight.float().numpy(), bias.float().numpy()


def features_network(model: HashModel) -> "ModelProto":
    """A model's backbone as an ONNX network: `images` (N, 3, S, S) uint8 to `features` (N, F) float32.

    torch's older exporter comes first: for tf_efficientnet_lite0 it takes 2 seconds of a core where the newer one takes
    10, and the features are the same to a millionth. It does not know every adaptive pooling, which the newer one does.

    Raises:
        ValueError: The model knows no image size, an image's features depend on the other images, an extra is not
            installed, or neither exporter gives a network that computes what torch does.
    """
    if model.image_size is None:
        raise ValueError("model: it knows no image size; build_model and HashModel.load set it")
    network = copy.deepcopy(Features(model)).float().cpu().eval()
    side = model.image_size
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    check_independence(network, images)
    reasons = []
    for exporter in (export_newer,) if pools_adaptively(network) else (export_older, export_newer):
        try:
            found = quietly(exporter, network, images)
            check_features(found, network, images)
            return found
        except ImportError as error:
            raise ValueError(f"{error.name}: not installed; pip install 'relahash-nb[search]'") from None
        except Exception as error:  # what a network makes an exporter raise is no closed list
            reasons.append(one_line(error))
    raise ValueError(f"model: cannot be exported ({reasons[-1]})")


def check_independence(network: nn.Module, images: Tensor) -> None:
    """Refuses a network that gives an image other features among other images."""
    with torch.no_grad():
        together, alone = network(images)[:1], network(images[:1])
    if not torch.allclose(together, alone, rtol=0, atol=TOLERANCE * float(together.abs().max())):
        raise ValueError("model: the features of an image depend on the other images of its batch; no code can be kept")


def pools_adaptively(network: nn.Module) -> bool:
    """Whether a layer pools an image to a grid of several cells, such as AlexNet's to 6 x 6."""
    for module in network.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d) and module.output_size not in (1, (1, 1)):
            return True
    return False


def quietly(exporter: Callable[..., "ModelProto"], network: nn.Module, images: Tensor) -> "ModelProto":
    """Calls an exporter without its lines and warnings; what it tells of this machine is taken out of the network."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        found = exporter(network, images)
    found.doc_string = ""
    found.graph.doc_string = ""
    for part in (*found.graph.node, *found.graph.input, *found.graph.output, *found.graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    return found


def export_older(network: nn.Module, images: Tensor) -> "ModelProto":
    """By TorchScript."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "network.onnx"))
        torch.onnx.export(
            network,
            (images,),
            path,
            input_names=["images"],
            output_names=["features"],
            dynamic_axes={"images": {0: "N"}, "features": {0: "N"}},
            dynamo=False,
        )
        return onnx.load(path)


def export_newer(network: nn.Module, images: Tensor) -> "ModelProto":
    """By torch.export."""
    import onnxscript  # noqa: F401 - torch asks for it by a message of many lines

    program = torch.onnx.export(
        network,
        (images,),
        input_names=["images"],
        output_names=["features"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # it is, where a file is given
    return program.model_proto


def check_features(found: "ModelProto", network: nn.Module, images: Tensor) -> None:
    """Refuses an exported network that gives other features than torch for two images, together or one by one."""
    session = open_session(found.SerializeToString())
    with torch.no_grad():
        expected = network(images).numpy()  # (2, F)
    alone = [session.run(["features"], {"images": image[None].numpy()})[0] for image in images]
    for given in (np.concatenate(alone), session.run(["features"], {"images": images.numpy()})[0]):
        difference = np.abs(given - expected).max()
        if not difference <= TOLERANCE * np.abs(expected).max():
            raise ValueError(f"the exported network's features differ from torch's by {difference:.3g}")


def network_width(network: "ModelProto") -> int:
    """F, of the features that a network gives."""
    return network.graph.output[0].type.tensor_type.shape.dim[1].dim_value
