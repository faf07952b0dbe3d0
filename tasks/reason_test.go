package tasks_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"kith/tasks"
)

// Every code declared in reason.go must have words and a remedy: a person reads them.
func TestEveryCodeHasWords(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes++
		r := tasks.Reason{Code: tasks.Code(code)}
		if r.Words() == code || r.Remedy() == "" {
			t.Errorf("%s has words %q and remedy %q", spec.Names[0].Name, r.Words(), r.Remedy())
		}
		if strings.ToLower(code) != code || strings.Contains(code, "_") {
			t.Errorf("code %q: want lower case with dashes", code)
		}
		return true
	})
	if codes < 20 {
		t.Fatalf("found %d codes in reason.go; does the test still read it?", codes)
	}
}

func TestReasonAsError(t *testing.T) {
	plain := tasks.Reason{Code: tasks.Paused}
	if plain.Error() != plain.Words() {
		t.Errorf("got %q", plain.Error())
	}
	detailed := tasks.Because(tasks.MemoryLimit, "%d of %d MB", 5, 4)
	if got := detailed.Error(); !strings.HasSuffix(got, ": 5 of 4 MB") {
		t.Errorf("got %q", got)
	}
}
