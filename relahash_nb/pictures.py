"""Pictures: which files of a folder are some, and from a file to 8-bit RGB pixels of one size. No torch.

A path, the content of a file and an image in memory take one route, so they give the same pixels to the last bit. An
image is decoded whole, and no JPEG at a part of its size, but for one of more than `LARGEST` pixels.
"""

import functools
import importlib.util
import math
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".j2k",
    ".ppm", ".pgm", ".pbm",
)  # fmt: skip
# The first bytes of each format that is read, by Pillow's name; none whose decoder runs a program, as that of EPS does.
FORMATS = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("GIF", 0, b"GIF8"),
    ("WEBP", 8, b"WEBPVP8"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"),
    ("TIFF", 0, b"MM\0+"),
    ("BMP", 0, b"BM"),
    ("JPEG2000", 0, b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("JPEG2000", 0, b"\xff\x4f\xff\x51"),
    ("AVIF", 4, b"ftypavif"),
    ("AVIF", 4, b"ftypavis"),
    ("HEIF", 4, b"ftyphe"),
    ("HEIF", 4, b"ftypmif1"),
    ("HEIF", 4, b"ftypmsf1"),
    *(("PPM", 0, b"P%d%c" % (number, blank)) for number in range(1, 7) for blank in b"\n\r\t "),
)
HEAD = 32  # bytes at the beginning of a file that tell its format
# TIFF files by their first bytes, or formats of their makers; what is in them first is a small preview.
CAMERA_RAW = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw",
    ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
VIDEO = (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv")
LEAVINGS = (
    "__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "lost+found",
    "System Volume Information",
)  # fmt: skip
PICTURE = "picture"
FOLDER = "folder"

CROPS = ("crop", "resized_crop")  # augmentations that cut a part out of each image
CROP_SHARE = 7 / 8  # of height and width that a crop keeps, as in 224 of 256 pixels

WHOLE = 16_000_000  # pixels; a larger image is first reduced by the mean of blocks of 2 × 2, 3 × 3, … pixels
LARGEST = 2**26  # pixels that are decoded, 256 MB in Pillow's memory: what a camera of 64 megapixels gives
LARGEST_FILE = 2**29  # bytes
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
one_large_image = threading.Lock()  # threads that decode one each would need the memory that one of them may have

Source = str | Path | bytes | Image.Image  # a path, the content of a file, or an image in memory of any mode


@dataclass(frozen=True)
class Scan:
    """What `scan` found in a folder.

    Attributes:
        files: The pictures' paths relative to the folder, with slashes, sorted as texts.
        passed_over: How many files and folders were left out, by kind.
        faults: A line for each folder that cannot be read.
    """

    files: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """What was left out, in one line; empty where nothing was.

        Example:
            >>> Scan(passed_over=Counter({"hidden": 2, "video": 1200})).summary()
            'left out: 1,200 video, 2 hidden'
        """
        counts = [f"{count:,} {kind}" for kind, count in self.passed_over.most_common()]
        return f"left out: {', '.join(counts)}" if counts else ""


def scan(folder: str | Path, is_known: Callable[[str], bool] | None = None) -> Scan:
    """Lists the pictures in a folder and in all folders below it.

    A file is a picture if its suffix or its first bytes say so. What is hidden, what macOS, Windows and network drives
    leave behind, and what is no regular file are left out. A link to a file counts as a file. A link to a folder is
    followed where it stands directly in the given folder and leads out of it: its owner has put it there.

    Args:
        folder: The folder, or a link to it.
        is_known: Whether a file, by its path relative to the folder, is known to be a picture: its first bytes are then
            not read.

    Raises:
        ValueError: There is no such folder.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"folder: {str(folder)!r} given, and there is no such folder")
    root = os.path.realpath(folder)
    found = Scan()
    waiting = [""]  # folders relative to the root
    while waiting:
        place = waiting.pop()
        for entry in list_entries(Path(root, place), found.faults):
            path = f"{place}/{entry.name}" if place else entry.name
            kind = kind_of_entry(entry, path, root, is_known)
            if kind == FOLDER:
                waiting.append(path)
            elif kind == PICTURE:
                found.files.append(path)
            else:
                found.passed_over[kind] += 1
    found.files.sort()
    return found


def list_entries(folder: Path, faults: list[str]) -> list[os.DirEntry[str]]:
    """What is in a folder; if it cannot be read, nothing, and the faults get a line."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        faults.append(f"{folder}: cannot be read ({error.strerror})")
        return []


def kind_of_entry(entry: os.DirEntry[str], path: str, root: str, is_known: Callable[[str], bool] | None) -> str:
    """`PICTURE`, `FOLDER`, or the kind of what is left out; `path` is relative to the root."""
    if entry.name in LEAVINGS or entry.name.startswith("._"):
        return "of macOS, Windows or a network drive"
    if entry.name.startswith("."):
        return "hidden"
    try:
        if entry.is_dir():
            is_followed = not entry.is_symlink() or leads_out(path, root)
            return FOLDER if is_followed else "links to folders"
        if not entry.is_file():
            return "not regular files"
        return kind_of_file(entry, is_known is not None and is_known(path))
    except OSError:
        return "files that cannot be opened"


def kind_of_file(entry: os.DirEntry[str], is_known: bool) -> str:
    """`PICTURE`, or the kind of another file; its first bytes are read where its suffix does not tell."""
    if is_known or entry.name.lower().endswith(SUFFIXES):
        return PICTURE
    with open(entry.path, "rb") as file:  # noqa: PTH123 - of many thousands
        return kind_of_content(entry.name, file.read(HEAD))


def leads_out(path: str, root: str) -> bool:
    """Whether a link directly in the root leads to a folder that is neither below the root nor above it."""
    target = Path(os.path.realpath(Path(root, path)))
    return "/" not in path and not target.is_relative_to(root) and not Path(root).is_relative_to(target)


def kind_of_content(name: str, head: bytes) -> str:
    """`PICTURE`, or the kind of another file, by its name and its first bytes."""
    suffix = Path(name).suffix.lower()
    if suffix in CAMERA_RAW:
        return "camera raw"
    format_name = find_format(head)
    if format_name == "HEIF" and not can_read_heic():
        return "HEIC (pip install pillow-heif)"
    if format_name:
        return PICTURE
    return "video" if suffix in VIDEO else "other files"


def find_format(head: bytes) -> str | None:
    """The format of a file by its first `HEAD` bytes; None for one that is not read."""
    for name, start, magic in FORMATS:
        if head.startswith(magic, start):
            return name
    return None


@functools.cache
def can_read_heic() -> bool:
    """Whether pillow-heif is installed, which Pillow needs for HEIC."""
    return importlib.util.find_spec("pillow_heif") is not None


def read_file(path: str | Path, largest: int = LARGEST_FILE) -> bytes:
    """The content of a regular file of at most `largest` bytes.

    Raises:
        ValueError: One line with the path: there is no such file, it is not regular (a pipe would be waited for), it
            cannot be read, or it is larger.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - of many thousands
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path}: not a regular file")
        if found.st_size > largest:
            raise ValueError(f"{path}: {found.st_size:,} bytes; allowed: {largest:,}")
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_square(source: Source, size: int, truncated: bool = False) -> np.ndarray:
    """Decodes a picture and gives its middle square as (3, size, size) uint8 RGB; see `open_picture`."""
    return middle_square(open_picture(source, truncated=truncated), size)


def open_picture(source: Source, smallest: int = 0, truncated: bool = False) -> Image.Image:
    """Decodes a picture as 8-bit RGB, turned as its EXIF says; what is transparent becomes white.

    Images of more than 16 megapixels are reduced by the mean of blocks, so that at most as many are left.

    Args:
        source: A path, the content of a file, or an image of any mode, which is loaded and not changed.
        smallest: Pixels; only for thumbnails. A JPEG is decoded at a half, a quarter or an eighth of its size, as
            long as both sides keep so many pixels: faster, and a pixel differs by a level or so. 0: the whole.
        truncated: Whether a JPEG file without its end is taken too; what is missing is grey. See `ends_early`.

    Raises:
        ValueError: One line with the path, if there is one, and the reason why the picture cannot be decoded.
    """
    if isinstance(source, Image.Image):
        return decode(lambda: source, smallest)
    if not isinstance(source, bytes):
        try:
            return open_picture(read_file(source), smallest, truncated)
        except ValueError as error:
            message = str(error)
            raise ValueError(message if message.startswith(f"{source}: ") else f"{source}: {message}") from None
    content = source
    if truncated and ends_early(content):
        content += b"\xff\xd9"
    try:
        return decode(lambda: open_content(content), smallest)
    except ValueError:
        if find_format(content[:HEAD]) != "PNG":
            raise
        return decode(lambda: open_content(drop_notes(content)), smallest)


def open_content(content: bytes) -> Image.Image:
    """The image of a file's content, not yet decoded.

    The decoder is chosen by the first bytes. `Image.open` would refuse large images, or warn; `decode` says which.
    """
    format_name = find_format(content[:HEAD])
    if format_name is None:
        raise ValueError("no image in a format that is read" if content else "empty")
    if format_name not in Image.OPEN:
        load_decoder(format_name)
    factory, _ = Image.OPEN[format_name]
    return factory(BytesIO(content), "")


def load_decoder(format_name: str) -> None:
    """Lets Pillow know the decoder of a format."""
    if format_name == "HEIF":
        if not can_read_heic():
            raise ValueError("HEIC; pip install pillow-heif")
        importlib.import_module("pillow_heif").register_heif_opener()
    else:
        Image.init()


def decode(open_image: Callable[[], Image.Image], smallest: int) -> Image.Image:
    """The image as 8-bit RGB; whatever Pillow raises is a ValueError of one line."""
    try:
        image = open_image()
        pixels = image.width * image.height
        if smallest:
            image.draft(None, (smallest, smallest))
        if pixels > LARGEST:
            shrink_jpeg(image)
        if pixels <= WHOLE:
            return to_rgb(image)
        with one_large_image:
            return to_rgb(image)
    except Exception as error:  # what a broken file makes Pillow raise is no closed list
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not a readable image ({reason})") from None


def shrink_jpeg(image: Image.Image) -> None:
    """Lets a JPEG that is not decoded yet be decoded at a part of its size, so that it has at most `LARGEST` pixels.

    Raises:
        ValueError: It is no such JPEG, or a progressive one, all of which would be in memory; or a part is too large.
    """
    width, height = image.size
    is_progressive = "progressive" in image.info
    if isinstance(image, JpegImagePlugin.JpegImageFile) and not is_progressive:
        for scale in (2, 4, 8):
            if image.width * image.height > LARGEST:
                image.draft(None, (width // scale, height // scale))
    if image.width * image.height > LARGEST:
        allowed = f"allowed: {LARGEST // 2**20}, or a JPEG file that is not progressive"
        raise ValueError(f"{width * height / 2**20:,.0f} megapixels; {allowed}")


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of any mode to 8-bit RGB, turned as its EXIF says; see `open_picture`."""
    image.load()  # a broken file is found here
    turn = find_turn(image)
    if image.mode.startswith("I"):
        image = to_eight_bits(image)
    if image.mode == "F":
        raise ValueError("mode F, floating point, is not supported")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    factor = math.ceil(math.sqrt(image.width * image.height / WHOLE))
    if factor > 1:
        image = image.reduce(factor)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image


def to_eight_bits(image: Image.Image) -> Image.Image:
    """The upper eight of sixteen bits of a grey image of integers.

    Raises:
        ValueError: Its levels need more than 16 bits, or none is above 255: it would be black.
    """
    levels = np.asarray(image)
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > 0xFFFF or high <= 0xFF:
        raise ValueError(f"levels from {low} to {high} in mode {image.mode}; allowed: 16 bits, or an image of 8 bits")
    return Image.fromarray((levels >> 8).astype(np.uint8))


def find_turn(image: Image.Image) -> Image.Transpose | None:
    """What turns an image upright, by its EXIF; None where it has none, or that is damaged: the pixels count."""
    try:
        return TURNS.get(image.getexif()[ORIENTATION])
    except Exception:  # as for the image itself, no closed list
        return None


def ends_early(content: bytes) -> bool:
    """Whether a file is a JPEG whose end marker is missing."""
    last_scan = content.rfind(b"\xff\xda")
    return find_format(content[:HEAD]) == "JPEG" and content.find(b"\xff\xd9", last_scan) < 0


def drop_notes(content: bytes) -> bytes:
    """A PNG file without texts, profiles and other notes, which may be too long for Pillow, or damaged.

    What is kept: the parts that every reader needs (their names begin with a capital), transparency and EXIF.
    """
    kept = [content[:8]]
    start = 8
    while start < len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        name = content[start + 4 : start + 8]
        end = start + 12 + length
        if name[:1].isupper() or name in (b"tRNS", b"eXIf"):
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def middle_square(image: Image.Image, size: int) -> np.ndarray:
    """Resizes an RGB image until its shorter side has `size` pixels, and cuts out the middle square.

    It does what torchvision's `Resize` and `CenterCrop` do, but at once: a long thin image, resized as a whole, would
    fill the memory. A pixel may differ from theirs by one level.

    Returns:
        (3, size, size) uint8; in memory it lies as (size, size, 3).
    """
    width, height = image.size
    resized_width = size * width // min(width, height)
    resized_height = size * height // min(width, height)
    left = round((resized_width - size) / 2)
    top = round((resized_height - size) / 2)
    box = (
        left * width / resized_width,
        top * height / resized_height,
        (left + size) * width / resized_width,
        (top + size) * height / resized_height,
    )
    square = image.resize((size, size), Image.Resampling.BILINEAR, box)
    return np.array(square).transpose(2, 0, 1)


def decoded_size(image_size: int, augment: str) -> int:
    """Pixels at which files are decoded: more than the model's where crops are cut out of them, as 256 for 224."""
    if augment in CROPS:
        return round(image_size / CROP_SHARE)
    return image_size


def cut_centre(images: np.ndarray, image_size: int) -> np.ndarray:
    """The middle (…, image_size, image_size) of images (…, S, S), as a model that was trained on crops is tested."""
    margin = images.shape[-1] - image_size
    start = round(margin / 2)
    return images[..., start : start + image_size, start : start + image_size]
