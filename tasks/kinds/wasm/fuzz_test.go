package wasm_test

import (
	"errors"
	"testing"

	"kith/tasks/kinds/wasm"
)

// FuzzInspect looks at modules as they come from submitters: each is one that can be run, or an error that says why not.
func FuzzInspect(f *testing.F) {
	f.Add([]byte(empty))
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte(empty + section(1, "\x01\x60\x00\x00") + section(3, "\x01\x00") + section(7, "\x01\x06_start\x00\x00") + section(10, "\x01\x02\x00\x0b")))
	f.Add([]byte(empty + section(1, "\x01\x60\x00\x00") + section(2, "\x01\x03env\x03foo\x00\x00") + section(3, "\x01\x00") +
		section(7, "\x01\x06_start\x00\x01") + section(10, "\x01\x02\x00\x0b")))
	k := wasm.New()
	f.Fuzz(func(t *testing.T, code []byte) {
		if err := k.Inspect(t.Context(), []byte(`{"module":"x","memory":1}`), code); err != nil && !errors.Is(err, wasm.ErrModule) {
			t.Errorf("got %v", err)
		}
	})
}
