package numeric

import (
	"math"
	"runtime"
	"testing"

	"github.com/klauspost/cpuid/v2"
)

func TestHashIsTheSameTwice(t *testing.T) {
	a, err := Hash()
	b, err2 := Hash()
	if err != nil || err2 != nil || a != b || len(a) != 64 {
		t.Errorf("got %q, %v and %q, %v", a, err, b, err2)
	}
}

// TestHashOfThisProcessor pins the hash of two processors: a change means that machines which could compare their floats
// yesterday cannot today, and must come with a new version. The two differ because the compiler fuses multiplication and
// addition for ARM only, and that is what the class is for.
func TestHashOfThisProcessor(t *testing.T) {
	want := map[string]string{
		"amd64": "ec34218b7e27f186bf8202700759e8cadd90587f425b3ae6ac29fd75e85fe5b4",
		"arm64": "5508967bd4c052c81ad5823674effe6fdf75b45a2e31ae98be94726528c95eb2",
	}[runtime.GOARCH]
	if want == "" || runtime.GOARCH == "amd64" && !cpuid.CPU.Supports(cpuid.FMA3) {
		t.Skip("pinned for arm64, and for amd64 with fused multiplication, which the library uses where it is")
	}
	if got := hash(); got != want {
		t.Errorf("the hash is %s, was %s", got, want)
	}
}

// TestEveryKernelSeesADifference changes one number and wants
// every kernel to notice.
func TestEveryKernelSeesADifference(t *testing.T) {
	for _, k := range kernels {
		x, y := numbers(1, 1024), numbers(2, 1024)
		before := k.run(x, y)
		x[5] += 0.375
		same := true
		for i, v := range k.run(x, y) {
			same = same && math.Float64bits(v) == math.Float64bits(before[i])
		}
		if same {
			t.Errorf("%s does not depend on its numbers", k.name)
		}
	}
}

func TestClass(t *testing.T) {
	base := Class("k", "embed", 1, "onnx 1", "v1")
	if len(base) != 32 || base != Class("k", "embed", 1, "onnx 1", "v1") {
		t.Errorf("got %q", base)
	}
	for name, other := range map[string]string{
		"kernels": Class("l", "embed", 1, "onnx 1", "v1"), "kind": Class("k", "lora", 1, "onnx 1", "v1"), "version": Class("k", "embed", 2, "onnx 1", "v1"),
		"fingerprint": Class("k", "embed", 1, "onnx 2", "v1"), "program": Class("k", "embed", 1, "onnx 1", "v2"),
		"a shifted boundary": Class("k", "embed", 1, "onnx 1v", "1"),
	} {
		if other == base {
			t.Errorf("another %s gives the same class", name)
		}
	}
	if Class("", "embed", 1, "x", "v1") != "" {
		t.Error("failed kernels have a class")
	}
}
