"""Wrong lists, images and folders: the line names the place, the exit code is right, and nothing is left behind."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

QUICK = ["--recipe", "quick", "--batch-size", "4", "--device", "cpu", "--epochs", "1"]


def edit(file, line, text):
    """Puts another text in the place of one line."""

    def change(root):
        lines = (root / file).read_text().splitlines()
        lines[line - 1] = text
        (root / file).write_text("\n".join(lines) + "\n")

    return change


def rewrite(file, content):
    def change(root):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_bytes(content)

    return change


def first_labels(root, count):
    """The first label alone: in all three lists, that many of a line."""
    for name in ("train.txt", "test.txt", "database.txt"):
        lines = [line.split()[: 1 + count] for line in (root / name).read_text().splitlines()]
        (root / name).write_text("".join(" ".join(line) + "\n" for line in lines))


def class_numbers(number):
    def change(root):
        first_labels(root, 1)
        edit("train.txt", 3, f"images/02.png {number}")(root)

    return change


def utf16(root):
    (root / "train.txt").write_text((root / "train.txt").read_text(), encoding="utf-16")


def latin1(root):
    (root / "train.txt").write_bytes("images/bär.png 1 0 0 0\n".encode("latin-1"))


def queries_learned(root):
    (root / "test.txt").write_text("".join((root / "train.txt").read_text().splitlines(keepends=True)[4:8]))


def all_of_one_class(root):
    for name in ("train.txt", "test.txt", "database.txt"):
        lines = [line.split()[0] for line in (root / name).read_text().splitlines()]
        (root / name).write_text("".join(f"{line} 0\n" for line in lines))


def no_labels_at_all(root):
    for name in ("train.txt", "test.txt", "database.txt"):
        lines = [line.split()[0] for line in (root / name).read_text().splitlines()]
        (root / name).write_text("".join(f"{line} 0 0 0 0\n" for line in lines))


def truncated(root):
    """A JPEG that ends in the middle, at a PNG's name."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "whole.jpg")
    (root / "images" / "05.png").write_bytes((root / "whole.jpg").read_bytes()[:1000])
    (root / "whole.jpg").unlink()


def linked_out(root):
    (root / "images" / "05.png").rename(root.parent / "outside.png")
    (root / "images" / "05.png").symlink_to(root.parent / "outside.png")


def folder_linked_out(root):
    """A link that is not directly in the root, and so may have come with the images."""
    (root / "images").rename(root.parent / "outside")
    (root / "images").mkdir()
    (root / "images" / "more").symlink_to(root.parent / "outside")
    for name in ("train.txt", "test.txt", "database.txt"):
        (root / name).write_text((root / name).read_text().replace("images/", "images/more/"))


def save(image, **options):
    return lambda root: image.save(root / "images" / "05.png", **options)


def is_folder(path):
    def change(root):
        (root / path).unlink()
        (root / path).mkdir()

    return change


BOMB = Image.new("1", (20_000, 10_000))
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"

