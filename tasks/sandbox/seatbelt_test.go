package sandbox

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files")

func TestSeatbelt(t *testing.T) {
	for name, c := range map[string]struct{ exe, dir string }{
		"folders": {"/Applications/Kith.app/kith", "/private/var/folders/a b/scratch/s-1"},
		"none":    {"/usr/local/bin/kith", ""},
		"quotes":  {`/opt/"odd"/ki\th`, `/private/x") (allow default) ("`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := seatbelt(c.exe, c.dir)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "seatbelt-"+name+".sb")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if !balanced(got) {
				t.Errorf("parentheses do not match:\n%s", got)
			}
			if strings.Contains(got, "network") || strings.Contains(got, "process-fork") || strings.Contains(got, "mach-lookup") {
				t.Errorf("it allows too much:\n%s", got)
			}
		})
	}
	for name, c := range map[string]struct{ exe, dir string }{
		"relative program": {"kith", "/x"}, "relative folder": {"/kith", "x"}, "line": {"/kith", "/x\n(allow default)"}, "zero": {"/kith\x00", "/x"},
	} {
		if p, err := seatbelt(c.exe, c.dir); err == nil {
			t.Errorf("%s: made\n%s", name, p)
		}
	}
}

// balanced reports whether every form of a profile is closed, at the end of a line, and no string runs over one.
func balanced(profile string) bool {
	depth := 0
	for line := range strings.Lines(profile) {
		in, escaped := false, false
		for _, r := range line {
			switch {
			case escaped:
				escaped = false
			case in && r == '\\':
				escaped = true
			case r == '"':
				in = !in
			case in:
			case r == '(':
				depth++
			case r == ')':
				depth--
			}
		}
		if in || depth != 0 {
			return false
		}
	}
	return true
}
