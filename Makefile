# SPDX-License-Identifier: Apache-2.0
# Thin: each target calls a script under tools/ that can be run by itself.

# Taken as they stand, never expanded: a file may be called a$(b).mp4.
override VIDEO := $(value VIDEO)
override STYLE := $(value STYLE)
override OUT := $(value OUT)
export VIDEO STYLE OUT

.PHONY: demo test test-slow test-damage build format tidy bench peers fuzz test-asan clean

demo: ## paints a clip: make demo [VIDEO=my.mp4] [STYLE=starry-night] [OUT=painted.mp4]
	@tools/setup build
	@tools/build release atelier
	@tools/demo/demo.sh

build: ## program and tests in build/release
	@tools/setup build test
	@tools/build release

test: ## everything that CI runs
	@tools/setup build test node net cluster deploy
	@tools/test.py

test-slow: ## the full matrices of which `make test` runs a share: hours
	@tools/setup build test node net cluster deploy fuzz
	@tools/test.py slow

test-damage: ## 2,000 damaged videos under ASan and UBSan: about an hour
	@tools/setup build test
	@tools/test.py damage

test-asan: ## unit tests and the short end-to-end cases under ASan and UBSan
	@tools/setup build test node net
	@tools/test.py asan

format: ## rewrites the sources in the project's format
	@tools/setup test
	@git ls-files -z '*.cc' '*.h' | xargs -0 clang-format -i

tidy: ## clang-tidy over all of src/, its static analyzer with all of its usual steps
	@tools/setup build test
	@tools/test.py tidy-all

bench: ## speed beside the peers, the machine's floor, whole jobs, memory: prints its settings
	@tools/setup build test node net bench
	@tools/build release atelier bench_floor bench_service_load bench_store_rates
	@benchmarks/run

peers: ## the operator cases of the ONNX project that we pass, and that OpenCV passes
	@tools/setup build test peers
	@tools/build release model_test
	@tools/peers.py

fuzz: ## libFuzzer on what strangers send to the service, three minutes each: make fuzz [SECONDS=180]
	@tools/setup build fuzz
	@tools/fuzz $(SECONDS)

clean:
	@rm -rf build
