package jsonl

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
)

// Reports beside the corpus in the output.
const (
	RepairsFile    = "repairs.jsonl"    // one line for each repaired line (Repaired)
	QuarantineFile = "quarantine.jsonl" // one line for each quarantined line (Quarantined)
)

// Place says which line of which file is meant.
type Place struct {
	corpus.Name
	At   int64 `json:"at"`            // offset of the line in its file, in bytes
	Doc  int64 `json:"doc,omitempty"` // offset of the document in its file; lines are counted from there
	Line int   `json:"line"`          // from 1; a whole JSON document is line 1
}

// Repaired lists what was changed in one line.
type Repaired struct {
	Place
	Lines   int      `json:"lines,omitempty"` // blank-line: how many such lines were dropped here, if more than one
	Changes []Edited `json:"changes"`
}

// Edited is one kind of change, at one or more places of a line.
type Edited struct {
	Defect string `json:"defect"`
	Cols   []int  `json:"cols"`   // byte columns in the original line, from 1, increasing
	Before string `json:"before"` // what stood there, cut at 64 bytes; bytes that are not UTF-8 read \xff
	After  string `json:"after"`  // what stands there now
}

// Quarantined is one line that is not in the corpus.
type Quarantined struct {
	Place
	Len     int      `json:"len"` // bytes of the line without its line end
	Reasons []Reason `json:"reasons"`
	Excerpt string   `json:"excerpt"`         // its first 120 bytes
	Bytes   []byte   `json:"bytes,omitempty"` // all of it, base64, unless it is over the line limit
}

const (
	excerptLine   = 120
	excerptChange = 64
)

// run is one task at work.
type run struct {
	params     Params
	repairer   repairer
	schema     *jsonschema.Schema // nil: none
	out        *corpus.Writer
	repairs    *corpus.Report
	quarantine *corpus.Report

	doc  *corpus.Record // the document at hand
	rec  corpus.Record  // of the line at hand
	line []byte         // its bytes with a line feed

	good, repaired, blank, rejected int64 // lines so far
}

func process(ctx context.Context, c *tasks.Call, p Params) (err error) {
	allowed, err := parseDefects(*p.Repair)
	if err != nil {
		return err
	}
	r := &run{params: p, repairer: repairer{allowed: allowed, duplicates: p.Duplicates}}
	if p.Schema != nil {
		if r.schema, err = compile(p.Schema); err != nil {
			return fmt.Errorf("compile the schema: %w", err)
		}
	}
	if r.repairs, err = corpus.CreateReport(c, c.In[0], RepairsFile); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.repairs.Close()) }()
	if r.quarantine, err = corpus.CreateReport(c, c.In[0], QuarantineFile); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.quarantine.Close()) }()
	err = corpus.Transform(ctx, c, c.In[0], func(w *corpus.Writer, rec *corpus.Record, data []byte) error {
		r.out, r.doc = w, rec
		return r.document(ctx, data)
	})
	if err == nil && c.Log != nil {
		c.Log("%d lines good, %d of them repaired; %d blank lines dropped; %d lines in quarantine", r.good, r.repaired, r.blank, r.rejected)
	}
	return err
}

// A file over dag.MaxSegment comes in pieces, cut after a line end wherever one is near. These are the least sizes of
// a first and of a later piece that another one follows.
const (
	firstPiece = dag.MaxSegment - 1<<20
	laterPiece = 16 << 20
)

// document handles one document: a file, or a piece of a large one.
func (r *run) document(ctx context.Context, data []byte) error {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return r.reject(0, 1, data, Reason{Code: UTF16, Detail: "convert the file to UTF-8"})
	}
	goesOn := len(data) >= firstPiece || r.doc.At > 0 && len(data) >= laterPiece
	if r.params.Format == formatJSON {
		return r.value(0, 1, data, !goesOn, goesOn)
	}
	blankAt, blankFrom, blanks := 0, 0, 0
	flush := func() error {
		if blanks == 0 {
			return nil
		}
		n := blanks
		blanks = 0
		return r.dropped(blankAt, blankFrom, n)
	}
	for at, number := 0, 1; at < len(data); number++ {
		line, ended := data[at:], false
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, ended = line[:i], true
		}
		if isBlank(line) {
			if blanks == 0 {
				blankAt, blankFrom = at, number
			}
			blanks++
		} else {
			if err := flush(); err != nil {
				return err
			}
			if err := r.value(at, number, line, !ended && !goesOn, !ended && goesOn); err != nil {
				return err
			}
		}
		at += len(line) + 1
		if number&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return flush()
}

