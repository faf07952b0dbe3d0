package execute

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"kith/storage/dag"
	"kith/storage/quota"
	"kith/tasks"
	"kith/tasks/sandbox"
)

// preparer is a carrier whose file is made ready once for all tasks of all jobs that carry the same.
type preparer interface {
	carrier
	// Prepared names the form that sandbox.OpPrepare gives a file here: by versions, system and processor.
	Prepared() string
}

// Bounds.
const (
	defaultPrepared = 512 << 20 // bytes kept
	leastPrepared   = 64 << 10  // bytes of a file below which nothing is made: a runner costs more
	preparedDir     = "prepared"
	preparedData    = "data"
	preparedHead    = "head.json"
	halfMade        = "half-"
	halfAfter       = time.Hour // what is half made is left behind by a process that has ended, and not of one that runs
)

// prepared keeps what kinds made of files: a folder each, by kind, file and form. Whoever made it ran no code of the file.
// Runners never see it: they get copies, whose sums are verified with each, and which they cannot change. Several programs
// may share the folder; it is made with the first thing that is kept.
type prepared struct {
	dir  string // empty: none
	most int64
	disk Disk

	mu   sync.Mutex
	busy map[string]chan struct{} // closed when whoever makes it is done
	made int                      // so far
}

// head says what belongs to the data.
type head struct {
	Name string `json:"name"` // of the file in Call.Prepared, slash-separated
	Size int64  `json:"size"`
	Sum  string `json:"sha256"`
}

// errDamaged: what was kept is not what was made.
var errDamaged = errors.New("what was prepared is damaged")

// open takes away what an earlier run left half made.
func (p *prepared) open(o *Options) error {
	p.dir, p.most, p.disk, p.busy = o.Prepared, o.PreparedBytes, o.Disk, map[string]chan struct{}{}
	if p.dir == "" {
		return nil
	}
	if p.most <= 0 {
		p.most = defaultPrepared
	}
	list, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("folder of what is prepared: %w", err)
	}
	for _, d := range list {
		if info, err := d.Info(); err == nil && strings.HasPrefix(d.Name(), halfMade) && time.Since(info.ModTime()) > halfAfter {
			_ = os.RemoveAll(filepath.Join(p.dir, d.Name()))
		}
	}
	return nil
}

// prepare puts what the kind of the first step makes of the file that the input carries along into the slot, and returns
// the folder. A task does without whatever cannot be had: it may take longer, and fails with better words.
func (e *Executor) prepare(ctx context.Context, s *slot, w *sandbox.Work, input dag.CID) string {
	if e.made.dir == "" || len(w.Steps) == 0 {
		return ""
	}
	kind, err := e.o.Kinds.Kind(w.Steps[0].Kind)
	if err != nil {
		return ""
	}
	k, ok := kind.(preparer)
	if !ok {
		return ""
	}
	name, _, err := k.Carries(w.Steps[0].Params)
	if err != nil {
		return ""
	}
	f, err := dag.Lookup(ctx, e.o.Blobs, input, name)
	if err != nil || f.Dir || f.Size < leastPrepared {
		return ""
	}
	dir := filepath.Join(s.in(), preparedDir)
	sum := sha256.Sum256([]byte(w.Steps[0].Kind + "\x00" + k.Prepared() + "\x00" + f.Root.String()))
	key := hex.EncodeToString(sum[:16])
	if s.prepared == key {
		return dir
	}
	err = e.made.copyTo(ctx, key, dir)
	if err != nil {
		if err = e.make(ctx, s.job, w, dag.Entry{Name: name, Root: f.Root, Size: f.Size}, key); err == nil {
			err = e.made.copyTo(ctx, key, dir)
		}
	}
	if err != nil {
		e.log.Info("A task begins without what could be prepared for it", slog.String("kind", w.Steps[0].Kind), slog.Any("reason", err))
		_ = sandbox.Wipe(dir)
		return ""
	}
	s.prepared = key
	return dir
}

