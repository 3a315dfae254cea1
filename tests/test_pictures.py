"""One scanner of folders and one decoder: which files are pictures, and what their pixels are."""

import os
import re
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as V

from relahash_nb import pictures
from relahash_nb.datasets import prepare
from relahash_nb.pictures import (
    cut_centre,
    decoded_size,
    ends_early,
    middle_square,
    open_picture,
    read_square,
    scan,
)

SIDE = 16
ORANGE = (240, 120, 40)


def plain(mode, colour, **options):
    return Image.new(mode, (SIDE, SIDE), colour), options


def palette():
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, *ORANGE])
    return image, dict(format="GIF")


def animation():
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in (ORANGE, (0, 0, 0))]
    return frames[0], dict(format="GIF", save_all=True, append_images=frames[1:])


KINDS = {
    "grey": (plain("L", 77), (77, 77, 77)),
    "black and white": (plain("1", 1), (255, 255, 255)),
    "grey, half transparent": (plain("LA", (0, 128)), (127, 127, 127)),
    "transparent": (plain("RGBA", (255, 0, 0, 0)), (255, 255, 255)),
    "opaque": (plain("RGBA", (*ORANGE, 255)), ORANGE),
    "one colour transparent": (plain("RGB", ORANGE, transparency=ORANGE), (255, 255, 255)),
    "palette": (palette(), ORANGE),
    "animated": (animation(), ORANGE),
    "16 bits": (plain("I;16", 200 << 8), (200, 200, 200)),
    "16 bits, TIFF": (plain("I;16", (200 << 8) + 255, format="TIFF"), (200, 200, 200)),
    "CMYK": (plain("CMYK", (0, 255, 255, 0), format="JPEG"), (255, 0, 0)),
    "CMYK, TIFF": (plain("CMYK", (255, 0, 255, 0), format="TIFF"), (0, 255, 0)),
    "bitmap": (plain("RGB", ORANGE, format="BMP"), ORANGE),
    "webp": (plain("RGB", ORANGE, format="WEBP", lossless=True), ORANGE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_rgb(kind, tmp_path, recwarn):
    (image, options), expected = KINDS[kind]
    image.save(tmp_path / "image", **({"format": "PNG"} | options))
    pixels = read_square(tmp_path / "image", SIDE)
    assert pixels.shape == (3, SIDE, SIDE) and pixels.dtype == np.uint8
    difference = np.abs(pixels.astype(int) - np.array(expected)[:, None, None])
    assert difference.max() <= 3  # GIF's and JPEG's colours are near
    assert not recwarn.list
    assert np.array_equal(read_square((tmp_path / "image").read_bytes(), SIDE), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_s_orientation_is_honoured(orientation):
    upright = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    upright[:8, :8], upright[8:, :8] = 255, 128  # a corner and an edge: no turn or mirror image looks the same
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(content, format="PNG", exif=exif)
    assert np.array_equal(open_picture(content.getvalue()), upright)


def photograph(height, width):
    """Smooth colours with fine detail."""
    y, x = np.mgrid[:height, :width] / 40
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    waves = np.stack([np.sin(x) + np.cos(y), np.sin(x * y / 4), np.cos(x + 2 * y)], 2) * 55 + 128
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("shape", [(40, 90), (91, 40), (64, 64), (20, 31)])
def test_the_middle_square_is_torchvision_s_resize_and_centre_crop(shape):
    image = photograph(*shape)
    expected = V.center_crop(V.resize(image, [33]), [33, 33])
    ours = middle_square(image, 33).transpose(1, 2, 0)
    assert np.abs(ours.astype(int) - np.asarray(expected)).max() <= 1


def jpeg(image, **options) -> bytes:
    content = BytesIO()
    image.save(content, "JPEG", **options)
    return content.getvalue()


@pytest.mark.parametrize("size", [16, 64, 224])
def test_a_path_its_bytes_and_the_image_in_memory_give_the_same_pixels(size, tmp_path):
    content = jpeg(photograph(512, 640), quality=80)
    (tmp_path / "image").write_bytes(content)
    opened = Image.open(BytesIO(content))
    loaded = Image.open(BytesIO(content))
    loaded.load()
    expected = read_square(content, size)
    for source in (tmp_path / "image", str(tmp_path / "image"), opened, loaded, loaded.copy()):
        assert np.array_equal(read_square(source, size), expected)


def test_an_image_in_memory_is_left_as_it_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(BytesIO(jpeg(photograph(20, 40), exif=exif)))
    assert open_picture(image).size == (20, 40) and image.size == (40, 20)


def test_a_thumbnail_is_decoded_smaller_and_within_a_level_of_the_whole():
    content = jpeg(photograph(512, 640), quality=92)
    small = open_picture(content, smallest=128)
    assert small.size == (160, 128)
    difference = np.abs(middle_square(small, 64).astype(int) - read_square(content, 64))
    assert difference.mean() < 1 and difference.max() <= 8


# Large images


@pytest.fixture
def small_limits(monkeypatch):
    """Limits of a thousandth of the real ones, so that tests need little memory: 126 x 126 and 259 x 259 pixels."""
    monkeypatch.setattr(pictures, "WHOLE", pictures.WHOLE // 1000)
    monkeypatch.setattr(pictures, "LARGEST", pictures.LARGEST // 1000)


def test_a_large_image_is_reduced_by_the_mean_of_blocks(small_limits):
    image = Image.effect_noise((200, 160), 60).convert("RGB")
    reduced = np.asarray(open_picture(image)).astype(float)
    means = np.asarray(image).reshape(80, 2, 100, 2, 3).mean((1, 3))
    assert reduced.shape == (80, 100, 3) and np.abs(reduced - means).max() <= 0.5
    content = BytesIO()
    image.save(content, "PNG")
    assert np.array_equal(open_picture(content.getvalue()), reduced)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_a_large_image_of_any_mode_is_reduced(mode, small_limits):
    image = Image.new(mode, (160, 160), 1 << 15 if mode == "I;16" else 0)
    assert open_picture(image).size == (80, 80)


def test_a_jpeg_beyond_the_limit_is_decoded_at_a_part_of_its_size(small_limits):
    image = photograph(320, 540)
    found = open_picture(jpeg(image))
    assert found.width * found.height <= pictures.WHOLE
    smooth = np.abs(middle_square(found, 16).astype(int) - middle_square(image, 16))
    assert smooth.mean() < 2
    assert np.array_equal(read_square(Image.open(BytesIO(jpeg(image))), 16), middle_square(found, 16))


@pytest.mark.parametrize("kind", ["in memory", "PNG", "progressive JPEG"])
def test_what_else_is_beyond_the_limit_is_refused_before_it_is_decoded(kind, small_limits, monkeypatch):
    image = Image.new("RGB", (320, 320))
    content = BytesIO()
    image.save(content, kind.split()[-1] if kind != "in memory" else "BMP", progressive=True)
    source = image if kind == "in memory" else content.getvalue()
    monkeypatch.setattr(pictures, "to_rgb", None)  # whoever decodes fails otherwise
    with pytest.raises(ValueError, match="megapixels") as caught:
        open_picture(source)
    assert "\n" not in str(caught.value)


def test_pillow_s_own_limit_does_not_count(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert open_picture(jpeg(photograph(20, 20))).size == (20, 20) and not recwarn.list


# Levels, metadata, files without an end


@pytest.mark.parametrize("levels", [np.uint16, np.int32])
def test_levels_of_more_bits_than_eight_are_scaled_or_refused_and_never_black(levels):
    steps = np.linspace(0, 0xFFFF, SIDE * SIDE).reshape(SIDE, SIDE)
    expected = (steps.astype(np.uint16) >> 8).astype(np.uint8)
    content = BytesIO()
    Image.fromarray(steps.astype(levels)).save(content, "TIFF")
    assert np.array_equal(np.asarray(open_picture(content.getvalue()))[:, :, 0], expected)
    for dark in (steps / 256, steps * 0):
        content = BytesIO()
        Image.fromarray(dark.astype(levels)).save(content, "TIFF")
        with pytest.raises(ValueError, match="levels from 0 to"):
            open_picture(content.getvalue())


def test_levels_above_16_bits_are_refused():
    with pytest.raises(ValueError, match="70000"):
        open_picture(Image.new("I", (4, 4), 70_000))


def png(image, name: bytes, body: bytes, right_sum: bool = True) -> bytes:
    """A PNG file with one more chunk before the pixels."""
    content = BytesIO()
    image.save(content, "PNG")
    whole = content.getvalue()
    chunk = len(body).to_bytes(4, "big") + name + body + (zlib.crc32(name + body) ^ (not right_sum)).to_bytes(4, "big")
    return whole[:33] + chunk + whole[33:]


@pytest.mark.parametrize(
    ("name", "body", "right_sum"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2**21), True),  # beyond Pillow's limit of 1 MiB
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"a" * 2**21), True),
        (b"iCCP", b"profile\0\7nothing", True),
        (b"tEXt", b"Comment\0hello", False),
    ],
)
def test_a_png_with_unreadable_notes_is_read(name, body, right_sum):
    image = photograph(20, 30)
    content = png(image, name, body, right_sum)
    with pytest.raises((ValueError, SyntaxError, OSError)):  # else there is nothing to test
        Image.open(BytesIO(content)).load()
    assert np.array_equal(open_picture(content), image)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_make_a_picture_unreadable():
    image = photograph(20, 30)
    for exif in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        assert open_picture(jpeg(image, exif=exif)).size == (30, 20)


def test_a_jpeg_without_its_end_is_taken_only_where_asked_for():
    content = jpeg(photograph(64, 64), quality=90)
    open_ended = content.removesuffix(b"\xff\xd9")
    assert ends_early(open_ended) and not ends_early(content) and not ends_early(content + b"more")
    with pytest.raises(ValueError, match="truncated"):
        open_picture(open_ended)
    assert np.array_equal(open_picture(open_ended, truncated=True), open_picture(content))
    assert np.array_equal(open_picture(content, truncated=True), open_picture(content))


def test_a_long_thin_image_is_cut_before_it_is_enlarged():
    assert np.unique(middle_square(Image.new("RGB", (2, 400_000), (99, 99, 99)), 64)).tolist() == [99]


def test_what_is_no_picture_is_one_line_with_its_name(tmp_path):
    Image.new("F", (4, 4)).save(tmp_path / "fractions.png", format="TIFF")
    (tmp_path / "page.png").write_text("<html>")
    (tmp_path / "program.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    photograph(30, 30).save(tmp_path / "torn.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:500])
    for name in ("fractions.png", "page.png", "program.png", "torn.png", "missing.png"):
        with pytest.raises(ValueError, match=name) as caught:
            open_picture(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="not a readable image"):
        open_picture(b"")


def test_crops_are_cut_out_of_larger_files():
    assert decoded_size(224, "crop") == decoded_size(224, "resized_crop") == 256
    assert decoded_size(224, "jitter") == decoded_size(224, "trivial") == 224


@pytest.mark.parametrize("size", [14, 28, 33, 100, 224])
def test_the_centre_is_what_a_model_that_was_trained_on_crops_is_tested_on(size):
    side = decoded_size(size, "crop")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, side, side), dtype=np.uint8)
    prepared = prepare(torch.from_numpy(images), size, "centre")
    assert np.array_equal(cut_centre(images, size), (prepared * 255).round().byte())


