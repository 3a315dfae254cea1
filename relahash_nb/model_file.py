"""`model.onnx`, the contract between `relahash_nb.export` and `relahash_search`: what it says, how it is opened.

No torch.
"""

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from relahash_nb.pictures import CROP_SHARE

CPU = ("CPUExecutionProvider",)
NOWHERE = os.path.join(os.devnull, "none")  # noqa: PTH118 - no folder: weights that lie in other files are refused
METADATA_KEY = "relahash_nb"  # of the file's metadata; its value is JSON
Name = Annotated[str, Field(max_length=4096)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Triple = tuple[float, float, float]


class Metadata(BaseModel):
    """Beside the network of a `model.onnx`: `images` (N, 3, S, S) uint8 to `codes` (N, K) float32, any N.

    Attributes:
        schema_number: Of this contract.
        bits: K.
        image_size: S, pixels.
        decoded_size: Pixels of the middle square that a picture is resized to; its own middle, S by S, is the image.
        mean: Of the normalisation inside of the network, a number a channel; for the reader alone, as is `std`.
        std: Its deviation.
        bit_order: Of packed codes, by NumPy's name: the first bit is the highest of the first byte.
        digest: 16 hexadecimal digits of all weights and of the preprocessing; what tells one model from another.
        run: Name of the run that trained the model; None for a baseline.
        dataset: What the run was trained on; None for a baseline, and where it is not known.
        loss: The loss, or the baseline; None where it is not known.
        backbone: The network's name.
        weights: What the backbone started from.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    schema_number: Literal[1] = 1
    bits: Annotated[int, Field(ge=1, le=4096)]
    image_size: Annotated[int, Field(ge=1, le=4096)]
    decoded_size: Annotated[int, Field(ge=1, le=8192)]
    mean: Triple
    std: Triple
    bit_order: Literal["big"] = "big"
    digest: Digest
    run: Name | None
    dataset: Name | None
    loss: Name | None
    backbone: Name
    weights: Name

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        allowed = (self.image_size, round(self.image_size / CROP_SHARE))
        if self.decoded_size not in allowed:
            raise ValueError(f"decoded_size: {self.decoded_size} given; allowed: {allowed[0]} or {allowed[1]}")
        return self

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads the metadata; a ValueError of one line says what is wrong with them."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "metadata"
            raise ValueError(f"{where}: {' '.join(first['msg'].split())}") from None

    @property
    def code_bytes(self) -> int:
        """⌈K/8⌉, the bytes of a packed code."""
        return -(-self.bits // 8)


def open_session(content: bytes, providers: Sequence[str] = CPU, name: str = "model") -> Any:
    """An ONNX Runtime session of one thread, which reads no file; a ValueError of one line for what is no network."""
    try:
        import onnxruntime
    except ImportError:
        raise ValueError("onnxruntime: not installed; pip install 'relahash-nb[search]'") from None
    available = onnxruntime.get_available_providers()
    missing = [provider for provider in providers if provider not in available]
    if missing:
        raise ValueError(f"providers: {missing[0]!r} given; allowed here: {', '.join(available)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a sum over several threads is rounded otherwise
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it would print is in its errors too
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
    try:
        return onnxruntime.InferenceSession(content, options, list(providers))
    except Exception as error:  # ONNX Runtime's own errors share no other class
        raise ValueError(f"{name}: not a network that ONNX Runtime can load ({one_line(error)})") from None


def one_line(error: Exception) -> str:
    """An error's message in one line of at most 200 letters."""
    return " ".join(str(error).split())[:200]
