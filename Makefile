# What a developer runs. PYTHON is the interpreter of an environment with `pip install -e '.[dev]'`.
PYTHON ?= .venv/bin/python

.PHONY: test lint format docs golden

test:  ## All tests; one area: make test ARGS=tests/score
	$(PYTHON) -m pytest $(ARGS)

lint:  ## Style, types and import contracts
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command as lint; lint()"

format:  ## Put every file into the project's format
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

docs:  ## The site, in build/site; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

golden:  ## What must never move: fingerprints, published records, built leaderboards
	$(PYTHON) -m pytest tests/golden tests/protocol tests/score/test_recipes.py tests/publish
	$(PYTHON) -m palette_bench leaderboard check
	$(PYTHON) -m palette_bench leaderboard build --check
