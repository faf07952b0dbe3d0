// Package examples holds two modules for the kind wasm, as programs in Go: grep, which finds lines, and redact, which
// blackens addresses. They are built with go generate, into this folder.
package examples

//go:generate env GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -ldflags=-s -o grep.wasm ./grep
//go:generate env GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -ldflags=-s -o redact.wasm ./redact