func isBlank(line []byte) bool {
	for bytes.HasPrefix(line, bom) {
		line = line[len(bom):]
	}
	return isSpace(line)
}

// value handles one line, or one whole JSON document. last: it ends its file without a line end. open: more of it may
// follow in the next piece of its file.
func (r *run) value(at, number int, line []byte, last, open bool) error {
	if len(line) > r.params.MaxLine {
		return r.reject(at, number, line, Reason{Code: TooLong, Detail: fmt.Sprintf("%d bytes, at most %d are looked at", len(line), r.params.MaxLine)})
	}
	text, returns := line, 0
	if r.params.Format == formatLines {
		text = bytes.TrimRight(line, "\r")
		returns = len(line) - len(text)
		if returns > 0 && !r.repairer.allowed.Has(CRLF) {
			return r.reject(at, number, line, Reason{Code: Code(CRLF.String()), Col: len(text) + 1})
		}
	}
	fixed, changes, bad := r.repairer.repair(text, last)
	if bad == nil && open && r.repairer.numberEnd == len(text) {
		bad = &Reason{Code: Incomplete, Col: len(text) + 1}
	}
	if bad != nil {
		reasons := []Reason{*bad}
		if open || at == 0 && r.doc.At > 0 {
			reasons = append(reasons, Reason{Code: SegmentBorder, Detail: "the line may go beyond this piece of the file"})
		}
		return r.reject(at, number, line, reasons...)
	}
	if r.schema != nil {
		if reasons := r.mismatches(fixed); reasons != nil {
			return r.reject(at, number, line, reasons...)
		}
	}
	r.good++
	r.rec = corpus.Record{Path: r.doc.Path, At: r.doc.At + int64(at), Fields: r.rec.Fields[:0]}
	r.rec.Fields.SetInt("line", int64(number))
	if r.params.Format == formatLines {
		r.line = append(append(r.line[:0], fixed...), '\n')
		fixed = r.line
	}
	if err := r.out.Write(&r.rec, fixed); err != nil {
		return err
	}
	if returns > 0 {
		changes = append(changes, Change{Defect: CRLF, Off: len(text), End: len(line)})
	}
	if len(changes) == 0 {
		return nil
	}
	r.repaired++
	return r.repairs.Write(Repaired{Place: r.place(at, number), Changes: listed(line, changes)})
}

func (r *run) mismatches(text []byte) []Reason {
	if r.repairer.values > maxValues {
		return []Reason{{Code: TooMuchForSchema, Detail: fmt.Sprintf("%d values, at most %d can be checked", r.repairer.values, maxValues)}}
	}
	if r.repairer.hugeNumber >= 0 {
		return []Reason{{Code: TooMuchForSchema, Col: r.repairer.hugeNumber + 1, Detail: "a number with too many digits"}}
	}
	return mismatches(r.schema, text)
}

// dropped notes n blank lines from number on.
func (r *run) dropped(at, number, n int) error {
	if !r.repairer.allowed.Has(BlankLine) {
		return r.reject(at, number, nil, Reason{Code: Code(BlankLine.String()), Detail: fmt.Sprintf("%d lines", n)})
	}
	r.blank += int64(n)
	entry := Repaired{Place: r.place(at, number), Changes: []Edited{{Defect: BlankLine.String(), Cols: []int{1}}}}
	if n > 1 {
		entry.Lines = n
	}
	return r.repairs.Write(entry)
}

func (r *run) reject(at, number int, line []byte, reasons ...Reason) error {
	r.rejected++
	q := Quarantined{Place: r.place(at, number), Len: len(line), Reasons: reasons, Excerpt: excerpt(line, excerptLine)}
	if len(line) <= r.params.MaxLine {
		q.Bytes = line
	}
	return r.quarantine.Write(q)
}

func (r *run) place(at, number int) Place {
	return Place{Name: corpus.NameOf(r.doc.Path), At: r.doc.At + int64(at), Doc: r.doc.At, Line: number}
}

// listed groups changes that are alike, in the order of their first place.
func listed(line []byte, changes []Change) []Edited {
	type alike struct {
		defect        Defect
		before, after string
	}
	var all []Edited
	index := map[alike]int{}
	for _, c := range changes {
		a := alike{c.Defect, excerpt(line[c.Off:c.End], excerptChange), c.With}
		i, ok := index[a]
		if !ok {
			i = len(all)
			index[a] = i
			all = append(all, Edited{Defect: c.Defect.String(), Before: a.before, After: a.after})
		}
		all[i].Cols = append(all[i].Cols, c.Off+1)
	}
	return all
}
