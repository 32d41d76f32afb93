# Everything here sets itself up: `make demo` in a fresh clone is enough. Kept to what GNU Make 3.81 knows, which is
# what macOS has; every path is relative, so that the clone may lie under a directory with spaces in its name.

PYTHON ?= python3
ARGS ?=

TESTS = -m unittest discover -s tests -t .

.DEFAULT_GOAL := help
.PHONY: help demo chat client test chaos kills fuzz lint coverage bench transcript clean stale

help: ## list these targets
	@echo "make TARGET [ARGS='...'] [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

demo: .venv/ready ## run a whole network on this machine and watch it carry messages and a file
	@.venv/bin/python network.py demo $(ARGS)

chat: .venv/ready ## start a network here and chat in it
	@.venv/bin/python network.py chat $(ARGS)

client: .venv/ready ## join, as one more user, the network that `make chat` started
	@.venv/bin/python network.py client $(ARGS)

test: .venv/ready ## run the tests
	.venv/bin/python $(TESTS) $(ARGS)

chaos: .venv/ready ## break a network at random, and account for every message [SEED=...] [SECONDS=60]
	.venv/bin/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

kills: .venv/ready ## kill a server under load, and see everything right again [SEED=...]
	.venv/bin/python -m tests.chaos.kills $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: .venv/ready ## give every handler and running programs what is wrong in some way [SEED=...] [SECONDS=60]
	.venv/bin/python -m tests.fuzz $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

lint: .venv-dev/ready ## check style and types, and look for what is known to be unsafe
	.venv-dev/bin/python -m ruff check .
	.venv-dev/bin/python -m ruff format --check .
	.venv-dev/bin/python -m mypy .
	.venv-dev/bin/python -m bandit -q -ll -r . -x ./.venv,./.venv-dev,./.venv-ci

# -p and combine: the processes that the tests start may be measured too, each into a file of its own.
coverage: .venv-dev/ready ## run the tests and report which lines they reach
	.venv-dev/bin/python -m coverage erase
	.venv-dev/bin/python -m coverage run -p $(TESTS) $(ARGS)
	.venv-dev/bin/python -m coverage combine -q
	.venv-dev/bin/python -m coverage report --show-missing --skip-covered

bench: .venv/ready ## measure what benchmarks/ measures [ONLY="direct tls"]
	.venv/bin/python -m benchmarks $(ONLY) $(ARGS)

transcript: .venv/ready ## have a chat at two terminals, and put what they show into README.md
	.venv/bin/python -m tests.e2e.transcript $(ARGS)

clean: ## remove what make set up; keys, mail and received files stay
	rm -rf .venv .venv-dev .venv-ci .venv.lock .venv-dev.lock .mypy_cache .ruff_cache .coverage .coverage.* htmlcov
	find . -name .git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# `ready` is written last: without it a set-up was interrupted, and begins anew. An environment whose Python has gone
# (upgraded away, or the clone was copied from another machine) is stale, however new; so is one that was made with
# another PYTHON than the one named now, if one is named.
ifeq ($(origin PYTHON),file)
  usable = .venv$(1)/bin/python -c '' 2>/dev/null
else
  usable = .venv$(1)/bin/python -c '' 2>/dev/null && test '$(PYTHON)' = "$$(cat .venv$(1)/ready 2>/dev/null)"
endif
stale_if_not_usable = $(if $(shell { $(call usable,$(1)); } || echo no),stale)

.venv/ready: requirements.txt $(call stale_if_not_usable,)
	@$(call set_up,,-r requirements.txt)

.venv-dev/ready: requirements.txt requirements-dev.txt $(call stale_if_not_usable,-dev)
	@$(call set_up,-dev,-r requirements.txt -r requirements-dev.txt)

stale:

# $(1): which environment; $(2): what to install. Two terminals may do this at once in a fresh clone, and a --clear
# under a running program would break it: the lock lets one work and the other find it done. It belongs to the open
# file 9, so that it goes with the shell, however that ends. The input is left to the program that comes after.
define set_up
set -e; exec </dev/null; PYTHON='$(PYTHON)'; \
fail() { printf 'make: %s\n' "$$@" >&2; exit 1; }; \
command -v "$$PYTHON" >/dev/null || \
  fail "cannot find $$PYTHON; install Python 3.10 or newer, or name one: make PYTHON=python3.12 ..."; \
"$$PYTHON" -c '' || \
  fail "$$PYTHON does not run; name another Python, 3.10 or newer: make PYTHON=/path/to/python3 ..."; \
"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
  fail "Python 3.10 or newer is needed, and $$PYTHON is $$("$$PYTHON" -V 2>&1); name another: make PYTHON=python3.12 ..."; \
"$$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || \
  fail "$$PYTHON lacks its venv module; on Debian and Ubuntu: apt install python3-venv"; \
{ \
  "$$PYTHON" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'; \
  if { $(call usable,$(1)); } && test -z "$$(find requirements*.txt -newer .venv$(1)/ready 2>&1)"; then exit 0; fi; \
  echo "Setting up .venv$(1) (once) ..."; \
  rm -f .venv$(1)/ready; \
  "$$PYTHON" -m venv --clear .venv$(1) || fail "cannot make .venv$(1); see above"; \
  .venv$(1)/bin/python -m pip install -q --disable-pip-version-check $(2) || \
    fail "cannot install what the requirements files name; see above (this step needs the network)"; \
  printf '%s\n' "$$PYTHON" >.venv$(1)/ready; \
} 9>.venv$(1).lock
endef
