"""The command line as a stranger types it: what is printed, where, and the exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from relahash_nb import notebooks, sweep
from relahash_nb.cli import main
from relahash_nb.config import RunConfig
from relahash_nb.options import parse
from relahash_nb.results import Run, find_run, summarize, table
from relahash_nb.sweep import RunFailed, expand

TINY = ["--epochs", "1", "--image-size", "14", "--bits", "16"]


def relahash(*arguments, cwd):
    command = [sys.executable, "-m", "relahash_nb.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--dataset", "cifar"], "dataset: 'cifar' given; allowed: fashion_mini"),
        (["train", "--bits", "0"], "relahash train: bits: 0 given; allowed: an integer from 1 to 4096"),
        (["train", "--bits", "x"], "invalid literal for int"),
        (["train", "--bitz", "3"], "Perhaps you meant"),
        (["train", "--precision", "fp61"], "invalid choice 'fp61'"),
        (["train", "--loss-options", "{"], "loss_options: '{' given; allowed: JSON"),
        (["sweep", "--bits", "16", "0"], "bits: 0 given"),
        (["train", "--dataset", "lists"], "root: None given; lists needs the folder that holds the images"),
        (["train", "--dataset", "folder", "--root", "nowhere"], "root: 'nowhere' given, and there is no such folder"),
        (["train", "--weights", "x.safetensors"], "weights: 'x.safetensors' given, and there is no such file"),
        (["trian"], "relahash: 'trian' given; allowed: train, sweep, check, report, look"),
    ],
)
def test_a_wrong_command_is_a_short_message_and_exit_code_2(arguments, said, tmp_path):
    done = relahash(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and not done.stdout and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_given_goes_before_the_file_be_it_a_default(tmp_path, capsys):
    """The loss is the usual one, and the file says others."""
    grid = tmp_path / "grid.yml"
    grid.write_text(f"bits: [16, 32]\nloss: [csq, dpn]\nseed: [0, 1]\nresults_dir: {tmp_path}\n")
    assert main(["sweep", "--file", str(grid), "--loss", "relahash", "--seed", "0", "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("relahash-seed0" in line for line in lines[:2])


def test_a_sweep_knows_which_options_were_given():
    several = dict(several=True, extra=[("file", str | None, None, "a file")])
    arguments = ["--loss", "relahash", "--bits", "64", "--beta", "None", "--finetune", "True"]
    assert parse("sweep", "", arguments, **several) == dict(
        loss=("relahash",), bits=(64,), beta=(None,), finetune=(True,), file=None
    )


def test_help_lists_every_argument_with_its_default_range_and_meaning(tmp_path):
    done = relahash("train", "--help", cwd=tmp_path)
    text = " ".join(done.stdout.replace("│", " ").split())
    for name in RunConfig.__dataclass_fields__:
        assert f"--{name.replace('_', '-')} " in text
    assert "length of a hash code; an integer from 1 to 4096 (default: 64)" in text
    assert "passes over the training images; an integer from 1 up; None: 100 with paper" in text
    assert "--ds" in text and "--nbit" in text


def test_train_runs_the_notebook_from_any_folder_and_by_the_published_names(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")  # as on a server; the notebook has its figures all the same
    done = relahash("train", "--ds", "fashion_mini", "--nbit", 16, *TINY[:4], "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = find_run(RunConfig(bits=16, epochs=1, image_size=14, results_dir=str(tmp_path / "results")))
    assert run is not None and run.config.bits == 16
    assert f"mAP {run.report['scores']['mean_average_precision']:.4f}" in done.stdout
    assert "epoch   1/1" in done.stdout
    names = {file.name for file in run.folder.iterdir() if not file.name.startswith(".")}
    assert names == {"01_train.ipynb", "config.json", "history.csv", "codes.npz", "model.safetensors", "run.json"}
    assert (run.folder / "01_train.ipynb").read_text().count('"image/png"') >= 3


def test_a_failed_run_is_one_paragraph_exit_code_1_and_the_partial_notebook(tmp_path):
    done = relahash("train", "--batch-size", 4_000, cwd=tmp_path)
    assert done.returncode == 1
    assert "relahash train: ValueError: batch_size: 4000 is too large; fashion_mini has 3000 training" in done.stderr
    assert "Traceback" not in done.stderr
    notebook = Path(done.stderr.rsplit("The partial notebook: ", 1)[1].strip())
    assert (tmp_path / notebook).is_file()
    files = [file.name for file in (tmp_path / notebook).parent.iterdir() if not file.name.startswith(".")]
    assert files == ["01_train.ipynb"]


def test_report_without_runs_says_what_makes_them(tmp_path):
    done = relahash("report", cwd=tmp_path)
    assert done.returncode == 0 and "no finished run in results/runs; relahash train makes one" in done.stdout


def test_look_executes_the_analyses_that_are_older_than_the_runs(tiny_results, tmp_path, monkeypatch, capsys):
    executed = []

    def execute(name, target, parameters):
        executed.append(name)
        if name.startswith("03"):
            raise RunFailed("ValueError: broken\nThe partial notebook: there")
        target.write_text(json.dumps({"metadata": {"papermill": {"parameters": parameters}}}))

    monkeypatch.setattr(notebooks, "execute_notebook", execute)
    (tmp_path / "runs").symlink_to(tiny_results / "runs")
    command = ["look", "--results-dir", str(tmp_path)]
    assert main(command) == 1 and "relahash look: ValueError: broken" in capsys.readouterr().err
    assert main(command) == 1 and "02_quantization_error.ipynb: up to date" in capsys.readouterr().out
    assert main([*command, "--dataset", "fashion_mini"]) == 1
    assert [name[:2] for name in executed] == ["02", "03", "03", "02", "03"]
    assert main(["look", "--results-dir", str(tmp_path / "none")]) == 2
    assert "this makes it: relahash sweep" in capsys.readouterr().err


def test_a_sweep_goes_on_after_a_failure_and_leaves_finished_runs_alone(monkeypatch, capsys, tmp_path):
    def finished(config):
        scores = dict(mean_average_precision=0.8, best=0.9, worst=0.7)
        return Run(Path("folder"), {"scores": scores, "seconds": {"training": 2.0}, "config": config.to_dict()})

    executed = []

    def execute(config, output, minutes):
        executed.append(config.bits)
        if config.bits == 32:
            raise RunFailed("ValueError: broken\nThe partial notebook: there")
        return finished(config)

    monkeypatch.setattr(sweep, "execute", execute)
    monkeypatch.setattr(sweep, "find_run", lambda config: finished(config) if config.bits == 16 else None)
    outcomes = sweep.sweep(expand({"bits": [16, 32, 64], "results_dir": [str(tmp_path)]}))
    assert executed == [32, 64]
    assert [(outcome.config.bits, outcome.error.splitlines()[:1]) for outcome in outcomes] == [
        (16, []),
        (32, ["ValueError: broken"]),
        (64, []),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert "16bits" in lines[0] and "done before, mAP 0.8000" in lines[0]
    assert lines[1].startswith("[1/2]") and "failed: ValueError: broken" in lines[1]


def test_an_interrupted_run_leaves_nothing_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    import papermill

    def interrupted(source, target, parameters, **options):
        Path(target).write_text("half a notebook")
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY]) == 130
    assert "the same command again goes on" in capsys.readouterr().err
    assert not list(tmp_path.glob("results/runs/*"))


def test_every_combination_is_expanded_once():
    configs = expand({"bits": [16, 32], "seed": [0, 1, 2], "dataset": ["fashion_mini"]})
    assert [(config.bits, config.seed) for config in configs] == [(16, 0), (16, 1), (16, 2), (32, 0), (32, 1), (32, 2)]
    with pytest.raises(ValueError, match="bitz: no such parameter"):
        expand({"bitz": [1]})


def test_the_summary_names_data_but_no_place():
    import pandas as pd

    places = dict(device="cpu", data_dir="d", results_dir="r", folder="f")
    command = "relahash train --bits 16 --data-dir '/a b' --seed 0 --results-dir /c"
    row = dict(loss="relahash", seed=0, bits=16, command=command) | places
    runs = pd.DataFrame([row | dict(dataset="lists", root="/home/me/corel"), row | dict(dataset="toy", root=None)])
    summary = summarize(runs)
    assert summary["data"].tolist() == ["lists corel", "toy"]
    assert set(summary["command"]) == {"relahash train --bits 16 --seed 0"}
    assert not {"root", "device", "data_dir", "results_dir", "folder"} & set(summary)


def test_the_table_is_markdown_with_mean_and_deviation_over_the_seeds():
    import pandas as pd

    row = dict(data="toy", backbone="small_cnn", image_size=28, epochs=2, loss="relahash", worst=0.4, best=0.6)
    row |= dict(quantization_error=0.2, seconds_training=3.0)
    rows = [row | dict(bits=16, seed=seed, mean_average_precision=score) for seed, score in ((0, 0.5), (1, 0.7))]
    lines = table(pd.DataFrame([*rows, row | dict(bits=64, seed=0, mean_average_precision=0.8)])).splitlines()
    assert len(lines) == 3 and lines[0].startswith("| data | backbone |")
    assert "| 1–2 | 0.6000 ± 0.1414 | 0.8000 |" in lines[2]
