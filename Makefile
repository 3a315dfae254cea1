# make study · make test are all that a newcomer needs; both make .venv and install into it when that is not done yet.

PYTHON ?= python3
VENV ?= .venv
# Where no NVIDIA driver is found, the CPU build of torch is tried from here first; plain PyPI serves where it fails.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP = $(VENV)/bin/pip install --quiet --disable-pip-version-check
BITS ?= 16 32 64 128
CODE = relahash_nb relahash_search study
PARALLEL = --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: help install study notebooks explore search test slow lint generate gallery publish wheel colab clean

help:                         ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

study: $(VENV)/.core          ## train four models on the embedded data set, print their scores, draw the figures
	@echo "trains a model for each of $(words $(BITS)) code lengths, $(BITS) bits, on Fashion-MNIST: a minute or two on two cores"
	$(VENV)/bin/relahash sweep --bits $(BITS)
	$(VENV)/bin/relahash figures --dataset fashion_mini

notebooks: $(VENV)/.dev       ## the notebooks in JupyterLab; begin with 00_relative_position
	$(VENV)/bin/jupyter lab notebooks/00_relative_position.ipynb

explore: $(VENV)/.dev         ## the Hamming explorer as a web page on localhost, over the runs in results/
	@ls results/runs/*/run.json >/dev/null 2>&1 || $(MAKE) study
	@mkdir -p build
	@$(VENV)/bin/papermill --prepare-only --log-level WARNING notebooks/04_hamming_explorer.ipynb \
	  build/explorer.ipynb -p results_dir "$(CURDIR)/results"
	$(VENV)/bin/voila build/explorer.ipynb --Voila.ip=127.0.0.1 \
	  --TagRemovePreprocessor.remove_cell_tags=about --TagRemovePreprocessor.remove_cell_tags=badge

# Its kernels end a minute after the last visitor has left.
search: $(VENV)/.dev          ## search in your pictures as a web page: make search FOLDER="My Photos" [RUN= BACKBONE= WEIGHTS=]
	@[ -z "$(FOLDER)" ] || [ -d "$(FOLDER)" ] || { echo "FOLDER: '$(FOLDER)' given, and there is no such folder"; exit 1; }
	@[ -n "$(FOLDER)" ] || ls results/runs/*/run.json >/dev/null 2>&1 || $(MAKE) study
	@mkdir -p build
	@$(VENV)/bin/papermill --prepare-only --log-level WARNING notebooks/07_search_your_images.ipynb \
	  build/search.ipynb -r results_dir "$(CURDIR)/results" $(if $(FOLDER),-r folder "$$(realpath "$(FOLDER)")") \
	  $(if $(RUN),-r run_id "$(RUN)") $(if $(BACKBONE),-r backbone "$(BACKBONE)") $(if $(WEIGHTS),-r weights "$(or $(realpath $(WEIGHTS)),$(WEIGHTS))")
	$(VENV)/bin/voila build/search.ipynb --Voila.ip=127.0.0.1 \
	  --MappingKernelManager.cull_idle_timeout=60 --MappingKernelManager.cull_interval=20 \
	  --TagRemovePreprocessor.remove_cell_tags=about --TagRemovePreprocessor.remove_cell_tags=badge

test: $(VENV)/.dev            ## all tests but the slow ones, on all cores: four minutes on two
	$(VENV)/bin/python -m pytest $(PARALLEL)

slow: $(VENV)/.dev            ## the tests that take minutes, start servers or drive a browser
	$(VENV)/bin/python -m pytest -m "slow and not browser and not server" $(PARALLEL)
	$(VENV)/bin/python -m pytest -m "browser or server"

lint: $(VENV)/.dev            ## style, complexity and types, and whether what is generated is up to date
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	@complex=$$($(VENV)/bin/radon cc -n C -s $(CODE)); [ -z "$$complex" ] || \
	  { echo "above a complexity of 10, by radon:"; echo "$$complex"; exit 1; }
	$(VENV)/bin/mypy
	$(VENV)/bin/python tools/generate.py --check
	$(VENV)/bin/python -m benchmarks other_tools page --check

generate: $(VENV)/.dev        ## write parameters, badges and tables into notebooks and README
	$(VENV)/bin/python tools/generate.py
	$(VENV)/bin/python -m benchmarks other_tools page

gallery: $(VENV)/.dev         ## the study's notebooks as pages in docs/gallery/, from results/
	$(VENV)/bin/python tools/gallery.py

publish: $(VENV)/.dev         ## maintainers only: runs and figures of results/ become the published docs/results/
	$(VENV)/bin/python tools/publish.py
	$(MAKE) gallery generate

wheel: $(VENV)/.dev           ## dist/relahash_nb-….whl, notebooks and embedded data included
	$(VENV)/bin/python -m build --wheel

colab: $(VENV)/.dev           ## dist/colab/*.ipynb: each notebook as one file to upload to Colab
	$(VENV)/bin/python tools/colab.py

install: $(VENV)/.dev         ## everything, without running anything

clean:                        ## remove the environment and what was built; results stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "no environment was made; if the venv module is missing, on Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }

# A torch and a torchvision that were not built for one another install without complaint, so they are tried as well.
$(VENV)/.torch: | $(VENV)/bin/python
	@if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then \
	  echo "no NVIDIA driver: trying the CPU build of torch from $(TORCH_INDEX)"; \
	  $(PIP) --retries 0 --timeout 10 --index-url $(TORCH_INDEX) torch torchvision >/dev/null 2>&1 && \
	    $(VENV)/bin/python -c "import torchvision" >/dev/null 2>&1 || \
	    { echo "not to be had there; PyPI's build serves as well"; \
	      $(VENV)/bin/pip uninstall --quiet --yes torch torchvision >/dev/null 2>&1; true; }; \
	fi
	@touch $@

$(VENV)/.core: pyproject.toml | $(VENV)/.torch
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.torch
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.core
