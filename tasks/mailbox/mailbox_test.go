package mailbox_test

import (
	"slices"
	"sync"
	"testing"

	"kith/tasks/mailbox"
)

func TestBox(t *testing.T) {
	b := mailbox.New[int]()
	select {
	case <-b.Wake:
		t.Fatal("an empty box wakes")
	default:
	}
	for i := range 3 {
		b.Post(i)
	}
	<-b.Wake
	if got := b.Take(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("took %v", got)
	}
	if got := b.Take(); len(got) != 0 {
		t.Errorf("took %v again", got)
	}
}

// What several goroutines post comes out once, in the order of each.
func TestManyPost(t *testing.T) {
	const posters, each = 8, 1000
	b := mailbox.New[[2]int]()
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				b.Post([2]int{p, i})
			}
		})
	}
	var next [posters]int
	for n := 0; n < posters*each; {
		<-b.Wake
		for _, x := range b.Take() {
			if x[1] != next[x[0]] {
				t.Fatalf("poster %d: %d came, want %d", x[0], x[1], next[x[0]])
			}
			next[x[0]]++
			n++
		}
	}
	wg.Wait()
}
