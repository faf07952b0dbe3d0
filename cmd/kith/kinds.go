package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"kith/node"
	"kith/node/api"
	"kith/node/strict"
	"kith/tasks"
	"kith/tasks/kinds"
)

// kindsCmd is "kith kinds". It needs no running node: the kinds are part of the program.
type kindsCmd struct {
	Name string `arg:"" optional:"" help:"Kind to show with its parameters."`
	All  bool   `help:"List the kinds for tests and measurements too."`
}

// Run lists the kinds, or shows one.
func (c kindsCmd) Run(a *app) error {
	all := node.Kinds(kinds.All(), func(string) bool { return true })
	if c.Name == "" {
		return a.show(all, func(w io.Writer) {
			rows := [][]string{{"KIND", "NEEDS", "WHAT IT DOES"}}
			for _, k := range all {
				if strings.HasPrefix(k.Name, "test.") && !c.All {
					continue
				}
				rows = append(rows, []string{k.Name, fmt.Sprintf("%s, %s", k.Class, bytesText(k.Memory)), k.Title})
			}
			table(w, rows)
		})
	}
	var names []string
	for _, k := range all {
		if k.Name == c.Name {
			return a.show(k, func(w io.Writer) { kind(w, k) })
		}
		names = append(names, k.Name)
	}
	if near := strict.Nearest(c.Name, names); near != "" {
		return fmt.Errorf("%w: %q; did you mean %q?", tasks.ErrUnknownKind, c.Name, near)
	}
	return fmt.Errorf("%w: %q", tasks.ErrUnknownKind, c.Name)
}

func kind(w io.Writer, k api.Kind) {
	table(w, [][]string{
		{"kind", fmt.Sprintf("%s, version %d", k.Name, k.Version)},
		{"does", k.Title},
		{"needs", fmt.Sprintf("%s, %s memory", k.Class, bytesText(k.Memory))},
		{"phases", strings.Join(k.Phases, " → ")},
	})
	if schema, err := json.MarshalIndent(k.Schema, "", "  "); err == nil {
		fmt.Fprintf(w, "\nparameters (JSON Schema)\n%s\n", schema)
	}
}
