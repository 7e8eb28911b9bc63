# Two at a time, each file in one piece: a lab is shared by the tests of its file, and most of them wait for guests.
PARALLEL = -n 2 --dist loadfile

.PHONY: help demo test acceptance bench publish-bench bench-forecast bench-storage bench-network bench-connections torture captures check lint format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Migrate a VM there and back while clients talk to it, and show that none noticed
	@tools/setup demo
	@.venv/bin/godwit lab demo

test: ## Run every test but the longest, those with real VMs too
	@tools/setup test
	@.venv/bin/pytest $(PARALLEL) -m "not acceptance"

acceptance: ## Run the acceptance tests only: godwit as users meet it
	@tools/setup acceptance
	@.venv/bin/pytest tests/acceptance

torture: ## Strike everything at every point of a hand-over: CASES=N draws N by SEED=S; GOES=both or disk: of disks
	@tools/setup test
	@.venv/bin/python -m tests.torture.run $(if $(GOES),--goes $(GOES)) $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED))

captures: ## Record anew what moves look like on the wire, healthy and under each fault
	@tools/setup captures
	@.venv/bin/python -m godwit.lab.recording tests/diagnosis/captures

bench-storage: ## Measure how fast disks go, beside qemu-img and virsh, and what they add to the blackout
	@tools/setup bench
	@.venv/bin/python -m benchmarks.storage

bench: ## Measure against virsh and bare QEMU (QUICK=1: 8 minutes, else 90; QEMU=10: that version; goes on where it stopped)
	@tools/setup bench
	@.venv/bin/python -m benchmarks.compare $(if $(QUICK),--quick) $(if $(QEMU),--qemu $(QEMU)) $(BENCH)

publish-bench: ## Put the figures of the last bench, and of the last forecasts, into docs and README
	@tools/setup check
	@.venv/bin/python -m benchmarks.publish

bench-forecast: ## Compare what is foretold of moves with what they take (20 minutes at most; goes on where it stopped)
	@tools/setup test
	@.venv/bin/python -m benchmarks.forecast $(BENCH)

bench-network: ## Compare what migrations cost clients in frames and silence with bare QEMU (long; QUICK=1: a few)
	@tools/setup test
	@.venv/bin/python -m benchmarks.network $(if $(QUICK),--runs 3 --fresh)

bench-connections: ## Compare what reports say of clients with what fifty clients measured, and what recording costs
	@tools/setup test
	@.venv/bin/python -m benchmarks.connections
	@.venv/bin/python -m benchmarks.capture_cost

lint: ## Format, lint, types and imports
	@tools/setup check
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports

check: lint ## The same, and the tests that need no VM
	.venv/bin/pytest $(PARALLEL) -m "not lab and not root and not acceptance"

format: ## Format the code and repair what the linter can
	@tools/setup check
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

clean: ## Remove what the other targets made, except .venv and the image cache
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +
