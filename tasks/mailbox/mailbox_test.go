package mailbox_test

import (
	"context"
	"errors"
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

func TestAsk(t *testing.T) {
	gone := errors.New("gone")
	b, stopped := mailbox.New[func()](), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- mailbox.Serve(ctx, b) }()
	if v, err := mailbox.Ask(t.Context(), b, stopped, gone, func() int { return 7 }); v != 7 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("served until %v", err)
	}
	if _, err := mailbox.Ask(ctx, b, stopped, gone, func() int { return 7 }); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody serves, and who asked has gone: %v", err)
	}
	close(stopped)
	if _, err := mailbox.Ask(t.Context(), b, stopped, gone, func() int { return 7 }); !errors.Is(err, gone) {
		t.Errorf("nobody serves: %v", err)
	}
}
