// Package corpus reads and writes the form in which all etl kinds exchange data. A corpus is a folder of two files, and
// whatever reports kinds wrote:
//
//	data         the bytes of all records, one after another, nothing between them
//	index.jsonl  one JSON object a line for each record, in the same order
//
// A line of the index is
//
//	{"path":"src/a.go","at":0,"off":0,"len":812}
//
// path is the name of the source file ("path64", base64, if it is not valid UTF-8), at the byte offset of the record in
// it, off and len where its bytes stand in data. After len come the fields that kinds add, such as "sha256" or "lang".
//
// The form is canonical: members in this order, no white space, one way to escape a path, records without gaps. Readers
// refuse everything else with [ErrCorpus], so that reading and writing again gives the same bytes, and joining corpora
// ([Merge]) is associative. Reading streams: memory is bounded by the largest record, and nothing is allocated on the
// word of an index alone.
//
// Records are in byte order of (path, at), because the splitter lays documents out so and every kind keeps the order.
//
// In a report ([Report]) a kind tells what it did. Reports are the other files whose names end in ".jsonl", one JSON
// object a line. Every kind hands on the reports it was given and adds its own under names that are still free, in every
// part, even if it has nothing to tell there. So each report of the merged result is the lines of one op in the order of
// the records, whatever the split.
package corpus

import "errors"

// The files of a corpus.
const (
	DataFile  = "data"
	IndexFile = "index.jsonl"
)

// Limits of the format. A reader refuses what exceeds them, a writer refuses to write it.
const (
	MaxPath   = 32 << 10  // bytes in a path
	MaxLine   = 1 << 20   // bytes in a line of the index, with its newline
	MaxRecord = 256 << 20 // bytes in a record
	MaxFields = 64        // fields added to a record
)

// ErrCorpus: the folder is not a corpus. The wrapped text says where and why.
var ErrCorpus = errors.New("not a valid corpus")
