"""One scanner of folders and one decoder: which files are pictures, and what their pixels are."""

import os
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional as V

from relahash_nb.pictures import decoded_size, find_pictures, middle_square, open_picture, read_square

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


def test_a_large_jpeg_that_is_decoded_small_is_within_a_level_of_the_whole(tmp_path):
    photograph(512, 640).save(tmp_path / "image.jpg", quality=92)
    whole = middle_square(open_picture(tmp_path / "image.jpg"), 64).astype(int)
    assert open_picture(tmp_path / "image.jpg", smallest=128).size == (160, 128)
    difference = np.abs(read_square(tmp_path / "image.jpg", 64) - whole)
    assert difference.mean() < 1 and difference.max() <= 8


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


def test_a_folder_s_pictures_are_told_by_suffix_and_hidden_ones_left_out(tmp_path):
    names = ["b.png", "a/z.JPG", "a/b/c.tiff", "a-b/1.webp", "ü.gif", "a/10.jpeg", "a/9.jpeg"]
    others = ["a/notes.txt", "._b.png", ".thumbnails/b.png", "a/.cache/b.png", "png", "a/b.png.part"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    assert find_pictures(tmp_path) == sorted(names)


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "a.png").write_bytes(b"")
    (tmp_path / "real" / "link.png").symlink_to("deep/a.png")
    (tmp_path / "real" / "lost.png").symlink_to("nothing.png")
    (tmp_path / "real" / "loop").symlink_to("..", target_is_directory=True)
    (tmp_path / "linked").symlink_to("real", target_is_directory=True)
    expected = ["deep/a.png", "link.png"]
    assert find_pictures(tmp_path / "real") == find_pictures(tmp_path / "linked") == expected


def test_a_folder_that_cannot_be_read_is_an_error_or_is_reported(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, as whom tests may run, can read everything
    with pytest.raises(PermissionError):
        find_pictures(tmp_path)
    errors = []
    assert find_pictures(tmp_path, errors.append) == ["a.png"]
    assert [error.filename for error in errors] == [str(tmp_path / "shut")]
    with pytest.raises(FileNotFoundError):
        find_pictures(tmp_path / "nothing")
