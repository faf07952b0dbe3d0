package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/node/api"
	"kith/storage/dag"
	"kith/storage/eventlog"
	"kith/tasks"
	"kith/tasks/trust"
)

// What a node holds against a worker is told with its reasons; an appeal lifts it for good, over a restart, and only once. A
// worker that signed two things that contradict each other is lifted by nothing.
func TestAppealFromTheCommandLine(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	f := emptyFleet(t)
	ctx := limit(t, 2*time.Minute)
	n, err := f.Add(ctx, "judge")
	if err != nil {
		t.Fatal(err)
	}

	liar, forger := tasks.NodeID{1, 1}, tasks.NodeID{2, 2}
	right, wrong := dag.Sum(dag.Raw, dag.SHA256, []byte("right")), dag.Sum(dag.Raw, dag.SHA256, []byte("wrong"))
	now := time.Now().UnixMilli()
	b := trust.NewBook()
	b.Verdict(tasks.TaskID{9}, "etl.hash/run", []trust.Vote{
		{Node: liar, Root: wrong},
		{Node: tasks.NodeID{3}, Root: right, Won: true},
		{Node: tasks.NodeID{4}, Root: right, Won: true},
		{Node: tasks.NodeID{5}, Root: right, Won: true},
	}, now)
	b.Ban(forger, [32]byte{7}, now)
	ledger := b.Ledger()
	log, err := eventlog.Open(filepath.Join(n.Home, "log", "jobs"), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{&ledger, b.Snapshot()} { // as the submitting side keeps it: no job, no time
		rec, err := dag.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.AppendSync(ctx, slices.Concat(make([]byte, 40), rec)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}

	name := liar.String()[:10]
	if text := must(t, n, "trust", name); !strings.Contains(text, "suspended until") || !strings.Contains(text, "3 independent groups") || !strings.Contains(text, "etl.hash/run") {
		t.Errorf("of a liar it is said: %s", text)
	}
	if text := must(t, n, "trust", "appeal", name); !strings.Contains(text, "newcomer") || strings.Contains(text, "suspended") {
		t.Errorf("after the appeal: %s", text)
	}
	exits(t, n, exitRefused, "nothing is held against", "trust", "appeal", name)
	exits(t, n, exitRefused, "kith evidence shows the proof", "trust", "appeal", forger.String()[:10])
	n.Kill()
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var list []api.Trust
	if err := json.Unmarshal([]byte(must(t, n, "trust", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	standing := map[tasks.NodeID]string{}
	for _, x := range list {
		standing[x.Node] = x.Standing
	}
	if standing[liar] != "" && standing[liar] != "newcomer" || standing[forger] != "banned" {
		t.Errorf("after a restart: %v", standing)
	}
}
