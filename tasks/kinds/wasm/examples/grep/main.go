// Grep is a module for the kind wasm: it writes every line of the input that matches the regular expression in its first
// argument to /out/matches.jsonl, with the path, and the number of the line
// in its record. It keeps checkpoints, if it is let.
//
//	kith submit wasm --module grep.wasm --checkpoint --param wasm.args='["TODO|FIXME"]' DIR
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"

	"kith/tasks/kinds/wasm/examples/internal/part"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "grep:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	if len(os.Args) != 2 {
		return errors.New("want one argument, a regular expression")
	}
	pattern, err := regexp.Compile(os.Args[1])
	if err != nil {
		return err
	}
	out, err := part.Create("matches.jsonl")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return out.Each(func(rec part.Record, data []byte) error {
		number := 0
		for line := range bytes.Lines(data) {
			number++
			if line = bytes.TrimRight(line, "\r\n"); pattern.Match(line) {
				text, err := json.Marshal(string(line))
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(out, "{%s,\"at\":%d,\"line\":%d,\"text\":%s}\n", rec.Name, rec.At, number, text); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
