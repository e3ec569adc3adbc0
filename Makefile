# The only commands a newcomer needs. `make` lists them.

STUDY  := .build/release/study
PREFIX ?= /usr/local

# Where test-peers keeps torch, transformers and peft: gigabytes, filled from PyPI when they are missing.
PEERS := $(abspath $(or $(STUDY_PEERS),.build/peers))

.PHONY: help setup build demo test test-peers format format-check install bench clean

help:
	@echo "make demo      set up, build, run studies/lora70b.md"
	@echo "make test      set up, build, pass every test"
	@echo "make test-peers  our adapters in PEFT itself and back (installs torch and peft from PyPI: minutes, gigabytes)"
	@echo "make install   put \`study\` under PREFIX (now $(PREFIX))"
	@echo "make format    lay out the source as CI wants it"
	@echo "make bench     ours and each peer in one run (takes long; installs peers from PyPI)"

setup:
	@Scripts/setup.sh

build: setup
	@Scripts/build.sh

demo: build
	@$(STUDY) run studies/lora70b.md

test: setup
	@Scripts/build.sh --build-tests
	@Scripts/test.sh

test-peers: setup
	@Scripts/build.sh --build-tests
	@[ -e "$(PEERS)/bin/python" ] || echo "test-peers: torch, transformers and peft go from PyPI into $(PEERS): some minutes, 5 GB"
	@STUDY_PEERS="$(PEERS)" Scripts/test.sh --filter 'PEFT itself'

format:
	@swift format format --in-place --parallel --recursive Sources Tests Benchmarks Package.swift

format-check:
	@swift format lint --strict --parallel --recursive Sources Tests Benchmarks Package.swift

install: build
	@Scripts/install.sh "$(PREFIX)"

bench: build
	@Benchmarks/run.sh

clean:
	@rm -rf .build
