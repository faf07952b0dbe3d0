package dedup

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"kith/tasks"
	"kith/tasks/kinds/etl/simhash"
	"kith/tasks/kinds/kindtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func job(t testing.TB, params string, parts ...fs.FS) kindtest.Job {
	t.Helper()
	p, err := Kind{}.Check([]byte(params))
	if err != nil {
		t.Fatal(err)
	}
	return kindtest.Job{Kinds: kindtest.Registry{Kind{}}, Ops: []tasks.Op{{Kind: "etl.dedup", Params: p}}, Parts: parts}
}

// texts returns n documents in which some are copies and some nearly so.
func texts(seed uint64, n int) (docs []kindtest.Doc) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		var words []string
		switch kind := rng.IntN(10); {
		case kind < 3 && len(docs) > 0: // a copy
			words = strings.Split(docs[rng.IntN(len(docs))].Data, " ")
		case kind < 7 && len(docs) > 0: // a copy with changes
			words = strings.Split(docs[rng.IntN(len(docs))].Data, " ")
			for range rng.IntN(4) {
				words[rng.IntN(len(words))] = fmt.Sprint("new", rng.IntN(1000))
			}
		case kind == 7: // nearly nothing
			words = strings.Fields("a b c d")[:rng.IntN(4)]
		default:
			for range 20 + rng.IntN(200) {
				words = append(words, fmt.Sprint("w", rng.IntN(5000)))
			}
		}
		docs = append(docs, kindtest.Doc{Path: fmt.Sprintf("f%03d", i/3), At: int64(i % 3 * 10000), Data: strings.Join(words, " ")})
	}
	return docs
}

// bruteForce is what dedup must keep: the first of each component under all pairs.
func bruteForce(docs []kindtest.Doc, distance int) (kept []kindtest.Doc) {
	var h simhash.Hasher
	sums := make([]uint64, len(docs))
	shingles := make([]int, len(docs))
	first := make([]int, len(docs))
	find := func(i int) int {
		for first[i] != i {
			i = first[i]
		}
		return i
	}
	for i, d := range docs {
		first[i] = i
		sums[i], shingles[i] = h.Sum([]byte(d.Data))
		for j, e := range docs[:i] {
			if d.Data == e.Data || shingles[i] > 0 && shingles[j] > 0 && bits.OnesCount64(sums[i]^sums[j]) <= distance {
				a, b := find(i), find(j)
				first[max(a, b)] = min(a, b)
			}
		}
	}
	for i, d := range docs {
		if find(i) == i {
			kept = append(kept, d)
		}
	}
	return kept
}

func TestAgainstBruteForce(t *testing.T) {
	near := 0
	for seed := range uint64(10) {
		docs := texts(seed, 60)
		for _, distance := range []int{0, 3, 5} {
			want := bruteForce(docs, distance)
			parts := kindtest.Parts(docs[:17], docs[17:18], docs[18:])
			out, err := job(t, fmt.Sprintf(`{"distance":%d}`, distance), parts...).Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := kindtest.Docs(out)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, distance %d: kept %d, want %d", seed, distance, len(got), len(want))
			}
			near += len(bruteForce(docs, 0)) - len(want)
		}
	}
	if near == 0 {
		t.Error("no near duplicate was among the documents")
	}
}

func TestEqualOnly(t *testing.T) {
	docs := []kindtest.Doc{{Path: "a", Data: "one two three four"}, {Path: "b", Data: "One two, three four!"}, {Path: "c", Data: "one two three four"}}
	out, err := job(t, `{"near":false}`, kindtest.Corpus(docs...)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := kindtest.Docs(out); !slices.Equal(got, docs[:2]) {
		t.Errorf("kept %v", got)
	}
}

func TestCompressed(t *testing.T) {
	part := fstest.MapFS{
		"index.jsonl": {Data: []byte(`{"path":"a","at":0,"off":0,"len":1,"raw":9}` + "\n" + `{"path":"b","at":0,"off":1,"len":1,"raw":9}` + "\n")},
		"data":        {Data: []byte("xx")},
	}
	if _, err := job(t, ``, part).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "compressed") {
		t.Errorf("near duplicates of compressed records: %v", err)
	}
	out, err := job(t, `{"near":false}`, part).Run(t.Context())
	if got, _ := kindtest.Docs(out); err != nil || len(got) != 1 {
		t.Errorf("equal frames: %v, %v", got, err)
	}
}

