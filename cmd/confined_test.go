package cmd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// confined are things by which work could get out of the sandbox, and the only places that may hold them. Work is named
// by kinds and parameters alone, in specs, offers, leases and settings: with these few places there is nothing that could
// take a program, an engine or a way around it from there.
var confined = []struct {
	name string            // import path, or import path and name
	in   map[string]string // folder → why it may
	hit  func(n ast.Node, imports map[string]string) bool
	// unused: it may be that tests alone have it.
	unused bool
}{
	{
		name: "tasks.Call, by which a kind is called", hit: literal("kith/tasks", "Call"),
		in: map[string]string{
			"tasks/sandbox":        "the runner is where kinds run",
			"tasks/kinds/kindtest": "tests of kinds",
		},
	},
	{
		name: "sandbox.InProcess, which confines nothing", hit: selects("kith/tasks/sandbox", "InProcess"),
		in: map[string]string{"simnet": "simulations run no work of others"}, unused: true,
	},
	{
		name: "sandbox.NewProcess", hit: selects("kith/tasks/sandbox", "NewProcess"),
		in: map[string]string{"node": "one place chooses the program that runners are: this one"},
	},
	{
		name: "the start of a program", hit: starts,
		in: map[string]string{
			"tasks/sandbox":        "starts runners, which are this program",
			"tasks/kinds/kindtest": "tests of kinds",
			"bench":                "probes that may crash, which are this program, and smartctl",
			"node/drives":          "asks the system about its drives",
			"node/grading":         "asks the system about its drives",
			"node/service":         "systemctl, at the owner's command",
			"node/owner":           "asks the system about its owner",
			"storage/storagetest":  "tests of stores",
			"simnet":               "simulations",
			"cmd":                  "what a person runs",
		},
	},
}

// selects is a use of name from the package path.
func selects(path, name string) func(ast.Node, map[string]string) bool {
	return func(n ast.Node, imports map[string]string) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || s.Sel.Name != name {
			return false
		}
		x, ok := s.X.(*ast.Ident)
		return ok && imports[x.Name] == path
	}
}

// literal is a value of the type name from the package path.
func literal(path, name string) func(ast.Node, map[string]string) bool {
	is := selects(path, name)
	return func(n ast.Node, imports map[string]string) bool {
		c, ok := n.(*ast.CompositeLit)
		return ok && is(c.Type, imports)
	}
}

func starts(n ast.Node, imports map[string]string) bool {
	for _, f := range [][2]string{
		{"os", "StartProcess"},
		{"syscall", "Exec"},
		{"syscall", "ForkExec"},
		{"syscall", "StartProcess"},
		{"golang.org/x/sys/unix", "Exec"},
		{"golang.org/x/sys/windows", "CreateProcess"},
		{"golang.org/x/sys/windows", "CreateProcessAsUser"},
		{"plugin", "Open"},
		{"os/exec", "Command"},
		{"os/exec", "CommandContext"},
	} {
		if selects(f[0], f[1])(n, imports) {
			return true
		}
	}
	c, ok := n.(*ast.CompositeLit)
	return ok && selects("os/exec", "Cmd")(c.Type, imports)
}

// TestNothingRunsOutside reads all that is part of the program, for every system.
func TestNothingRunsOutside(t *testing.T) {
	root := ".."
	used := make([]map[string]bool, len(confined))
	for i := range used {
		used[i] = map[string]bool{}
	}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == "dist" || strings.HasPrefix(d.Name(), ".") && name != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		imports := map[string]string{}
		for _, i := range file.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			local := path.Base(p)
			if i.Name != nil {
				local = i.Name.Name
			}
			imports[local] = p
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(rel)
		ast.Inspect(file, func(n ast.Node) bool {
			for i, c := range confined {
				if n == nil || !c.hit(n, imports) {
					continue
				}
				ok := false
				for in := range c.in {
					if under(folder, in) {
						used[i][in], ok = true, true
					}
				}
				if !ok {
					t.Errorf("%s uses %s: only %v may", name, c.name, keys(c.in))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range confined {
		if len(used[i]) == 0 && !c.unused {
			t.Errorf("nobody uses %s: the rule has lost its object", c.name)
		}
	}
}

func keys(m map[string]string) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}
