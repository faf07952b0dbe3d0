// Package wasm is the kind wasm: it runs a program of the submitter's own, compiled to WebAssembly for WASI preview 1,
// over every part of a job's input. Any language that compiles to a WASI command will do; from Go it is
//
//	GOOS=wasip1 GOARCH=wasm go build -o count.wasm ./count
//	kith submit wasm --module count.wasm --input DIR -s public -o RESULT
//	kith local  wasm --module count.wasm --input DIR -o RESULT             # the same on this machine alone
//
// A module may also lie in the input, of which it is then no document (--param wasm.module=count.wasm), or be the CID of a
// file in the submitter's store. Every part carries it along as links, and a worker fetches it once. One that cannot run
// is refused before anybody is asked to work with it.
//
// Two modules in examples/ are of use as they are: grep finds lines and keeps checkpoints, redact takes personal data out of a corpus.
//
// What a module sees:
//
//   - /in, read-only: the part, which is a corpus (see package corpus): the files data and index.jsonl. The module's own
//     file lies beside them.
//   - /out, empty: what it writes there is the result of the part. Folders are allowed, symbolic links are not.
//   - /tmp, empty: whatever it likes, but for symbolic links.
//   - /checkpoint, if the parameter checkpoint is set (kith submit wasm --checkpoint): empty at first, and when the task was
//     ended before its time and is tried again, on the same machine or another, as it was left then. The module may be
//     ended at any moment; it replaces a file there by renaming another to it. Its clock and its random bytes begin anew.
//     The example grep shows how (examples/internal/part).
//   - arguments: "module" and then the parameter args. Standard output and error go to the task's log; standard input is
//     empty, and so is the environment.
//   - a clock that begins at 2000-01-01 00:00 UTC and advances a microsecond each time it is read, or by as much as the
//     module sleeps, which takes no time; random bytes that follow from the job's seed and the number of the part.
//   - no network, no other file, no more memory than the parameter memory says.
//
// A module is compiled once for a machine: by a runner that runs nothing, for all tasks of all jobs that carry the same one.
//
// It must export _start, import nothing but wasi_snapshot_preview1, and end with exit code 0. So its result depends on
// nothing but its input, and replicas agree bit by bit.
//
// Results are merged in the order of the parts: if they hold a corpus (data and index.jsonl), as a corpus with its
// reports, which other kinds can go on from; all other files by joining those of the same name.
package wasm
