package sandbox

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"kith/tasks"
)

// Parent and runner speak in frames: a big-endian u32 length, one byte that says what it is, and the body. Numbers in a
// body are uvarints, strings and byte strings are length-prefixed. The parent trusts nothing that it reads.

// errFrame: the other side does not speak the protocol.
var errFrame = errors.New("runner protocol violated")

// What a frame is.
const (
	frameHello    byte = 1 // runner → parent, once: the runner is ready; body: protocol version
	frameWork     byte = 2 // parent → runner: one Work
	frameProgress byte = 3 // runner → parent: done, total
	frameLog      byte = 4 // runner → parent: one line
	frameResult   byte = 5 // runner → parent: the end of the work
	frameEnter    byte = 6 // parent → runner, once, before any work: confine yourself; body: folder, Layers
	frameEntered  byte = 7 // runner → parent: the Layers that hold, and why others do not
)

const (
	protocolVersion = 3
	maxWorkFrame    = 64 << 20
	maxLogLine      = 4 << 10
	maxFiles        = 1 << 16 // files in one output or inline input
	maxName         = 4 << 10 // bytes of one file name
	maxDetail       = 1 << 10 // bytes of an error text
	frameSlack      = 4 << 10 // what a result may hold besides names and contents
)

// maxResultFrame is the longest frame a runner may send while it works on w.
func maxResultFrame(w *Work) int64 { return w.Inline + w.Inline/4 + maxLogLine + frameSlack + 64<<10 }

// frameConn reads and writes frames. Reads and writes may happen at once, but not two of a kind.
type frameConn struct {
	r   *bufio.Reader
	w   io.Writer
	out []byte // reused between writes
}

func newFrameConn(r io.Reader, w io.Writer) *frameConn {
	return &frameConn{r: bufio.NewReaderSize(r, 16<<10), w: w}
}

// read returns the next frame; the body is the caller's. io.EOF means that the other side ended between frames.
func (c *frameConn) read(most int64) (kind byte, body []byte, err error) {
	head, err := c.r.Peek(5)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(head))
	kind = head[4]
	if n < 1 || n > most {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes, want 1 to %d", errFrame, n, most)
	}
	if _, err := c.r.Discard(5); err != nil {
		return 0, nil, err
	}
	body = make([]byte, n-1)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return kind, body, nil
}

// write sends one frame in one piece; body appends to what it is given.
func (c *frameConn) write(kind byte, body func(b []byte) []byte) error {
	b := append(c.out[:0], 0, 0, 0, 0, kind)
	b = body(b)
	if int64(len(b)-4) > math.MaxUint32 {
		return fmt.Errorf("%w: frame of %d bytes", errFrame, len(b))
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := c.w.Write(b)
	if cap(b) <= 64<<10 { // a large buffer goes back to the heap
		c.out = b
	}
	return err
}

func putInt(b []byte, v int64) []byte     { return binary.AppendUvarint(b, uint64(v)) }
func putBytes(b, v []byte) []byte         { return append(putInt(b, int64(len(v))), v...) }
func putString(b []byte, v string) []byte { return append(putInt(b, int64(len(v))), v...) }

func putFiles(b []byte, files map[string][]byte) []byte {
	b = putInt(b, int64(len(files)))
	for name, data := range files {
		b = putBytes(putString(b, name), data)
	}
	return b
}

// fields takes a body apart. After the first error every result is zero; end reports it.
type fields struct {
	b   []byte
	err error
}

func (f *fields) fail(what string) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: %s", errFrame, what)
	}
	f.b = nil
}

func (f *fields) int() int64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 || v > math.MaxInt64 {
		f.fail("bad number")
		return 0
	}
	f.b = f.b[n:]
	return int64(v)
}

// count reads a number of things that take at least each bytes in the rest of the body.
func (f *fields) count(most, each int) int {
	n := f.int()
	if n > int64(most) || n > int64(len(f.b)/each) {
		f.fail("bad count")
		return 0
	}
	return int(n)
}