// A key that too many fingerprints share is compared in part, the rest counted, whatever the split.
func TestCap(t *testing.T) {
	uncompared := func(most int) uint64 {
		list := neighbours{band: band{rotate: 0, width: 16}, params: Params{Near: true, Distance: 3, Cap: most}}
		for i := range 10 {
			list.add(entry{high: 7<<48 | uint64(i)<<20, ref: ref(i)})
		}
		list.flush()
		return list.uncompared
	}
	if got, want := uncompared(4), uint64(10*9/2-(6*4+3+2+1)); got != want {
		t.Errorf("%d pairs not compared, want %d", got, want)
	}
	if got := uncompared(9); got != 0 {
		t.Errorf("%d pairs not compared, want none", got)
	}
}

func TestReport(t *testing.T) {
	docs := []kindtest.Doc{
		{Path: "a", Data: "one two three"},
		{Path: "b\xff", At: 7, Data: "One two three"},
		{Path: "c", Data: "one two three"},
		{Path: "d", Data: ""},
		{Path: "e", Data: "by itself"},
		{Path: "f", Data: ""},
		{Path: "f", At: 9, Data: ""},
	}
	var logged string
	for _, split := range []int{0, 2, 7} {
		j := job(t, "", kindtest.Parts(docs[:split], docs[split:])...)
		j.Log = func(format string, args ...any) { logged = fmt.Sprintf(format, args...) }
		out, err := j.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := "7 records: 3 equal and 1 near duplicates dropped, 0 pairs not compared"; logged != want {
			t.Errorf("logged %q, want %q", logged, want)
		}
		want := `{"is":"summary","records":7,"equal":3,"near":1,"uncompared":0}
{"is":"kept","path":"a","at":0,"len":13,"group":1,"copies":2}
{"is":"near","path64":"Yv8=","at":7,"len":13,"group":1}
{"is":"equal","path":"c","at":0,"len":13,"group":1}
{"is":"kept","path":"d","at":0,"len":0,"group":2,"copies":2}
{"is":"equal","path":"f","at":0,"len":0,"group":2}
{"is":"equal","path":"f","at":9,"len":0,"group":2}
`
		if got := string(out[ReportFile].Data); got != want {
			t.Errorf("split at %d:\n%s\nwant\n%s", split, got, want)
		}
	}
}

func TestConform(t *testing.T) {
	kindtest.Conform(t, Kind{}, `{}`, texts(3, 30)...)
}

func TestUnusual(t *testing.T) {
	docs := []kindtest.Doc{
		{Path: "empty"},
		{Path: "empty2"},
		{Path: "giant", Data: strings.Repeat("x", 3<<20)},
		{Path: "nul\x00\xff", Data: "\x00\x00\xff\xfe\x00"},
		{Path: "😀", Data: "a\r\nb\r\nc\r\n"},
		{Path: "😀2", Data: "a\nb\nc\n"},
	}
	out, err := job(t, ``, kindtest.Parts(nil, docs, nil)...).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []kindtest.Doc{docs[0], docs[2], docs[3], docs[4]}
	if got, _ := kindtest.Docs(out); !slices.Equal(got, want) {
		t.Errorf("kept %.200v", got)
	}
	out, err = job(t, ``, kindtest.Corpus()).Run(t.Context())
	if got, _ := kindtest.Docs(out); err != nil || got != nil {
		t.Errorf("empty corpus: %v, %v", got, err)
	}
}

func TestBands(t *testing.T) {
	for distance := range MaxDistance + 1 {
		at := 0
		for _, b := range (Params{Near: true, Distance: distance}).bands() {
			if b.rotate != at || b.width < 64/(distance+1) {
				t.Errorf("distance %d: band %+v at %d", distance, b, at)
			}
			at += b.width
		}
		if at != 64 {
			t.Errorf("distance %d: bands cover %d bits", distance, at)
		}
	}
}

func TestRangeOf(t *testing.T) {
	for _, ranges := range []int{1, 3, 64, maxRanges} {
		for _, key := range []uint64{0, 1 << 47, 1<<48 - 1, 1 << 63, ^uint64(0)} {
			a, b := rangeOf(key, 16, ranges), rangeOf(key|1<<48-1, 16, ranges)
			if a != b || a < 0 || a >= ranges {
				t.Errorf("key %x of %d: %d and %d", key, ranges, a, b)
			}
		}
	}
}

