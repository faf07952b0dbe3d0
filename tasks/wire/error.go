package wire

import (
	"errors"
	"fmt"

	"kith/tasks"
)

// What can be wrong with a message. Every error of this package that a peer caused is an *Error and wraps one of these.
var (
	ErrEncoding  = errors.New("not the strict encoding of a message")
	ErrVersion   = errors.New("another version of the protocol")
	ErrType      = errors.New("no such message here")
	ErrSize      = errors.New("message over its size limit")
	ErrBounds    = errors.New("field out of bounds")
	ErrTime      = errors.New("time too far from this node's clock")
	ErrExpired   = errors.New("no longer valid")
	ErrNetwork   = errors.New("message of another network")
	ErrSignature = errors.New("signature does not match")
	ErrReplay    = errors.New("message seen before")
	ErrSequence  = errors.New("message out of sequence")
	ErrPrevious  = errors.New("message does not follow the one before it")
	ErrConflict  = errors.New("signer contradicts itself")
)

// Error says what was wrong with a message and gives the code a refusal of it carries.
type Error struct {
	Code tasks.Code
	Err  error  // one of the sentinels above
	Text string // the field, the value, the limit
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + ": " + e.Text
}

// Unwrap gives the sentinel.
func (e *Error) Unwrap() error { return e.Err }

// Reason is the refusal to send, its detail cut to what the wire allows.
func (e *Error) Reason() tasks.Reason {
	return tasks.Reason{Code: e.Code, Detail: cut(e.Error(), MaxDetail)}
}

// ReasonOf is what a peer is told about an error: the reason in it, or that its message cannot be used.
func ReasonOf(err error) tasks.Reason {
	var r tasks.Reason
	var we *Error
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &we):
		return we.Reason()
	default:
		return tasks.Reason{Code: tasks.BadMessage}
	}
}

// bad makes an Error; the code follows from the sentinel.
func bad(err error, format string, args ...any) *Error {
	code := tasks.BadMessage
	switch err {
	case ErrVersion, ErrType:
		code = tasks.WrongVersion
	case ErrTime, ErrExpired:
		code = tasks.ClockSkew
	case ErrNetwork:
		code = tasks.WrongNetwork
	case ErrConflict:
		code = tasks.Banned
	}
	return &Error{Code: code, Err: err, Text: fmt.Sprintf(format, args...)}
}

// cut shortens s to at most n bytes without splitting a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
