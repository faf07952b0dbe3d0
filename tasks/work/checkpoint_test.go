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
	mine := d.pointKey(tasks.NodeID{1}, do(nil), dag.CID{})
	if mine == [32]byte{} || d.pointKey(tasks.NodeID{1}, do(nil), dag.CID{}) != mine {
		t.Error("the same task has another key")
	}
	if d.pointKey(tasks.NodeID{2}, do(nil), dag.CID{}) == mine {
		t.Error("another submitter has the same key")
	}
	if d.pointKey(tasks.NodeID{1}, do(nil), dag.Sum(dag.Raw, dag.SHA256, nil)) == mine {
		t.Error("what went on from others' work has the key of this node's own")
	}
	for name, set := range map[string]func(*tasks.Assignment){
		"another task":  func(a *tasks.Assignment) { a.Task[0]++ },
		"another input": func(a *tasks.Assignment) { a.Inputs[0] = dag.Sum(dag.Raw, dag.SHA256, []byte("x")) },
		"other words":   func(a *tasks.Assignment) { a.Steps[0].Params = []byte(`{"module":"m","checkpoint":true,"args":["x"]}`) },
		"another seed":  func(a *tasks.Assignment) { a.Seed[0]++ },
	} {
		if d.pointKey(tasks.NodeID{1}, do(set), dag.CID{}) == mine {
			t.Errorf("%s has the same key", name)
		}
	}
	for name, set := range map[string]func(*tasks.Assignment){
		"without the parameter": func(a *tasks.Assignment) { a.Steps[0].Params = []byte(`{"module":"m"}`) },
		"sealed":                func(a *tasks.Assignment) { a.Keys = [][]byte{{1}} },
		"two steps":             func(a *tasks.Assignment) { a.Steps = append(a.Steps, a.Steps[0]) },
		"an unknown kind":       func(a *tasks.Assignment) { a.Steps[0].Kind = "x" },
	} {
		if d.pointKey(tasks.NodeID{1}, do(set), dag.CID{}) != [32]byte{} {
			t.Errorf("%s has a key", name)
		}
	}
}

// What a run goes on from is its own, or what its lease names, or was made of that: never others' work that the lease does not
// name.
func TestWhatARunGoesOnFrom(t *testing.T) {
	root := func(name string) dag.CID { return dag.Sum(dag.Raw, dag.SHA256, []byte(name)) }
	named, own, derived := root("named"), root("own"), root("made of what is named")
	for _, c := range []struct {
		name         string
		travel, came bool
		kept         []dag.CID
		want         dag.CID
	}{
		{name: "nothing"},
		{name: "its own", kept: []dag.CID{own}, want: own},
		{name: "others' work that the lease does not name", kept: []dag.CID{derived}},
		{name: "what the lease names", travel: true, came: true, want: named},
		{name: "which did not come", travel: true},
		{name: "which did not come, and there is its own", travel: true, kept: []dag.CID{own}, want: own},
		{name: "what it made of what the lease names", travel: true, came: true, kept: []dag.CID{derived, own}, want: derived},
	} {
		d := &Driver{o: Options{Kinds: kinds.New(wasm.New())}}
		h := &held{s: &session{peer: tasks.NodeID{1}}, came: c.came, lease: tasks.Lease{Do: tasks.Assignment{
			Steps: []tasks.Step{{Kind: "wasm", Phase: "run", Params: []byte(`{"module":"m","checkpoint":true}`)}},
		}}}
		for i, k := range c.kept {
			from := dag.CID{}
			if k == derived {
				from = named
			}
			d.points.put(checkpoint{Key: d.pointKey(tasks.NodeID{1}, &h.lease.Do, from), Root: k, At: int64(i)})
		}
		if c.travel {
			h.lease.Travel = &tasks.Travel{From: &tasks.Point{Root: named, Done: 3, Total: 4}}
		}
		r := d.runOf(h, t.Context(), nil, nil)
		if r.from != c.want {
			t.Errorf("%s: goes on from %s, want %s", c.name, r.from, c.want)
		}
		if r.elder != (c.want == named) || r.elder && (h.done != 3 || h.total != 4) {
			t.Errorf("%s: another's work: %v, and %d of %d are done", c.name, r.elder, h.done, h.total)
		}
		if own := d.pointKey(tasks.NodeID{1}, &h.lease.Do, dag.CID{}); (r.key == own) == c.travel {
			t.Errorf("%s: what it leaves passes for its own: %v", c.name, r.key == own)
		}
	}
}
