# make demo                 everything on the synthetic corpus, on a machine that has python >= 3.11, git and make
# make test                 the whole test suite
# make real CLIPS=folder    score a folder of your own videos (after make demo)
PYTHON ?= python3
PY ?= .venv/bin/python
# One more than cores: many tests wait for servers and for one another.
TEST_JOBS ?= $(shell expr `nproc` + 1)

export DVC_NO_ANALYTICS = 1
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export PYANNOTE_METRICS_ENABLED = 0
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Empty, whatever it was: without a cache every process would compile its libraries anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test real clips-named doctor clean help

help:
	@sed -n 's/^# //p' Makefile | head -3

demo: .venv/.demo-installed
	@$(PY) -m flows.doctor
	@$(PY) -m flows.cli evaluate

real: clips-named demo
	@$(PY) -m flows.cli real "$(CLIPS)"

# Before the demo, which takes minutes the first time.
clips-named:
	@test -n "$(CLIPS)" || { echo "which folder? make real CLIPS=path/to/folder"; exit 2; }
	@test -f "$(CLIPS)/index.csv" || { echo "$(CLIPS): no index.csv there; make real wants a folder of videos with one (docs/corpora.md)"; exit 2; }

test: .venv/.test-installed
	@$(PY) -m flows.doctor
	$(PY) -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

doctor: .venv/.demo-installed
	@$(PY) -m flows.cli doctor

# The demo needs no test packages; a stamp each, so that neither installs twice. Python compiles what is imported when it first is (see
# PYTHONDONTWRITEBYTECODE above): of these packages that is a small part, and compiling all of it takes a minute.
.venv/.demo-installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing (about 5 GB with PyTorch; a few minutes the first time)"
	@PYTHONWARNINGS=ignore $(PY) -m pip install -q --no-compile -c constraints.txt -e .
	@touch $@

.venv/.test-installed: pyproject.toml constraints.txt | .venv/bin/python
	@PYTHONWARNINGS=ignore $(PY) -m pip install -q --no-compile -c constraints.txt -e '.[test]'
	@touch $@ .venv/.demo-installed

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv .venv || { echo "python's venv is missing; on Debian: sudo apt-get install -y python3-venv"; exit 1; }
# The pip that Python brings takes twice as long for two hundred packages: it reads every installed one again after each.
	@$(PY) -m pip install -q -c constraints.txt --upgrade pip || echo "going on with Python's own pip, which takes longer"

clean:
	rm -rf data results .babelface
