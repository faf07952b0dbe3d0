package job

import (
	"testing"

	"kith/tasks"
)

// What is left of a job that is over is small, and says the same after a restart.
func TestFinishedJobIsSmall(t *testing.T) {
	s, _ := played(t, 20_000)
	before := s.Summary()
	var ignored Actions
	s.Step(&Done{Root: root("all")}, 2, &ignored)
	b := s.Encode()
	if len(b) > 4096 {
		t.Errorf("%d bytes", len(b))
	}
	back, err := Restore(b)
	if err != nil {
		t.Fatal(err)
	}
	got := back.Summary()
	if got.Tasks != before.Tasks || got.Done != before.Done || got.Merges != before.Merges || got.Phase != Finished || got.Result != root("all") {
		t.Errorf("restored %+v, before %+v", got, before)
	}
	if back.Explain(0, 0) != nil {
		t.Error("a finished job waits for something")
	}
}

// What a job waits for names a task that does wait for it.
func TestExplainNamesTasks(t *testing.T) {
	s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 3}}}})
	var ignored Actions
	s.Step(&Planned{Stages: pipeline(2), Parts: 3}, 1, &ignored)
	waits := s.Explain(1, 0)
	if len(waits) < 2 {
		t.Fatalf("%+v", waits)
	}
	for _, w := range waits {
		want := open
		if w.Reason.Code == tasks.WaitingForStage {
			want = blocked
		}
		if at := s.at(w.First); w.First.Stage != w.Stage || at == nil || at.phase != want {
			t.Errorf("%s: %d tasks of stage %d, for example %+v", w.Reason.Code, w.Tasks, w.Stage, w.First)
		}
	}
}
