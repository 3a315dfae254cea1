"""Lists as they are found in the field, read against a plain reader; and what the checks have to say of them."""

import hashlib
import io
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from relahash_nb.cli import main
from relahash_nb.config import RunConfig
from relahash_nb.datasets import PUBLISHED, RULES, DataError, Finding, inspect_dataset, load_dataset, read_list

PATHS = ["a/1.jpg", "b.png", "ü/漢.jpg", "10.jpg"]
LABELS = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("between", [" ", "\t", "  ", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
@pytest.mark.parametrize("after", ["", "\n\n", "\n \t\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_list_is_read_however_it_is_written(tmp_path, between, end, after, encoding):
    lines = [between.join([path, *map(str, labels)]) for path, labels in zip(PATHS, LABELS, strict=True)]
    (tmp_path / "list.txt").write_bytes((end.join(lines) + end + after).encode(encoding))
    paths, targets = read_list(tmp_path / "list.txt")
    assert paths == PATHS and targets.tolist() == LABELS and targets.dtype == np.uint8
    numbers = "".join(f"{path}{between}{number}{end}" for path, number in zip(PATHS, (0, 12, 7, 65535), strict=True))
    (tmp_path / "numbers.txt").write_bytes((numbers + after).encode(encoding))
    paths, classes = read_list(tmp_path / "numbers.txt")
    assert paths == PATHS and classes.tolist() == [0, 12, 7, 65535]


def test_a_long_list_is_what_a_plain_reader_reads(tmp_path):
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (3_000, 37))
    between = np.array([" ", "\t", "  "])[generator.integers(0, 3, targets.shape)]
    lines = [
        f"{row}.jpg" + "".join(f"{blank}{bit}" for blank, bit in zip(between[row], targets[row], strict=True))
        for row in range(len(targets))
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))  # without an end of the last line
    paths, read = read_list(tmp_path / "list.txt")
    plain = [line.split() for line in lines]
    assert paths == [line[0] for line in plain]
    assert np.array_equal(read, np.array([line[1:] for line in plain], dtype=int))


@pytest.mark.parametrize("text", ["+1", "-0", "1_0", "１", "1.0", "01", "True"])
def test_only_the_digits_0_and_1_are_labels(text, tmp_path):
    """NumPy and int() take more for a number."""
    (tmp_path / "list.txt").write_text(f"a.png 0 1\nb.png 1 {text}\n")
    with pytest.raises(ValueError, match=r"list\.txt:2: "):
        read_list(tmp_path / "list.txt")
    (tmp_path / "numbers.txt").write_text(f"a.png 0\nb.png {text}\n")
    if text != "01":
        with pytest.raises(ValueError, match=r"numbers\.txt:2: "):
            read_list(tmp_path / "numbers.txt")


def test_paths_that_name_one_file_are_one(tmp_path):
    (tmp_path / "list.txt").write_text("./a/b.png 1 0\na//b.png 1 0\na/./b.png 1 0\na./b.png 1 0\n")
    assert read_list(tmp_path / "list.txt")[0] == ["a/b.png", "a/b.png", "a/b.png", "a./b.png"]


def test_class_numbers_are_one_label_each_and_the_largest_of_all_lists_counts(list_folder, tmp_path):
    root = shutil.copytree(list_folder, tmp_path / "numbers")
    (root / "train.txt").write_text("images/00.png 0\nimages/01.png 1\n")
    (root / "database.txt").write_text("images/02.png 4\n")
    (root / "test.txt").write_text("images/18.png 1\n")
    data = inspect_dataset(RunConfig(dataset="lists", root=str(root)))
    assert data.class_names == tuple("01234") and not data.multi_label
    assert data.train.targets.tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert data.database.targets.tolist() == [[0, 0, 0, 0, 1]]


def shared_query(root):
    (root / "test.txt").write_text("".join((root / "database.txt").read_text().splitlines(keepends=True)[12:14]))


def repeated(root):
    lines = (root / "train.txt").read_text().splitlines(keepends=True)
    (root / "train.txt").write_text("".join(lines + lines[4:6]))


def unlabelled(root):
    (root / "test.txt").write_text("images/18.png 0 0 0 0\nimages/19.png 0 1 0 1\n")


def unlearned_class(root):
    for name in ("train.txt", "test.txt", "database.txt"):
        lines = (root / name).read_text().splitlines()
        (root / name).write_text("".join(f"{line} {int(name == 'test.txt')}\n" for line in lines))


def copied(root):
    shutil.copy(root / "images" / "03.png", root / "images" / "18.png")


WARNINGS = {  # what is done to the lists; what the warning's line must name
    "query in database": (shared_query, ["query: 2 of 2 ", "images/12.png (test.txt:1), images/13.png (test.txt:2)"]),
    "listed twice": (repeated, ["train: 2 of 14 ", "images/04.png (train.txt:13), images/05.png (train.txt:14)"]),
    "no label": (unlabelled, ["query: 1 of 2 ", "images/18.png (test.txt:1)"]),
    "no item": (unlearned_class, ["train: 1 of 5 classes ", ": 4"]),
    "copies": (copied, ["query: 1 of 6 ", " in train", "images/18.png (test.txt:1)"]),
}


@pytest.mark.parametrize("rule", WARNINGS)
def test_a_warning_is_printed_and_no_reason_to_stop(rule, list_folder, tmp_path, capsys):
    change, named = WARNINGS[rule]
    root = shutil.copytree(list_folder, tmp_path / "odd")
    change(root)
    assert main(["check", "--dataset", "lists", "--root", str(root), "--images"]) == 0
    printed = capsys.readouterr().out.splitlines()
    data = inspect_dataset(RunConfig(dataset="lists", root=str(root)), all_images=True)
    first = next(finding for finding in data.findings if finding.rule == rule)
    assert f"warning: {first.text}" in printed and all(part in first.text for part in named)
    assert printed[-1].startswith("0 errors, ")
    quick = tuple(finding for finding in data.findings if finding.rule != "copies")  # for these every file is read
    assert load_dataset(RunConfig(dataset="lists", root=str(root), batch_size=4)).findings == quick


def test_a_query_of_a_class_that_the_database_lacks_has_nothing_to_find(list_folder, tmp_path):
    root = shutil.copytree(list_folder, tmp_path / "odd")
    (root / "test.txt").write_text("images/18.png 1 0 0 0\nimages/19.png 0 0 1 0\nimages/20.png 0 0 0 0\n")
    (root / "database.txt").write_text("images/12.png 1 0 0 0\n")
    data = inspect_dataset(RunConfig(dataset="lists", root=str(root)))
    (found,) = [finding.text for finding in data.findings if finding.rule == "nothing to find"]
    assert found.startswith("query: 1 of 3 ") and found.endswith(": images/19.png (test.txt:2)")


def test_a_whole_data_set_has_no_findings(list_folder, image_folder, capsys):
    assert main(["check", "--dataset", "lists", "--root", str(list_folder), "--images"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "lists: 12 train, 6 query, 18 database images; 4 classes, several labels an image",
        "0: 4 train, 2 query, 6 database",
        "1: 4 train, 2 query, 6 database",
        "2: 4 train, 2 query, 6 database",
        "3: 6 train, 3 query, 9 database",
        "0 errors, 0 warnings",
    ]
    assert main(["check", "--dataset", "folder", "--root", str(image_folder)]) == 0
    assert main(["check"]) == 0
    assert capsys.readouterr().out.count("0 errors, 0 warnings") == 2


@pytest.fixture
def published(list_folder, monkeypatch):
    """The published lists of `coco` are those of the list folder."""
    sums = {
        name: hashlib.sha256((list_folder / file).read_bytes()).hexdigest()
        for name, file in dict(train="train.txt", query="test.txt", database="database.txt").items()
    }
    small = PUBLISHED["coco"] | dict(classes=4, counts=dict(train=12, query=6, database=18), sha256=sums)
    monkeypatch.setitem(PUBLISHED, "coco", small)


def test_published_lists_are_known_by_their_sum_and_their_counts(published, list_folder, tmp_path):
    root = shutil.copytree(list_folder, tmp_path / "coco")
    config = RunConfig(dataset="coco", root=str(root), batch_size=4)
    assert load_dataset(config).findings == ()
    (root / "test.txt").write_text((root / "test.txt").read_text().replace(" ", "\t"))
    (root / "train.txt").write_text("".join((root / "train.txt").read_text().splitlines(keepends=True)[:9]))
    findings = load_dataset(config).findings
    assert [finding.rule for finding in findings] == ["count", "unknown list"]
    assert all(part in findings[0].text for part in ("train.txt: 9 ", "12"))
    assert all(part in findings[1].text for part in ("test.txt: ", "SHA-256"))
    unlearned_class(root)
    assert all(part in load_dataset(config).findings[0].text for part in (": 5 classes", "4"))


def test_coco_s_leak_is_named_and_left_out_of_the_rankings(published, list_folder, tmp_path):
    root = shutil.copytree(list_folder, tmp_path / "coco")
    with (root / "database.txt").open("a") as file:
        file.write((root / "test.txt").read_text())
    config = RunConfig(dataset="coco", root=str(root), batch_size=4)
    assert config.drop_self_matches and config.top_k == 5_000
    data = load_dataset(config)
    (leak,) = [finding.text for finding in data.findings if finding.rule == "query in database"]
    assert leak.startswith("query: 6 of 6 ") and leak.endswith(f"({PUBLISHED['coco']['notes']['query in database']})")
    assert data.query.positions_in(data.database).tolist() == list(range(18, 24))


def test_nuswide_s_missing_database_is_said_with_where_it_may_be(list_folder, tmp_path, capsys):
    root = shutil.copytree(list_folder, tmp_path / "nuswide_21")
    (root / "database.txt").unlink()
    assert main(["check", "--dataset", "nuswide_21", "--root", str(root)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert "database.txt: " in line and "193,734 lines" in line


def test_each_rule_has_a_level_and_only_errors_stop():
    assert set(RULES.values()) == {"error", "warning", "note"}
    findings = [Finding("no label", "a"), Finding("one class", "b"), Finding("list", "c")]
    assert str(DataError(findings)).startswith("b (and 1 more; ")


def test_an_unreadable_image_is_found_among_all(list_folder, tmp_path, capsys, monkeypatch):
    from relahash_nb.datasets import checks

    root = shutil.copytree(list_folder, tmp_path / "broken")
    (root / "images" / "05.png").write_bytes(b"")
    monkeypatch.setattr(checks, "SAMPLE", 2)
    data = ["--dataset", "lists", "--root", str(root)]
    assert main(["check", *data]) == 0
    assert main(["check", *data, "--images"]) == 1
    assert "error: 1 of 24 images " in capsys.readouterr().out


CLASS_NAMES = {  # the file; the finding's level and what its line names; the names that are then used
    "latin-1": ("hai\nbär\nc\nd\n".encode("latin-1"), "error", "UTF-8", ("0", "1", "2", "3")),
    "too few": (b"ant\nbee\n", "warning", "2 names; the lists have 4 classes", ("0", "1", "2", "3")),
    "twice": (b"crane\nbee\ncrane\nd\n", "warning", "crane", ("crane", "bee", "crane (2)", "d")),
}


@pytest.mark.parametrize("kind", CLASS_NAMES)
def test_faults_of_class_names_are_named(kind, list_folder, tmp_path):
    content, level, named, used = CLASS_NAMES[kind]
    root = shutil.copytree(list_folder, tmp_path / "named")
    (root / "classes.txt").write_bytes(content)
    data = inspect_dataset(RunConfig(dataset="lists", root=str(root)))
    finding = data.findings[0]
    assert finding.level == level and finding.text.startswith(f"{root / 'classes.txt'}: ") and named in finding.text
    assert data.class_names == used


def test_a_split_without_any_label_is_an_error(list_folder, tmp_path):
    root = shutil.copytree(list_folder, tmp_path / "bare")
    for name in ("train.txt", "test.txt", "database.txt"):
        lines = [line.split()[0] for line in (root / name).read_text().splitlines()]
        (root / name).write_text("".join(f"{line} 0 0 0 0\n" for line in lines))
    with pytest.raises(DataError, match=r"^train: none of 12 "):
        load_dataset(RunConfig(dataset="lists", root=str(root), batch_size=4))


def test_a_path_of_megabytes_is_cut_in_the_message(list_folder, tmp_path):
    root = shutil.copytree(list_folder, tmp_path / "long")
    (root / "test.txt").write_text(f"images/{'x' * 10**6}.png 1 0 0 0\n")
    with pytest.raises(DataError, match="images/xxx") as caught:
        load_dataset(RunConfig(dataset="lists", root=str(root), batch_size=4))
    assert len(str(caught.value)) < 400
    (root / "test.txt").write_text(f"/{'x' * 10**6}.png 1 0 0 0\n")
    with pytest.raises(DataError, match=r"test\.txt:1: ") as caught:
        load_dataset(RunConfig(dataset="lists", root=str(root), batch_size=4))
    assert len(str(caught.value)) < 400


def test_a_link_loop_is_a_missing_image(list_folder, tmp_path):
    root = shutil.copytree(list_folder, tmp_path / "loop")
    (root / "images" / "05.png").unlink()
    (root / "images" / "05.png").symlink_to("06.png")
    (root / "images" / "06.png").unlink()
    (root / "images" / "06.png").symlink_to("05.png")
    with pytest.raises(DataError, match=r"2 of 24 images .*images/05\.png"):
        load_dataset(RunConfig(dataset="lists", root=str(root), batch_size=4))


def test_a_folder_that_cannot_be_read_is_named(image_folder, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("red"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, as whom tests may run, can read everything
    with pytest.raises(ValueError, match=r"^.*/red: .*Permission denied"):
        load_dataset(RunConfig(dataset="folder", root=str(image_folder)))


def two_files(root):
    """The lists of a folder as NUS-WIDE is passed on: paths and labels apart, and none to train on."""
    for name in ("test", "database"):
        lines = (root / f"{name}.txt").read_text().splitlines()
        (root / f"{name}_img.txt").write_text("".join(f"{line.split()[0]}\n" for line in lines))
        labels = ["  ".join(line.split()[1:]) for line in lines]
        (root / f"{name}_label_onehot.txt").write_text("".join(f"{row} \n" for row in labels))
        (root / f"{name}.txt").unlink()
    (root / "train.txt").unlink()
    return root


def test_lists_of_two_files_are_read_and_what_is_learned_from_is_drawn(list_folder, tmp_path, monkeypatch):
    from relahash_nb.datasets import lists

    root = two_files(shutil.copytree(list_folder, tmp_path / "pairs"))
    whole = load_dataset(RunConfig(dataset="lists", root=str(list_folder), batch_size=4))
    monkeypatch.setattr(lists, "DRAWN_PER_CLASS", 2)
    config = RunConfig(dataset="lists", root=str(root), batch_size=4)
    data = load_dataset(config)
    for split in ("query", "database"):
        assert getattr(data, split).ids.tolist() == getattr(whole, split).ids.tolist()
        assert getattr(data, split).targets.tolist() == getattr(whole, split).targets.tolist()
    assert len(data.train) == 8 and (data.train.targets.sum(0) >= 2).all()  # two a class, each image once
    assert set(data.train.indices.tolist()) <= set(data.database.indices.tolist())
    assert [finding.rule for finding in data.findings] == ["drawn"]
    others = [load_dataset(config.replace(split_seed=seed)).train.ids.tolist() for seed in (0, 1)]
    assert others[0] == data.train.ids.tolist() != others[1]


def test_a_list_to_train_on_goes_before_what_would_be_drawn(list_folder, tmp_path):
    root = two_files(shutil.copytree(list_folder, tmp_path / "pairs"))
    shutil.copy(list_folder / "train.txt", root)
    assert len(load_dataset(RunConfig(dataset="lists", root=str(root), batch_size=4)).train) == 12


def test_lists_of_two_files_that_differ_in_length_are_named(list_folder, tmp_path):
    root = two_files(shutil.copytree(list_folder, tmp_path / "pairs"))
    with (root / "test_label_onehot.txt").open("a") as file:
        file.write("1 0 0 0\n")
    with pytest.raises(DataError, match=r"test_img\.txt: 6 lines; test_label_onehot\.txt has 7"):
        load_dataset(RunConfig(dataset="lists", root=str(root), batch_size=4))


def test_the_image_folder_of_lists_may_be_a_link_and_leads_no_further(list_folder, tmp_path):
    root = shutil.copytree(list_folder, tmp_path / "shared")
    (root / "images").rename(tmp_path / "disk")
    (root / "images").symlink_to(tmp_path / "disk")
    config = RunConfig(dataset="lists", root=str(root), batch_size=4)
    whole = load_dataset(RunConfig(dataset="lists", root=str(list_folder), batch_size=4))
    assert (load_dataset(config).query.images(np.arange(6)) == whole.query.images(np.arange(6))).all()
    (tmp_path / "disk" / "05.png").rename(tmp_path / "secret.png")
    (tmp_path / "disk" / "05.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"05\.png .*lead out|lead out.*05\.png"):
        load_dataset(config)


def test_pictures_of_one_level_are_said(list_folder, tmp_path, capsys):
    root = shutil.copytree(list_folder, tmp_path / "black")
    Image.new("RGB", (10, 14)).save(root / "images" / "05.png")
    assert main(["check", "--dataset", "lists", "--root", str(root)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "single level" in line]
    assert line.startswith("warning: 1 of 24 ") and "images/05.png (train.txt:6)" in line


@pytest.fixture
def cut_folder(list_folder, tmp_path):
    """Lists of which two images are JPEG files without their end."""
    root = shutil.copytree(list_folder, tmp_path / "cut")
    for name in ("05", "18"):
        whole = io.BytesIO()
        noise = np.random.default_rng(int(name)).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(whole, format="JPEG")
        (root / "images" / f"{name}.png").write_bytes(whole.getvalue()[:-40])
    return root


def test_jpeg_files_without_their_end_are_refused_or_taken_and_counted(cut_folder, capsys):
    data = ["check", "--dataset", "lists", "--root", str(cut_folder)]
    assert main(data) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert "2 of 24" in line and "--truncated" in line
    assert main([*data, "--truncated", "True"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert "2 of 24" in line and "05.png" in line


def test_such_files_are_another_setting_and_another_cache(cut_folder, tmp_path, capsys):
    from relahash_nb.features import decode_images

    options = dict(dataset="lists", root=str(cut_folder), recipe="quick", batch_size=4, data_dir=str(tmp_path / "data"))
    config = RunConfig(**options, truncated=True)
    assert config.run_id != RunConfig(**options).run_id == RunConfig(**options, truncated=False).run_id
    decode_images(load_dataset(config), config)
    assert "2 of 24" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"05\.png"):
        decode_images(inspect_dataset(RunConfig(**options)), RunConfig(**options))


def test_good_pictures_of_odd_kinds_have_no_finding(list_folder, tmp_path, capsys):
    """16 bits a level, and a comment that is longer than Pillow reads."""
    root = shutil.copytree(list_folder, tmp_path / "odd")
    levels = np.linspace(0, 2**16 - 1, 140).astype(np.uint16).reshape(10, 14)
    Image.fromarray(levels).save(root / "images" / "05.png", format="TIFF")
    comment = PngInfo()
    comment.add_text("Comment", "x" * 2**21)
    Image.open(root / "images" / "06.png").save(root / "images" / "07.png", pnginfo=comment)
    assert main(["check", "--dataset", "lists", "--root", str(root), "--images"]) == 0
    assert capsys.readouterr().out.endswith("\n0 errors, 0 warnings\n")
    images = inspect_dataset(RunConfig(dataset="lists", root=str(root))).pool.images
    assert torch.equal(images[[6]], images[[7]]) and images[[5]].max() > 250
