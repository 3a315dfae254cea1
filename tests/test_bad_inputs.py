# ruff: noqa: E501
"""Wrong lists, images and folders: what is said and where, the exit code, and that nothing is left behind."""

import shutil
from pathlib import Path

import numpy as np
import papermill
import pytest
from PIL import Image

from relahash_nb.cli import main

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
    (root / "images").rename(root.parent / "outside")
    (root / "images").symlink_to(root.parent / "outside")


def save(image, **options):
    return lambda root: image.save(root / "images" / "05.png", **options)


def is_folder(path):
    def change(root):
        (root / path).unlink()
        (root / path).mkdir()

    return change


BOMB = Image.new("1", (20_000, 10_000))
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"

LISTS = {
    "no database list": (lambda root: (root / "database.txt").unlink(), "database.txt: no such list"),
    "a folder for a list": (is_folder("test.txt"), "test.txt: no such list"),
    "an empty list": (rewrite("test.txt", b""), "test.txt: empty"),
    "blank lines only": (rewrite("test.txt", b"\n \r\n\n"), "test.txt: empty"),
    "label 2": (edit("train.txt", 3, "images/02.png 0 0 2 0"), "train.txt:3: label '2' given; allowed: 0 or 1"),
    "a word for a label": (edit("train.txt", 3, "images/02.png 0 x 1 0"), "train.txt:3: label 'x' given"),
    "a fraction": (edit("train.txt", 3, "images/02.png 0 0.5 1 0"), "train.txt:3: label '0.5' given"),
    "a missing label": (edit("database.txt", 7, "images/06.png 1 0 0"), "database.txt:7: 3 labels given; the first line has 4"),
    "one label too many": (edit("test.txt", 2, "images/19.png 0 1 0 1 0"), "test.txt:2: 5 labels given; the first line has 4"),
    "two labels in one": (edit("test.txt", 2, "images/19.png 01 01 1"), "test.txt:2: label '01' given"),
    "no labels": (edit("train.txt", 5, "images/04.png"), "train.txt:5: 'images/04.png' given; expected a path"),
    "a blank line in the middle": (edit("train.txt", 5, ""), "train.txt:5: '' given; expected a path"),
    "a blank in a path": (edit("train.txt", 5, "my images/04.png 1 0 0 0"), "train.txt:5: label 'images/04.png' given"),
    "several wrong lines": (
        lambda root: [edit("train.txt", line, "a.png 2 0 0 0")(root) for line in (2, 5, 6, 9, 11)],
        "train.txt:2: label '2' given; allowed: 0 or 1 (and 4 more such lines: 5, 6, 9, …)",
    ),
    "up and out": (edit("train.txt", 2, "../01.png 0 1 0 1"), "train.txt:2: path '../01.png' leads out"),
    "hidden way out": (edit("train.txt", 2, "images/../../01.png 0 1 0 1"), "train.txt:2: path 'images/../../01.png' leads out"),
    "absolute": (edit("train.txt", 2, "/etc/passwd 0 1 0 1"), "train.txt:2: path '/etc/passwd' leads out"),
    "a drive": (edit("train.txt", 2, "C:/01.png 0 1 0 1"), "train.txt:2: path 'C:/01.png' leads out"),
    "backslashes": (edit("train.txt", 2, "images\\01.png 0 1 0 1"), "train.txt:2: path 'images\\\\01.png' given; expected slashes"),
    "a zero byte": (edit("train.txt", 2, "images/\0.png 0 1 0 1"), "train.txt:2: path 'images/\\x00.png' given"),
    "another encoding": (latin1, "train.txt:1: path 'images/b�r.png' is not UTF-8"),
    "two bytes a letter": (utf16, "train.txt:1: "),
    "fewer classes in one list": (rewrite("test.txt", b"images/18.png 1 0\n"), "test.txt:1: 2 labels given; train.txt has 4"),
    "numbers in one list": (rewrite("test.txt", b"images/18.png 1\n"), "test.txt:1: class numbers given; train.txt has 4 labels"),
    "a negative class": (class_numbers(-1), "train.txt:3: class '-1' given; allowed: a number from 0 to 65535"),
    "a huge class": (class_numbers(70_000), "train.txt:3: class '70000' given"),
    "labels that differ": (edit("database.txt", 5, "images/04.png 1 0 0 0"), "train.txt:5: images/04.png has other labels in another line"),
    "labels that differ in one list": (edit("test.txt", 6, "images/18.png 0 0 1 0"), "test.txt:1: images/18.png has other labels"),
    "queries learned from": (queries_learned, "4 of 4 images are in train too: images/04.png (test.txt:1), images/05.png (test.txt:2)"),
    "one class": (all_of_one_class, "all images are of one class"),
    "no label at all": (no_labels_at_all, "train: none of 12 images has a label"),
}  # fmt: skip
IMAGES = {
    "a missing image": (lambda root: (root / "images" / "05.png").unlink(), "1 of 24 images are not there: images/05.png (train.txt:6)"),
    "a folder for an image": (is_folder("images/05.png"), "1 of 24 images are not there: images/05.png (train.txt:6)"),
    "an image linked out": (linked_out, "1 of 24 images lead out of it: images/05.png (train.txt:6)"),
    "a folder linked out": (folder_linked_out, "24 of 24 images lead out of it: images/00.png (train.txt:1)"),
    "an empty image": (rewrite("images/05.png", b""), "05.png: not a readable image (no image in a format that is read)"),
    "no image": (rewrite("images/20.png", b"<html>404</html>"), "20.png: not a readable image (no image in a format that is read) (test.txt:3)"),
    "a program": (rewrite("images/05.png", EPS), "05.png: not a readable image (no image in a format that is read)"),
    "a truncated image": (truncated, "05.png: not a readable image (image file is truncated"),
    "a bomb": (save(BOMB), "05.png: not a readable image (Image size (200000000 pixels) exceeds limit of 178956970 pixels"),
    "fractions": (save(Image.new("F", (8, 8)), format="TIFF"), "05.png: not a readable image (mode F, floating point"),
    "32 bits": (save(Image.new("I", (8, 8), 1 << 20), format="TIFF"), "05.png: not a readable image (mode I with levels above 16 bits"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*LISTS, *IMAGES])
