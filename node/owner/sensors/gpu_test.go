package sensors

import (
	"context"
	"errors"
	"testing"
)

func TestCards(t *testing.T) {
	fake := func(out string, err error) NVIDIA {
		return NVIDIA{Run: func(context.Context, string, ...string) ([]byte, error) { return []byte(out), err }}
	}
	cards, err := fake("NVIDIA GeForce RTX 4090, 24564, 512\nNVIDIA GeForce GTX 1660 SUPER, 6144, 0\n", nil).Cards(t.Context())
	if err != nil || len(cards) != 2 || cards[0].Total != 24564<<20 || cards[0].Use != 512<<20 || cards[1].Name != "NVIDIA GeForce GTX 1660 SUPER" {
		t.Fatalf("%+v, %v", cards, err)
	}
	for name, out := range map[string]string{
		"words": "card, much, little\n", "negative": "card, -1, 0\n", "more in use than there is": "card, 10, 11\n", "too few": "card, 10\n",
		"an error on standard output": "Failed to initialize NVML: Driver/library version mismatch\n",
	} {
		if got, err := fake(out, nil).Cards(t.Context()); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, err := fake("", errors.New("no such program")).Cards(t.Context()); err == nil {
		t.Error("no program, and yet cards")
	}
}

func FuzzParseCards(f *testing.F) {
	f.Add("NVIDIA GeForce RTX 4090, 24564, 512\n")
	f.Fuzz(func(t *testing.T, s string) {
		cards, err := parseCards(s)
		for _, c := range cards {
			if err != nil || c.Total <= 0 || c.Use > c.Total {
				t.Fatalf("%q: %+v, %v", s, c, err)
			}
		}
	})
}
