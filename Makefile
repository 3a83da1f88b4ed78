# The run folder is the state: each executed notebook depends on its source, on src, on the profile and
# on the notebook before it. A notebook is renamed into place when it is whole.

PROFILE ?= sample
DATA ?= $(if $(filter sample,$(PROFILE)),sample,auto)
SET ?=
GPU ?=
# As they were given, for `$` may be part of a path or a pattern.
DATA_GIVEN := $(if $(filter command environment,$(origin DATA)),$(value DATA),$(DATA))
export SETTINGS := $(value SET)
$(if $(findstring ',$(DATA_GIVEN)),$(error DATA must be without apostrophes: $(DATA_GIVEN)))

OUTPUT := $(patsubst ~/%,$(HOME)/%,$(or $(OUTPUT_ROOT),tuning_output))
DATA_PATH := $(shell if [ -e '$(DATA_GIVEN)' ]; then realpath -s -- '$(DATA_GIVEN)'; else printf '%s' '$(DATA_GIVEN)'; fi)
# As src.pipeline names it: letters of other scripts than Latin stay as they are.
RUN ?= $(PROFILE)-$(shell basename -- '$(DATA_PATH)' .zip | LC_ALL=C tr -c 'A-Za-z0-9._\n\200-\377-' '_')
FOLDER := $(OUTPUT)/$(RUN)
export RUN_SETTINGS := $(PROFILE) $(DATA_PATH) $(SETTINGS)
$(if $(word 2,$(FOLDER)),$(error OUTPUT_ROOT and RUN must be without blanks: $(FOLDER)))

PYTHON := .venv/bin/python
INSTALLED := .venv/installed$(if $(GPU),-gpu)
# `exec`, so that a shell does not stay between make and the program when make is told to end.
STEP = exec $(PYTHON) -m src.pipeline '$(FOLDER)'
WORKERS = exec $(PYTHON) -m src.workers '$(FOLDER)'
# Of notebooks 06 and 07, whose settings are no reason to run those before them again.
NEEDS_RUN = test -e '$(FOLDER)/05_evaluation.ipynb' || { echo '$(FOLDER)/05_evaluation.ipynb is missing: make run first, with the same PROFILE, DATA or RUN'; exit 1; }
SOURCES := $(wildcard src/*.py src/*/*.py) $(wildcard notebooks/profiles/$(PROFILE).yaml) $(FOLDER)/parameters.txt

# Start-up lines of TensorFlow 2.20; 2.21 prints some of them all the same.
export TF_CPP_MIN_LOG_LEVEL ?= 1
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run transfer submission test test-fast test-slow test-backends test-hosted bench workers
.PHONY: worker reproduce dashboard lab clean FORCE

help:  ## show the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1 --/p' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## make .venv and install requirements.txt into it (GPU=1: with CUDA for TensorFlow)

$(INSTALLED): requirements.txt
	@python3 -c 'import sys; sys.version_info >= (3, 11) or sys.exit("python3 is too old: Python 3.11 or newer is needed")'
	python3 -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check -r requirements.txt $(if $(GPU),'tensorflow[and-cuda]')
	@touch $@

run: $(FOLDER)/05_evaluation.ipynb  ## run notebooks 01 to 05: make run [PROFILE=cpu] [DATA=path] [SET="epochs=3"]
	@$(STEP) summary

$(FOLDER)/02_generators.ipynb: $(FOLDER)/01_data.ipynb
$(FOLDER)/03_tuning.ipynb: $(FOLDER)/02_generators.ipynb
$(FOLDER)/04_training.ipynb: $(FOLDER)/03_tuning.ipynb
$(FOLDER)/05_evaluation.ipynb: $(FOLDER)/04_training.ipynb

$(FOLDER)/%.ipynb: notebooks/%.ipynb $(SOURCES) | $(INSTALLED)
	@$(STEP) $* --profile '$(PROFILE)' --data '$(DATA_PATH)' --set "$$SETTINGS" --settings "$$RUN_SETTINGS"

# Rewritten only where settings or pictures changed or pictures are gone, so that everything runs again.
$(FOLDER)/parameters.txt: FORCE | $(INSTALLED)
	@exec $(PYTHON) -m src.running.stamp '$@' '$(DATA_PATH)' "$$RUN_SETTINGS"

transfer: $(INSTALLED)  ## notebook 06 on a finished run: make transfer [PROFILE=cpu] [DATA=path] [SET="backbone=MobileNetV2"]
	@$(NEEDS_RUN)
	@$(STEP) 06_transfer --profile '$(PROFILE)' --data '$(DATA_PATH)' --set "$$SETTINGS"

submission: $(INSTALLED)  ## notebook 07 on a finished run: make submission [...] [SET="pictures=path edition=labels"]
	@$(NEEDS_RUN)
	@$(STEP) 07_submission --profile '$(PROFILE)' --data '$(DATA_PATH)' --set "$$SETTINGS"

test: $(INSTALLED)  ## check the style, then run all tests but the slow ones
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m pytest -m 'not slow'

test-fast: $(INSTALLED)  ## run the tests that take a minute in all, to be run after each change
	.venv/bin/python -m pytest

test-slow: $(INSTALLED)  ## run the sample profile end to end, and the other slow tests
	.venv/bin/python -m pytest -m slow

test-backends: $(INSTALLED)  ## run the sample profile on JAX and PyTorch too, in .venv-jax and .venv-torch
	$(PYTHON) tests/backends.py --set "$$SETTINGS"

test-hosted: .venv-hosted/installed  ## run the tests with the packages of a Colab runtime, in .venv-hosted
	.venv-hosted/bin/python -m pytest -m 'not slow'

.venv-hosted/installed: requirements.txt tests/hosted.txt
	python3 -m venv .venv-hosted
	.venv-hosted/bin/python -m pip install -q --disable-pip-version-check -r requirements.txt -c tests/hosted.txt
	@touch $@

bench: $(INSTALLED)  ## measure the input against its peers: make bench [DATA=folder-or.zip]
	$(PYTHON) tests/benchmarks/input_speed.py $(if $(filter command environment,$(origin DATA)),--data '$(DATA_PATH)')

workers: $(FOLDER)/02_generators.ipynb  ## search with several processes, one a GPU or N on a CPU: make workers N=2 [...]
	@$(WORKERS) --number $(or $(N),2) --profile '$(PROFILE)' --data '$(DATA_PATH)' --set "$$SETTINGS"

worker: $(FOLDER)/02_generators.ipynb  ## the same with one process, as on each of several machines; STORAGE_URL in the environment
	@$(WORKERS) --number 1 --profile '$(PROFILE)' --data '$(DATA_PATH)' --set "$$SETTINGS"

reproduce: $(INSTALLED)  ## run a run once more and compare: make reproduce RUN=sample-sample
	@$(PYTHON) -m src.reproduction '$(FOLDER)'

dashboard: $(INSTALLED)  ## open optuna-dashboard on a run's search: make dashboard [PROFILE=cpu] [DATA=path] [RUN=name]
	@test -e '$(FOLDER)/search/study.db' || { echo '$(FOLDER)/search/study.db is missing: this run has no Optuna search yet (make run first, or give its PROFILE, DATA or RUN)'; exit 1; }
	.venv/bin/optuna-dashboard 'sqlite:///$(FOLDER)/search/study.db'

lab: $(INSTALLED)  ## open JupyterLab on the notebooks
	.venv/bin/jupyter lab --notebook-dir=.

clean:  ## delete .venv, the drawn sample, unpacked data and pixel caches; runs and raw data stay
	rm -rf .venv data/cache data/sample data/sample_test1 data/unpacked .pytest_cache .ruff_cache