// golden is everything the phases write for one small corpus in two parts and two ranges.
func TestGolden(t *testing.T) {
	docs := texts(1, 12)
	sampleJob := job(t, "", kindtest.Parts(docs[:5], docs[5:])...)
	files := map[string]string{}
	var ranges, found []fs.FS
	for i, part := range sampleJob.Parts {
		out := run(t, tasks.Call{Phase: sign, Index: i, Parts: 2, Ranges: 2, In: []fs.FS{part}})
		for r := range 2 {
			files[fmt.Sprintf("sign %d %d", i, r)] = fmt.Sprintf("%x", out[entriesFile(r)].Data)
		}
		ranges = append(ranges, out)
	}
	for r := range 2 {
		out := run(t, tasks.Call{Phase: agree, Index: r, Params: sampleJob.Ops[0].Params, Parts: 2, In: ranges})
		files[fmt.Sprintf("agree %d", r)] = fmt.Sprintf("%x", out[edgesFile].Data)
		found = append(found, out)
	}
	for name, f := range run(t, tasks.Call{Phase: resolve, Parts: 2, In: found}) {
		files["resolve "+name] = fmt.Sprintf("%q", f.Data)
	}
	got, err := json.MarshalIndent(files, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "golden.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("intermediate files changed; if that is meant, raise the kind's version and run with -update:\n%s", got)
	}
}

func run(t testing.TB, c tasks.Call) fstest.MapFS {
	t.Helper()
	out := kindtest.NewOutput()
	c.Out = out
	if err := (Kind{}).Run(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	return out.FS()
}

func TestRefuses(t *testing.T) {
	part := kindtest.Corpus(kindtest.Doc{Path: "a", Data: "x"})
	file := func(name, data string) fs.FS { return fstest.MapFS{name: {Data: []byte(data)}} }
	for name, c := range map[string]tasks.Call{
		"short entries":     {Phase: agree, In: []fs.FS{file("r/0000", entriesMagic)}},
		"entries' magic":    {Phase: agree, In: []fs.FS{file("r/0000", "kithent0"+strings.Repeat("\x00", 24))}},
		"entries' bands":    {Phase: agree, In: []fs.FS{file("r/0000", entriesMagic+"\xff\xff\xff\xff"+strings.Repeat("\x00", 20))}},
		"entries' count":    {Phase: agree, In: []fs.FS{file("r/0000", entriesMagic+"\x00\x00\x00\x04"+strings.Repeat("\xff", 20))}},
		"entries' order":    {Phase: agree, In: []fs.FS{file("r/0000", entriesMagic+"\x00\x00\x00\x04\x00\x00\x00\x02"+strings.Repeat("\x00", 16+40))}},
		"edges' count":      {Phase: resolve, Parts: 1, In: []fs.FS{file("edges", edgesMagic+strings.Repeat("\xff", 48))}},
		"edge beyond parts": {Phase: resolve, Parts: 1, In: []fs.FS{file("edges", string((&edges{equal: []edge{{0, 1 << 32}}}).bytes()))}},
		"edge to itself":    {Phase: resolve, Parts: 1, In: []fs.FS{file("edges", string((&edges{near: []edge{{1, 1}}}).bytes()))}},
		"fates' count":      {Phase: apply, Index: 1, In: []fs.FS{file("fates", fatesMagic+"\x00\x00\x00\x02\x00\x00\x00\x00"), part}},
		"fates' order":      {Phase: apply, Index: 1, In: []fs.FS{file("fates", string(appendFates(nil, []fate{{is: near, group: 1}, {is: near, group: 1}}))), part}},
		"fate of no record": {Phase: apply, Index: 1, In: []fs.FS{file("fates", string(appendFates(nil, []fate{{record: 1, is: equal, group: 1}}))), part}},
		"fate unknown":      {Phase: apply, Index: 1, In: []fs.FS{file("fates", string(appendFates(nil, []fate{{is: 3, group: 1}}))), part}},
		"fates cut short":   {Phase: apply, Index: 1, In: []fs.FS{file("fates", fatesMagic+"\x00"), part}},
		"no counts":         {Phase: apply, In: []fs.FS{fstest.MapFS{}, part}},
		"counts":            {Phase: apply, In: []fs.FS{file("stats.json", `{"dropped":3}`), part}},
	} {
		c.Out = kindtest.NewOutput()
		if err := (Kind{}).Run(t.Context(), &c); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, c := range []tasks.Call{{Phase: "guess"}, {Phase: sign}, {Phase: sign, Ranges: maxRanges + 1}, {Phase: apply}, {Phase: resolve, In: []fs.FS{fstest.MapFS{}}}} {
		if err := (Kind{}).Run(t.Context(), &c); err == nil {
			t.Errorf("%+v was run", c)
		}
	}
	for _, bad := range []string{`{"distance":6}`, `{"distance":-1}`, `{"cap":0}`, `{"cap":100001}`} {
		if _, err := (Kind{}).Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestForest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "n")
		node := rapid.IntRange(0, n-1)
		var f forest
		f.reset(n)
		component := make([]int, n)
		for i := range component {
			component[i] = i
		}
		for range rapid.IntRange(0, 60).Draw(t, "unions") {
			a, b := node.Draw(t, "a"), node.Draw(t, "b")
			was := component[a] != component[b]
			if f.union(a, b) != was {
				t.Fatalf("union of %d and %d", a, b)
			}
			low, high := min(component[a], component[b]), max(component[a], component[b])
			for i := range component {
				if component[i] == high {
					component[i] = low
				}
			}
		}
		for i := range component {
			if f.find(i) != component[i] {
				t.Fatalf("%d is in %d, want %d", i, f.find(i), component[i])
			}
		}
	})
}