# What is broken, and what the line has to name.
LISTS = {
    "no database list": (lambda root: (root / "database.txt").unlink(), "database.txt"),
    "a folder for a list": (is_folder("test.txt"), "test.txt"),
    "an empty list": (rewrite("test.txt", b""), "test.txt"),
    "blank lines only": (rewrite("test.txt", b"\n \r\n\n"), "test.txt"),
    "label 2": (edit("train.txt", 3, "images/02.png 0 0 2 0"), "train.txt:3"),
    "a word for a label": (edit("train.txt", 3, "images/02.png 0 x 1 0"), "train.txt:3"),
    "a fraction": (edit("train.txt", 3, "images/02.png 0 0.5 1 0"), "train.txt:3"),
    "a missing label": (edit("database.txt", 7, "images/06.png 1 0 0"), "database.txt:7"),
    "one label too many": (edit("test.txt", 2, "images/19.png 0 1 0 1 0"), "test.txt:2"),
    "two labels in one": (edit("test.txt", 2, "images/19.png 01 01 1"), "test.txt:2"),
    "no labels": (edit("train.txt", 5, "images/04.png"), "train.txt:5"),
    "a blank line in the middle": (edit("train.txt", 5, ""), "train.txt:5"),
    "a blank in a path": (edit("train.txt", 5, "my images/04.png 1 0 0 0"), "train.txt:5"),
    "several wrong lines": (
        lambda root: [edit("train.txt", line, "a.png 2 0 0 0")(root) for line in (2, 5, 6, 9, 11)],
        "train.txt:2",
    ),
    "up and out": (edit("train.txt", 2, "../01.png 0 1 0 1"), "train.txt:2"),
    "hidden way out": (edit("train.txt", 2, "images/../../01.png 0 1 0 1"), "train.txt:2"),
    "absolute": (edit("train.txt", 2, "/etc/passwd 0 1 0 1"), "train.txt:2"),
    "a drive": (edit("train.txt", 2, "C:/01.png 0 1 0 1"), "train.txt:2"),
    "backslashes": (edit("train.txt", 2, "images\\01.png 0 1 0 1"), "train.txt:2"),
    "a zero byte": (edit("train.txt", 2, "images/\0.png 0 1 0 1"), "train.txt:2"),
    "another encoding": (latin1, "train.txt:1"),
    "two bytes a letter": (utf16, "train.txt:1"),
    "fewer classes in one list": (rewrite("test.txt", b"images/18.png 1 0\n"), "test.txt:1"),
    "numbers in one list": (rewrite("test.txt", b"images/18.png 1\n"), "test.txt:1"),
    "a negative class": (class_numbers(-1), "train.txt:3"),
    "a huge class": (class_numbers(70_000), "train.txt:3"),
    "labels that differ": (edit("database.txt", 5, "images/04.png 1 0 0 0"), "images/04.png"),
    "labels that differ in one list": (edit("test.txt", 6, "images/18.png 0 0 1 0"), "images/18.png"),
    "queries learned from": (queries_learned, "images/04.png"),
    "one class": (all_of_one_class, "class"),
    "no label at all": (no_labels_at_all, "train"),
}  # fmt: skip
IMAGES = {
    "a missing image": (lambda root: (root / "images" / "05.png").unlink(), "05.png"),
    "a folder for an image": (is_folder("images/05.png"), "05.png"),
    "an image linked out": (linked_out, "05.png"),
    "a folder linked out": (folder_linked_out, "00.png"),
    "an empty image": (rewrite("images/05.png", b""), "05.png"),
    "no image": (rewrite("images/20.png", b"<html>404</html>"), "20.png"),
    "a program": (rewrite("images/05.png", EPS), "05.png"),
    "a truncated image": (truncated, "05.png"),
    "a bomb": (save(BOMB), "05.png"),
    "fractions": (save(Image.new("F", (8, 8)), format="TIFF"), "05.png"),
    "32 bits": (save(Image.new("I", (8, 8), 1 << 20), format="TIFF"), "05.png"),
    "8 bits in 32": (save(Image.fromarray(np.arange(64, dtype=np.int32).reshape(8, 8)), format="TIFF"), "05.png"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(relahash, without_kernels):
    """Asserts that `check` ends with 1 and `train` with 2, that both name a place, and that no file is new."""

    def refuse(named, *data):
        asked = without_kernels(lambda config, output: None)
        before = sorted(Path().rglob("*"))
        code, printed, error = relahash("check", *data)
        assert code == 1 and not error
        assert any("error" in line and named in line for line in printed.splitlines()), printed
        assert all(len(line) < 700 for line in printed.splitlines())
        code, printed, error = relahash("train", *data, *QUICK)
        assert code == 2 and not printed and error.count("\n") == 1
        assert named in error and len(error) < 700
        assert sorted(Path().rglob("*")) == before and not asked

    return refuse


@pytest.mark.parametrize("name", [*LISTS, *IMAGES])
def test_a_bad_list_or_image_is_named_and_nothing_is_left(name, list_folder, tmp_path, refused):
    break_it, named = (LISTS | IMAGES)[name]
    shutil.copytree(list_folder, tmp_path / "broken")
    break_it(tmp_path / "broken")
    refused(named, "--dataset", "lists", "--root", "broken")


def test_a_sweep_refuses_a_bad_list_too(list_folder, tmp_path, relahash, without_kernels):
    shutil.copytree(list_folder, tmp_path / "broken")
    (tmp_path / "broken" / "database.txt").unlink()
    asked = without_kernels(lambda config, output: None)
    code, printed, error = relahash("sweep", "--dataset", "lists", "--root", "broken", *QUICK)
    assert code == 2 and not printed and not asked
    assert error.count("\n") == 1 and "database.txt" in error


def few(root, count):
    """A class of that many images."""
    root.mkdir()
    for number in range(count):
        Image.new("L", (8, 8)).save(root / f"{number}.png")


def a_link_loop(root):
    few(root / "one", 1)
    (root / "one" / "1.png").symlink_to("1.png")


def a_broken_image(root):
    few(root / "one", 9)
    few(root / "two", 9)
    (root / "one" / "5.png").write_bytes(b"")


FOLDERS = {
    "no sub-folder": (lambda root: None, "broken"),
    "images without classes": (lambda root: Image.new("L", (8, 8)).save(root / "a.png"), "broken"),
    "an empty class": (lambda root: (root / "cat").mkdir(), "cat"),
    "a class of one": (lambda root: few(root / "one", 1), "one"),
    "one class": (lambda root: few(root / "one", 9), "class"),
    "a link loop": (a_link_loop, "one"),
    "a broken image": (a_broken_image, "5.png"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_bad_folder_is_named_and_nothing_is_left(name, tmp_path, refused):
    break_it, named = FOLDERS[name]
    (tmp_path / "broken").mkdir()
    break_it(tmp_path / "broken")
    refused(named, "--dataset", "folder", "--root", "broken")
