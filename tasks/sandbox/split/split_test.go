package split_test

import (
	"slices"
	"testing"

	"kith/tasks/sandbox/split"
)

func TestGroup(t *testing.T) {
	for _, c := range []struct {
		name  string
		part  int64
		sizes []int64
		want  []int
	}{
		{"nothing", 10, nil, []int{0}},
		{"all fit", 10, []int64{3, 3, 4}, []int{3}},
		{"one more", 10, []int64{3, 3, 4, 1}, []int{3, 1}},
		{"large alone", 10, []int64{1, 50, 1}, []int{1, 1, 1}},
		{"empty documents", 10, []int64{0, 0, 10, 0, 1}, []int{4, 1}},
		{"no overflow", 10, []int64{1<<63 - 1, 1<<63 - 1}, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := split.Group(split.Listing{PartBytes: c.part, Sizes: c.sizes}.Encode())
			if err != nil {
				t.Fatal(err)
			}
			got, err := split.Groups(b, len(c.sizes))
			if err != nil || !slices.Equal(got, c.want) {
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			}
			if _, err := split.Groups(b, len(c.sizes)+1); err == nil {
				t.Fatal("groups that miss a document were accepted")
			}
		})
	}
}

func FuzzGroup(f *testing.F) {
	f.Add(split.Listing{PartBytes: 10, Sizes: []int64{1, 2, 30}}.Encode(), 3)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if groups, err := split.Group(b); err == nil && len(groups) == 0 {
			t.Fatal("no part at all")
		}
		groups, err := split.Groups(b, max(0, min(n, 1<<20)))
		sum := 0
		for _, g := range groups {
			sum += g
		}
		if err == nil && sum != max(0, min(n, 1<<20)) {
			t.Fatalf("groups cover %d of %d", sum, n)
		}
	})
}
