"""Every option is checked, resolved once, and named; each is of one kind."""

import inspect
import json
import os
import sys
from pathlib import Path

import pytest

from relahash_nb.config import LOSS_DEFAULTS, RECIPES, RunConfig, SETTING_FIELDS
from relahash_nb.paths import project_path
from relahash_nb.registry import load
from relahash_nb.losses import LOSSES


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
        ("dataset", "..:x", "dataset: '..:x' given"),
        ("lr", float("inf"), "lr: inf given; allowed: a number above 0, or None"),
        ("beta", float("inf"), "beta: inf given"),
        ("margin", float("nan"), "margin: nan given"),
        ("weight_decay", float("inf"), "weight_decay: inf given"),
        ("checkpoint_minutes", float("inf"), "checkpoint_minutes: inf given"),
        ("holdout", 1.0, "holdout: 1.0 given; allowed: a number from 0, below 1"),
        ("seed", 10**23, "given; allowed: an integer from 0 to 9223372036854775807"),
        ("top_k", 1e23, "allowed: an integer from 1 to 1000000000, or 'all', or None"),
        ("loss", "relahsh", "did you mean relahash?"),
        ("lr", float("nan"), "lr: nan given; allowed: a number above 0, or None"),
        ("lr", 0, "lr: 0 given"),
        ("margin", -0.1, "allowed: a number from 0 up, or None"),
        ("top_k", 0, "allowed: an integer from 1 to 1000000000, or 'all', or None"),
        ("top_k", "some", "top_k: 'some' given"),
        ("epochs", 1.5, "epochs: 1.5 given"),
        ("batch_size", 1, "batch_size: 1 given"),
        ("precision", "fp61", "did you mean fp16?"),
        ("protocol", "3", "allowed: 1, 1-disjoint, 2, 2-official, or None"),
        ("finetune", 1, "finetune: 1 given; allowed: True or False, or None"),
        ("seed", -1, "seed: -1 given"),
        ("loss_options", [1], 'loss_options: [1] given; allowed: a dictionary, such as {"margin": 0.2}, or None'),
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
    left = {"protocol", "root", "loss_options", "beta", "margin", "tuning"}  # there is none, or the loss has its own
    for recipe in RECIPES:
        resolved = RunConfig(recipe=recipe).to_dict()
        assert {name for name, value in resolved.items() if value is None} == left - {*RECIPES[recipe]}


def test_the_published_recipe_is_the_default_of_cifar10():
    config = RunConfig(dataset="cifar10")
    published = dict(epochs=100, batch_size=16, lr=1e-4, backbone_lr_scale=0.1, weight_decay=5e-4, schedule="step")
    published |= dict(
        beta=None, margin=None, centroids="max_hamming", backbone="alexnet", weights="imagenet", dropout=False
    )
    published |= dict(image_size=224, precision="fp32", protocol="1", top_k="all", recipe="paper")
    assert {name: getattr(config, name) for name in published} == published


def test_what_is_given_wins_over_the_recipe():
    config = RunConfig(dataset="cifar10", recipe="quick", epochs=3, beta=50.0)
    assert (config.epochs, config.beta, config.backbone) == (3, 50.0, "small_cnn")


@pytest.mark.parametrize("given", [dict(recipe="paper"), dict(recipe="laptop"), dict(recipe="laptop", beta=8.0)])
def test_resolving_is_idempotent_and_survives_json(given):
    resolved = RunConfig(dataset="cifar10", bits=16, **given)
    assert resolved.resolve() == resolved
    assert RunConfig(**json.loads(json.dumps(resolved.to_dict()))) == resolved
    assert RunConfig.from_saved(resolved.to_dict()) == resolved


def test_the_scale_and_margin_of_a_recipe_are_those_of_relahash():
    def chosen(**given):
        config = RunConfig(recipe="laptop", **given)
        return config.beta, config.margin

    assert chosen() == (64, 0.025)
    assert chosen(beta=8.0) == (8, 0.025)
    assert chosen(loss_options={"margin": 0.5}) == (64, None)
    assert chosen(loss="orthohash", margin=0.3) == (None, 0.3)
    usual = RunConfig(recipe="laptop", beta=8.0, margin=0.5)
    assert usual.setting()["beta"] is None and "--beta 8.0 --margin 0.5" in usual.command


