package stack

import "errors"

// ErrEmpty: there is nothing to pop.
var ErrEmpty = errors.New("stack is empty")

// Stack is a last-in, first-out list. The zero value is empty.
type Stack[T any] struct {
	items []T
}

// Push puts v on top.
func (s *Stack[T]) Push(v T) {
	s.items = append(s.items, v)
}

// Pop takes the top away and returns it.
func (s *Stack[T]) Pop() (T, error) {
	var zero T
	if len(s.items) == 0 {
		return zero, ErrEmpty
	}

	top := s.items[len(s.items)-1]
	s.items = s.items[:len(s.items)-1]
	return top, nil
}

// Len returns how many items there are.
func (s *Stack[T]) Len() int { return len(s.items) }