// plainFS hides that files can seek.
type plainFS struct{ fs.FS }

func (p plainFS) Open(name string) (fs.File, error) {
	f, err := p.FS.Open(name)
	return struct{ fs.File }{f}, err
}

// Lists of many windows are merged in order, with and without seeking.
func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var sources []*source
	want := make(lists, 3)
	for part := range uint32(4) {
		mine := make(lists, 3)
		for i := range mine {
			for n := range rng.IntN(int(part)*window + 2) {
				e := entry{high: rng.Uint64N(50), ref: ref(n)}
				if i == 0 {
					e.low = rng.Uint64()
				}
				mine[i] = append(mine[i], e)
				e.ref = newRef(part, uint32(n))
				want[i] = append(want[i], e)
			}
		}
		var file bytes.Buffer
		if err := mine.writeTo(&file); err != nil {
			t.Fatal(err)
		}
		var fsys fs.FS = fstest.MapFS{"r/0000": {Data: file.Bytes()}}
		if part%2 == 1 {
			fsys = plainFS{fsys}
		}
		s, err := openSource(fsys, "r/0000", part, 2)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, s)
	}
	for i := range want {
		slices.SortFunc(want[i], compare)
		var got []entry
		if err := merge(t.Context(), sources, i, func(e entry) { got = append(got, e) }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want[i]) {
			t.Errorf("list %d: %d entries in another order than the %d wanted", i, len(got), len(want[i]))
		}
	}
}

func FuzzEntries(f *testing.F) {
	one := run(f, tasks.Call{Phase: sign, Parts: 1, Ranges: 1, In: []fs.FS{kindtest.Corpus(texts(1, 5)...)}})
	f.Add(one["r/0000"].Data)
	f.Add([]byte(entriesMagic))
	f.Fuzz(func(t *testing.T, file []byte) {
		out := kindtest.NewOutput()
		c := tasks.Call{Phase: agree, Parts: 2, In: []fs.FS{one, fstest.MapFS{"r/0000": {Data: file}}}, Out: out}
		if err := (Kind{}).Run(t.Context(), &c); err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		var e edges
		if err := e.add(out.FS()[edgesFile].Data, 2); err != nil && !strings.Contains(err.Error(), "itself") {
			t.Error(err) // a record that is listed twice is near itself; resolve refuses that
		}
	})
}

func FuzzEdges(f *testing.F) {
	f.Add((&edges{records: 3, equal: []edge{{0, 1}}, near: []edge{{1, 2 << 32}}}).bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		var e edges
		if err := e.add(file, 3); err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if string(e.bytes()) != string(file) {
			t.Error("accepted edges are written differently")
		}
		refs, fates, stats := components(&e)
		dropped, copies := uint64(0), uint64(0)
		for _, f := range fates {
			if f.is != kept {
				dropped++
			}
			copies += uint64(f.copies)
		}
		if dropped != stats.Equal+stats.Near || copies != dropped || !slices.IsSorted(refs) {
			t.Errorf("%v: %v, %+v", refs, fates, stats)
		}
		for len(refs) > 0 { // as resolve writes them
			n := slices.IndexFunc(refs, func(r ref) bool { return r.part() != refs[0].part() })
			if n < 0 {
				n = len(refs)
			}
			if _, err := parseFates(appendFates(nil, fates[:n])); err != nil {
				t.Errorf("%v: %v", fates[:n], err)
			}
			refs, fates = refs[n:], fates[n:]
		}
	})
}

func FuzzFates(f *testing.F) {
	f.Add(appendFates(nil, []fate{{0, kept, 2, 1}, {5, equal, 0, 1}, {6, near, 0, 1}}))
	f.Fuzz(func(t *testing.T, file []byte) {
		list, err := parseFates(file)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if string(appendFates(nil, list)) != string(file) {
			t.Error("accepted fates are written differently")
		}
	})
}