// bytes returns a part of the body, not a copy.
func (f *fields) bytes(most int64) []byte {
	n := f.int()
	if n > most || n > int64(len(f.b)) {
		f.fail("bad length")
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) string(most int64) string { return string(f.bytes(most)) }

func (f *fields) bool() bool {
	v := f.int()
	if v > 1 {
		f.fail("bad flag")
	}
	return v == 1
}

// files reads what putFiles wrote; every name is valid by fs.ValidPath, and all contents together are within total.
func (f *fields) files(total int64) map[string][]byte {
	n := f.count(maxFiles, 2)
	files := make(map[string][]byte, n)
	for range n {
		name, data := f.string(maxName), f.bytes(math.MaxInt64)
		if f.err != nil {
			return nil
		}
		if total -= int64(len(data)); total < 0 {
			f.fail("inline files over the limit")
			return nil
		}
		if _, twice := files[name]; twice || !fs.ValidPath(name) || name == "." {
			f.fail("bad file name")
			return nil
		}
		files[name] = data
	}
	return files
}

func (f *fields) end() error {
	if f.err == nil && len(f.b) != 0 {
		f.fail("trailing bytes")
	}
	return f.err
}

func putWork(b []byte, w *Work) []byte {
	b = putString(b, string(w.Op))
	b = putInt(b, int64(len(w.Steps)))
	for i := range w.Steps {
		s := &w.Steps[i]
		b = putInt(b, int64(s.Op))
		b = putString(b, s.Kind)
		b = putString(b, s.Phase)
		b = putBytes(b, s.Params)
	}
	b = append(b, w.Seed[:]...)
	for _, v := range [...]int{w.Stage, w.Index, w.Parts, w.Ranges} {
		b = putInt(b, int64(v))
	}
	b = putInt(b, int64(len(w.In)))
	for i := range w.In {
		b = putString(b, w.In[i].Dir)
		b = putFiles(b, w.In[i].Inline)
	}
	b = putString(b, w.OutDir)
	b = putString(b, w.Scratch)
	b = putString(b, w.Prepared)
	b = putInt(b, w.Inline)
	l := &w.Limits
	for _, v := range [...]int64{l.WallMillis, l.CPUMillis, l.MemoryBytes, l.ScratchBytes, l.OutputBytes, l.LogBytes, l.VRAMBytes, l.Processes} {
		b = putInt(b, v)
	}
	return b
}

// parseWork reads what putWork wrote. Byte strings and inline contents share the body's memory.
func parseWork(body []byte) (Work, error) {
	f := fields{b: body}
	w := Work{Op: Op(f.string(16))}
	w.Steps = make([]tasks.Step, f.count(1<<10, 4))
	for i := range w.Steps {
		w.Steps[i] = tasks.Step{Op: int(f.int()), Kind: f.string(maxName), Phase: f.string(maxName), Params: f.bytes(math.MaxInt64)}
	}
	if len(f.b) < len(w.Seed) {
		f.fail("no seed")
	} else {
		f.b = f.b[copy(w.Seed[:], f.b):]
	}
	for _, v := range [...]*int{&w.Stage, &w.Index, &w.Parts, &w.Ranges} {
		*v = int(f.int())
	}
	w.In = make([]Files, f.count(1<<20, 2))
	for i := range w.In {
		w.In[i] = Files{Dir: f.string(maxName), Inline: f.files(maxWorkFrame)}
	}
	w.OutDir, w.Scratch, w.Prepared, w.Inline = f.string(maxName), f.string(maxName), f.string(maxName), f.int()
	l := &w.Limits
	for _, v := range [...]*int64{&l.WallMillis, &l.CPUMillis, &l.MemoryBytes, &l.ScratchBytes, &l.OutputBytes, &l.LogBytes, &l.VRAMBytes, &l.Processes} {
		*v = f.int()
	}
	return w, f.end()
}

// report is the runner's word on how the work ended.
type report struct {
	code      tasks.Code // empty: done
	detail    string
	cpuMicros int64
	onDisk    bool
	inline    map[string][]byte
}

func putReport(b []byte, r *report) []byte {
	b = putString(b, string(r.code))
	b = putString(b, cut(r.detail, maxDetail))
	b = putInt(b, r.cpuMicros)
	disk := int64(0)
	if r.onDisk {
		disk = 1
	}
	b = putInt(b, disk)
	return putFiles(b, r.inline)
}

// parseReport reads a report whose inline files are at most inline bytes together.
func parseReport(body []byte, inline int64) (report, error) {
	f := fields{b: body}
	r := report{code: tasks.Code(f.string(32)), detail: clean(f.string(maxDetail)), cpuMicros: f.int(), onDisk: f.bool(), inline: f.files(inline)}
	if err := f.end(); err != nil {
		return report{}, err
	}
	switch r.code {
	case "", tasks.TaskFailed, tasks.TimeLimit, tasks.MemoryLimit, tasks.OutputLimit, tasks.ScratchLimit, tasks.UnknownKindCode:
	default:
		return report{}, fmt.Errorf("%w: reason %.40q", errFrame, r.code)
	}
	if r.onDisk && len(r.inline) > 0 {
		return report{}, fmt.Errorf("%w: output both inline and on disk", errFrame)
	}
	return r, nil
}

func cut(s string, most int) string { return s[:min(len(s), most)] }
