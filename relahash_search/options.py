"""The options of `relahash hash`, `index`, `search` and `duplicates`."""

from typing import Annotated, Literal

from pydantic import Field

from relahash_nb.cluster import ClusterOptions
from relahash_nb.options import Count, option

MODEL = ("run", "backbone", "weights", "loss", "bits", "image_size")  # what names a model


class SearchOptions(ClusterOptions):
    """Of all four; `commands.COMMANDS` says which takes what."""

    folder: str | None = option(None, "folder with pictures, at any depth", "positional")
    pictures: list[str] | None = option(None, "files", "positional")
    index: str | None = option(None, "folder, or postgresql://USER@HOST/DATABASE (password: PGPASSWORD or ~/.pgpass)")
    run: str | None = option(None, "finished run whose model hashes, or its model.onnx; default: a baseline")
    backbone: str = option("mobilenet_v3_large", "of a baseline: any model of torchvision or timm")
    weights: str = option("imagenet", "of the backbone: imagenet, none, or a safetensors file")
    loss: Literal["itq", "pcah", "lsh"] = option("itq", "the baseline")
    bits: Annotated[int, Field(ge=1, le=4096)] | None = option(
        None, "of a baseline: length of a hash code; default: 256, less for few pictures"
    )
    image_size: Annotated[int, Field(ge=8, le=4096)] = option(224, "of a baseline: height and width in pixels")
    kind: Literal["flat", "ivf", "hnsw"] = option("flat", "flat is exact; ivf and hnsw are faster and miss some")
    list: bool = option(False, "print the folders of the index", "flag")
    remove: str | None = option(None, "folder to take out of the index; its files stay")
    strict: bool = option(False, "exit code 1 where a picture was skipped", "flag")
    k: Count = option(20, "answers for each picture")
    radius: Annotated[int, Field(ge=0, le=4096)] | None = option(
        None, "bits in which a code may differ from that of the group's first; default: a tenth of the bits"
    )
    format: Literal["table", "jsonl", "html"] = option("table", "jsonl: an answer a line; html: a page with thumbnails")
    out: str = option("codes.npz", "file for packed codes, their bit order, paths, and what names the model")
