// Package job is a job's life as a fold over events: Step takes a State, an Event and the time, and says what is to be
// done next. It does no I/O, starts no goroutine and reads no clock, so a job can be replayed from its log to the same
// State, fuzzed with any order of events, and simulated with a hundred thousand nodes.
//
// A task goes blocked → open → deciding → done. While it is open, replicas of it are granted to distinct workers; each
// replica runs through its own states (granted, committed, asked, shown, good), and each has a clock. Nothing is
// revealed while a replica of the task may still commit: when enough have committed, the others are cancelled first.
//
// Only some events need to be on disk before they take effect (Durable says which). Commits, reveals and heartbeats are
// never logged: after a restart workers send their commits again, and the same questions are asked again.
package job
