package wire_test

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
)

// A worker dials a submitter, says what it can do, and is told that there is nothing to do.
func ExampleSession() {
	workerID, workerKey, _ := ed25519.GenerateKey(nil)
	submitterID, submitterKey, _ := ed25519.GenerateKey(nil)
	dialled, accepted := net.Pipe()
	now := time.Now().UnixMilli()

	go func() { // the submitter
		frame, _ := wire.ReadFrame(accepted, nil)
		id, _ := wire.PeekSession(frame)
		s := wire.NewSession("example", submitterKey, tasks.NodeID(workerID), id, wire.Submitter)
		m, _ := s.Open(frame, now)
		answer := &wire.Welcome{Session: id, Time: now}
		if hello, ok := m.(*wire.Hello); ok && hello.Ask.Slots > 0 {
			why := tasks.Because(tasks.NoTasksLeft, "none of %d is free", 40)
			answer.Reason = &why
		}
		frame, _ = s.Seal(answer, now)
		_, _ = accepted.Write(frame)
	}()

	s := wire.NewSession("example", workerKey, tasks.NodeID(submitterID), wire.NewSessionID(), wire.Worker)
	frame, _ := s.Seal(&wire.Hello{Network: "example", Ask: wire.Ask{Slots: 4}, Time: now}, now)
	_, _ = dialled.Write(frame)
	frame, _ = wire.ReadFrame(dialled, nil)
	m, err := s.Open(frame, now)
	fmt.Println(m.(*wire.Welcome).Reason, err)
	// Output: every task of this job is already taken: none of 40 is free <nil>
}
