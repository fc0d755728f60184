# Two commands are enough: `make demo` and `make test`. Both prepare .venv first.
PYTHON ?=
VENV := .venv
ARGS ?=
NEWMAN := tests/parity/newman
COMPILED := $(wildcard capstream/capillary/*.py capstream/capillary/payloads/*.py capstream/relay/*.py capstream/serving/*.py capstream/storage/*.py \
  capstream/aep/identity_service/*.py capstream/aep/pipeline/*.py capstream/aep/profile/*.py)

.PHONY: demo test setup check bench soak newman record lock clean

demo: setup  ## start everything, stream a loyalty programme, show it live: make demo ARGS="--seconds 20"
	@exec $(VENV)/bin/capstream demo $(ARGS)

test: $(VENV)/.dev newman  ## lint, types, architecture, every test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/pytest -n 2 --dist loadgroup -rs $(ARGS)

setup: $(VENV)/.run  ## prepare .venv; the command is then .venv/bin/capstream

bench: $(VENV)/.dev  ## measure, and write docs/reference/benchmarks.md
	@exec $(VENV)/bin/python -m bench $(ARGS)

soak: $(VENV)/.dev  ## kill processes at random moments for 10 minutes while events flow
	CAPSTREAM_SOAK_S=$${CAPSTREAM_SOAK_S:-600} $(VENV)/bin/pytest -s tests/story/test_story_soak.py $(ARGS)

newman: $(NEWMAN)/node_modules/.package-lock.json  ## install Postman's runner for the parity suite

$(NEWMAN)/node_modules/.package-lock.json: $(NEWMAN)/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix $(NEWMAN) --no-audit --no-fund --loglevel=error || echo "newman cannot be installed: its tests are skipped"; \
	else echo "npm is not there: the tests with newman are skipped"; fi
	@if [ -f $@ ]; then touch $@; fi

record: $(VENV)/.dev newman  ## run the suites of the coverage table and record what they verify (see tests/verified.py)
	CAPSTREAM_RECORD=1 $(VENV)/bin/pytest tests/parity tests/story/test_story_tutorial.py tests/contract/test_services_openapi.py
	$(VENV)/bin/python -m docs.generate

lock:  ## lock requirements with hashes (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements/run.in -o requirements/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements/dev.in -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements/build.in -c requirements/dev.txt -o requirements/build.txt

$(VENV)/bin/python:
	@python="$(PYTHON)"; : "$${python:=$$(python3 requirements/choose_python.py)}"; \
	$$python -c 'import sys; sys.exit("capstream needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None' && \
	$$python -m venv $(VENV)

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml setup.py $(COMPILED) | $(VENV)/bin/python
	@echo "Installing capstream into $(VENV) (once; compiles its hot modules where there is a C compiler) ..."
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing what the tests need into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info *.so .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find capstream -name "*.so" -delete
