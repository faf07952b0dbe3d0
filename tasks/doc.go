// Package tasks is the domain of Kith: what a job is, how it becomes stages and tasks, what a lease promises, what a
// commit proves and what a kind of work must be able to do. The types here are values; nothing in this package does
// I/O, starts a goroutine or reads a clock. The packages below it hold the rules (job, match, verify, trust, merge),
// the messages (wire), the drivers (submit, work), and the places where work runs (sandbox, execute, kinds).
package tasks