def test_bad_lists_and_images_are_said_and_nothing_is_left(name, list_folder, tmp_path, monkeypatch, capsys):
    break_it, said = (LISTS | IMAGES)[name]
    shutil.copytree(list_folder, tmp_path / "broken")
    break_it(tmp_path / "broken")
    refused(["--dataset", "lists", "--root", "broken"], said, tmp_path, monkeypatch, capsys)


def few(root, count):
    """That many images in a class."""
    root.mkdir()
    for number in range(count):
        Image.new("L", (8, 8)).save(root / f"{number}.png")


FOLDERS = {
    "no sub-folder": (lambda root: None, "broken: no sub-folder; expected a sub-folder a class"),
    "images without classes": (lambda root: Image.new("L", (8, 8)).save(root / "a.png"), "broken: no sub-folder"),
    "an empty class": (lambda root: (root / "cat").mkdir(), "broken: 0 images in sub-folder cat"),
    "a class of one": (lambda root: few(root / "one", 1), "broken: 1 images in sub-folder one"),
    "one class": (lambda root: few(root / "one", 9), "all images are of one class"),
    "a link loop": (
        lambda root: [few(root / "one", 1), (root / "one" / "1.png").symlink_to("1.png")],
        "broken: 1 images in sub-folder one",
    ),
    "a broken image": (
        lambda root: [few(root / "one", 9), few(root / "two", 9), (root / "one" / "5.png").write_bytes(b"")],
        "one/5.png: not a readable image (no image in a format that is read)",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_bad_folders_are_said_and_nothing_is_left(name, tmp_path, monkeypatch, capsys):
    break_it, said = FOLDERS[name]
    (tmp_path / "broken").mkdir()
    break_it(tmp_path / "broken")
    refused(["--dataset", "folder", "--root", "broken"], said, tmp_path, monkeypatch, capsys)


def refused(data, said, folder, monkeypatch, capsys):
    """`check` says it and gives 1, `train` and `sweep` say it and give 2; no kernel starts, and no file is new."""

    def start_a_kernel(*arguments, **options):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(papermill, "execute_notebook", start_a_kernel)
    monkeypatch.chdir(folder)
    before = sorted(Path().rglob("*"))
    assert main(["check", *data]) == 1
    printed = capsys.readouterr()
    assert f"error: {said}" in printed.out or (said in printed.out and "error: " in printed.out)
    assert not printed.err and all(len(line) < 700 for line in printed.out.splitlines())
    for command in ("train", "sweep"):
        assert main([command, *data, *QUICK]) == 2
        printed = capsys.readouterr()
        assert said.partition(" (and ")[0] in printed.err and printed.err.startswith(f"relahash {command}: ")
        assert len(printed.err.splitlines()) == 1 and not printed.out
    assert sorted(Path().rglob("*")) == before
