"""Every option is checked, has a value when the config is made, and is named; each is of one kind."""

import json
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from relahash_nb import registry
from relahash_nb.cli import TrainOptions, parse
from relahash_nb.config import RECIPES, SETTING_FIELDS, RunConfig
from relahash_nb.paths import local_path, project_path
from relahash_nb.results import load_runs, read_table
from relahash_nb.threads import available_cores


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("bits", 0, "0"),
        ("bits", "32", "'32'"),
        ("bits", True, "True"),
        ("bits", 32.0, "32.0"),
        ("dataset", "cifar", "cifar10"),
        ("dataset", None, "None"),
        ("dataset", "my module:data", "package.module:attribute"),
        ("dataset", "..:x", "'..:x'"),
        ("lr", float("inf"), "inf"),
        ("beta", float("inf"), "inf"),
        ("margin", float("nan"), "nan"),
        ("weight_decay", float("inf"), "inf"),
        ("checkpoint_minutes", float("inf"), "inf"),
        ("holdout", 1.0, "1.0"),
        ("seed", 10**23, "9223372036854775807"),
        ("top_k", 1e23, "'all'"),
        ("loss", "relahsh", "relahash"),
        ("lr", float("nan"), "nan"),
        ("lr", 0, "above 0"),
        ("margin", -0.1, "from 0"),
        ("top_k", 0, "from 1"),
        ("top_k", "some", "'some'"),
        ("epochs", 1.5, "1.5"),
        ("batch_size", 1, "from 2"),
        ("threads", 0, "from 1"),
        ("precision", "fp61", "fp16"),
        ("protocol", "3", "1-disjoint"),
        ("finetune", 1, "True or False"),
        ("seed", -1, "-1"),
        ("loss_options", [1], "[1]"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_option_value_and_what_is_allowed(field, value, said):
    with pytest.raises(ValueError) as error:
        RunConfig(**{field: value})
    text = str(error.value)
    assert text.startswith(f"{field}: ") and said in text and "\n" not in text


def test_what_is_allowed_is_taken():
    config = RunConfig(dataset="my.module:data", top_k="all", lr=1, loss_options={"scale": 2}, image_size=8)
    assert config.lr == 1.0 and isinstance(config.lr, float)
    assert RunConfig(top_k=1000).top_k == 1000


def test_a_config_has_a_value_for_every_option_as_soon_as_it_is_made():
    # There is none, or the loss has its own.
    absent = {"protocol", "root", "loss_options", "beta", "margin", "tuning", "metrics", "callback"}
    for recipe in RECIPES:
        values = RunConfig(recipe=recipe).to_dict()
        assert {name for name, value in values.items() if value is None} == absent - {*RECIPES[recipe]}


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
def test_a_config_survives_json(given):
    config = RunConfig(dataset="cifar10", bits=16, **given)
    assert RunConfig(**json.loads(json.dumps(config.to_dict()))) == config
    assert RunConfig.from_saved(config.to_dict()) == config
    assert RunConfig(**config.given) == config


def test_what_follows_from_an_option_changes_with_it():
    config = RunConfig(bits=32, lr=0.5)
    assert config.given == {"bits": 32, "lr": 0.5}
    paper = config.replace(recipe="paper", dataset="cifar10")
    assert (paper.bits, paper.lr, paper.epochs, paper.protocol, paper.backbone) == (32, 0.5, 100, "1", "alexnet")
    assert config.replace(lr=None).lr == RunConfig().lr
    assert RunConfig(loss="itq").replace(loss="relahash").finetune is True


def test_threads_are_one_where_operators_are_small_and_else_all_cores():
    assert RunConfig().threads == RunConfig(dataset="cifar10", finetune=False).threads == 1
    assert RunConfig(dataset="folder", root=".").threads == RunConfig(dataset="cifar10", loss="itq").threads == 1
    assert RunConfig(dataset="cifar10").threads == available_cores()
    assert RunConfig(dataset="cifar10", backbone="small_cnn").threads == 1


def test_the_command_names_the_threads_that_another_machine_may_not_take_by_itself():
    assert "--threads" not in RunConfig(bits=32).command
    assert "--threads 3" in RunConfig(threads=3).command
    assert ("--threads" in RunConfig(dataset="cifar10").command) == (available_cores() > 1)


def test_the_scale_and_margin_of_a_recipe_are_those_of_relahash():
    def chosen(**given):
        config = RunConfig(recipe="laptop", **given)
        return config.beta, config.margin

    assert chosen() == (64, 0.025)
    assert chosen(beta=8.0) == (8, 0.025)
    assert chosen(loss_options={"margin": 0.5}) == (64, None)
    assert chosen(loss="orthohash", margin=0.3) == (None, 0.3)
    defaults = RunConfig(recipe="laptop", beta=8.0, margin=0.5)
    assert defaults.setting()["beta"] is None and "--beta 8.0 --margin 0.5" in defaults.command


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
        {"threads": 2},
    ):
        assert RunConfig(**same).run_id == run_id
    assert RunConfig(lr=1).run_id == RunConfig(lr=1.0).run_id


