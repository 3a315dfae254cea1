"""Every knob is checked, resolved once, and named."""

import dataclasses
import json
from pathlib import Path

import pytest

from relahash_nb.config import RECIPES, RunConfig, load_attribute


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("bits", 0, "bits: 0 given; allowed: an integer from 1 to 4096"),
        ("bits", "32", "bits: '32' given"),
        ("bits", True, "bits: True given"),
        ("bits", 32.0, "bits: 32.0 given"),
        ("dataset", "cifar", "did you mean cifar10?"),
        ("dataset", None, "dataset: None given"),
        ("dataset", "my module:data", "package.module:attribute"),
        ("loss", "relahsh", "did you mean relahash?"),
        ("lr", float("nan"), "lr: nan given; allowed: a number above 0, or None"),
        ("lr", 0, "lr: 0 given"),
        ("margin", -0.1, "allowed: a number from 0 up, or None"),
        ("top_k", 0, "allowed: an integer from 1 up, or 'all', or None"),
        ("top_k", "some", "top_k: 'some' given"),
        ("epochs", 1.5, "epochs: 1.5 given"),
        ("batch_size", 1, "batch_size: 1 given"),
        ("precision", "fp61", "did you mean fp16?"),
        ("protocol", "3", "allowed: 1, 1-disjoint, 2, 2-official, or None"),
        ("finetune", 1, "finetune: 1 given; allowed: True or False"),
        ("seed", -1, "seed: -1 given"),
        ("loss_options", [1], "loss_options: [1] given; allowed: a dictionary, or None"),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_is_allowed(field, value, said):
    with pytest.raises(ValueError) as error:
        RunConfig(**{field: value})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_allowed_is_taken():
    config = RunConfig(dataset="my.module:data", top_k="all", lr=1, loss_options={"scale": 2}, image_size=8)
    assert config.lr == 1.0 and isinstance(config.lr, float)
    assert RunConfig(top_k=1000).top_k == 1000


def test_every_recipe_gives_every_none_a_value():
    left = {"protocol", "root", "loss_options"}  # these mean: there is none
    for recipe in RECIPES:
        resolved = RunConfig(recipe=recipe).resolve().to_dict()
        assert {name for name, value in resolved.items() if value is None} == left


def test_the_published_recipe_is_the_default_of_cifar10():
    config = RunConfig(dataset="cifar10").resolve()
    published = dict(epochs=100, batch_size=16, lr=1e-4, backbone_lr_scale=0.1, weight_decay=5e-4, schedule="step")
    published |= dict(
        beta=8.0, margin=0.5, centroids="max_hamming", backbone="alexnet", weights="imagenet", dropout=False
    )
    published |= dict(image_size=224, precision="fp32", protocol="1", top_k="all", recipe="paper")
    assert {name: getattr(config, name) for name in published} == published


def test_what_is_given_wins_over_the_recipe():
    config = RunConfig(dataset="cifar10", recipe="quick", epochs=3, beta=50.0).resolve()
    assert (config.epochs, config.beta, config.backbone) == (3, 50.0, "small_cnn")


def test_resolving_is_idempotent_and_survives_json():
    resolved = RunConfig(dataset="cifar10", bits=16).resolve()
    assert resolved.resolve() == resolved
    assert RunConfig.from_dict(json.loads(json.dumps(resolved.to_dict()))) == resolved


def test_run_id_knows_what_changes_the_result_and_nothing_else():
    run_id = RunConfig().run_id
    others = {"seed": 1, "lr": 0.5, "split_seed": 3, "bits": 16, "beta": 9.0, "top_k": 5, "precision": "bf16"}
    assert len({run_id, *(RunConfig(**{name: value}).run_id for name, value in others.items())}) == len(others) + 1
    for same in ({"device": "cpu"}, {"data_dir": "x"}, {"results_dir": "y"}, {"beta": 8}, {"recipe": "quick"}):
        assert RunConfig(**same).run_id == run_id
    assert RunConfig(lr=1).run_id == RunConfig(lr=1.0).run_id


def test_run_id_tells_folders_apart_by_name_but_not_by_place():
    def named(root):
        return RunConfig(dataset="lists", root=root).run_id

    assert named("/a/corel") == named("/b/corel") == named("corel") != named("/a/coco")
    assert named("corel").startswith("lists-corel-64bits-relahash-seed0-")
    assert named("/a/my images (2)").startswith("lists-my.images.2.-64bits")


def test_a_notebook_s_unknown_parameter_is_refused():
    """papermill only warns; the cell that it injects is read."""
    cells = ["", "# @title Parameters: …\nbits = 64", "x = 1", "# Parameters\nbitz = 32\n"]
    with pytest.raises(ValueError, match=r"bitz: no such parameter \(did you mean bits\?\)"):
        RunConfig.from_notebook({"In": cells, "bits": 64, "bitz": 32, "x": 1})
    assert RunConfig.from_notebook({"In": cells[:3], "bits": 16, "x": 1}).bits == 16


def test_fields_of_the_config_all_say_what_they_mean():
    for knob in dataclasses.fields(RunConfig):
        assert knob.metadata["meaning"], knob.name


@pytest.mark.parametrize("name", ["no.such.module:thing", "math:no_such", "math:"])
def test_what_cannot_be_loaded_is_said(name):
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_attribute(name)


def test_environment_yml_agrees_with_pyproject():
    """As far as can be seen without conda: the channels, the keys, and that each floor is pyproject's."""
    import tomllib

    import yaml
    from packaging.requirements import Requirement

    root = Path(__file__).parent.parent
    environment = yaml.safe_load((root / "environment.yml").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert set(environment) == {"name", "channels", "dependencies"}
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *packages, pip = environment["dependencies"]
    assert pip == {"pip": ["-e .[dev]"]}
    conda_names = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}
    floors = {Requirement(line).name: str(Requirement(line).specifier) for line in project["dependencies"]}
    for line in packages:
        requirement = Requirement(line.replace(" ", ""))
        name = conda_names.get(requirement.name, requirement.name)
        if name == "python":
            assert str(requirement.specifier).split(",")[-1] in (project["requires-python"], "<3.14")
        elif name != "pip":
            assert str(requirement.specifier) == floors[name], name
