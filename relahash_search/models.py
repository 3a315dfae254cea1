"""Which model hashes: that of an index, that of a run, or a baseline that is fitted to a folder. Only here is torch."""

from pathlib import Path
from typing import Any

import numpy as np

from relahash_nb.files import watch
from relahash_nb.pictures import scan
from relahash_search.commands import MODEL, SearchOptions
from relahash_search.index import Index, describe_card, open_tables
from relahash_search.location import is_address
from relahash_search.model import Model
from relahash_search.reading import Fault, reason
from relahash_search.sqlite import is_index

BITS = 256  # of a baseline: with a tenth of them as radius, 3 of 103 groups of near-duplicates are wrong; 64 bits: 21
FEWEST_BITS = 8


def open_index(options: SearchOptions) -> Index:
    """Open an index, or make it with the model that the options describe.

    Raises:
        ValueError: It holds codes of another model than the options name; or no such model can be made.
    """
    location = str(options.index)
    if has_model(location):
        index = Index(location, options.kind)
        check_model(options, index.card)
        return index
    return Index.begin(location, make_model(options), options.kind)


def has_model(location: str) -> bool:
    """Whether there is an index that a model is in. A process that was killed may have left one without."""
    if not is_address(location) and not is_index(location):
        return False
    tables = open_tables(location, create=True)
    try:
        return tables.card is not None
    finally:
        tables.close()


def check_model(options: SearchOptions, card: dict[str, Any]) -> None:
    """Refuse options that name another model than the one that an index has."""
    for name in options.model_fields_set.intersection(MODEL) - {"device"}:
        value = getattr(options, name)
        known = card[name]
        if name in ("run", "weights"):  # the same by another path
            value, known = Path(str(value)).name, Path(str(known)).name
        if name == "run" and value.endswith(".onnx"):
            value, known = Model.from_file(options.run or "").metadata.digest, card["digest"]
        if value != known:
            advice = "leave the option out, or index into another folder"
            raise ValueError(f"{name}: {value!r} given; the index holds codes of {describe_card(card)}; {advice}")


def make_model(options: SearchOptions) -> bytes:
    """The bytes of a `model.onnx`: of a run, or of a baseline that is fitted to the options' folder."""
    if options.run is None:
        from relahash_nb.export import export_baseline

        names = ("backbone", "weights", "loss", "image_size", "device")
        settings = {name: getattr(options, name) for name in names}
        bits = options.bits or bits_for(len(scan(str(options.folder)).files))
        return export_baseline(options.folder, bits=bits, **settings)
    for name in options.model_fields_set.intersection(MODEL) - {"run", "device"}:
        raise ValueError(f"{name}: {getattr(options, name)!r} given beside a run; allowed: without a run")
    if Path(options.run).suffix == ".onnx":
        return Model.from_file(options.run).content
    from relahash_nb.export import export_run

    return export_run(options.run)


def bits_for(pictures: int) -> int:
    """The length of the codes of a baseline for so many pictures: `BITS`, or what half as many pictures determine."""
    bits = BITS
    while bits > pictures / 2 and bits > FEWEST_BITS:
        bits //= 2
    return bits


def hash_folder(options: SearchOptions) -> tuple[dict[str, Any], list[str], np.ndarray, list[Fault]]:
    """Hash a folder's pictures by the model that the options describe.

    Returns:
        The model's card, paths (N,), packed codes (N, ⌈K/8⌉) uint8, and the pictures that cannot be read.
    """
    folder = Path(str(options.folder)).expanduser().resolve()
    files = [folder / path for path in scan(folder).files]
    if not files:
        raise ValueError(f"folder: {options.folder!r} given, and no picture is in it")
    model = Model.from_bytes(make_model(options))
    paths: list[str] = []
    faults: list[Fault] = []
    codes = [np.empty((0, model.metadata.code_bytes), np.uint8)]
    for file, code in zip(files, watch(model.hash_many(files), len(files), "pictures"), strict=True):
        if isinstance(code, ValueError):
            faults.append(Fault(str(file), reason(code, file)))
        else:
            paths.append(str(file))
            codes.append(code[None])
    return model.metadata.model_dump(mode="json"), paths, np.concatenate(codes), faults