// make has a runner that does nothing else make it, unless somebody else has just done so.
func (e *Executor) make(ctx context.Context, job tasks.JobID, w *sandbox.Work, f dag.Entry, key string) error {
	mine := make(chan struct{})
	for {
		e.made.mu.Lock()
		theirs := e.made.busy[key]
		if theirs == nil {
			e.made.busy[key] = mine
		}
		e.made.mu.Unlock()
		if theirs == nil {
			break
		}
		select {
		case <-theirs:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer func() {
		e.made.mu.Lock()
		delete(e.made.busy, key)
		e.made.mu.Unlock()
		close(mine)
	}()
	if e.made.has(key) {
		return nil
	}
	s, err := e.pool.open(ctx, job)
	if err != nil {
		return err
	}
	defer e.pool.discard(s)
	limits, err := e.limits(tasks.Limits{}, w.Steps[:1])
	if err != nil {
		return err
	}
	limits.MemoryBytes = min(limits.MemoryBytes, w.Limits.MemoryBytes) // which was asked for
	work := sandbox.Work{Op: sandbox.OpPrepare, Steps: w.Steps[:1], Limits: limits, OutDir: s.out(), Scratch: s.tmp()}
	work.In = []sandbox.Files{{Dir: filepath.Join(s.in(), "0")}}
	if err := e.writeAll(ctx, work.In[0].Dir, []dag.Entry{f}); err != nil {
		return err
	}
	if _, err := s.runner.Run(ctx, work); err != nil {
		return err
	}
	if err := s.runner.Close(); err != nil { // nobody changes what is taken now
		return err
	}
	return e.made.take(ctx, key, s.out())
}

// has reports whether something is kept under a key, damaged or not.
func (p *prepared) has(key string) bool {
	_, err := os.Stat(filepath.Join(p.dir, key, preparedHead))
	return err == nil
}

// take keeps the one file that lies in a folder, and forgets what is too much then.
func (p *prepared) take(ctx context.Context, key, from string) error {
	var h head
	var path string
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if h.Name != "" || err != nil || !d.Type().IsRegular() {
			return fmt.Errorf("want one file, and there is %.100q too", name)
		}
		path, h.Name = name, filepath.ToSlash(rel)
		return nil
	})
	if err != nil || path == "" {
		return errors.Join(errors.New("nothing was prepared"), err)
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	half, err := os.MkdirTemp(p.dir, halfMade)
	if err != nil {
		return err
	}
	defer os.RemoveAll(half)
	sum := sha256.New()
	if h.Size, err = p.copyFile(ctx, path, filepath.Join(half, preparedData), sum); err != nil {
		return err
	}
	if h.Size > p.most {
		return fmt.Errorf("%d bytes are more than are kept", h.Size)
	}
	h.Sum = hex.EncodeToString(sum.Sum(nil))
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(half, preparedHead), data, 0o600); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := os.Rename(half, filepath.Join(p.dir, key)); err != nil {
		if p.has(key) { // another program has made it meanwhile
			return nil
		}
		return err
	}
	p.made++
	return p.evictLocked(key)
}

// evictLocked forgets what was not used for longest until the rest is little enough, but not the key.
func (p *prepared) evictLocked(but string) error {
	list, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	var items []quota.Item
	room := p.most
	for _, d := range list {
		dir := filepath.Join(p.dir, d.Name())
		used, err1 := os.Stat(filepath.Join(dir, preparedHead))
		data, err2 := os.Stat(filepath.Join(dir, preparedData))
		switch {
		case strings.HasPrefix(d.Name(), halfMade):
		case err1 != nil || err2 != nil:
			_ = os.RemoveAll(dir) // it is of no use
		case d.Name() == but:
			room -= data.Size()
		default:
			items = append(items, quota.Item{Name: dir, Bytes: data.Size(), At: used.ModTime()})
		}
	}
	for _, it := range quota.Drop(items, max(room, 1)) {
		if err := os.RemoveAll(it.Name); err != nil {
			return err
		}
	}
	return nil
}

// copyTo copies what is kept under a key into a new folder. What is damaged is forgotten.
func (p *prepared) copyTo(ctx context.Context, key, to string) error {
	dir := filepath.Join(p.dir, key)
	h, err := readHead(filepath.Join(dir, preparedHead))
	if err == nil {
		to := filepath.Join(to, filepath.FromSlash(h.Name))
		if err = os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		sum := sha256.New()
		var n int64
		if n, err = p.copyFile(ctx, filepath.Join(dir, preparedData), to, sum); err == nil && (n != h.Size || hex.EncodeToString(sum.Sum(nil)) != h.Sum) {
			err = errDamaged
		}
	}
	switch {
	case err == nil:
		now := time.Now()
		_ = os.Chtimes(filepath.Join(dir, preparedHead), now, now) // it was used
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	_ = sandbox.Wipe(to)
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = os.RemoveAll(dir)
	return err
}

const maxHead = 8 << 10 // bytes

func readHead(path string) (head, error) {
	f, err := os.Open(path)
	if err != nil {
		return head{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxHead+1))
	if err != nil {
		return head{}, err
	}
	return parseHead(data)
}

func parseHead(data []byte) (head, error) {
	var h head
	if len(data) > maxHead || json.Unmarshal(data, &h) != nil || !filepath.IsLocal(filepath.FromSlash(h.Name)) || !fs.ValidPath(h.Name) || h.Name == "." || h.Size < 0 {
		return head{}, errDamaged
	}
	return h, nil
}

// copyFile copies a file at the pace of the disk and adds its content to sum.
func (p *prepared) copyFile(ctx context.Context, from, to string, sum hash.Hash) (n int64, err error) {
	done, err := p.disk.File(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	r, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return io.CopyBuffer(struct{ io.Writer }{p.disk.Writer(ctx, w)}, io.TeeReader(p.disk.Reader(ctx, r), sum), make([]byte, 256<<10))
}
