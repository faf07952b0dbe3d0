// Package mailbox is a queue in front of one goroutine that owns some state, such as the loop of a driver.
package mailbox

import (
	"context"
	"sync"
)

// Box is what waits for a goroutine, in order. Posting never blocks, so that callbacks of logs and timers can post; whoever
// posts on behalf of a peer must hold a credit first, which is what bounds the length. Any goroutine may Post, one Takes.
type Box[T any] struct {
	// Wake has something to receive whenever something was posted since the last Take.
	Wake <-chan struct{}

	wake  chan struct{}
	mu    sync.Mutex
	items []T
	spare []T
}

// New makes an empty box.
func New[T any]() *Box[T] {
	wake := make(chan struct{}, 1)
	return &Box[T]{Wake: wake, wake: wake}
}

// Post adds an item.
func (b *Box[T]) Post(item T) {
	b.mu.Lock()
	b.items = append(b.items, item)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Take returns everything that waits. It is valid until the next Take.
func (b *Box[T]) Take() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.items
	clear(b.spare)
	b.items, b.spare = b.spare[:0], got
	return got
}

// Ask has the goroutine that serves a box of closures run f, and returns what f returns. When ctx ends first, f may still
// run; when stopped is closed first, because nobody serves any more, the error is gone.
func Ask[T any](ctx context.Context, b *Box[func()], stopped <-chan struct{}, gone error, f func() T) (T, error) {
	answer := make(chan T, 1)
	b.Post(func() { answer <- f() })
	var none T
	select {
	case v := <-answer:
		return v, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-stopped:
		return none, gone
	}
}

// Serve runs what is posted, and nothing else, until ctx ends.
func Serve(ctx context.Context, b *Box[func()]) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.Wake:
		}
		for _, f := range b.Take() {
			f()
		}
	}
}
