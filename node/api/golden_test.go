package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"kith/bench"
	"kith/node/grading"
	"kith/node/strict"
	"kith/storage/dag"
	"kith/tasks"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// samples is one filled value of every shape; testdata holds them as the page sees them.
func samples() map[string]any {
	node := tasks.NodeID{1, 2, 3}
	job := Job{
		ID: tasks.JobID{4, 5, 6}, Name: "corpus", Kinds: []string{"etl.chunk", "etl.dedup"}, State: "running",
		Created: 1795416000000, Sensitivity: tasks.Public, K: 2, N: 4,
		Tasks: Tally{Total: 40, Waiting: 20, Running: 6, Done: 14}, InputBytes: 134217728, InputFiles: 11000,
		Progress: 0.35, Rate: 12582912, ETAMillis: 7000,
	}
	waiting := NewReason(tasks.Because(tasks.TooFewNodes, "1 of 2 nodes"))
	done := job
	done.State, done.Finished, done.Progress, done.ETAMillis = "done", 1795416020000, 1, 0
	done.Result = dag.Sum(dag.DagCBOR, dag.SHA256, []byte("result"))
	done.ResultBytes = 99614720
	held := job
	held.Reason = &waiting
	setting := Setting{
		Key: "work.slots", Value: "2", Default: "2", Doc: "tasks that may run at the same time", Type: "number",
		Choices: []string{}, Range: "1 to 256", Live: true,
	}
	given := Owner{
		State: "working", Level: "shrunk", Words: "shrunk: somebody uses this computer since 14:02; ends after 3 min without keyboard and mouse",
		Reasons: []Pause{{
			Cause: "activity", Level: "shrunk", Since: 1795416060000, Until: 1795416240000, Text: "somebody uses this computer",
			Ends: "after 3 min without keyboard and mouse",
		}},
		Caps:  Caps{Processors: 0.5, MemoryBytes: 2147483648, PromisedBytes: 536870912, Share: 1},
		Yield: Yield{Count: 12, P50Millis: 70, P99Millis: 140, PromiseMillis: 250, Histogram: []Bar{{ToMillis: 100, Count: 10}, {ToMillis: 250, Count: 2}, {Count: 0}}},
		Sensors: []Sensor{
			{Name: "input", Known: true, Value: 3.5, Unit: "s", Text: "says the screen :0"},
			{Name: "temperature", Unit: "°C", Text: "there is no temperature sensor"},
		},
		Goal: Goal{Hours: 100, Done: 62.5},
	}
	return map[string]any{
		"status": Status{
			Node: node, Peer: "12D3KooW…", Network: "main", Version: "0.1.0", Platform: "linux/amd64",
			Home: "/home/ann/.local/share/kith", Started: 1795416000000, UptimeMillis: 61000, Ready: true,
			Addresses: []string{"/ip4/192.168.1.7/udp/4717/quic-v1"}, Reachability: "unknown", Region: "DE", Peers: 3,
			Sandbox: Sandbox{Engine: "process", Grade: tasks.GradeProcess, Words: "a child process with limits, killed with its tree"},
			Owner:   given,
			Grade: Grade{At: 1795416000000, Grade: bench.Grade{
				Score: 42.5, Band: 5, Class: bench.ClassCPU, Terms: []bench.Term{{Part: bench.CPU, Device: "cpu", Weight: 25, Points: 60, Gives: 15}},
				Penalties: []bench.Penalty{{Why: "throttles under load (risk 50 %)", Points: 5}},
			}},
			Work: Work{
				Slots: 2, Sessions: 1, Done: 120, Accepted: 118, Outvoted: 0, Returned: 2, Why: []Reason{},
				Running: []Running{{
					Lease: tasks.LeaseID{7}, Job: job.ID, Submitter: node, Kinds: []string{"etl.chunk/chunk", "etl.dedup/sign"},
					State: "running", Done: 1048576, Total: 4194304, Since: 1795416060000,
				}},
			},
			Meters: Meters{
				CPUPercent: 87.5, MemoryBytes: 58720256, InPerSecond: 2048, OutPerSecond: 1024, InTotal: 10485760, OutTotal: 5242880,
				DiskUsedBytes: 20971520, DiskQuotaBytes: 21474836480, DiskFreeBytes: 107374182400, DiskTotalBytes: 214748364800, Cores: 2, MemoryTotal: 17179869184, VRAMTotal: 6442450944,
			},
			Health: []Problem{{
				Code: "disk-nearly-full", Severity: "medium", Title: "The disk is nearly full",
				Text: "85 % of the disk is used; at 90 % no new work is taken.", Remedy: "Free some space.", Since: 1795416000000,
			}},
		},
		"bench-line": BenchLine{Progress: &grading.Progress{Part: bench.CPU, Share: 0.4}},
		"peers": []Peer{{
			Node: node, Peer: "12D3KooW…", Address: "/ip4/192.168.1.8/udp/4717/quic-v1", Direct: true, Transport: "quic", Inbound: true,
			RTTMillis: 0.8, Region: "DE", Agent: "kith/0.1.0", Since: 1795416000000, Roles: []string{"works for us"},
		}},
		"replay": Replay{
			Receipt: tasks.Receipt{Job: job.ID, Lease: tasks.LeaseID{7}, Submitter: node, Worker: node, Kinds: []string{"etl.hash/hash"}, Outcome: tasks.Accepted, CPUMillis: 900, At: 1795416060000},
			Claimed: dag.Sum(dag.DagCBOR, dag.SHA256, []byte("result")), Root: dag.Sum(dag.DagCBOR, dag.SHA256, []byte("result")), Same: true, WallMillis: 950, CPUMillis: 910,
		},
		"trust": []Trust{{
			Node: node, Score: 166, Reliability: 333, Quota: 3, Standing: "suspended", Until: 1798008000000, Counts: TrustCounts{Accepted: 41.5, Outvoted: 1},
			Skills: []Skill{{What: "etl.hash/hash", Agreed: 3, OneIn: 4}},
			Words:  []string{"suspended until 2026-12-25: 3 independent groups of nodes contradict it"},
			Cases:  []TrustCase{{Task: tasks.TaskID{9}, What: "etl.hash/hash", At: 1795416000000, With: []tasks.NodeID{}, Against: []tasks.NodeID{{4}, {5}, {6}}}},
		}},
		"jobs": []Job{held, done},
		"job": JobDetail{
			Job: job, Submitter: node, SpecRoot: dag.Sum(dag.DagCBOR, dag.SHA256, []byte("spec")),
			Input: dag.Sum(dag.DagCBOR, dag.SHA256, []byte("input")), PartBytes: 4194304,
			Policy: tasks.Policy{K: 2, N: 4, DeviceClass: tasks.CPU, NodeLimit: 64},
			Stages: []Stage{
				{Index: 0, Mode: "map", Steps: []string{"etl.chunk/chunk", "etl.dedup/sign"}, Tasks: Tally{Total: 32, Waiting: 12, Running: 6, Done: 14}},
				{Index: 1, Mode: "reduce", Steps: []string{"etl.dedup/agree"}, Tasks: Tally{Total: 8, Waiting: 8}},
			},
			Workers: []Worker{{Node: node, Contributions: Contributions{Running: 3, Accepted: 14, WallMillis: 9000, CPUMillis: 8500}}},
			Log:     []string{"stage 0 task 3: 2 of 2 agree"},
			Totals:  Contributions{Running: 6, Accepted: 28, WallMillis: 18000, CPUMillis: 17000},
			Moves: Moves{Count: 2, SparedMillis: 4000, Now: []Move{{
				Index: 3, Node: node, From: []tasks.NodeID{{4}}, At: 0.62, Words: "stage 0 task 3 went on from 62 % on another node",
			}}},
		},
		"explain": Explanation{
			Job: job.ID, State: "running", Summary: "20 tasks wait: fewer eligible nodes than the job needs to agree.",
			Reasons: []Waiting{{Reason: waiting, Tasks: 20, Examples: []string{"stage 0 task 17"}, Nodes: []string{"aebagaaaaa"}}},
		},
		"why": Why{
			Idle: true, Summary: "No node near here has work right now.", Reasons: []Reason{NewReason(tasks.Because(tasks.NoTasksLeft, ""))},
			Submitters: []Answer{{Node: node, At: 1795416060000, Reason: &waiting}},
		},
		"submit": Submit{
			Name: "corpus", Path: "/home/ann/corpus", Ops: []Op{{Kind: "etl.chunk", Params: map[string]any{"window": 2000.0}}, {Kind: "etl.zstd"}},
			K: 2, N: 4, Nodes: 8, Regions: []string{"DE", "FR"}, Excluded: []string{}, Sensitivity: tasks.Public, PartBytes: 4194304,
		},
		"submit-line": SubmitLine{Import: &Import{Path: "/home/ann/corpus", Files: 120, Bytes: 1048576, TotalBytes: 134217728}},
		"export":      Export{Dir: "/home/ann/result"},
		"exported":    Exported{Dir: "/home/ann/result", Files: 2, Bytes: 99614720},
		"kinds": []Kind{{
			Name: "etl.chunk", Title: "Cut documents into overlapping pieces", Version: 1, Class: "cpu", Memory: 268435456, Input: true,
			Allowed: true, Phases: []string{"chunk"}, Schema: map[string]any{"type": "object"},
		}},
		"owner": Owner{
			State: "paused", Since: 1795416060000, Level: "paused", Words: "paused: by you since 14:02; ends when you say kith resume",
			Reasons: []Pause{{Cause: "owner", Level: "paused", Since: 1795416060000, Text: "by you", Ends: "when you say kith resume"}},
			Caps:    given.Caps, Yield: Yield{PromiseMillis: 250, Histogram: []Bar{}}, Sensors: []Sensor{},
		},
		"snooze": Snooze{Millis: 1800000},
		"notices": []Notice{{
			Action: "stop", Reason: "a kind gives wrong results", At: 1795416060000, Expires: 1796020860000,
		}},
		"publish-notice": PublishNotice{Notice: []byte("signed")},
		"config":         []Setting{setting},
		"config-change": ConfigChange{
			Changed: []Setting{setting}, Restart: false, CanUndo: true, CanRedo: false, Settings: []Setting{setting},
		},
		"receipts": []Receipt{{
			Receipt: tasks.Receipt{
				Job: job.ID, Task: tasks.TaskID{8}, Lease: tasks.LeaseID{7}, Submitter: node, Worker: node, Kinds: []string{"etl.chunk/chunk"},
				Outcome: tasks.Accepted, WallMillis: 640, CPUMillis: 600, At: 1795416060000,
			},
			Role: "worker", Batch: "aebagaaaaa", Countered: true,
		}},
		"credit": Credit{
			Balance: 5400000, Digest: "1f2e3d4c5b6a7980", Void: map[string]int{"doubled": 1}, Asked: 2, Delivered: 1,
			With: []CreditWith{
				{Node: node, Net: 7200000, Did: 7800000, Got: 600000, Receipts: 120, Unsigned: 90000, Claims: 4, Earned: 124, Signed: 120},
				{Node: tasks.NodeID{4}, Net: -1800000, Got: 1800000, Receipts: 30, Earned: 40, Signed: 12, Last: true, Silent: 7, Rest: 1795416060000},
			},
		},
		"evidence": []Evidence{{Node: node, Job: job.ID, Lease: "a", What: "outvoted", Text: "returned a result two others disagree with", At: 1795416060000}},
		"failure":  Failure{Error: "no job begins with \"abcd\"", Code: "not-found", Remedy: "kith jobs lists them"},
	}
}

func TestGolden(t *testing.T) {
	for name, v := range samples() {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s changed (go test -update rewrites it):\n%s", file, got)
			}
		})
	}
}

func TestSubmitSampleDecodes(t *testing.T) {
	data, err := os.ReadFile("testdata/submit.json")
	if err != nil {
		t.Fatal(err)
	}
	var s Submit
	if err := strict.Decode(data, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Ops) != 2 || s.K != 2 {
		t.Fatalf("decoded %+v", s)
	}
}
