"""The command line as a stranger types it: what is printed where, the exit code, and the files that are left."""

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from relahash_nb.config import RunConfig
from relahash_nb.results import load_run
from tests.conftest import read_report

TINY = RunConfig(bits=16, epochs=1, image_size=14)  # as `trained`
SEEDS = [str(seed) for seed in range(101)]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def in_a_process(*arguments, **options):
    command = [sys.executable, "-m", "relahash_nb.cli", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, **options)


# Wrong commands

WRONG = [  # the arguments, the option or name that the line names, and the value that it repeats
    (["trian"], "train", "trian"),
    (["train", "--dataset", "cifar"], "dataset", "cifar"),
    (["train", "--bits", "0"], "bits", "0"),
    (["train", "--bits", "x"], "bits", "x"),
    (["train", "--bits", "16", "32"], "bits", "16 32"),
    (["train", "--bits"], "bits", ""),
    (["train", "--bitz", "3"], "bits", "bitz"),
    (["train", "--bits", "16", "--bits", "32"], "bits", ""),
    (["sweep", "--bits", "16", "--bits", "32"], "bits", ""),
    (["train", "--precision", "fp61"], "precision", "fp61"),
    (["train", "--loss-options", "{"], "loss_options", "{"),
    (["train", "--seed", "1e23"], "seed", "1e"),
    (["train", "--top-k", "1e23"], "top_k", "1e"),
    (["train", "--lr", "inf"], "lr", "inf"),
    (["train", "--lr", "-inf"], "lr", "-inf"),
    (["train", "--margin", "-1e-3"], "margin", "-1e-3"),
    (["train", "--results-dir", "s3://bucket/runs"], "results_dir", "s3://bucket/runs"),
    (["check", "--dataset", "folder", "--root", "gs://bucket"], "root", "gs://bucket"),
    (["sweep", "--file", "s3://bucket/grid.yml"], "file", "s3://bucket/grid.yml"),
    (["report", "--out", "s3://bucket/table.md"], "out", "s3://bucket/table.md"),
    (["train", "--metrics", "r_precision"], "metrics", "r_precision"),
    (["train", "--callback", "nowhere:log"], "nowhere:log", ""),
    (["report", "--loss", "relahsh"], "loss", "did you mean relahash"),
    (["report", "--bits", "x"], "bits", "x"),
    (["train", "--dataset", "..:x"], "dataset", "..:x"),
    (["train", "--dataset", "nowhere:data"], "nowhere:data", ""),
    (["train", "--loss", "math:tau"], "math:tau", "float"),
    (["train", "--loss", "csq", "--beta", "8"], "beta", "8"),
    (["train", "--loss-options", '{"betta": 2}'], "betta", "2"),
    (["train", "--loss", "itq", "--loss-options", '{"x": 2}'], "x", "2"),
    (["train", "--loss-options", '{"beta": 2}', "--beta", "8"], "beta", "8"),
    (["train", "--loss", "itq", "--finetune", "True"], "finetune", "True"),
    (["train", "--weights", "imagenet"], "weights", "imagenet"),
    (["train", "--device", "cuda:77"], "device", "cuda:77"),
    (["train", "--batch-size", "4000"], "batch_size", "4000"),
    (["train", "--root", "x"], "root", "x"),
    (["train", "--dataset", "lists"], "root", "lists"),
    (["train", "--dataset", "folder", "--root", "nowhere"], "root", "nowhere"),
    (["train", "--weights", "x.safetensors"], "weights", "x.safetensors"),
    (["sweep", "--bits", "16", "0"], "bits", "0"),
    (["sweep", "--direct", "--workers", "2"], "direct", "workers"),
    (["sweep", "--workers", "0"], "workers", "0"),
    (["sweep", "--minutes", "-1"], "minutes", "-1"),
    (["sweep", "--minutes", "inf"], "minutes", "inf"),
    (["sweep", "--seed", *SEEDS, "--split-seed", *SEEDS[:100]], "10,100", ""),
    (["tune", "--loss", "itq"], "loss", "itq"),
    (["tune", "--lr", "1", "2"], "tune", ""),
    (["report", "--format", "html"], "format", "html"),
]


@pytest.mark.parametrize(("arguments", "named", "value"), WRONG, ids=lambda part: str(part)[:40])
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, named, value, relahash, tmp_path):
    code, printed, error = relahash(*arguments)
    assert code == 2 and not printed and error.count("\n") == 1
    assert named in error.replace("-", "_") or named in error
    assert value in error
    assert not list(tmp_path.iterdir())


def test_a_terminal_without_our_letters_is_served(tiny_results):
    """As Windows has it: cp1252 knows no 1 − cos, and ASCII no ± either."""
    for encoding in ("cp1252", "ascii"):
        environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        done = subprocess.run(
            [sys.executable, "-m", "relahash_nb.cli", "report", "--results-dir", str(tiny_results)],
            capture_output=True,
            env=environment,
        )
        assert done.returncode == 0 and not done.stderr
        assert "relahash | 1–2 |".encode(encoding, "replace") in done.stdout