def test_run_id_knows_what_changes_the_result_and_nothing_else():
    run_id = RunConfig().run_id
    others = {"seed": 1, "lr": 0.5, "split_seed": 3, "bits": 16, "beta": 9.0, "top_k": 5, "precision": "bf16"}
    assert len({run_id, *(RunConfig(**{name: value}).run_id for name, value in others.items())}) == len(others) + 1
    for same in (
        {"device": "cpu"},
        {"data_dir": "x"},
        {"results_dir": "y"},
        {"recipe": "quick"},
        {"save_weights": "all"},
        {"eval_interval": 2},
    ):
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


@pytest.mark.parametrize("title", ["# @title Parameters", "# Parameters"])
def test_a_corrected_typo_is_forgotten(title):
    """The history of a notebook keeps the cell with the typo, and the kernel its name."""
    cells = ["", "# @title Parameters\nlr = None", f"{title}\nbitz = 32", "RunConfig", f"{title}\nbits = 32"]
    assert RunConfig.from_notebook({"In": cells, "lr": None, "bitz": 32, "bits": 32}).bits == 32


def test_a_value_outside_the_parameters_cell_does_not_count():
    namespace = {"In": ["# @title Parameters\nbits = 32", "weights = [1]"], "bits": 32, "weights": [1], "seed": "x"}
    assert RunConfig.from_notebook(namespace) == RunConfig(bits=32)


def test_every_option_is_of_one_kind_and_says_what_it_means():
    kinds = {name: field.json_schema_extra["kind"] for name, field in RunConfig.model_fields.items()}
    assert all(field.description for field in RunConfig.model_fields.values())
    assert [name for name, kind in kinds.items() if kind == "identity"] == ["seed"]
    assert set(RunConfig.of_kind("bookkeeping")) == {
        *("recipe", "device", "root", "data_dir", "results_dir", "checkpoint_minutes", "save_weights", "eval_interval")
    }
    assert {*RunConfig.of_kind("bookkeeping"), *SETTING_FIELDS, "seed"} == set(kinds)


def test_the_setting_has_the_epochs_between_scores_where_one_of_them_is_chosen():
    assert set(RunConfig().setting()) == set(SETTING_FIELDS)
    assert RunConfig(validation_per_class=5, eval_interval=2).setting()["eval_interval"] == 2
    assert RunConfig(validation_per_class=5, eval_interval=2).run_id != RunConfig(validation_per_class=5).run_id
    assert RunConfig(seed=1).setting() == RunConfig(device="cpu").setting()


def test_a_new_option_with_a_default_renames_no_run():
    class Later(RunConfig):
        new: int = RunConfig.model_fields["split_seed"]

    assert Later().run_id == RunConfig().run_id != Later(new=1).run_id


SAVED = {
    "recipe": "quick", "dataset": "fashion_mini", "protocol": None, "root": None, "bits": 16, "loss": "relahash",
    "loss_options": None, "beta": 8.0, "margin": 0.5, "centroids": "max_hamming", "backbone": "small_cnn",
    "weights": "none", "finetune": True, "image_size": 14, "augment": "jitter", "epochs": 1, "batch_size": 64,
    "lr": 0.003, "backbone_lr_scale": 1.0, "weight_decay": 0.0005, "schedule": "cosine", "dropout": False,
    "precision": "fp32", "device": "auto", "compile": False, "top_k": "all", "denominator": "retrieved",
    "drop_self_matches": False, "validation_per_class": 0, "eval_interval": 0, "seed": 0, "split_seed": 0,
    "centroid_seed": 0, "save_weights": "trained", "checkpoint_minutes": 5.0, "fresh": False,
    "max_megapixels": 100.0, "cache_gigabytes": 50.0, "data_dir": "data", "results_dir": "results",
}  # fmt: skip


def test_an_older_run_is_read():
    config = RunConfig.from_saved(SAVED)
    assert config == RunConfig(bits=16, epochs=1, image_size=14, beta=8.0, margin=0.5)
    assert config.save_weights == "trained" and config.run_id == RunConfig(bits=16, epochs=1, image_size=14).run_id
    assert RunConfig.from_saved(SAVED | {"beta": 50.0}).beta == 50.0
    assert RunConfig.from_saved({"bits": 32}) == RunConfig(bits=32)
    with pytest.raises(ValueError, match="compile: no such parameter"):
        RunConfig(**SAVED)