def test_run_id_tells_folders_apart_by_name_but_not_by_place():
    def named(root):
        return RunConfig(dataset="lists", root=root).run_id

    assert named("/a/corel") == named("/b/corel") == named("corel") != named("/a/coco")
    assert named("corel").startswith("lists-corel-64bits-relahash-seed0-")
    assert named("/a/my images (2)").startswith("lists-my.images.2.-64bits")


def test_every_option_is_of_one_kind_and_says_what_it_means():
    kinds = {name: RunConfig.schema_of(name)["kind"] for name in RunConfig.model_fields}
    assert all(field.description for field in RunConfig.model_fields.values())
    assert [name for name, kind in kinds.items() if kind == "identity"] == ["seed"]
    assert set(RunConfig.of_kind("bookkeeping")) == {
        *("recipe", "device", "threads", "root", "data_dir", "results_dir"),
        *("checkpoint_minutes", "save_weights", "eval_interval", "metrics", "callback"),
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
}  # fmt: skip  # fmt: skip


def test_an_older_run_is_read():
    config = RunConfig.from_saved(SAVED)
    assert config == RunConfig(bits=16, epochs=1, image_size=14, beta=8.0, margin=0.5)
    assert config.save_weights == "trained" and config.run_id == RunConfig(bits=16, epochs=1, image_size=14).run_id
    assert RunConfig.from_saved(SAVED | {"beta": 50.0}).beta == 50.0
    assert RunConfig.from_saved({"bits": 32}) == RunConfig(bits=32)
    with pytest.raises(ValueError, match="compile"):
        RunConfig(**SAVED)


def test_a_folder_of_photographs_has_a_recipe_of_its_own():
    config = RunConfig(dataset="folder", root=".")
    assert (config.recipe, config.backbone, config.weights) == ("photos", "mobilenet_v3_large", "imagenet")
    assert (config.image_size, config.finetune, config.epochs, config.batch_size) == (224, False, 20, 64)
    assert (config.lr, config.schedule, config.holdout) == (1e-3, "cosine", 0.2)


def test_a_baseline_has_fixed_features_by_itself():
    assert RunConfig(loss="itq").finetune is False and RunConfig().finetune is True
    assert RunConfig(loss="itq").command == "relahash train --loss itq"
    with pytest.raises(ValueError, match="finetune"):
        RunConfig(loss="itq", finetune=True)


def test_a_network_without_weights_of_its_own_is_not_asked_for_them():
    assert RunConfig(dataset="cifar10", backbone="small_cnn").weights == "none"


@pytest.mark.parametrize(
    "values",
    [
        {"root": "."},
        {"protocol": "2"},
        {"holdout": 0.5},
        {"beta": 8.0, "loss_options": {"beta": 2}},
        {"margin": 0.5, "loss_options": {"margin": 0.2}},
        {"finetune": True, "loss": "itq"},
    ],
)
def test_options_that_contradict_one_another_are_refused(values):
    with pytest.raises(ValueError) as error:
        RunConfig(**values)
    assert str(error.value).startswith(f"{next(iter(values))}: ") and "\n" not in str(error.value)


def test_a_data_set_of_one_s_own_may_take_any_option():
    config = RunConfig(dataset="my.own:data", root="nowhere", protocol="2", holdout=0.5)
    assert (config.root, config.protocol, config.holdout) == ("nowhere", "2", 0.5)


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


