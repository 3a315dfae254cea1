"""Which model hashes: that of an index, that of a run, or a baseline that is fitted to a folder. Only here is torch."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from relahash_nb.files import watch
from relahash_nb.pictures import scan
from relahash_search.index import Index, card_of, describe_card, open_tables
from relahash_search.location import is_address
from relahash_search.model import Model
from relahash_search.options import MODEL, SearchOptions
from relahash_search.reading import Fault, Fitted, reason
from relahash_search.sqlite import is_index


class Made(NamedTuple):
    """A model that was just made: the bytes of a `model.onnx`, and the codes of the pictures it was fitted to."""

    content: bytes
    fitted: Fitted | None = None


def open_index(options: SearchOptions) -> tuple[Index, Fitted | None]:
    """Open an index, or make it with the model that the options describe.

    Returns:
        The index, and what is known of the options' folder since a baseline was fitted to it.

    Raises:
        ValueError: It holds codes of another model than the options name; or no such model can be made.
    """
    location = str(options.index)
    if has_model(location):
        index = Index(location, options.kind)
        check_model(options, index.card)
        return index, None
    made = make_model(options)
    return Index.begin(location, made.content, options.kind), made.fitted


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
    for name in options.model_fields_set.intersection(MODEL):
        value = getattr(options, name)
        if value is None:
            continue
        known = card[name]
        if name in ("run", "weights"):  # the same by another path
            value, known = Path(str(value)).name, Path(str(known)).name
        if name == "run" and value.endswith(".onnx"):
            value, known = Model.from_file(options.run or "").metadata.digest, card["digest"]
        if value != known:
            advice = "leave the option out, or index into another folder"
            raise ValueError(f"{name}: {value!r} given; the index holds codes of {describe_card(card)}; {advice}")


def make_model(options: SearchOptions) -> Made:
    """The model of a run, or of a baseline that is fitted to the options' folder, which has to hold pictures."""
    folder = Path(str(options.folder)).expanduser()
    files = scan(folder).files
    if not files:
        raise ValueError(f"folder: {options.folder!r} given, and no picture is in it")
    if options.run is None:
        return fit_baseline(options, folder)
    for name in options.model_fields_set.intersection(MODEL) - {"run"}:
        raise ValueError(f"{name}: {getattr(options, name)!r} given beside a run; allowed: without a run")
    if Path(options.run).suffix == ".onnx":
        return Made(Model.from_file(options.run).content)
    from relahash_nb.export import export_run

    return Made(export_run(options.run))


def fit_baseline(options: SearchOptions, folder: Path) -> Made:
    """A baseline for a folder of pictures, with the codes that they have."""
    from relahash_nb.export import export_baseline

    began = time.time_ns()
    settings = {name: getattr(options, name) for name in ("backbone", "weights", "loss", "bits", "image_size")}
    baseline = export_baseline(folder, **settings)
    codes = {path: code.tobytes() for path, code in baseline.codes.items()}
    return Made(baseline.content, Fitted(codes, began))


def hash_folder(options: SearchOptions) -> tuple[dict[str, Any], list[str], np.ndarray, list[Fault]]:
    """Hash a folder's pictures by the model that the options describe.

    Returns:
        The model's card, paths (N,), packed codes (N, ⌈K/8⌉) uint8, and the pictures that cannot be read.
    """
    made = make_model(options)
    folder = Path(str(options.folder)).expanduser().resolve()
    files = scan(folder).files
    model = Model.from_bytes(made.content)
    known = {} if made.fitted is None else made.fitted.codes
    hashed = model.hash_many(folder / path for path in files if path not in known)
    paths: list[str] = []
    codes: list[bytes] = []
    faults: list[Fault] = []
    for path in watch(files, len(files), "pictures"):
        code = known.get(path) or next(hashed)
        if isinstance(code, ValueError):
            faults.append(Fault(path, reason(code, folder / path)))
        else:
            paths.append(str(folder / path))
            codes.append(bytes(code))
    packed = np.frombuffer(b"".join(codes), np.uint8).reshape(-1, model.metadata.code_bytes)
    return card_of(model), paths, packed, faults
