// Package cmd holds the programs. Its own tests keep the floors of the house: who may import whom, one comment a
// package, files that can be read in a sitting.
package cmd

import (
	"bufio"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what `go list` says of one package of this module.
type pkg struct {
	ImportPath                         string
	Dir                                string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports                            []string
	Deps                               []string
}

func (p pkg) files() []string { return slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) }

func packages(t *testing.T) []pkg {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports,Deps", "kith/...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// under reports whether path is tree or lies below it.
func under(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

func underAny(path string, trees []string) bool {
	return slices.ContainsFunc(trees, func(t string) bool { return under(path, t) })
}

// rule forbids the packages below From (less Except) to import anything below Never.
type rule struct {
	from   []string
	except []string
	never  []string
	deep   bool // also through other packages
	why    string
}

var rules = []rule{
	{
		from: []string{"kith"}, except: []string{"kith/storage/badgerstore"},
		never: []string{"github.com/dgraph-io/badger"},
		why:   "one package knows Badger, so that the store can be changed in one place",
	},
	{
		from: []string{"kith"}, except: []string{"kith/p2p", "kith/simnet"},
		never: []string{
			"github.com/libp2p", "github.com/ipfs/boxo", "github.com/ipfs/go-cid",
			"github.com/multiformats/go-multiaddr", "github.com/oschwald",
		},
		why: "p2p alone knows the network libraries: their upkeep is uncertain and their faces are wide",
	},
	{
		from: []string{"kith/tasks"}, deep: true,
		never: []string{"kith/p2p", "kith/node", "kith/ui", "kith/cmd", "github.com/libp2p", "github.com/dgraph-io/badger", "net/http"},
		why:   "the domain must run the same in a simulation, a test and a node",
	},
	{
		from: []string{"kith/p2p"}, deep: true,
		never: []string{"kith/tasks", "kith/node", "kith/ui", "kith/cmd"},
		why:   "the network carries typed topics, streams and blocks; it knows nothing of jobs",
	},
	{
		from: []string{"kith/bench"}, deep: true,
		never: []string{"kith/tasks", "kith/p2p", "kith/node", "kith/ui", "kith/cmd"},
		why:   "measuring a machine needs no network, no job and no settings; the node brings them together",
	},
	{
		from: []string{"kith/storage"}, deep: true,
		never: []string{"kith/tasks", "kith/p2p", "kith/node", "kith/ui", "kith/cmd"},
		why:   "storage is the ground floor",
	},
	{
		from:  []string{"kith/storage/dag"},
		never: []string{"kith/storage"},
		why:   "dag lies below the stores: it reads and writes through interfaces it is handed",
	},
	{
		from: []string{"kith/tasks/job", "kith/tasks/match", "kith/tasks/deal", "kith/tasks/verify", "kith/tasks/trust", "kith/tasks/merge"},
		never: []string{
			"os", "net", "os/exec", "io/fs", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "sync",
			"kith/tasks/sandbox", "kith/tasks/execute", "kith/tasks/submit", "kith/tasks/work",
		},
		why: "the core takes values and time and returns values: no I/O, no goroutine, no chance",
	},
	{
		from: []string{"kith/tasks/kinds"}, except: []string{"kith/tasks/kinds/testkind", "kith/tasks/kinds/kindtest"},
		never: []string{"net", "net/http", "os/exec", "math/rand", "math/rand/v2", "crypto/rand", "unsafe"},
		why:   "what a kind computes depends on nothing but its call",
	},
	{
		from: []string{"kith/simnet/core", "kith/simnet/links", "kith/simnet/scenario"},
		never: []string{
			"os", "net", "sync", "log/slog", "crypto/rand", "kith/p2p", "kith/node", "kith/cmd",
			"kith/tasks/sandbox", "kith/tasks/execute", "kith/tasks/submit", "kith/tasks/work",
		},
		why: "a core simulation is the same run for the same seed: it draws from nowhere else",
	},
	{
		from:  []string{"kith/node"},
		never: []string{"kith/cmd", "kith/simnet"},
		why:   "the program and the simulator stand on the node, not the other way round",
	},
	{
		from: []string{"kith"}, except: []string{"kith/node", "kith/cmd"},
		never: []string{"github.com/thejerf/suture"},
		why:   "restarts belong to the supervisor in the composition root",
	},
}

func TestFloors(t *testing.T) {
	all := packages(t)
	for _, r := range rules {
		for _, tree := range r.from {
			if !slices.ContainsFunc(all, func(p pkg) bool { return under(p.ImportPath, tree) }) {
				t.Errorf("the rule about %s names a package that does not exist (any more)", tree)
			}
		}
		for _, p := range all {
			if !underAny(p.ImportPath, r.from) || underAny(p.ImportPath, r.except) {
				continue
			}
			imports := p.Imports
			if r.deep {
				imports = p.Deps
			}
			for _, i := range imports {
				if forbidden(i, r.never) {
					t.Errorf("%s imports %s: %s", p.ImportPath, i, r.why)
				}
			}
		}
	}
}

// forbidden is underAny, but the name of a standard package bars that package alone: "os" does not bar "os/signal".
func forbidden(path string, never []string) bool {
	return slices.ContainsFunc(never, func(n string) bool {
		if strings.Contains(n, ".") || strings.HasPrefix(n, "kith/") {
			return n != "kith/storage" && under(path, n) || path == n
		}
		return path == n
	})
}

func TestOneCommentEachPackage(t *testing.T) {
	vague := []string{"util", "utils", "common", "types", "helpers", "helper", "misc", "base"}
	for _, p := range packages(t) {
		if slices.Contains(vague, filepath.Base(p.ImportPath)) {
			t.Errorf("%s: the name says nothing of what the package is for", p.ImportPath)
		}
		var with []string
		files := p.GoFiles
		if len(files) == 0 { // a folder of tests alone
			files = p.TestGoFiles
		}
		for _, f := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Doc != nil {
				with = append(with, f)
			}
		}
		if len(with) != 1 && len(files) > 0 {
			t.Errorf("%s: want exactly one package comment, found %d %v", p.ImportPath, len(with), with)
		}
	}
}

func TestFilesCanBeReadInASitting(t *testing.T) {
	const most = 620 // lines
	for _, p := range packages(t) {
		for _, f := range p.files() {
			if n := lines(t, filepath.Join(p.Dir, f)); n > most {
				t.Errorf("%s/%s has %d lines, more than %d: what are its two subjects?", p.ImportPath, f, n, most)
			}
		}
	}
}

func lines(t *testing.T, name string) int {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		n++
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}
