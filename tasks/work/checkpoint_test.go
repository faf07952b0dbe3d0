package work

import (
	"testing"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/kinds/wasm"
)

// Of checkpoints only so many are kept, so many bytes of them, and for so long; the newest.
func TestCheckpointsAreBounded(t *testing.T) {
	root := dag.Sum(dag.Raw, dag.SHA256, nil)
	point := func(n byte, size, at int64) checkpoint {
		return checkpoint{Key: [32]byte{n}, Root: root, Bytes: size, At: at}
	}
	var c checkpoints
	for n := range byte(maxCheckpoints + 10) {
		c.put(point(n, 1, int64(n)))
	}
	if len(c.list) != maxCheckpoints || c.list[0].Key[0] != 10 || c.find([32]byte{9}).Defined() || !c.find([32]byte{10}).Defined() {
		t.Errorf("%d are kept, from %d on", len(c.list), c.list[0].Key[0])
	}
	c = checkpoints{}
	for n := range byte(20) {
		c.put(point(n, execute.MaxCheckpoint, int64(n)))
	}
	if len(c.list) != maxCheckpointBytes/execute.MaxCheckpoint {
		t.Errorf("%d large ones are kept", len(c.list))
	}
	c.put(point(19, 5, 100))
	if n := len(c.list); n != maxCheckpointBytes/execute.MaxCheckpoint || c.list[n-1].Bytes != 5 {
		t.Errorf("%d after a newer one of the same task", n)
	}
	c.put(point(200, 1, 100+checkpointKept.Milliseconds()))
	if len(c.list) != 2 {
		t.Errorf("%d are kept after a day: %+v", len(c.list), c.list)
	}
	c.bound(time.Now().UnixMilli())
	if len(c.list) != 0 {
		t.Errorf("%d are kept for ever", len(c.list))
	}
	for _, bad := range []checkpoint{{}, point(1, -1, 0), point(1, execute.MaxCheckpoint+1, 0)} {
		if c.put(bad); len(c.list) != 0 {
			t.Errorf("%+v is kept", bad)
		}
	}
}

// Nobody can have the checkpoint of another's task handed to his own program: it is found only by who said what to do.
func TestCheckpointsBelongToTheirTask(t *testing.T) {
	k := wasm.New()
	d := &Driver{o: Options{Kinds: kinds.New(k)}}
	do := func(set func(*tasks.Assignment)) *tasks.Assignment {
		a := &tasks.Assignment{
			Job: tasks.JobID{1}, Task: tasks.TaskID{2}, Steps: []tasks.Step{{Kind: "wasm", Phase: "run", Params: []byte(`{"module":"m","checkpoint":true}`)}},
			Inputs: []dag.CID{dag.Sum(dag.Raw, dag.SHA256, nil)},
		}
		if set != nil {
			set(a)
		}
		return a
	}
	mine := d.pointKey(tasks.NodeID{1}, do(nil))
	if mine == [32]byte{} || d.pointKey(tasks.NodeID{1}, do(nil)) != mine {
		t.Error("the same task has another key")
	}
	if d.pointKey(tasks.NodeID{2}, do(nil)) == mine {
		t.Error("another submitter has the same key")
	}
	for name, set := range map[string]func(*tasks.Assignment){
		"another task":  func(a *tasks.Assignment) { a.Task[0]++ },
		"another input": func(a *tasks.Assignment) { a.Inputs[0] = dag.Sum(dag.Raw, dag.SHA256, []byte("x")) },
		"other words":   func(a *tasks.Assignment) { a.Steps[0].Params = []byte(`{"module":"m","checkpoint":true,"args":["x"]}`) },
		"another seed":  func(a *tasks.Assignment) { a.Seed[0]++ },
	} {
		if d.pointKey(tasks.NodeID{1}, do(set)) == mine {
			t.Errorf("%s has the same key", name)
		}
	}
	for name, set := range map[string]func(*tasks.Assignment){
		"without the parameter": func(a *tasks.Assignment) { a.Steps[0].Params = []byte(`{"module":"m"}`) },
		"sealed":                func(a *tasks.Assignment) { a.Keys = [][]byte{{1}} },
		"two steps":             func(a *tasks.Assignment) { a.Steps = append(a.Steps, a.Steps[0]) },
		"an unknown kind":       func(a *tasks.Assignment) { a.Steps[0].Kind = "x" },
	} {
		if d.pointKey(tasks.NodeID{1}, do(set)) != [32]byte{} {
			t.Errorf("%s has a key", name)
		}
	}
}
