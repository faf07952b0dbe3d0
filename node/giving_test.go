package node

import (
	"testing"

	"kith/bench/gpu"
)

func TestGraphicsMemory(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		cards []gpu.Card
		want  int64
	}{
		"no card":           {nil, 0},
		"two cards":         {[]gpu.Card{{VRAM: 24 * gib}, {VRAM: 6 * gib}}, 30 * gib},
		"a silent driver":   {[]gpu.Card{{VRAM: 24 * gib}, {VRAM: -1}, {VRAM: 6 * gib, Problem: "the driver does not answer for it"}}, 24 * gib},
		"the machine's own": {[]gpu.Card{{VRAM: 8 * gib, Shared: true}}, 0},
		"a card in two":     {[]gpu.Card{{VRAM: 80 * gib, Split: true}, {VRAM: 40 * gib, Instance: true}, {VRAM: 20 * gib, Instance: true}}, 60 * gib},
		"less than nothing": {[]gpu.Card{{VRAM: -5}}, 0},
	} {
		if got := graphicsMemory(c.cards); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
