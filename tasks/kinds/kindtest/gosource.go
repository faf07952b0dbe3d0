package kindtest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// GoSource returns the folder of the sources of Go's standard library, a large real text, for benchmarks. It skips t
// where there is no go command.
func GoSource(t testing.TB) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("go env GOROOT: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src")
}
