package main

import (
	"testing"

	"kith/node/api"
)

func TestGiven(t *testing.T) {
	card := api.Caps{VRAMBytes: 6 << 30}
	for _, c := range []struct {
		key, value string
		in         api.Caps
		want       string
	}{
		{"vram", "16TiB", api.Caps{}, "none"},
		{"vram", "2GiB", api.Caps{}, "none"},
		{"vram", "16TiB", card, "all"},
		{"vram", "2GiB", card, "2GiB"},
		{"memory", "16TiB", api.Caps{}, "16TiB"},
	} {
		if got := given(c.key, c.value, c.in); got != c.want {
			t.Errorf("%s=%s with %d bytes of graphics memory: %q, want %q", c.key, c.value, c.in.VRAMBytes, got, c.want)
		}
	}
}
