package node

import (
	"strings"
	"testing"

	"kith/node/api"
	"kith/tasks"
)

// Slots and the switch of a kind take effect while its tasks run: more of them run at once, none begins any more and the
// status says why, and then the job goes on.
func TestSettingsReachWorkThatRuns(t *testing.T) {
	first, donors := meet(t, 1)
	donor := donors[0]
	set := func(key, value string) {
		t.Helper()
		if _, err := donor.api.Set(t.Context(), map[string]string{key: value}); err != nil {
			t.Fatal(err)
		}
	}
	running := func() (n int) {
		s, err := donor.api.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Work.Running {
			if r.State == "running" {
				n++
			}
		}
		return n
	}
	j := first.submit(t, api.Submit{
		Ops: []api.Op{{Kind: "test.sleep", Params: map[string]any{"tasks": 90, "millis": 200}}}, K: 1, Sensitivity: tasks.Public,
	})
	eventually(t, "one task runs", func() bool { return running() == 1 })
	set("work.slots", "3")
	eventually(t, "three tasks run at once", func() bool { return running() == 3 })
	for _, off := range []string{"test.*", strings.Join(donor.kinds.Names(), ",")} {
		set("work.kindsOff", off)
		eventually(t, "no task runs, and the reason is told", func() bool {
			s, err := donor.api.Status(t.Context())
			return err == nil && len(s.Work.Running) == 0 && len(s.Work.Why) > 0 && s.Work.Why[0].Code == tasks.KindOff
		})
		if d, err := first.api.Job(t.Context(), j.ID.String()); err != nil || d.State == "done" {
			t.Fatalf("the job is %s, %v", d.State, err)
		}
		set("work.kindsOff", "")
		eventually(t, "tasks run again", func() bool { return running() > 0 })
	}
	set("work.slots", "8")
	first.finished(t, j.ID)
}
