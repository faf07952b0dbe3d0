package submit

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// Leases that bring checkpoints along go in as many messages as it takes.
func TestLeasesWithCheckpointsFitTheirFrames(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	worker := tasks.NodeID{2}
	s := &session{wire: wire.NewSession("test", key, worker, wire.NewSessionID(), wire.Submitter)}
	now := time.Now().UnixMilli()
	var out outbox
	for n := range 2 * wire.MaxLeases {
		l := tasks.Lease{Worker: worker, Granted: now, Expiry: now + 60_000, Do: tasks.Assignment{
			Task: tasks.TaskID{byte(n)}, Mode: tasks.Map, Parts: 1, Steps: []tasks.Step{{Kind: "k", Phase: "run"}},
		}}
		l.Travel = &tasks.Travel{From: &tasks.Point{Root: dag.Sum(dag.Raw, dag.SHA256, []byte{byte(n)}), Blocks: [][]byte{make([]byte, wire.MaxInline)}}}
		for range 900 {
			l.Do.Inputs = append(l.Do.Inputs, l.Travel.From.Root)
		}
		l.ID = tasks.NewLeaseID(l.Do.Job, l.Do.Task, 0, worker, 0, l.Expiry)
		out.leases = append(out.leases, l)
	}
	frames, err := s.seal(&out)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(frames)
	messages := 0
	for ; r.Len() > 0; messages++ {
		if _, err := wire.ReadFrame(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	if messages < 2*wire.MaxLeases*wire.MaxInline/maxPoints {
		t.Errorf("%d messages", messages)
	}
}