@pytest.mark.slow
def test_a_training_ends_well_where_a_terminal_has_not_our_letters(tmp_path):
    command = [sys.executable, "-m", "relahash_nb.cli", "train", "--bits", "8", "--epochs", "1", "--image-size", "14"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"quantization error 1 ? cos" in done.stdout and list(tmp_path.rglob("run.json"))


def test_an_error_is_one_line_of_the_program_too():
    done = in_a_process("train", "--bits", "0", stdout=subprocess.PIPE)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.count("\n") == 1 and "bits" in done.stderr


def test_a_data_set_that_is_not_to_be_had_is_said_before_a_kernel_starts(relahash, without_kernels, monkeypatch):
    import torchvision

    def offline(place, train, download):
        raise RuntimeError("offline" if download else "Dataset not found")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", offline)
    asked = without_kernels(lambda config, output: None)
    code, _, error = relahash("train", "--dataset", "cifar10", "--data-dir", "elsewhere")
    assert code == 2 and not asked and error.count("\n") == 1
    assert "cifar10" in error and "cifar-10-python.tar.gz" in error and "elsewhere" in error
    assert not Path("results").exists()


# What is understood


def planned(relahash, *arguments):
    """The run ids of a sweep."""
    code, printed, error = relahash("sweep", *arguments, "--plan")
    assert code == 0, error
    return re.findall(r"^(\S*bits-\S*):", printed, flags=re.MULTILINE)


def test_the_published_command_s_names_are_understood(relahash, tmp_path):
    config = RunConfig(dataset="nuswide_21", root=str(tmp_path), bits=16, batch_size=32, centroids="hadamard", lr=1e-3)
    published = ["--ds", "nuswide", "--root", tmp_path, "--nbit=16", "--bs", 32, "--init-centroids-method", "H"]
    assert planned(relahash, *published, "--lr", "1e-3") == [config.run_id]
    for letter, name in zip("NUBMH", ("normal", "uniform", "bernoulli", "max_hamming", "hadamard"), strict=True):
        assert planned(relahash, "--init-centroids-method", letter) == [RunConfig(centroids=name).run_id]


def test_options_may_be_defaults_none_true_or_a_dictionary(relahash):
    given = ["--loss", "relahash", "--bits", 64, "--beta", "None", "--finetune", "True", "--centroid-seed", "None"]
    assert planned(relahash, *given) == [RunConfig(centroid_seed=None).run_id]
    margin = RunConfig(loss_options={"margin": 0.25})
    assert planned(relahash, "--loss-options", '{"margin": 0.25}') == [margin.run_id]


def test_a_printed_command_is_that_run(relahash):
    config = RunConfig(bits=32, loss="csq", seed=3, lr=1e-3, loss_options={"quantization": 0.5}, top_k=100)
    assert planned(relahash, *shlex.split(config.command)[2:]) == [config.run_id]


def test_help_lists_every_option_with_its_range(relahash):
    code, printed, _ = relahash("train", "--help")
    assert code == 0
    for name in RunConfig.model_fields:
        assert re.search(rf"--{name.replace('_', '-')}\b", printed), name
    assert "4096" in printed and "1000000000" in printed
    code, printed, _ = relahash("--help")
    assert code == 0 and all(command in printed for command in ("train", "sweep", "tune", "check", "report"))


def test_check_finds_a_function_in_the_working_directory(toy_module):
    """Of an installed command, whose path does not begin with the working directory."""
    script = "import sys; sys.path.remove(''); from relahash_nb.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "check", "--dataset", "own:toy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Train


def test_train_executes_the_notebook_into_the_run_s_folder(trained):
    config = TINY.replace(results_dir=str(trained.results))
    folder = trained.results / "runs" / config.run_id
    names = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
    assert names == {"01_train.ipynb", "config.json", "history.csv", "codes.npz", "model.safetensors", "run.json"}
    assert load_run(folder).config.bits == 16
    assert f"{read_report(config)['scores']['mean_average_precision']:.4f}" in trained.output
    assert re.search(r"epoch\s+1/1", trained.output)
    assert {path.name for path in trained.folder.iterdir()} <= {"results", "data", "output.txt", ".complete"}


def test_a_failed_run_is_exit_code_1_and_leaves_the_partial_notebook(relahash, without_kernels):
    def fail(config, output):
        raise PapermillExecutionError(3, 4, "", "ValueError", "no such data", ["Traceback (most recent call last)"])

    without_kernels(fail)
    code, _, error = relahash("train", "--bits", 16)
    assert code == 1 and "ValueError: no such data" in error and "Traceback" not in error
    notebook = Path("results", "runs", RunConfig(bits=16).run_id, "01_train.partial.ipynb")
    assert notebook.is_file() and str(notebook) in error
    assert [file.name for file in notebook.parent.iterdir() if not file.name.startswith(".")] == [notebook.name]


def test_a_notebook_that_ends_without_a_result_is_a_failed_run(relahash, without_kernels):
    without_kernels(lambda config, output: None)
    code, _, error = relahash("train", "--bits", 16)
    assert code == 1 and "run.json" in error


def test_an_interrupted_run_leaves_nothing(relahash, without_kernels):
    def interrupt(config, output):
        raise KeyboardInterrupt

    without_kernels(interrupt)
    code, _, error = relahash("train", "--bits", 16)
    assert code == 130 and error.strip() and "Traceback" not in error
    assert not list(Path("results", "runs").iterdir())


# Report and figures


def test_report_without_runs_names_the_place(relahash, tmp_path):
    code, printed, error = relahash("report")
    assert code == 2 and not printed and error.count("\n") == 1
    assert f"{tmp_path}/results/runs" in error


def test_report_has_the_mean_and_the_deviation_over_the_seeds(tiny_results, relahash):
    code, printed, _ = relahash("report", "--results-dir", tiny_results)
    lines = printed.splitlines()
    assert code == 0 and lines[0].startswith("|") and "16 bits" in lines[0] and "32 bits" in lines[0]
    scores = []
    for seed in (0, 1):
        config = RunConfig(bits=16, seed=seed, epochs=2, results_dir=str(tiny_results))
        scores.append(read_report(config)["scores"]["mean_average_precision"])
    mean, deviation = pd.Series(scores).mean(), pd.Series(scores).std()
    (row,) = [line for line in lines if "relahash" in line]
    assert f"| {mean:.4f} ± {deviation:.4f} |" in row


def test_report_is_of_the_runs_that_are_asked_for(tiny_results, relahash):
    place = ["--results-dir", tiny_results]
    _, printed, _ = relahash("report", *place, "--bits", 32)
    assert "32 bits" in printed and "16 bits" not in printed and "math:sqrt" not in printed
    _, printed, _ = relahash("report", *place, "--beta", 8, "--lr", 0.003, "--seed", 1, 2)
    assert len(printed.splitlines()) == 3 and "| relahash | 1 | " in printed and "32 bits" not in printed
    code, printed, error = relahash("report", *place, "--bits", 64)
    assert code == 2 and not printed and error.count("\n") == 1
    assert "bits: there is 16, 32" in error


def test_report_as_csv_goes_to_a_file_and_nowhere_else(tiny_results, relahash, tmp_path):
    place = ["--results-dir", tiny_results, "--loss", "relahash"]
    code, printed, _ = relahash("report", *place, "--format", "csv")
    table = pd.read_csv(io.StringIO(printed))
    assert code == 0 and sorted(table["bits"]) == [16, 32] and set(table["loss"]) == {"relahash"}
    assert not list(tmp_path.iterdir())
    assert relahash("report", *place, "--format", "csv", "--out", "table.csv") == (0, "", "")
    assert Path("table.csv").read_text(encoding="utf-8") == printed
    code, _, error = relahash("report", *place, "--out", "none/table.md")
    assert code == 1 and error.count("\n") == 1 and "none/table.md" in error


def test_a_reader_that_has_enough_lines_is_no_error(tiny_results):
    """As `relahash report | head` is."""
    read, written = os.pipe()
    os.close(read)
    done = in_a_process("report", "--results-dir", str(tiny_results), stdout=written)
    os.close(written)
    assert (done.returncode, done.stderr) == (1, "")


def test_figures_executes_the_analyses_that_are_older_than_the_runs(tiny_results, tmp_path, relahash, monkeypatch):
    executed = []
    broken = {"03"}

    def execute_notebook(source, target, parameters, **options):
        number = Path(source).name[:2]
        executed.append(number)
        metadata = {"papermill": {"parameters": dict(parameters)}}
        nbformat.write(nbformat.v4.new_notebook(metadata=metadata), target)
        if number in broken:
            raise PapermillExecutionError(1, 1, "", "ValueError", "broken", [])

    def figures(*arguments):
        executed.clear()
        return relahash("figures", "--results-dir", tmp_path, *arguments)

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    (tmp_path / "runs").symlink_to(tiny_results / "runs")
    code, _, error = figures()
    assert code == 1 and "ValueError: broken" in error and "Traceback" not in error and "02" in executed
    assert not (tmp_path / "03_code_distribution.ipynb").exists()
    assert figures()[0] == 1 and "02" not in executed
    broken.clear()
    assert figures()[0] == 0 and "03" in executed
    assert figures()[0] == 0 and executed == []
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "02_quantization_error.ipynb")  # executed by hand
    assert figures()[0] == 0 and executed == ["02"]
    assert figures("--dataset", "fashion_mini")[0] == 0 and sorted(executed) == ["02", "03", "05"]
    code, _, error = relahash("figures", "--results-dir", tmp_path / "none")
    assert code == 2 and "relahash sweep" in error
