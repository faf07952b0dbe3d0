package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// What the words of a reason tell a person to do can be done: every command and flag they name exists.
func TestRemediesNameWhatThereIs(t *testing.T) {
	var cli commands
	k, err := kong.New(&cli, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		there["kith "+n.Name] = true
		for _, f := range n.Flags {
			there["--"+f.Name] = true
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(k.Model.Node)
	source, err := os.ReadFile("../../tasks/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(source), "map[Code]words{")
	if !ok {
		t.Fatal("no table of words")
	}
	named := regexp.MustCompile(`kith [a-z]+|--[a-z-]+`).FindAllString(table, -1)
	if len(named) < 8 {
		t.Errorf("only %v are named; does the test still read the table?", named)
	}
	for _, what := range named {
		if !there[what] {
			t.Errorf("a remedy names %q, which does not exist", what)
		}
	}
}
