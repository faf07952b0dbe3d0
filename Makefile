# Kith. `make run` builds and runs the node, `make test` checks everything; both set up what they need.

export CGO_ENABLED ?= 0
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X kith/node.Version=$(VERSION)
BUILD    := $(GO) build -trimpath -ldflags '$(LDFLAGS)'
PLATFORMS := linux/amd64 linux/arm64 windows/amd64 windows/arm64 darwin/amd64 darwin/arm64
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := $(GO) run mvdan.cc/gofumpt@v0.12.0

.PHONY: bench-caps run test unit race lint cross build gpu-helper demo bench bench-hardware power-cut fuzz ui clean help

run: bin/kith ## build the node and run it; the page opens in your browser
	./bin/kith run --open $(ARGS)

bin/kith: go.mod go.sum $(shell find cmd node p2p storage tasks bench ui simnet -name '*.go' -o -path 'ui/dist/*' 2>/dev/null)
	@command -v $(GO) >/dev/null || { echo 'Kith is built with Go 1.26 or newer: https://go.dev/dl'; exit 1; }
	$(BUILD) -o $@ ./cmd/kith

test: lint unit race cross ui-fresh ## everything that must hold before a change lands

unit: setup-test
	$(GO) test -timeout 15m ./...

# The race detector needs cgo. Packages whose tests start whole processes or browsers run once, above.
race:
	CGO_ENABLED=1 CGO_CFLAGS=-Wno-deprecated-declarations $(GO) test -race -short -timeout 15m $$($(GO) list ./... | grep -v -e /cmd -e kith/ui)

lint:
	$(GO) vet ./...
	$(STATICCHECK) ./...
	@unformatted=$$($(GOFUMPT) -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (run gofumpt -w):"; echo "$$unformatted"; exit 1; fi

cross: ## the other platforms must compile, tests too
	@for p in windows/amd64 darwin/arm64 linux/arm64; do \
		echo "build $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./... && GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./... || exit 1; done

# Browser tests drive a real Chromium; the LAN test makes two network namespaces.
setup-test:
	@.ci/setup

.PHONY: test-wine
test-wine: ## the Windows sandbox under Wine (needs wine64 and gcc-mingw-w64-x86-64-win32)
	tasks/sandbox/testdata/wine/run.sh

.PHONY: test-guest test-smart test-arm64
test-guest: ## sandbox, caps and service in a guest with Debian's kernel and systemd, control groups of version 2 (needs Debian's QEMU, mmdebstrap)
	node/service/testdata/guest/run.sh

test-smart: ## drives and their health in a guest with emulated ones (needs Debian's QEMU, smartmontools, busybox-static, cpio)
	bench/disk/testdata/qemu/run.sh

# What every processor must compute alike, byte for byte, and the kernels that only ARM has. Tests that start themselves as
# children are not among them: the emulator runs one program.
test-arm64: ## on an emulated ARM processor: its kernels, and that results are those of amd64 (needs qemu-user-static)
	@command -v qemu-aarch64-static >/dev/null || { echo 'qemu-aarch64-static is missing: apt-get install qemu-user-static'; exit 1; }
	GOARCH=arm64 $(GO) test -short -timeout 30m -exec qemu-aarch64-static ./bench ./bench/cpu ./bench/memory ./bench/steady ./bench/numeric ./bench/thermal ./storage/dag ./tasks/wire ./tasks/kinds/etl/...

build: ## the program for every platform, in dist/
	@mkdir -p dist; for p in $(PLATFORMS); do \
		out=dist/kith-$$(echo $$p | tr / -); case $$p in windows/*) out=$$out.exe;; esac; \
		echo $$out; GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o $$out ./cmd/kith || exit 1; done
	@cd dist && sha256sum kith-* > SHA256SUMS

# NVIDIA's library needs a C compiler. Kith runs this helper, if it lies beside it, and else asks nvidia-smi.
gpu-helper: ## bin/kith-gpu for this machine: asks NVIDIA's library for the cards
	CGO_ENABLED=1 CGO_CFLAGS=-Wno-deprecated-declarations $(GO) build -trimpath -ldflags '-s -w' -o bin/kith-gpu ./cmd/kith-gpu

demo: bin/kith ## four processes on loopback do a real job, two of them are killed on the way
	$(GO) run ./cmd/demo -kith ./bin/kith $(ARGS)

bench: bin/kith ## the numbers, each beside its reference
	$(GO) run ./cmd/bench -kith ./bin/kith $(ARGS)

# Kith's own measurements beside the tools people trust. Installs what is missing on Debian and Ubuntu, when run as root.
bench-hardware: ## OpenBLAS, STREAM, fio and iperf3 beside kith bench (quiet machines only)
	@command -v iperf3 >/dev/null && command -v fio >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get install -y -qq --no-install-recommends iperf3 fio gcc libc6-dev libgomp1 >/dev/null; } || echo 'not installed: iperf3, fio'
	@[ -x bin/hardware-python/bin/python ] || { python3 -m venv bin/hardware-python && \
		bin/hardware-python/bin/pip install --quiet numpy==2.2.6 threadpoolctl==3.6.0; } || echo 'not installed: numpy'
	$(GO) run ./cmd/hardware $(ARGS)
POWERCUTS ?= 400
power-cut: ## kill a writing process POWERCUTS times, each time losing what was not synced
	KITH_POWER_CUTS=$(POWERCUTS) $(GO) test -count=1 -timeout 60m -v -run 'PowerCut' ./storage/...

bench-caps: ## how fast the node yields, and how exactly the caps on processor and IO hold
	$(GO) test -run xxx -bench Yield -benchtime 30x -timeout 20m ./node
	$(GO) test -run xxx -bench CapError -benchtime 1x -timeout 20m ./tasks/sandbox

fleet: bin/kith ## every scenario in full, and the kills at every record: bin/fleet.html
	KITH_LONG=1 $(GO) test -count=1 -timeout 30m -run TestKilledAtEveryRecord ./tasks/submit
	./bin/kith simnet run $(notdir $(basename $(wildcard simnet/scenarios/*.sim))) --html bin/fleet.html $(ARGS)

FUZZTIME ?= 20s
fuzz: ## every fuzz target of the source for FUZZTIME
	@git grep -oE '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed -E 's|^(.*)/[^/]*:func (.*)$$|./\1 \2|' | sort | while read -r p f; do \
		echo "$$p $$f"; out=$$($(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) "$$p" 2>&1 </dev/null) || { echo "$$out"; exit 1; }; \
		case $$out in *'no fuzz tests'*) echo "$$out"; echo 'it does not exist on this system'; exit 1;; esac; done

ui: ## rebuild the page from ui/web (needs npm)
	cd ui/web && npm ci --no-audit --no-fund && npm run build

# The built page is in the repository so that Go alone builds Kith; where npm is at hand, check that it is what the source gives.
ui-fresh:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory ui && \
		{ git diff --exit-code --stat -- ui/dist || { echo 'ui/dist is stale: commit the result of `make ui`'; exit 1; }; }; \
	else echo 'no npm: the page was not rebuilt'; fi

clean:
	rm -rf bin dist ui/web/node_modules

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort
