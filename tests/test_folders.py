"""A folder of classes or of splits: which is which, what each becomes, and what is left out."""

import shutil

import pytest

from relahash_nb.cli import main
from relahash_nb.config import RunConfig
from relahash_nb.datasets import load_dataset


@pytest.fixture
def split_root(image_folder, tmp_path):
    """`train/` with 12 images of each of three colours, `val/` with 3 and `test/` with 5."""
    root = tmp_path / "splits"
    for name, numbers in {"train": range(12), "val": range(12, 15), "test": range(15, 20)}.items():
        for colour in ("blue", "green", "red"):
            (root / name / colour).mkdir(parents=True)
            for number in numbers:
                shutil.copy(image_folder / colour / f"{number:02d}.png", root / name / colour)
    return root


def load(root, **options):
    return load_dataset(RunConfig(dataset="folder", root=str(root), batch_size=4, **options))


def folders_of(split):
    return {identity.split("/")[0] for identity in split.ids}


def test_train_and_test_are_splits_and_no_classes(split_root):
    data = load(split_root)
    assert data.class_names == ("blue", "green", "red")
    assert [folders_of(split) for split in (data.train, data.query, data.database)] == [{"train"}, {"test"}, {"train"}]
    assert [len(data.train), len(data.query), len(data.database)] == [36, 15, 36]
    assert data.query.targets.sum(0).tolist() == [5, 5, 5]
    (note,) = data.findings
    assert note.level == "note" and all(part in note.text for part in ("train/ (36)", "test/ (15)", "val/ (9)"))


def test_without_test_the_queries_are_val_and_database_is_searched_in_where_it_is(split_root):
    shutil.rmtree(split_root / "test")
    assert folders_of(load(split_root).query) == {"val"}
    (split_root / "val").rename(split_root / "Database")
    (split_root / "Database" / "red").rename(split_root / "Database" / "violet")
    (split_root / "query" / "blue").mkdir(parents=True)
    shutil.copy(split_root / "train" / "blue" / "00.png", split_root / "query" / "blue")
    data = load(split_root)
    assert [folders_of(split) for split in (data.train, data.query, data.database)] == [
        {"train"}, {"query"}, {"Database"},
    ]  # fmt: skip
    assert data.class_names == ("blue", "green", "red", "violet")


def test_a_test_without_classes_is_left_out(split_root):
    for picture in sorted((split_root / "test").glob("*/*.png")):
        picture.rename(split_root / "test" / f"{picture.parent.name}{picture.name}")
    data = load(split_root)
    assert folders_of(data.query) == {"val"} and "test/ (15) is left out" in data.findings[0].text
    shutil.rmtree(split_root / "val")
    with pytest.raises(ValueError, match=r"test/ "):
        load(split_root)


def test_splits_beside_classes_or_twice_are_refused(split_root, image_folder):
    shutil.copytree(split_root / "val", split_root / "valid")
    with pytest.raises(ValueError, match=r"val.* same split"):
        load(split_root)
    shutil.rmtree(split_root / "valid")
    with pytest.raises(ValueError, match=r"^holdout: 0\.5 given"):
        load(split_root, holdout=0.5)
    shutil.copytree(image_folder / "red", split_root / "red")
    with pytest.raises(ValueError, match="red/"):
        load(split_root)


def test_a_split_beside_folders_of_no_known_name_is_no_class(split_root):
    for name in ("test", "val"):
        shutil.rmtree(split_root / name)
    with pytest.raises(ValueError, match="train/ has sub-folders"):
        load(split_root)
    shutil.copytree(split_root / "train", split_root / "dev")
    with pytest.raises(ValueError, match="train/ has sub-folders"):
        load(split_root)


def test_a_class_may_be_called_train(image_folder, tmp_path):
    root = shutil.copytree(image_folder, tmp_path / "vehicles")
    (root / "red").rename(root / "train")
    assert load(root).class_names == ("blue", "green", "train")


def test_check_prints_the_classes_and_counts_what_is_left_out(image_folder, tmp_path, capsys):
    root = shutil.copytree(image_folder, tmp_path / "odd")
    (root / "red" / "notes.txt").write_text("no picture")
    (root / "red" / "._00.png").write_bytes(b"\0\5\26\7")
    (root / "__MACOSX" / "red").mkdir(parents=True)
    (root / ".thumbnails").mkdir()
    shutil.copy(root / "red" / "00.png", root)
    assert main(["check", "--dataset", "folder", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "red: 16 train, 4 query, 16 database\n" in printed
    assert "1 pictures in no sub-folder" in printed and "1 other files" in printed and "1 hidden" in printed
    assert load(root).class_names == ("blue", "green", "red")


def test_a_class_that_is_a_link_is_followed_and_one_below_it_is_not(image_folder, tmp_path):
    root = shutil.copytree(image_folder, tmp_path / "shared")
    (root / "red").rename(tmp_path / "disk")
    (root / "red").symlink_to(tmp_path / "disk")
    whole = load(image_folder)
    data = load(root)
    assert data.query.ids.tolist() == whole.query.ids.tolist()
    assert (data.pool.images[range(60)] == whole.pool.images[range(60)]).all()
    shutil.copytree(image_folder / "blue", tmp_path / "more")
    (tmp_path / "disk" / "more").symlink_to(tmp_path / "more")
    (root / "azure").symlink_to("blue")  # the same images once more
    data = load(root)
    assert len(data.pool.ids) == 60 and "2 links to folders" in data.findings[0].text
