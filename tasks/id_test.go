package tasks_test

import (
	"encoding/json"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

func TestIDsAreText(t *testing.T) {
	id := tasks.NewJobID("main", tasks.NodeID{1}, dag.Sum(dag.Raw, dag.SHA256, nil), tasks.Nonce{2})
	text, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	var back tasks.JobID
	if err := json.Unmarshal(text, &back); err != nil || back != id {
		t.Fatalf("%s came back as %s: %v", id, back, err)
	}
	good := id.String()
	for name, bad := range map[string]string{
		"empty": "", "short": good[:51], "long": good + "a", "upper case": "A" + good[1:], "foreign letter": "1" + good[1:],
		"another text of the same bits": good[:51] + string(good[51]+1),
	} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%s: %q was read as an id", name, bad)
		}
	}
}

// Each field of an id must count, and no two fields may flow into one another.
func TestIDsDiffer(t *testing.T) {
	spec := dag.Sum(dag.DagCBOR, dag.SHA256, []byte("spec"))
	other := dag.Sum(dag.DagCBOR, dag.SHA256, []byte("other"))
	seen := map[string]string{}
	add := func(name, id string) {
		if before, ok := seen[id]; ok {
			t.Errorf("%s and %s have the same id", before, name)
		}
		seen[id] = name
	}
	add("job", tasks.NewJobID("main", tasks.NodeID{1}, spec, tasks.Nonce{1}).String())
	add("job of another network", tasks.NewJobID("test", tasks.NodeID{1}, spec, tasks.Nonce{1}).String())
	add("job of another node", tasks.NewJobID("main", tasks.NodeID{2}, spec, tasks.Nonce{1}).String())
	add("job of another spec", tasks.NewJobID("main", tasks.NodeID{1}, other, tasks.Nonce{1}).String())
	add("job again", tasks.NewJobID("main", tasks.NodeID{1}, spec, tasks.Nonce{2}).String())
	job := tasks.JobID{1}
	add("task", tasks.NewTaskID(job, 0, 1, nil).String())
	add("task of the next stage", tasks.NewTaskID(job, 1, 0, nil).String())
	add("task with an input", tasks.NewTaskID(job, 0, 1, []dag.CID{spec}).String())
	add("task with two", tasks.NewTaskID(job, 0, 1, []dag.CID{spec, other}).String())
	add("task with two the other way round", tasks.NewTaskID(job, 0, 1, []dag.CID{other, spec}).String())
	add("lease", tasks.NewLeaseID(job, tasks.TaskID{1}, 0, tasks.NodeID{1}, 1, 2).String())
	add("lease of the next attempt", tasks.NewLeaseID(job, tasks.TaskID{1}, 1, tasks.NodeID{1}, 0, 2).String())
	add("lease of the next epoch", tasks.NewLeaseID(job, tasks.TaskID{1}, 0, tasks.NodeID{1}, 2, 1).String())
	commit := func(lease tasks.LeaseID, worker tasks.NodeID, root dag.CID, digest byte) string {
		return tasks.JobID(tasks.CommitHash(lease, worker, root, [32]byte{digest})).String()
	}
	add("commit", commit(tasks.LeaseID{1}, tasks.NodeID{1}, spec, 1))
	add("commit of another worker", commit(tasks.LeaseID{1}, tasks.NodeID{2}, spec, 1))
	add("commit to another root", commit(tasks.LeaseID{1}, tasks.NodeID{1}, other, 1))
	add("commit with another digest", commit(tasks.LeaseID{1}, tasks.NodeID{1}, spec, 2))
}