def test_a_folder_of_photographs_has_a_recipe_of_its_own():
    config = RunConfig(dataset="folder", root=".")
    assert (config.recipe, config.backbone, config.weights) == ("photos", "mobilenet_v3_large", "imagenet")
    assert (config.image_size, config.finetune, config.epochs, config.batch_size) == (224, False, 20, 64)
    assert (config.lr, config.schedule, config.holdout) == (1e-3, "cosine", 0.2)


def test_a_baseline_has_fixed_features_by_itself():
    assert RunConfig(loss="itq").resolve().finetune is False and RunConfig().finetune is True
    assert RunConfig(loss="itq").command == "relahash train --loss itq"
    with pytest.raises(ValueError, match="finetune: True given; itq has no training"):
        RunConfig(loss="itq", finetune=True)


def test_a_network_without_weights_of_its_own_is_not_asked_for_them():
    assert RunConfig(dataset="cifar10", backbone="small_cnn").weights == "none"
    with pytest.raises(ValueError, match="weights: 'imagenet' given; small_cnn has none"):
        RunConfig(weights="imagenet")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"root": "."}, "root: fashion_mini takes none, and '.' is given"),
        ({"protocol": "2"}, "protocol: fashion_mini takes none"),
        ({"holdout": 0.5}, "holdout: fashion_mini takes none"),
        ({"beta": 8.0, "loss_options": {"beta": 2}}, "beta: 8.0 given, and 2 in loss_options; give one"),
        ({"dataset": "folder"}, "root: None given; folder needs the folder that holds the images"),
        ({"dataset": "folder", "root": "nowhere"}, "root: 'nowhere' given, and there is no such folder"),
        ({"weights": "x.safetensors"}, "weights: 'x.safetensors' given, and there is no such file"),
    ],
)
def test_options_that_contradict_one_another_are_refused(values, said):
    with pytest.raises(ValueError) as error:
        RunConfig(**values)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)
    assert RunConfig(dataset="my.own:data", root="nowhere", protocol="2") is not None  # for its function to read


def test_folders_are_the_project_s_inside_a_checkout_and_here_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "relahash-nb"\n')
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert project_path("results").resolve() == tmp_path / "results"
    assert project_path("/elsewhere") == Path("/elsewhere")
    (tmp_path / "other" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert project_path("results") == Path("results")
    other = tmp_path.parent / f"{tmp_path.name}-other"
    other.mkdir()
    (other / "pyproject.toml").write_text('[project]\nname = "something-else"\n')
    monkeypatch.chdir(other)
    assert project_path("data") == Path("data")


def test_an_error_in_a_notebook_is_one_line_and_papermill_fails(tmp_path, monkeypatch):
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    cells = [
        nbformat.v4.new_code_cell("# @title Parameters\nbits = 64", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("from relahash_nb.config import RunConfig\nRunConfig.from_notebook(globals())"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), "in.ipynb")
    with pytest.raises(PapermillExecutionError) as error:
        papermill.execute_notebook("in.ipynb", "out.ipynb", {"bits": 0}, progress_bar=False)
    said = "bits: 0 given; allowed: an integer from 1 to 4096"
    assert (error.value.ename, error.value.evalue) == ("ValueError", said)
    outputs = [output for cell in nbformat.read("out.ipynb", 4).cells for output in cell.get("outputs", [])]
    (shown,) = [output for output in outputs if output.output_type == "error"]
    assert shown.traceback == [f"ValueError: {said}"]


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


def test_a_given_default_of_the_loss_is_the_same_run_as_none_given():
    for loss, defaults in LOSS_DEFAULTS.items():
        parameters = inspect.signature(LOSSES[loss]).parameters
        assert defaults == {name: parameters[name].default for name in defaults}
        assert RunConfig(loss=loss, **defaults).run_id == RunConfig(loss=loss).run_id
    assert RunConfig(beta=8.0).run_id != RunConfig(beta=9.0).run_id
    missing = {loss for loss, kind in LOSSES.items() if "margin" in inspect.signature(kind).parameters}
    assert missing <= set(LOSS_DEFAULTS)
