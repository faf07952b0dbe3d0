package kinds_test

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"kith/tasks"
	"kith/tasks/kinds"
	"kith/tasks/kinds/kindtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// documents returns a small corpus with everything that has ever made trouble: copies, near copies, empty files, no
// line breaks, CRLF, NULs, bytes that are not UTF-8, odd names.
func documents(seed uint64) (docs []kindtest.Doc) {
	rng := rand.New(rand.NewPCG(seed, 2))
	words := strings.Fields("der the le 你好 код return func if \"x\" 😀 {} } \n \n\n \r\n \t . 。 # ``` \x00 \xff\xfe 42 élan")
	for i := range words { // Fields took the white space away
		words[i] += " "
	}
	words = append(words, "\n", "\n\n", "\r\n", "\t", "\x00", ".\n")
	endings := []string{"go", "md", "txt", "py", "bin", "jsonl", "😀", "\xff"}
	for i := range 24 {
		if i%5 == 4 {
			var lines strings.Builder
			for range rng.IntN(40) {
				fmt.Fprintf(&lines, "{%q:%d,}\r\n%s", "id", rng.IntN(9), strings.Repeat("not json\n", rng.IntN(2)))
			}
			docs = append(docs, kindtest.Doc{Path: fmt.Sprintf("d %02d/f.jsonl", i/4), At: int64(i) << 40, Data: lines.String()})
			continue
		}
		var text strings.Builder
		if len(docs) > 0 && rng.IntN(3) == 0 {
			old := docs[rng.IntN(len(docs))].Data
			cut := rng.IntN(len(old) + 1)
			text.WriteString(old[:cut] + strings.Repeat("changed ", rng.IntN(2)) + old[cut:])
		} else {
			for range rng.IntN(3) * rng.IntN(1500) {
				text.WriteString(words[rng.IntN(len(words))])
				fmt.Fprint(&text, rng.IntN(50), " ")
			}
		}
		docs = append(docs, kindtest.Doc{Path: fmt.Sprintf("d %02d/f.%s", i/4, endings[rng.IntN(len(endings))]), At: int64(i) << 40, Data: text.String()})
	}
	return append(docs, kindtest.Doc{Path: "z", Data: strings.Repeat("z", 100_000)}, kindtest.Doc{Path: "zz"})
}

func pipeline(t *testing.T, ops ...tasks.Op) []tasks.Op {
	t.Helper()
	for i := range ops {
		kind, err := kinds.All().Kind(ops[i].Kind)
		if err != nil {
			t.Fatal(err)
		}
		if ops[i].Params, err = kind.Check(ops[i].Params); err != nil {
			t.Fatal(err)
		}
	}
	return ops
}

// The result of a whole pipeline does not depend on how its input is split, nor on the number of key ranges, and is the
// same on every machine.
func TestPipeline(t *testing.T) {
	var golden strings.Builder
	for name, ops := range map[string][]tasks.Op{
		"chunk dedup lang zstd": pipeline(t, tasks.Op{Kind: "etl.chunk"}, tasks.Op{Kind: "etl.dedup"}, tasks.Op{Kind: "etl.lang"}, tasks.Op{Kind: "etl.zstd"}),
		"chunk dedup zstd":      pipeline(t, tasks.Op{Kind: "etl.chunk"}, tasks.Op{Kind: "etl.dedup"}, tasks.Op{Kind: "etl.zstd"}),
		"jsonl jsonl dedup zstd": pipeline(t, tasks.Op{Kind: "etl.jsonl"}, tasks.Op{Kind: "etl.jsonl", Params: []byte(`{"repair":[]}`)},
			tasks.Op{Kind: "etl.dedup"}, tasks.Op{Kind: "etl.zstd"}),
		"dedup chunk hash dedup": pipeline(t, tasks.Op{Kind: "etl.dedup"}, tasks.Op{Kind: "etl.chunk", Params: []byte(`{"window":300,"overlap":50}`)},
			tasks.Op{Kind: "etl.hash"}, tasks.Op{Kind: "etl.dedup", Params: []byte(`{"distance":5}`)}),
	} {
		t.Run(name, func(t *testing.T) {
			docs := documents(1)
			job := kindtest.Job{Kinds: kinds.All(), Ops: ops, Parts: kindtest.Parts(docs), Ranges: 1}
			want, err := job.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(3, 4))
			for range 8 {
				var lists [][]kindtest.Doc
				for rest := docs; len(rest) > 0; {
					n := rng.IntN(min(9, len(rest)) + 1)
					lists = append(lists, rest[:n])
					rest = rest[n:]
				}
				job.Parts, job.Ranges = kindtest.Parts(lists...), 1+rng.IntN(7)
				got, err := job.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if diff := kindtest.Diff(want, got); diff != "" {
					t.Fatalf("%d parts, %d ranges: %s", len(lists), job.Ranges, diff)
				}
			}
			if strings.Contains(name, "jsonl") {
				for _, file := range []string{"dedup.jsonl", "quarantine-2.jsonl", "quarantine.jsonl", "repairs-2.jsonl", "repairs.jsonl"} {
					if want[file] == nil || len(want[file].Data) == 0 && !strings.Contains(file, "-2") {
						t.Errorf("%s of an early step is lost", file)
					}
				}
			}
			if !strings.Contains(name, "lang") { // its own golden files pin what it says
				golden.WriteString(digest(name, want))
			}
		})
	}
	file := filepath.Join("testdata", "pipeline.txt")
	if *update {
		if err := os.WriteFile(file, []byte(sortLines(golden.String())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := sortLines(golden.String()); got != string(want) {
		t.Errorf("results changed; if that is meant, raise the versions of the kinds and run with -update:\n%s", got)
	}
}

func digest(name string, files fstest.MapFS) string {
	var lines strings.Builder
	for _, file := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[file].Data)
		fmt.Fprintf(&lines, "%s: %s %d %s\n", name, file, len(files[file].Data), hex.EncodeToString(sum[:]))
	}
	return lines.String()
}

func sortLines(s string) string {
	return strings.Join(slices.Sorted(strings.SplitAfterSeq(s, "\n")), "")
}
