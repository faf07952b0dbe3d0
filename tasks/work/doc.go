// Package work is the driver of the donor's side: it hears offers, dials submitters, takes leases, has them run in the
// sandbox, commits, and shows a result only when asked to.
//
// One goroutine owns the state (Driver.Serve); every session has one reader and one writer, and every running task one
// goroutine. A commit is on stable storage before it is sent, so that a restart never makes this node contradict
// itself, and an output is kept until its verdict has come.
package work
