package submit

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/job"
)

// FuzzAssemble feeds bytes of a hostile worker as the blocks of an inline output.
func FuzzAssemble(f *testing.F) {
	leaf := []byte("leaf")
	dir, err := dag.Marshal(map[string]dag.CID{"a": dag.Sum(dag.Raw, dag.SHA256, leaf)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(dir, leaf, []byte("more"), uint8(2))
	f.Add(leaf, leaf, leaf, uint8(1))
	f.Fuzz(func(t *testing.T, a, b, c []byte, n uint8) {
		data := [][]byte{a, b, c}[:n%4]
		codec := dag.Raw
		if len(a) > 0 && a[0]&1 == 0 {
			codec = dag.DagCBOR
		}
		root := dag.Sum(codec, dag.SHA256, a)
		blocks, err := execute.Assemble(root, data)
		if err != nil {
			return
		}
		if len(blocks) != len(data) || blocks[0].CID != root {
			t.Fatalf("%d blocks of %d", len(blocks), len(data))
		}
		for i := range blocks {
			if dag.Verify(blocks[i].CID, blocks[i].Data) != nil {
				t.Errorf("block %d is not what it is called", i)
			}
		}
	})
}

// FuzzRecords feeds damaged records and snapshots of the log.
func FuzzRecords(f *testing.F) {
	ev, err := job.Encode(&job.Accepted{Job: tasks.Job{ID: tasks.JobID{1}}})
	if err != nil {
		f.Fatal(err)
	}
	id := tasks.JobID{1}
	f.Add(append(id[:], timed(ev)...))
	d := driver()
	if err := d.replay(append(id[:], timed(ev)...)); err != nil {
		f.Fatal(err)
	}
	f.Add(d.encode())
	d.trust.Note(tasks.NodeID{1}, tasks.Accepted, 1)
	d.trust.Ban(tasks.NodeID{2}, [32]byte{3}, 1)
	f.Add(d.encode())
	records, err := dag.Marshal(d.trust.Snapshot())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(make([]byte, len(tasks.JobID{})), timed(records)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := driver()
		_ = d.replay(b)
		_ = d.readSnapshot(bytes.NewReader(b))
		for _, j := range d.jobs {
			j.state.Summary()
		}
	})
}

func driver() *Driver {
	return New(Options{Network: "test", Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Blobs: memstore.NewBlobs()})
}
