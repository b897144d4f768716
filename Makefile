# SPDX-License-Identifier: Apache-2.0
#
# Two commands are all a fresh machine needs: `make run` and `make test`.
# Variables to override: PORTS (flags of the demo), UP_FLAGS (of the example), FUZZTIME, BENCH_FLAGS.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Where git does not tell the commit (no git, or a checkout of another user's), go build
# would fail asking for it.
VCS      := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)
GO_FLAGS := -trimpath $(VCS) -ldflags "-X main.version=$(VERSION)"

# Where goroutines meet: these packages are tested a second time with -race.
RACE_PACKAGES := ./batching/... ./serving/... ./engine/repository/... ./engine/onnxrt/...
# What closes the loop: without the packages that only calculate, each in one goroutine.
RACE_LOOP     := ./labeling ./labeling/groundtruth ./labeling/groundtruth/rpc ./evaluation/monitor/record ./orchestrator
FUZZTIME      ?= 3000x
# A test that hangs fails here, well before a pipeline's own limit.
TEST          := scripts/test.sh -timeout 8m
DEMO          := .millrace/demo
LOOP          := .millrace/demo-loop
STATICCHECK   := go tool -modfile=tools/staticcheck/go.mod staticcheck

.DEFAULT_GOAL := help
.PHONY: help run serve up build demo test unit portable race fuzz-smoke test-airflow test-argo lint generate generate-check \
	onnxruntime bench-serve bench-kernels bench-features bench-learn bench-loop bench-beside bench-ghz bench-smoke check-tools clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: onnxruntime demo ## fetch what is missing, build, and run the whole loop by itself, beside the demo models
	@exec bin/millrace demo --dir $(LOOP) --model-repository $(DEMO) $(PORTS)

serve: onnxruntime demo ## serve the demo models alone
	@exec bin/millrace serve --model-repository $(DEMO) --model-control-mode explicit --load-model '*' $(PORTS)

up: onnxruntime build ## serve the example that decides on card payments, and replay two months of them
	@exec bin/millrace up examples/card-fraud $(UP_FLAGS)

build: check-tools ## build bin/millrace
	@go build $(GO_FLAGS) -o bin/millrace ./cmd/millrace

demo: build ## write the demo model repository into .millrace/demo
	@bin/millrace demo-repository $(DEMO)

onnxruntime: ## fetch the pinned ONNX Runtime library into .millrace/onnxruntime
	@scripts/fetch-onnxruntime.sh

test: check-tools ## run the whole test suite: unit tests, other machines, race detector, fuzz smoke
	@scripts/fetch-onnxruntime.sh || echo "test: no ONNX Runtime library; the tests that need it will skip"
	@scripts/fetch-chromium.sh || echo "test: no Chromium; the tests of pages will skip"
	@$(MAKE) --no-print-directory unit portable race fuzz-smoke

unit: ## run the tests of all packages
	$(TEST) ./...

portable: ## run kernels and native engine without assembly, and the kernels for arm64
	@scripts/test-portable.sh -timeout 8m

race: ## run the tests of the concurrent packages under the race detector
	$(TEST) -race $(RACE_PACKAGES)
	$(TEST) -race -short ./engine/native ./featurestore/... $(RACE_LOOP)

fuzz-smoke: ## run every fuzz target for a moment (FUZZTIME=3000x)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz-smoke.sh

test-airflow: check-tools ## run exported pipelines with Airflow 3 and 2, fetched by pip (3 minutes)
	@MILLRACE_AIRFLOW=1 $(TEST) -count=1 -run 'TestAirflow' ./cmd/millrace

test-argo: check-tools ## lint exported pipelines with the code of Argo Workflows, built first (4 minutes)
	@MILLRACE_ARGO=1 $(TEST) -count=1 -run 'TestArgo' ./orchestrator/export

lint: check-tools ## gofmt, go vet and staticcheck
	@scripts/check-format.sh
	go vet ./...
	$(STATICCHECK) ./...

generate: check-tools ## write the Go code of the .proto files and the assembly of the kernels
	@cd proto/_gen && go run .
	@kernels/_gen/generate.sh

generate-check: check-tools ## fail when generated code is not up to date
	@scripts/generate-check.sh

bench-serve: onnxruntime build ## measure the server against its peers (8 minutes)
	bin/millrace bench suite serve $(BENCH_FLAGS)

bench-kernels: onnxruntime build ## measure the kernels and the native engine on one core (3 minutes)
	bin/millrace bench suite kernels $(BENCH_FLAGS)

bench-features: build ## measure features, decisions, training sets and recovery (10 minutes)
	@scripts/fetch-duckdb.sh || echo "bench-features: no DuckDB; the row that compares with it stays unmeasured"
	bin/millrace bench suite features $(BENCH_FLAGS)

bench-learn: onnxruntime build ## measure training, evaluation and pipelines (6 minutes)
	@scripts/fetch-xgboost.sh || echo "bench-learn: no XGBoost; the rows that compare with it stay unmeasured"
	bin/millrace bench suite learn $(BENCH_FLAGS)

bench-loop: onnxruntime build ## measure monitoring, ground truth, labelling, console and demo (9 minutes)
	@scripts/fetch-chromium.sh || echo "bench-loop: no Chromium; the rows of the console stay unmeasured"
	bin/millrace bench suite loop $(BENCH_FLAGS)

bench-beside: onnxruntime build ## other libraries' products and trees beside ours, for information
	bench/beside/run.sh

bench-smoke: onnxruntime build ## all suites with tiny durations, to show that they run
	bin/millrace bench suite serve --quick $(BENCH_FLAGS)
	bin/millrace bench suite kernels --quick $(BENCH_FLAGS)
	bin/millrace bench suite features --quick $(BENCH_FLAGS)
	bin/millrace bench suite learn --quick $(BENCH_FLAGS)
	bin/millrace bench suite loop --quick $(BENCH_FLAGS)

bench-ghz: onnxruntime build ## the same workloads driven by ghz
	bench/ghz/run.sh

check-tools:
	@scripts/check-tools.sh

clean: ## remove what was built; fetched libraries stay
	rm -rf bin $(DEMO) $(LOOP)
