# Everything a user types. `make` alone lists the targets.
ifndef FILE
MODEL ?= mobilenetv2
endif
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Options of `make bench`, passed on as flags of the same name in lower case when they are set.
OPTIONS := MODEL DATASET DATA WEIGHTS SCOPE EXCLUDE IMPORTANCE RECONSTRUCTION DEVICE AGENTS SEEDS EVALUATIONS \
  PRESERVE COST BUDGET JOBS TIME_LIMIT MEMORY_LIMIT ATTEMPTS ENGINE ADDRESS GPUS OUT
lower = $(shell printf '%s' '$(1)' | tr 'A-Z_' 'a-z-')
quoted = '$(subst ','\'',$(1))'
flag = $(if $($(1)),--$(call lower,$(1)) $(call quoted,$($(1))))
folders = $(foreach folder,$(OUT),$(call quoted,$(folder)))

.DEFAULT_GOAL := help
.PHONY: help bench table report finetune export study test test-slow notebook faults ray docs lint format perf latency fitted clean

help:  ## list the targets
	@echo 'prunebench: compare auto-pruning agents for CNNs'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Options of bench: $(OPTIONS)'
	@echo 'Example: make bench MODEL=resnet56 AGENTS="bo clustered_bo" SEEDS=5 EVALUATIONS=200'

# torch and torchvision come together from the registry; exact versions stand in constraints.txt.
UV := $(shell command -v uv 2>/dev/null)
PIP := $(if $(UV),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)
installed = $(PIP) -c constraints.txt --editable '.[$(1)]'
comma := ,
$(READY): pyproject.toml constraints.txt
	@$(if $(UV),uv venv --quiet --allow-existing --python '>=3.11',python3 -m venv) $(VENV)
	@$(call installed,dev)
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # imports take a third of the time
	@touch $(READY)

bench: $(READY)  ## run the agents over seeds and print the table; FILE=grid.yaml: the experiments of a file
	@$(BIN)/prunebench bench $(if $(FILE),$(call quoted,$(FILE))) $(foreach option,$(OPTIONS),$(call flag,$(option)))

table: $(READY)  ## rebuild the tables of OUT="results/<experiment> ..." (default: the newest) from disk, and print one
	@$(BIN)/prunebench table $(folders) $(call flag,FORMAT) $(call flag,CAPTION) $(call flag,REFERENCE)

report: $(READY)  ## write tables, figures and report.html of OUT="results/<experiment> ..." (default: the newest)
	@$(BIN)/prunebench report $(folders) $(call flag,REFERENCE) $(call flag,HTML)

finetune: $(READY)  ## train the pruned networks of OUT=results/<experiment> (default: the newest); AGENTS, SEEDS: of some
	@$(BIN)/prunebench finetune $(folders) $(foreach option,EPOCHS AGENTS SEEDS JOBS DEVICE,$(call flag,$(option)))

export: $(READY)  ## export the best pruned network of OUT=results/<experiment> (default: the newest), or AGENT's
	@$(BIN)/prunebench export $(folders) $(call flag,AGENT) $(call flag,SEED) $(call flag,DEVICE)

STUDY ?= resnet56 mobilenetv2 vgg16 vgg16-hard resnet110
study: $(READY)  ## run or resume the study (needs a GPU), which is judged at its looks; STUDY="resnet56 ...": parts; JOBS
	@code=0; for part in $(STUDY); do \
	  $(BIN)/prunebench bench "results/study2/$$part.yaml" --claims results/study2/claims.yaml $(call flag,JOBS) || code=$$?; \
	  case $$code in 0|1|2) ;; *) exit $$code;; esac; done; exit $$code

test: $(READY)  ## run the tests
	@$(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(READY)  ## run the slow tests
	@$(BIN)/python -m pytest -m slow

notebook: $(READY)  ## execute the notebook of the docs
	@$(BIN)/python -m pytest tests/test_notebook.py

faults: $(READY)  ## run the whole table of faults against the real command (about a quarter of an hour)
	@cd tests && ../$(BIN)/python -m faults $(PARTS)

ray: $(READY)  ## install Ray, for `prunebench bench --engine ray`
	@$(call installed,dev$(comma)ray)

docs: $(READY)  ## build the documentation as a site, in site/
	@$(call installed,dev$(comma)docs)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo 'the documentation: site/index.html'

lint: $(READY)  ## check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(READY)  ## format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

perf: $(READY)  ## measure an evaluation against eager PyTorch and the arithmetic; AGAINST=results/perf-....json: and against then
	@$(BIN)/python -m prunebench.harness.perf.evaluations $(call flag,AGAINST) && $(BIN)/python -m prunebench.harness.perf.runs && $(BIN)/python -W ignore -m prunebench.harness.perf.agent_steps && $(BIN)/python -W ignore -m prunebench.harness.perf.agents_own

fitted: $(READY)  ## fit the tasks of `prunebench try-agent` to the first study anew; needs its data and weights
	@$(BIN)/python -m prunebench.harness.lab.fit results/reference

latency: $(READY)  ## measure how well latency can be predicted from channel counts
	@$(BIN)/python -m prunebench.harness.perf.latency $(call flag,MODEL) $(call flag,SCOPE)

clean:  ## remove the virtual environment and caches (results stay)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache build dist site src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