PATHS = ("root", "data_dir", "results_dir")


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_expanded_where_it_is_given(name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    data = {"dataset": "lists"} if name == "root" else {}
    for given, expanded in (("~/runs", tmp_path / "runs"), ("runs", "runs"), ("/runs", "/runs")):
        assert getattr(RunConfig(**data, **{name: given}), name) == str(expanded)
    assert project_path("~/runs") == project_path(Path("~/runs")) == tmp_path / "runs"
    (tmp_path / "runs").mkdir()
    assert load_runs("~").empty


@pytest.mark.parametrize(
    "address", ["s3://bucket/runs", "gs://bucket", "hdfs:///runs", "https://host/x", "~nobody-here/x"]
)
def test_an_address_is_no_path(address):
    for name in PATHS:
        with pytest.raises(ValueError) as error:
            RunConfig(dataset="lists", **{name: address})
        assert str(error.value).startswith(f"{name}: {address!r} given; ")
    for path in (address, Path(address)):
        with pytest.raises(ValueError):
            project_path(path)
    assert local_path(r"C:/runs") == "C:/runs"  # a drive of Windows


def test_weights_of_one_s_home_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunConfig(weights="~/x.safetensors").weights == str(tmp_path / "x.safetensors")
    assert RunConfig(dataset="cifar10").weights == "imagenet"


@pytest.mark.parametrize("name", ["no.such.module:thing", "math:no_such", "math:"])
def test_what_cannot_be_loaded_is_said(name):
    with pytest.raises(ValueError) as error:
        registry.load({}, name)
    assert str(error.value).startswith(f"{name}: ") and "\n" not in str(error.value)


TABLES = (registry.DATASETS, registry.LOSSES, registry.BASELINES, registry.CENTROIDS, registry.BACKBONES)


@pytest.mark.parametrize("table", TABLES)
def test_every_name_of_the_registry_stands_for_something_that_can_be_called(table):
    assert all(callable(registry.load(table, name)) for name in table)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bits", "32", 32),
        ("bits", "x", "x"),
        ("lr", "1e-3", 1e-3),
        ("lr", "None", None),
        ("finetune", "True", True),
        ("finetune", "1", "1"),
        ("protocol", "1", "1"),
        ("root", "5", "5"),
        ("root", "{}", "{}"),
        ("top_k", "100", 100),
        ("top_k", "all", "all"),
        ("loss_options", '{"margin": 0.2}', {"margin": 0.2}),
        ("loss_options", "{", "{"),
        ("centroid_seed", "None", None),
    ],
)
def test_a_typed_text_becomes_the_value_of_its_field(name, text, value):
    read = RunConfig.read_text(name, text)
    assert read == value and type(read) is type(value)


def test_environment_yml_agrees_with_pyproject():
    """As far as can be seen without conda: the channels, the keys, and that each floor is pyproject's."""
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


@pytest.mark.parametrize("loss", registry.LOSSES)
def test_a_given_default_of_the_loss_is_the_same_run_as_none_given(loss):
    defaults = registry.default_options(registry.load(registry.LOSSES, loss))
    given = {name: float(defaults[name]) for name in ("beta", "margin") if defaults.get(name) is not None}
    assert RunConfig(loss=loss, **given).run_id == RunConfig(loss=loss).run_id
    for name, value in given.items():
        assert RunConfig(loss=loss, **{name: value + 1}).run_id != RunConfig(loss=loss).run_id


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (dict(loss="csq", loss_options={"quantization": 1}), dict(loss="csq", loss_options={"quantization": 1.0})),
        (dict(loss_options={"beta": 9}), dict(beta=9.0)),
        (dict(loss_options={"beta": 9, "margin": 0.25}), dict(beta=9, margin=0.25)),
        (
            dict(loss="my:Loss", loss_options={"margin": 1, "scale": 2.0}),
            dict(loss="my:Loss", margin=1, loss_options={"scale": 2}),
        ),
        (dict(loss_options={"beta": 8}), {}),
    ],
)
def test_one_setting_has_one_run_id_however_it_is_told(first, second):
    first, second = RunConfig(**first), RunConfig(**second)
    assert first.run_id == second.run_id and first.setting() == second.setting()


def test_true_is_no_number():
    assert RunConfig(loss_options={"batch_norm": True}).setting()["loss_options"] == {"batch_norm": True}


@pytest.mark.parametrize("name", ["summary.csv", "phase.csv"])
def test_the_published_commands_give_the_published_run_ids(name):
    """All but those of a loss that has another name now, and of weights or settings that have other names here."""
    table = read_table(Path(__file__).parent.parent / "docs" / "results" / name)
    table = table[table["loss"] != "cross_entropy_plain"]
    different = []
    for run_id, command in zip(table["run_id"], table["command"], strict=True):
        _, given = parse("train", shlex.split(command)[2:], TrainOptions)
        if RunConfig(**given).run_id != run_id:
            different.append(run_id)
    assert len(different) <= 13, different
