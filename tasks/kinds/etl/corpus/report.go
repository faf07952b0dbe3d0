package corpus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"kith/tasks"
)

// reportSuffix is how the name of a report ends.
const reportSuffix = ".jsonl"

// MaxReports bounds the reports of a corpus: a few for each op of a job.
const MaxReports = 4 * tasks.MaxOps

// Name names a source file in a line of a report.
type Name struct {
	Path   string `json:"path,omitempty"`
	Path64 []byte `json:"path64,omitempty"` // instead of Path if that is not valid UTF-8
}

// NameOf returns the name of the source file with the given path.
func NameOf(path string) Name {
	if utf8.ValidString(path) {
		return Name{Path: path}
	}
	return Name{Path64: []byte(path)}
}

// Reports returns the names of the reports that come with the corpus in, sorted.
func Reports(in fs.FS) ([]string, error) {
	list, err := fs.ReadDir(in, ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range list {
		if !f.Type().IsRegular() || f.Name() == IndexFile || !strings.HasSuffix(f.Name(), reportSuffix) {
			continue
		}
		if len(names) == MaxReports {
			return nil, fmt.Errorf("%w: more than %d reports", ErrCorpus, MaxReports)
		}
		names = append(names, f.Name())
	}
	return names, nil
}

// PassReports hands on the reports that come with the corpus in.
func PassReports(c *tasks.Call, in fs.FS) error {
	names, err := Reports(in)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.Out.Pass(in, name, name); err != nil {
			return err
		}
	}
	return nil
}

// Report writes a report. It is not safe for concurrent use.
type Report struct {
	file io.WriteCloser
	out  *bufio.Writer
	enc  *json.Encoder
}

// CreateReport begins a report on a run over the corpus in. It is called name, which ends in ".jsonl", or "name-2.jsonl"
// and so on if an earlier op of the job wrote such a report already. It must be closed.
func CreateReport(c *tasks.Call, in fs.FS, name string) (*Report, error) {
	taken, err := Reports(in)
	if err != nil {
		return nil, err
	}
	file, err := c.Out.Create(free(name, taken))
	if err != nil {
		return nil, err
	}
	r := &Report{file: file, out: bufio.NewWriterSize(file, 64<<10)}
	r.enc = json.NewEncoder(r.out)
	r.enc.SetEscapeHTML(false)
	return r, nil
}

// free returns name, or the first numbered form of it that is not taken.
func free(name string, taken []string) string {
	has := make(map[string]bool, len(taken))
	for _, t := range taken {
		has[t] = true
	}
	base, try := strings.TrimSuffix(name, reportSuffix), name
	for n := 2; has[try]; n++ {
		try = base + "-" + strconv.Itoa(n) + reportSuffix
	}
	return try
}

// Write appends a line, which must be a struct.
func (r *Report) Write(line any) error { return r.enc.Encode(line) }

// Close writes what is buffered and closes the file.
func (r *Report) Close() error { return errors.Join(r.out.Flush(), r.file.Close()) }

// mergeReports joins the reports of all inputs, each in the order of the inputs.
func mergeReports(c *tasks.Call, buf []byte) error {
	holders := map[string][]int{} // report → inputs that have it
	for i, in := range c.In {
		names, err := Reports(in)
		if err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
		for _, name := range names {
			holders[name] = append(holders[name], i)
		}
		if len(holders) > MaxReports {
			return fmt.Errorf("part %d: %w: more than %d reports in all", i, ErrCorpus, MaxReports)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(holders)) {
		if err := mergeReport(c, name, holders[name], buf); err != nil {
			return err
		}
	}
	return nil
}

func mergeReport(c *tasks.Call, name string, parts []int, buf []byte) (err error) {
	w, err := c.Out.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, i := range parts {
		lines := lineWriter{to: w, last: '\n'}
		_, err := appendFile(&lines, c.In[i], name, buf)
		if err == nil {
			err = lines.close()
		}
		if err != nil {
			return fmt.Errorf("part %d: %s: %w", i, name, err)
		}
	}
	return nil
}

// lineWriter passes bytes on and refuses what cannot be lines of JSON objects: joining two files must never join two
// lines. It does not look inside the objects.
type lineWriter struct {
	to   io.Writer
	last byte // that was written; a line feed before the first
}

// Write implements io.Writer.
func (l *lineWriter) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		if l.last == '\n' && rest[0] != '{' {
			return 0, fmt.Errorf("%w: a line does not begin with a brace", ErrCorpus)
		}
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			l.last = rest[len(rest)-1]
			break
		}
		if end > 0 {
			l.last = rest[end-1]
		}
		if l.last != '}' {
			return 0, fmt.Errorf("%w: a line does not end in a brace", ErrCorpus)
		}
		l.last, rest = '\n', rest[end+1:]
	}
	return l.to.Write(b)
}

// close reports a last line without an end.
func (l *lineWriter) close() error {
	if l.last != '\n' {
		return fmt.Errorf("%w: the last line has no end: the file was cut short", ErrCorpus)
	}
	return nil
}
