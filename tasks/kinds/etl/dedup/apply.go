package dedup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
)

// ReportFile is the report of what was dropped. Its first line is a Summary; then every record that has duplicates has a
// Duplicate, in the order of the records.
const ReportFile = "dedup.jsonl"

// Summary is the first line of the report.
type Summary struct {
	Is string `json:"is"` // "summary"
	Stats
}

// Duplicate is one record that was kept or dropped because there are others like it.
type Duplicate struct {
	Is string `json:"is"` // "kept", "equal" or "near": dropped, an earlier record of its group is equal, or near
	corpus.Name
	At     int64  `json:"at"` // offset of the record in its file, in bytes
	Len    int64  `json:"len"`
	Group  uint64 `json:"group"`            // the same number for all that count as one; the kept one comes first
	Copies uint32 `json:"copies,omitempty"` // kept: how many records of its group are dropped
}

var fateNames = [...]string{kept: "kept", equal: "equal", near: "near"}

func runApply(ctx context.Context, c *tasks.Call) (err error) {
	if len(c.In) != 2 {
		return fmt.Errorf("%d inputs, want the fates and the corpus", len(c.In))
	}
	in := c.In[1]
	var fates []fate
	file, err := readFile(c.In[0], fatesFile)
	if err != nil {
		return err
	}
	if file != nil {
		if fates, err = parseFates(file); err != nil {
			return err
		}
	}
	report, err := corpus.CreateReport(c, in, ReportFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, report.Close()) }()
	if c.Index == 0 {
		if err := summarise(c, report); err != nil {
			return err
		}
	}
	if len(fates) == 0 {
		return corpus.Pass(c, in)
	}
	n := uint32(0)
	if err := corpus.Transform(ctx, c, in, func(w *corpus.Writer, rec *corpus.Record, data []byte) error {
		n++
		if len(fates) == 0 || fates[0].record != n-1 {
			return w.Write(rec, data)
		}
		f := fates[0]
		fates = fates[1:]
		err := report.Write(Duplicate{Is: fateNames[f.is], Name: corpus.NameOf(rec.Path), At: rec.At, Len: rec.Len, Group: f.group, Copies: f.copies})
		if err == nil && f.is == kept {
			err = w.Write(rec, data)
		}
		return err
	}); err != nil {
		return err
	}
	if len(fates) > 0 {
		return fmt.Errorf("%w: a fate of record %d, there are %d", ErrFormat, fates[0].record, n)
	}
	return nil
}

// summarise writes what resolve counted.
func summarise(c *tasks.Call, report *corpus.Report) error {
	text, err := readFile(c.In[0], statsFile)
	if err != nil {
		return err
	}
	line := Summary{Is: "summary"}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&line.Stats); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, statsFile, err)
	}
	return report.Write(line)
}
