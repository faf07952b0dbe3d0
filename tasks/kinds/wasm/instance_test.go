package wasm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
)

// BenchmarkInstance is a fresh instance of a compiled module, from making to its end: the smallest there is, and a program
// of 3.9 MB in Go. What a task takes besides is files.
func BenchmarkInstance(b *testing.B) {
	goModule := filepath.Join(b.TempDir(), "probe.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", goModule, "./testdata/probe")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Skipf("no go command that builds for wasip1: %v\n%s", err, out)
	}
	code, err := os.ReadFile(goModule)
	if err != nil {
		b.Fatal(err)
	}
	tiny := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x0a\x01\x06_start\x00\x00\x0a\x04\x01\x02\x00\x0b")
	for name, code := range map[string][]byte{"tiny": tiny, "go": code} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			p, err := compile(ctx, wazero.NewRuntimeConfig(), code, DefaultMemory)
			if err != nil {
				b.Fatal(err)
			}
			defer p.close()
			config := wazero.NewModuleConfig().WithName("").WithArgs("module", "none")
			for b.Loop() {
				m, err := p.runtime.InstantiateModule(ctx, p.module, config)
				if m != nil {
					_ = m.Close(ctx)
				}
				if err := failure(ctx, err, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