@pytest.mark.parametrize("call", [open_picture, lambda path: read_square(path, 8)])
def test_what_is_no_regular_file_is_refused_at_once(call, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "empty").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "sparse", "empty", "loop", "nothing", "."):
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path / name}: ")) as caught:
            call(tmp_path / name)
        assert "\n" not in str(caught.value)


# Folders


def content_of(format_name: str) -> bytes:
    content = BytesIO()
    Image.new("RGB", (8, 8), ORANGE).save(content, format_name)
    return content.getvalue()


CONTENTS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")


@pytest.mark.parametrize("format_name", CONTENTS)
def test_a_picture_without_a_suffix_is_found_and_read(format_name, tmp_path):
    (tmp_path / "picture").write_bytes(content_of(format_name))
    (tmp_path / "picture.data").write_bytes(content_of(format_name))
    assert scan(tmp_path).files == ["picture", "picture.data"]
    assert open_picture(tmp_path / "picture").size == (8, 8)


def test_heic_is_passed_over_with_what_to_install_and_read_where_it_is(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 64), ORANGE)).save(tmp_path / "IMG_1.HEIC")
    assert scan(tmp_path).files == ["IMG_1.HEIC"]
    assert np.abs(read_square(tmp_path / "IMG_1.HEIC", 1).ravel() - np.array(ORANGE)).max() <= 3
    monkeypatch.setattr(pictures, "can_read_heic", lambda: False)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    found = scan(tmp_path)
    assert found.files == [] and "1 HEIC (pip install pillow-heif)" in found.summary()
    with pytest.raises(ValueError, match="pip install pillow-heif"):
        open_picture(tmp_path / "IMG_1.HEIC")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format_name", CONTENTS)
def test_a_damaged_file_gives_a_picture_or_one_line(format_name):
    content = content_of(format_name)
    generator = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 3):
            damaged[place] = generator.integers(0, 256)
        end = generator.integers(len(content) // 2, len(content) + 1)
        for file in (bytes(damaged), bytes(damaged[:end])):
            try:
                assert read_square(file, 4, truncated=True).shape == (3, 4, 4)
            except ValueError as error:
                assert "\n" not in str(error)


def fill(folder, names, content=b""):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_a_folder_s_pictures_are_listed_and_the_rest_is_counted_by_kind(tmp_path):
    names = ["b.png", "a/z.JPG", "a/b/c.tiff", "a-b/1.webp", "ü.gif", "a/10.jpeg", "a/9.jfif", "folder.png/x.jpe"]
    fill(tmp_path, names)
    fill(tmp_path, ["a/notes.txt", "png", "a/b.png.part", "book.txt"], b"P2P networks and BMW")
    fill(tmp_path, [".thumbnails/b.png", "a/.cache/b.png", ".c.png"], content_of("PNG"))
    fill(tmp_path, ["._b.png", "__MACOSX/b.png", "a/@eaDir/b.png", "#recycle/b.png", "Thumbs.db"], content_of("PNG"))
    fill(tmp_path, ["c.nef", "c.DNG"], content_of("TIFF"))
    fill(tmp_path, ["film.MOV"], b"\0\0\0\x14ftypqt  ")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "lost.png").symlink_to("nothing.png")
    found = scan(tmp_path)
    assert found.files == sorted(names)
    assert found.passed_over == {
        "other files": 4,
        "hidden": 3,
        "of macOS, Windows or a network drive": 5,
        "camera raw": 2,
        "video": 1,
        "not regular files": 2,
    }
    assert "\n" not in found.summary() and scan(tmp_path / "a" / "b").summary() == ""


