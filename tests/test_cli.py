"""The command line as a stranger types it: what is printed, where, and the exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relahash_nb import notebooks, sweep
from relahash_nb.cli import SweepOptions, TrainOptions, main, parse
from relahash_nb.config import RunConfig
from relahash_nb.results import Run, find_run, tables
from relahash_nb.results.tables import table
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
        (["train", "--bits", "x"], "bits: 'x' given; allowed: an integer from 1 to 4096"),
        (
            ["train", "--bits", "16", "32"],
            "bits: 16 32 given; allowed: one value (relahash sweep takes several), an integer from 1",
        ),
        (["train", "--bits"], "bits: no value given"),
        (["train", "--bitz", "3"], "--bitz: no such option (did you mean --bits?)"),
        (["sweep", "--bits", "16", "--bits", "32"], "--bits: given twice; several values follow one another"),
        (["train", "--precision", "fp61"], "precision: 'fp61' given; allowed: fp32, bf16, fp16 (did you mean fp16?)"),
        (["train", "--loss-options", "{"], "loss_options: '{' given; allowed: a dictionary, such as {\"margin\": 0.2}"),
        (["train", "--seed", "1e23"], "seed: 1e+23 given; allowed: an integer from 0 to 9223372036854775807"),
        (["train", "--top-k", "1e23"], "top_k: 1e+23 given; allowed: an integer from 1 to 1000000000, or 'all'"),
        (["train", "--lr", "inf"], "lr: 'inf' given; allowed: a number above 0"),
        (["train", "--dataset", "..:x"], "dataset: '..:x' given"),
        (["train", "--dataset", "nowhere:data"], "nowhere:data: cannot be loaded"),
        (["train", "--loss", "math:tau"], "math:tau: is a float; allowed: a function or a class"),
        (["train", "--loss", "csq", "--beta", "8"], "beta: 8.0 given; csq takes no such option; allowed: quantization"),
        (
            ["train", "--loss-options", '{"betta": 2}'],
            "betta: 2 given; relahash takes no such option; allowed: beta, margin",
        ),
        (
            ["train", "--loss", "itq", "--loss-options", '{"x": 2}'],
            "x: 2 given; itq takes no such option; allowed: iterations",
        ),
        (["train", "--loss-options", '{"beta": 2}', "--beta", "8"], "beta: 8.0 given, and 2 in loss_options"),
        (["train", "--loss", "itq", "--finetune", "True"], "finetune: True given; itq has no training"),
        (["train", "--weights", "imagenet"], "weights: 'imagenet' given; small_cnn has none of its own"),
        (["train", "--device", "cuda:77"], "device: 'cuda:77' given, and not to be had here"),
        (["train", "--batch-size", "4000"], "batch_size: 4000 is too large; fashion_mini has 3000 training images"),
        (["train", "--root", "x"], "root: fashion_mini takes none"),
        (["sweep", "--bits", "16", "0"], "bits: 0 given"),
        (["sweep", "--direct", "--workers", "2"], "direct: given beside workers, scheduler or minutes"),
        (["sweep", "--workers", "0"], "workers: 0 given; allowed: an integer from 1 to 10000"),
        (["sweep", "--minutes", "-1"], "minutes: -1 given; allowed: a number above 0"),
        (["sweep", "--minutes", "inf"], "minutes: 'inf' given"),
        (["sweep", "--seed", *map(str, range(101)), "--split-seed", *map(str, range(100))], "10,100 runs given"),
        (["tune", "--loss", "itq"], "loss: itq given; allowed: relahash"),
        (["tune", "--lr", "1", "2"], "several values are given; allowed: of loss and bits alone"),
        (["report", "--format", "html"], "format: 'html' given; allowed: markdown, csv, latex"),
        (["train", "--dataset", "lists"], "root: None given; lists needs the folder that holds the images"),
        (["train", "--dataset", "folder", "--root", "nowhere"], "root: 'nowhere' given, and there is no such folder"),
        (["train", "--weights", "x.safetensors"], "weights: 'x.safetensors' given, and there is no such file"),
        (
            ["trian"],
            "'trian' given; allowed: train, sweep, tune, check, report, figures, hash, index, search, duplicates (did",
        ),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert said in err and not out and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_error_is_one_line_of_the_program_too(tmp_path):
    done = relahash("train", "--bits", "0", cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == "relahash train: bits: 0 given; allowed: an integer from 1 to 4096\n"


def test_a_data_set_that_is_not_to_be_had_is_said_before_a_kernel_starts(tmp_path, monkeypatch, capsys):
    import torchvision

    def offline(place, train, download):
        raise RuntimeError("offline" if download else "Dataset not found")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", offline)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--dataset", "cifar10", "--data-dir", "there"]) == 2
    said = "not in there, and not to be downloaded (offline); put cifar-10-python.tar.gz into there"
    assert capsys.readouterr().err == f"relahash train: cifar10: {said}\n" and not Path("results").exists()


def test_the_published_command_s_names_are_understood(capsys, tmp_path):
    arguments = ["--ds", "nuswide", "--nbit=16", "--bs", "32", "--init-centroids-method", "H", "--lr", "1e-3"]
    assert parse("train", arguments, TrainOptions)[1] == dict(
        dataset="nuswide_21", bits=16, batch_size=32, centroids="hadamard", lr=1e-3
    )
    for letter, name in zip("NUBMH", ("normal", "uniform", "bernoulli", "max_hamming", "hadamard"), strict=True):
        assert parse("train", ["--init-centroids-method", letter], TrainOptions)[1] == {"centroids": name}
    assert main(["train", "--tag", "mine", "--ds", "nuswide"]) == 2
    assert capsys.readouterr().err.startswith("tag: not used")


def test_check_finds_a_function_in_the_working_directory(tmp_path):
    (tmp_path / "mine.py").write_text("from relahash_nb.datasets import fashion_mini as digits\n")
    script = "import sys; sys.path.remove(''); from relahash_nb.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "check", "--dataset", "mine:digits"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "0 errors" in done.stdout, done.stderr


def test_what_is_given_goes_before_the_file_be_it_a_default(tmp_path, capsys):
    """The loss is the usual one, and the file says others."""
    grid = tmp_path / "grid.yml"
    grid.write_text(f"bits: [16, 32]\nloss: [csq, dpn]\nseed: [0, 1]\nresults_dir: {tmp_path}\n")
    assert main(["sweep", "--file", str(grid), "--loss", "relahash", "--seed", "0", "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("relahash-seed0" in line for line in lines[:2])


def test_a_sweep_knows_which_options_were_given():
    arguments = ["--loss", "relahash", "--bits", "64", "--beta", "None", "--finetune", "True", "--plan"]
    options, given = parse("sweep", arguments, SweepOptions)
    assert options == SweepOptions(plan=True)
    assert given == dict(loss=["relahash"], bits=[64], beta=[None], finetune=[True])


def test_help_lists_every_argument_with_its_default_range_and_meaning(tmp_path):
    done = relahash("train", "--help", cwd=tmp_path)
    text = " ".join(done.stdout.replace("│", " ").split())
    for name in RunConfig.model_fields:
        assert f"--{name.replace('_', '-')} " in text
    assert "length of a hash code; an integer from 1 to 4096 (default: 64)" in text
    assert "passes over the training images; an integer from 1 to 1000000000; default: 100 with paper" in text
    assert "--ds VALUE, --dataset VALUE" in text and "--nbit VALUE, --bits VALUE" in text


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
    (tmp_path / "own.py").write_text("def raises(config):\n    raise ValueError('no such data')\n")
    done = relahash("train", "--dataset", "own:raises", "--recipe", "quick", cwd=tmp_path)
    assert done.returncode == 1
    assert "relahash train: ValueError: no such data" in done.stderr
    assert "Traceback" not in done.stderr
    notebook = Path(done.stderr.rsplit("The partial notebook: ", 1)[1].strip())
    assert (tmp_path / notebook).is_file()
    files = [file.name for file in (tmp_path / notebook).parent.iterdir() if not file.name.startswith(".")]
    assert files == ["01_train.ipynb"]


def test_report_without_runs_says_what_makes_them(tmp_path):
    done = relahash("report", cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == f"relahash report: no finished run in {tmp_path}/results/runs; relahash train makes one\n"


def test_report_is_of_all_runs_or_of_those_asked_for(tiny_results, capsys):
    place = ["--results-dir", str(tiny_results)]
    assert main(["report", *place]) == 0
    assert "16 bits" in capsys.readouterr().out
    assert main(["report", *place, "--bits", "32"]) == 0
    out = capsys.readouterr().out
    assert "32 bits" in out and "16 bits" not in out and "math:sqrt" not in out
    assert main(["report", *place, "--bits", "64"]) == 2 and "no finished run like these" in capsys.readouterr().err
    assert main(["report", *place, "--beta", "8", "--lr", "0.003", "--seed", "1", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "| relahash | 1 | " in lines[2] and "32 bits" not in lines[0]


def test_a_reader_that_has_enough_lines_is_no_error(tiny_results):
    """As `relahash report | head` is."""
    read, written = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "relahash_nb.cli", "report", "--results-dir", str(tiny_results)]
    done = subprocess.run(command, stdout=written, stderr=subprocess.PIPE, text=True)
    os.close(written)
    assert (done.returncode, done.stderr) == (1, "")


def test_report_hands_on_format_and_filters_and_writes_only_where_asked(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(tables, "report", lambda place, **options: asked.append((place, options)) or "the table\n")
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 0 and capsys.readouterr().out == "the table\n"
    assert not list(tmp_path.iterdir())
    options = ["--format", "latex", "--dataset", "toy", "--bits", "16", "32", "--loss", "csq", "--out", "table.tex"]
    assert main(["report", *options]) == 0 and not capsys.readouterr().out
    assert Path("table.tex").read_text() == "the table\n"
    assert asked[0] == ("results", dict(format="markdown"))
    assert asked[1][1] == dict(format="latex", dataset=["toy"], bits=[16, 32], loss=["csq"])
    assert main(["report", "--out", "none/table.md"]) == 1
    assert capsys.readouterr().err == "relahash report: [Errno 2] No such file or directory: 'none/table.md'\n"


def test_figures_executes_the_analyses_that_are_older_than_the_runs(tiny_results, tmp_path, monkeypatch, capsys):
    executed = []

    def execute(name, target, parameters):
        executed.append(name)
        if name.startswith("03") and len(executed) < 6:
            raise RunFailed("ValueError: broken\nThe partial notebook: there")
        target.write_text(json.dumps({"metadata": {"papermill": {"parameters": parameters}}}))

    monkeypatch.setattr(notebooks, "execute_notebook", execute)
    (tmp_path / "runs").symlink_to(tiny_results / "runs")
    command = ["figures", "--results-dir", str(tmp_path)]
    assert main(command) == 1 and "relahash figures: ValueError: broken" in capsys.readouterr().err
    assert main(command) == 1 and "02_quantization_error.ipynb: up to date" in capsys.readouterr().out
    assert main([*command, "--dataset", "fashion_mini"]) == 1
    assert main(command) == 0
    assert [name[:2] for name in executed] == ["02", "03", "03", "02", "03", "02", "03", "05"]
    assert main(["figures", "--results-dir", str(tmp_path / "none")]) == 2
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
    assert "16bits" in lines[0] and "done before, mAP 0.8000" in lines[0] and lines[1] == "2 of 3 runs to do"
    assert lines[2].startswith("[1/2]") and "failed: ValueError: broken" in lines[2]


def test_an_interrupted_run_leaves_nothing_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    import papermill

    def interrupted(source, target, parameters, **options):
        Path(target).write_text("half a notebook")
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY]) == 130
    assert "the same command again does what is missing" in capsys.readouterr().err
    assert not list(tmp_path.glob("results/runs/*"))


def test_every_combination_is_expanded_once():
    configs = expand({"bits": [16, 32], "seed": [0, 1, 2], "dataset": ["fashion_mini"]})
    assert [(config.bits, config.seed) for config in configs] == [(16, 0), (16, 1), (16, 2), (32, 0), (32, 1), (32, 2)]
    with pytest.raises(ValueError, match="bitz: no such parameter"):
        expand({"bitz": [1]})


def test_the_table_is_markdown_with_mean_and_deviation_over_the_seeds():
    import pandas as pd

    row = dict(data="toy", backbone="small_cnn", image_size=28, epochs=2, loss="relahash", worst=0.4, best=0.6)
    row |= dict(quantization_error=0.2, seconds_training=3.0)
    rows = [row | dict(bits=16, seed=seed, mean_average_precision=score) for seed, score in ((0, 0.5), (1, 0.7))]
    lines = table(pd.DataFrame([*rows, row | dict(bits=64, seed=0, mean_average_precision=0.8)])).splitlines()
    assert len(lines) == 3 and lines[0].startswith("| data | backbone |")
    assert "| 1–2 | 0.6000 ± 0.1414 | 0.8000 |" in lines[2]
