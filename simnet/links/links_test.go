package links

import "testing"

func TestTable(t *testing.T) {
	for a := range codes {
		for b := range codes {
			if RTT(a, b) != RTT(b, a) || RTT(a, b) <= 0 || a != b && RTT(a, b) <= RTT(a, a) {
				t.Errorf("%s to %s: %s and back %s", codes[a], codes[b], RTT(a, b), RTT(b, a))
			}
			if (Ring(a, b) == 0) != (a == b) || Ring(a, b) != Ring(b, a) {
				t.Errorf("ring of %s from %s", codes[b], codes[a])
			}
		}
	}
}
