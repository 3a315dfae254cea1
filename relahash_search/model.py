"""A model that hashes pictures: one file, `model.onnx`, run by ONNX Runtime. No torch, and no code from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relahash_nb.model_file import CPU, METADATA_KEY, Metadata, one_line, open_session
from relahash_nb.pictures import Source, cut_centre, read_file, read_square
from relahash_nb.threads import map_in_threads

LARGEST_MODEL = 2**31  # bytes; what the format allows


class Model:
    """A network of ONNX Runtime and its metadata; `from_file` and `from_bytes` make it.

    An image goes through the network alone and on one thread, so that its code depends on nothing else. Threads may
    share a model: they share its weights, and each computes an image of its own.

    Attributes:
        metadata: What the file says of itself.
        content: The file's bytes.

    Example:
        >>> model = Model.from_file("model.onnx")  # doctest: +SKIP
        >>> model.hash("holiday.jpg")  # doctest: +SKIP
        array([ 17, 201, ...], dtype=uint8)
    """

    def __init__(self, content: bytes, metadata: Metadata, session: Any) -> None:
        self.content = content
        self.metadata = metadata
        self._session = session

    @classmethod
    def from_file(cls, path: str | Path, providers: Sequence[str] = CPU) -> Model:
        """The model in a file; see `from_bytes`."""
        return cls.from_bytes(read_file(path, LARGEST_MODEL), providers, str(path))

    @classmethod
    def from_bytes(cls, content: bytes, providers: Sequence[str] = CPU, name: str = "model") -> Model:
        """The model in a file's content, wherever the file comes from.

        Args:
            content: Of a file that `relahash export` has written. It reaches no other file.
            providers: ONNX Runtime's names of what computes, the first that can.
            name: Of the file, for messages.

        Raises:
            ValueError: One line: it is no such file, or a provider is not to be had here.
        """
        session = open_session(content, providers, name)
        try:
            text = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
            metadata = Metadata.from_json(text)
            check_shapes(session, metadata)
        except KeyError:
            raise ValueError(f"{name}: an ONNX file without the metadata of `relahash export`") from None
        except (ValueError, UnicodeError) as error:
            raise ValueError(f"{name}: not a file of `relahash export` ({error})") from None
        return cls(content, metadata, session)

    def codes(self, images: np.ndarray) -> np.ndarray:
        """Codes (N, K) float32, before the sign, of images (N, 3, S, S) uint8, computed one by one.

        Raises:
            ValueError: The images have another shape or dtype, or the network fails, or gives what are no codes.
        """
        metadata = self.metadata
        expected = (3, metadata.image_size, metadata.image_size)
        if images.dtype != np.uint8 or images.shape[1:] != expected:
            raise ValueError(f"images: {images.dtype} {images.shape} given; allowed: uint8 (N, {expected})")
        codes = np.empty((len(images), metadata.bits), np.float32)
        for row, image in enumerate(images):
            codes[row] = self._run(image[None])
        return codes

    def hash(self, source: Source) -> np.ndarray:
        """The packed code (⌈K/8⌉,) uint8 of a picture: a path, the content of a file, or an image in memory.

        Raises:
            ValueError: The picture cannot be read; the message is one line, and names its path.
        """
        square = read_square(source, self.metadata.decoded_size)
        image = cut_centre(square, self.metadata.image_size)
        return pack(self.codes(image[None]))[0]

    def hash_many(self, sources: Iterable[Source], threads: int | None = None) -> Iterator[np.ndarray | ValueError]:
        """Hashes pictures, one on each thread.

        Args:
            sources: As for `hash`; they are asked for as they are needed.
            threads: As many as this process has cores where None is given.

        Returns:
            In order, each picture's packed code, or the error that says why it cannot be read.
        """

        def attempt(source: Source) -> np.ndarray | ValueError:
            try:
                return self.hash(source)
            except ValueError as error:
                return error

        return map_in_threads(attempt, sources, threads)

    def _run(self, image: np.ndarray) -> np.ndarray:
        """The code (1, K) of an image (1, 3, S, S)."""
        try:
            (code,) = self._session.run(["codes"], {"images": np.ascontiguousarray(image)})
        except Exception as error:  # ONNX Runtime's own errors share no other class
            raise ValueError(f"model: cannot hash ({one_line(error)})") from None
        if code.shape != (1, self.metadata.bits):
            raise ValueError(f"model: gives codes of shape {code.shape}; expected: (1, {self.metadata.bits})")
        if np.isnan(code).any():
            raise ValueError("model: gives a code that holds NaN")
        return code


def check_shapes(session: Any, metadata: Metadata) -> None:
    """Refuses a network that does not take the images, or does not give the codes, that its metadata describe."""
    side = metadata.image_size
    inputs = [(value.name, value.type, value.shape[1:]) for value in session.get_inputs()]
    outputs = [(value.name, value.type, value.shape[1:]) for value in session.get_outputs()]
    if inputs != [("images", "tensor(uint8)", [3, side, side])]:
        raise ValueError(f"it takes {inputs}; expected: images (N, 3, {side}, {side}) uint8")
    if outputs != [("codes", "tensor(float)", [metadata.bits])]:
        raise ValueError(f"it gives {outputs}; expected: codes (N, {metadata.bits}) float32")


def pack(codes: np.ndarray) -> np.ndarray:
    """The signs of codes (N, K), packed (N, ⌈K/8⌉) uint8, as `relahash_nb.metrics.pack`, which takes longer to load."""
    return np.packbits(codes >= 0, axis=1, bitorder="big")
