# Each target makes what it needs, from a bare machine with Python 3.10+, g++ and make.
#   make demo    train LightGCN on built-in synthetic data, alone and aligned with texts, print metrics
#                and recommendations, and write a page on what the alignment changed
#   make test    lint, C++ unit tests (plain and sanitized), CUDA kernels on the CPU, Python tests
#   make toolkit nvcc from the package index into the virtual environment, for CUDA kernels
#   make bench   the benchmark suite (RLMREC_DATA=FOLDER for real data), results under bench/results
PYTHON ?= python3
VENV ?= .venv
# The CPU build is all that tests need; an unpinned torch would bring gigabytes of CUDA libraries.
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

RUN := $(VENV)/bin/python
# pip and console scripts of the environment first; PYTHONPATH would leak other environments into it.
export PATH := $(abspath $(VENV)/bin):$(PATH)
export PYTHONPATH :=
SOURCES := -name '*.h' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu'
NATIVE := CMakeLists.txt setup.py pyproject.toml $(shell find csrc cmake $(SOURCES) -o -name '*.in' -o -name '*.cmake')
FORMATTED := $(shell find csrc tests/csrc tests/simt tests/ptx $(SOURCES))
# Where setup.py has built the libraries: C++ tests are linked with the same objects.
BUILD = $(or $(RLMREC_FAST_BUILD_DIR),build/$(shell $(RUN) -c 'import sys; print(sys.implementation.cache_tag)'))
CMAKE_PLAIN = cmake -S . -B $(BUILD) -G Ninja -DPython_EXECUTABLE=$(abspath $(RUN)) -DRLMREC_FAST_TESTS=ON
CTEST := ctest --output-on-failure --parallel $(shell nproc)
CMAKE_SANITIZE := cmake -S . -B build/sanitize -G Ninja -DRLMREC_FAST_LIBRARIES=OFF -DRLMREC_FAST_TESTS=ON \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DRLMREC_FAST_SANITIZE=address,undefined

# What a CUDA build needs and no more: compiler, headers, static runtime (270 MB).
TOOLKIT := nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
# Shows what nvcc has built; not in every toolkit (6 MB).
CUOBJDUMP := nvidia-cuda-cuobjdump==13.2.86

.PHONY: demo test bench build lint format test-native test-sanitize test-simt test-cuda test-gpu test-python toolkit clean

build: $(VENV)/.built

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade "pip>=23" "setuptools>=77" wheel
	$(RUN) -m pip install --quiet $(TORCH) numpy || \
	  $(RUN) -m pip install --quiet --extra-index-url $(TORCH_INDEX) $(TORCH) numpy
	$(RUN) -m pip install --quiet "pybind11>=3" ninja "cmake>=3.22"
	touch $@

$(VENV)/.built: $(VENV)/.torch $(NATIVE)
	$(RUN) -m pip install --quiet --no-build-isolation --editable ".[train,analysis]"
	touch $@

toolkit: $(VENV)/.torch
	$(RUN) -m pip install --quiet $(TOOLKIT)
	rm -f $(VENV)/.built

$(VENV)/.dev: $(VENV)/.built
	$(RUN) -m pip install --quiet --no-build-isolation --editable ".[train,analysis,bench,dev]"
	touch $@

demo: $(VENV)/.built
	rm -rf build/demo && mkdir -p build/demo
	rlmrec-fast data synth build/demo/data --users 2000 --items 1500 --interactions 40000 --seed 7
	rlmrec-fast train --data build/demo/data --out build/demo/base
	rlmrec-fast train --data build/demo/data --align contrastive --out build/demo/contrastive
	rlmrec-fast train --data build/demo/data --align generative --set patience=20 --out build/demo/generative
	rlmrec-fast recommend build/demo/contrastive --user user-0 -k 5
	rlmrec-fast analyze build/demo/base build/demo/contrastive build/demo/generative -o build/demo/report

test: lint test-native test-sanitize test-simt test-cuda test-python

lint: $(VENV)/.dev
	ruff format --check .
	ruff check .
	clang-format --dry-run --Werror $(FORMATTED)
	mypy

format: $(VENV)/.dev
	ruff check --fix .
	ruff format .
	clang-format -i $(FORMATTED)

test-native: $(VENV)/.dev
	$(CMAKE_PLAIN)
	cmake --build $(BUILD) --target kernel_tests
	$(CTEST) --test-dir $(BUILD) -R '^kernel_tests'

test-sanitize: $(VENV)/.dev
	$(CMAKE_SANITIZE)
	cmake --build build/sanitize --target kernel_tests
	$(CTEST) --test-dir build/sanitize -R '^kernel_tests'

# The CUDA kernels, emulated; needs neither a GPU nor nvcc.
test-simt: $(VENV)/.dev
	$(CMAKE_PLAIN)
	cmake --build $(BUILD) --target simt_plain simt_hazards
	$(CTEST) --test-dir $(BUILD) -R '^simt'
	$(CMAKE_SANITIZE)
	cmake --build build/sanitize --target simt_sanitized
	$(CTEST) --test-dir build/sanitize -R '^simt'

# What nvcc made of them: every architecture, registers and shared memory, inline assembly.
test-cuda: $(VENV)/.dev
	@if grep -q cuda_architectures rlmrec_fast/build_info.json; then \
	  $(RUN) -m pip install --quiet $(CUOBJDUMP) && $(RUN) -m pytest tests/cuda tests/ptx; \
	else echo "test-cuda: skipped, the library was built without nvcc"; fi

# A process for each core, with a thread each: threads that wait for theirs would take turns with the other's.
test-python: $(VENV)/.dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(RUN) -m pytest -n auto --maxprocesses 8 --dist loadfile \
	  --ignore tests/cuda --ignore tests/ptx

# The tests of operators, models and benchmarks on a GPU; without one, all are skipped and counted.
test-gpu: $(VENV)/.dev
	$(RUN) -m pytest --device cuda tests/ops tests/nn tests/backbones tests/alignment tests/bench
	@if command -v compute-sanitizer >/dev/null; then \
	  compute-sanitizer --error-exitcode 1 $(RUN) -m pytest -x --device cuda tests/ops; \
	else echo "test-gpu: compute-sanitizer not found, tests ran without it"; fi

bench: $(VENV)/.dev
	$(RUN) -m bench --out bench/results/latest.jsonl

clean:
	rm -rf build $(VENV)/.built $(VENV)/.dev rlmrec_fast/*.so rlmrec_fast/build_info.json
