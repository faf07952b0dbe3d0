// Redact is a module for the kind wasm: it replaces e-mail and IPv4 addresses in every document by [email] and [ip], and
// writes a corpus, which other kinds can go on from.
//
//	kith submit wasm,etl.chunk --param wasm.module=redact.wasm DIR
package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"

	"kith/tasks/kinds/wasm/examples/internal/part"
)

var rules = []struct {
	pattern *regexp.Regexp
	with    []byte
}{
	{regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`), []byte("[email]")},
	{regexp.MustCompile(`\b(?:\d{1,3}\.){3}\d{1,3}\b`), []byte("[ip]")},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "redact:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	out, err := part.Create("data")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	index, err := part.Create("index.jsonl")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	count, off := 0, 0
	err = part.Each(func(rec part.Record, data []byte) error {
		for _, r := range rules {
			count += len(r.pattern.FindAllIndex(data, -1))
			data = r.pattern.ReplaceAll(data, r.with)
		}
		_, err := fmt.Fprintf(index, "{%s,\"at\":%d,\"off\":%d,\"len\":%d}\n", rec.Name, rec.At, off, len(data))
		if err != nil {
			return err
		}
		off += len(data)
		_, err = out.Write(data)
		return err
	})
	fmt.Println("replaced:", count)
	return err
}
