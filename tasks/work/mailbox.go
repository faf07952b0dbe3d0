package work

import "sync"

// mailbox is what waits for a goroutine, in order. The loop's holds closures to run. Posting never blocks, so that
// callbacks of the log and of timers can post; whoever posts on behalf of a peer holds a credit first (see
// session.read), which is what bounds its length.
type mailbox[T any] struct {
	mu    sync.Mutex
	items []T
	spare []T
	wake  chan struct{}
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{wake: make(chan struct{}, 1)} }

func (m *mailbox[T]) post(item T) {
	m.mu.Lock()
	m.items = append(m.items, item)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take returns everything that waits. It is valid until the next take.
func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.items
	clear(m.spare)
	m.items, m.spare = m.spare[:0], got
	return got
}
