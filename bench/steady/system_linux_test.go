package steady

import (
	"testing"
	"time"
)

func TestParseStolen(t *testing.T) {
	tests := []struct {
		name, text string
		want       stolen
	}{
		{"a virtual machine", "cpu  100 20 30 400 5 6 7 32 9 9\ncpu0 1 2 3 4 5 6 7 8 9 9\n", stolen{32, 600, true}},
		{"an old kernel", "cpu  100 20 30 400 5 6 7\n", stolen{}},
		{"nothing", "", stolen{}},
		{"another file", "intr 1 2 3 4 5 6 7 8 9 10\n", stolen{}},
		{"negative", "cpu  100 -20 30 400 5 6 7 32 9 9\n", stolen{}},
	}
	for _, tt := range tests {
		if got := parseStolen([]byte(tt.text)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	before, after := stolen{10, 1000, true}, stolen{60, 1200, true}
	for _, tt := range []struct {
		name        string
		after, from stolen
		want        float64
	}{{"a quarter", after, before, 0.25}, {"backwards", before, after, 0}, {"unknown", stolen{}, before, 0}, {"no time", before, before, 0}} {
		if got := tt.after.since(tt.from); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A thread that sleeps has no processor, and one that works has: the clock that tells disturbed samples apart.
func TestThreadTime(t *testing.T) {
	defer Core(0, 1)()
	w := Watch()
	time.Sleep(30 * time.Millisecond)
	if x := w.Stop(); Lost(x.Wall, x.Own) < 0.5 {
		t.Errorf("asleep, it lost %.2f of %v", Lost(x.Wall, x.Own), x.Wall)
	}
	w = Watch()
	n := 0
	for w.Stop().Own < 5*time.Millisecond {
		n++
	}
	if n == 0 {
		t.Error("it had a processor before it did anything")
	}
}