def test_files_that_are_known_are_not_opened(tmp_path, monkeypatch):
    fill(tmp_path, ["known", "a/known", "new"], content_of("PNG"))
    asked = []
    monkeypatch.setattr(pictures, "kind_of_content", lambda name, head: asked.append(name) or pictures.PICTURE)
    assert scan(tmp_path, is_known=lambda path: path.endswith("known")).files == ["a/known", "known", "new"]
    assert asked == ["new"]


def test_links_directly_in_the_folder_are_followed_and_deeper_ones_and_loops_are_not(tmp_path):
    fill(tmp_path, ["disk/deep/a.png", "root/own/b.png"])
    root = tmp_path / "root"
    links = {
        "cats": "../disk",  # the owner's
        "own/link.png": "b.png",  # to a file
        "own/disk": "../../disk",  # deeper
        "loop": ".",
        "up": "..",
        "again": "own",  # its pictures are found anyway
        "own/loop": "..",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (tmp_path / "linked").symlink_to("root", target_is_directory=True)
    (tmp_path / "disk" / "back").symlink_to("../root", target_is_directory=True)
    expected = ["cats/deep/a.png", "own/b.png", "own/link.png"]
    for folder in (root, tmp_path / "linked"):
        found = scan(folder)
        assert found.files == expected and found.passed_over == {"links to folders": 6}


def test_a_folder_that_cannot_be_read_is_a_fault_and_one_that_is_not_there_an_error(tmp_path, monkeypatch):
    fill(tmp_path, ["shut/b.png", "a.png"])
    scan_folder = os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, as whom tests may run, can read everything
    found = scan(tmp_path)
    assert found.files == ["a.png"] and len(found.faults) == 1 and str(tmp_path / "shut") in found.faults[0]
    with pytest.raises(ValueError, match="nothing"):
        scan(tmp_path / "nothing")
