package main

import "testing"

func TestHeapPace(t *testing.T) {
	p := heapPace{percent: tightPercent}
	var cycles uint64
	second := func(more, live uint64) int {
		cycles += more
		p.next(cycles, live)
		return p.percent
	}
	for range 30 {
		if got := second(1, 20<<20); got != tightPercent {
			t.Fatalf("a collection a second is no work, got %d %%", got)
		}
	}
	if got := second(8, 20<<20); got != loosePercent {
		t.Fatalf("busy: %d %%", got)
	}
	for range 60 {
		if got := second(1, 20<<20); got != loosePercent {
			t.Fatalf("still at work: %d %%", got)
		}
	}
	for range quietSeconds - 1 {
		if got := second(0, 20<<20); got != loosePercent {
			t.Fatalf("quiet for less than %d s: %d %%", quietSeconds, got)
		}
	}
	if got := second(0, 20<<20); got != tightPercent {
		t.Fatalf("quiet: %d %%", got)
	}
	// A large heap does not grow by a multiple of itself.
	if got := second(8, 64<<20); got != 150 {
		t.Fatalf("64 MiB live: %d %%, want 96 MiB of garbage", got)
	}
	if got := second(8, 1<<30); got != tightPercent {
		t.Fatalf("1 GiB live: %d %%", got)
	}
}
