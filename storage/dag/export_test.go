package dag

import "testing"

// TestWindowsNames runs everywhere, so that a name refused on Windows is known on Linux.
func TestWindowsNames(t *testing.T) {
	for _, name := range []string{"a:b", `a\b`, "a?", "x\x01", "dot.", "space ", "con", "NUL.txt", "Com1", "lpt9.log", "aux .c", "COM¹"} {
		if checkWindowsName(name) == nil {
			t.Errorf("%q accepted", name)
		}
	}
	for _, name := range []string{"a", ".hidden", "console", "com", "COM10", "commit", "nul-l", "ü 🌿.txt", "a.b.c"} {
		if err := checkWindowsName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
