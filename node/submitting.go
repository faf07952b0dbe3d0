package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kith/node/api"
	"kith/p2p"
	"kith/p2p/geo"
	"kith/p2p/host"
	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/submit"
)

// submitting is this node's own jobs: the driver, and what people want to know beside what it must know.
type submitting struct {
	node   *Node
	stores *stores
	driver *submit.Driver
	self   tasks.NodeID

	mu      sync.Mutex
	facts   map[tasks.JobID]facts
	imports map[*api.Import]uint64 // with the store's mark at their beginning
}

// facts are what is told of a job beside its state. They are kept in the store under factsKey; losing them loses words,
// not work.
type facts struct {
	Files       int64 `json:"files"`
	Bytes       int64 `json:"bytes"`
	Finished    int64 `json:"finished"` // Unix milliseconds
	ResultBytes int64 `json:"resultBytes"`
}

const (
	factsKey  = "facts/job/"
	minPrefix = 4 // letters of an id that name a job
)

func (n *Node) openSubmitting(l *live) *submitting {
	return &submitting{
		node: n, stores: l.stores, self: n.self.Node(), facts: map[tasks.JobID]facts{}, imports: map[*api.Import]uint64{},
		driver: submit.New(submit.Options{
			Network: l.cfg.Network, Key: n.self.Key(), Kinds: n.kinds, Blobs: l.stores.blobs, Log: l.stores.jobs, Book: l.stores.book,
			Executor: l.runners.executor, Fetcher: l.network, Carrier: l.network, Depots: l.depots, Offers: l.network.topics, Searcher: l.network.finder,
			Addresses: l.network.host.Addrs, Region: func() string { return string(l.network.place.Region) },
			Locate: l.network.seen, Rates: keptFile(filepath.Join(n.o.Home, ratesFile)),
			RTT: func(worker tasks.NodeID) time.Duration {
				info, _ := l.network.host.Peer(p2p.ID(worker))
				return info.RTT
			},
			Provider: l.network.provider, LAN: l.network.host.Profile() == host.LAN, Logger: n.log,
		}),
	}
}

// Submit implements api.Submitter.
func (s *submitting) Submit(ctx context.Context, req api.Submit, progress func(api.Import)) (api.JobDetail, error) {
	spec, err := s.spec(req)
	if err != nil {
		return api.JobDetail{}, err
	}
	var f facts
	if req.Path != "" {
		im, end := s.importing(req.Path)
		defer end() // once the job is accepted: only then do its own pins keep the blocks
		tree, err := s.read(ctx, im, progress)
		if err != nil {
			return api.JobDetail{}, err
		}
		spec.Input, f.Files, f.Bytes = tree.Root, int64(tree.Files), tree.Size
		if err := s.beside(ctx, &spec, req.File); err != nil {
			return api.JobDetail{}, err
		}
	}
	id, err := s.driver.Submit(ctx, spec)
	if err != nil {
		return api.JobDetail{}, refusalOf(err)
	}
	s.remember(id, f)
	return s.detail(ctx, id)
}

// spec checks a request as far as that can be done before its input is read.
func (s *submitting) spec(req api.Submit) (tasks.Spec, error) {
	spec := tasks.Spec{
		Version: tasks.SpecVersion, Name: req.Name, Sensitivity: req.Sensitivity, PartBytes: req.PartBytes, Limits: req.Limits,
		Policy: tasks.Policy{
			K: req.K, N: req.N, Replication: req.Replication, MinGrade: req.MinGrade, AimMillis: req.AimMillis, DeviceClass: tasks.CPU, NodeLimit: req.Nodes,
			MinSandbox: req.MinSandbox, Deadline: req.Deadline, SessionsWant: req.Want, Strict: req.Strict,
		},
	}
	bad := func(remedy, format string, args ...any) (tasks.Spec, error) {
		return tasks.Spec{}, api.Refuse(api.CodeBadRequest, remedy, format, args...)
	}
	for _, l := range []struct {
		named []string
		into  *[]string
	}{{req.Regions, &spec.Policy.Regions}, {req.Excluded, &spec.Policy.Excluded}} {
		for _, area := range l.named {
			countries, err := geo.Countries(area)
			if err != nil {
				return bad("name countries by their two letters, or africa, asia, europe, north-america, oceania, south-america", "%v", err)
			}
			for _, c := range countries {
				*l.into = append(*l.into, string(c))
			}
		}
	}
	if req.Strict && s.node.live.Load().network.areas == nil {
		return bad("download a free list of countries (GeoLite2-Country.mmdb) and set peers.mmdb to it", "this node cannot see where others are: it has no list of addresses")
	}
	if len(req.Ops) == 0 || len(req.Ops) > tasks.MaxOps {
		return bad("kith kinds lists what there is", "%d steps: want 1 to %d", len(req.Ops), tasks.MaxOps)
	}
	var names []string
	for i, op := range req.Ops {
		kind, err := s.node.kinds.Kind(op.Kind)
		if err != nil {
			return tasks.Spec{}, fmt.Errorf("step %d: %w", i+1, err)
		}
		input := kind.Describe().Needs.Input
		switch {
		case i == 0 && input && req.Path == "":
			return bad("name a file or folder", "%s works on a file or folder, and none is named", op.Kind)
		case i == 0 && !input && req.File != "":
			return bad("leave the file away", "%s reads no input", op.Kind)
		case i == 0 && !input && req.Path != "":
			return bad("leave the path away", "%s reads no input", op.Kind)
		}
		var params []byte
		if len(op.Params) > 0 {
			if params, err = json.Marshal(op.Params); err != nil {
				return tasks.Spec{}, fmt.Errorf("%w: step %d (%s): %w", tasks.ErrParams, i+1, op.Kind, err)
			}
		}
		if params, err = kind.Check(params); err != nil {
			return tasks.Spec{}, fmt.Errorf("step %d (%s): %w", i+1, op.Kind, err)
		}
		spec.Ops = append(spec.Ops, tasks.Op{Kind: op.Kind, Params: params})
		names = append(names, op.Kind)
	}
	switch req.Sensitivity {
	case tasks.Public, tasks.Synthetic, tasks.Approved:
	default: // before hours are spent on reading
		return bad("tag it public, synthetic or approved, or do it on this machine alone with kith local", "private data is never given to another node")
	}
	if spec.Name == "" {
		spec.Name = strings.Join(names, " → ")
		if req.Path != "" {
			spec.Name = filepath.Base(req.Path) + ": " + spec.Name
		}
		spec.Name = strings.ToValidUTF8(spec.Name, "?")
		spec.Name = spec.Name[:min(len(spec.Name), 200)]
	}
	_, _ = rand.Read(spec.Seed[:]) // never fails
	return spec, nil
}

// beside puts the file that the first kind needs beside its input there too.
func (s *submitting) beside(ctx context.Context, spec *tasks.Spec, path string) error {
	if path == "" {
		return nil
	}
	if err := AddFile(ctx, s.stores.blobs, s.node.kinds, spec, path); err != nil {
		return err
	}
	return s.stores.blobs.Sync(ctx)
}

// AddFile adds a file of this machine to the input of a job for its first kind, as Executor wants it.
func AddFile(ctx context.Context, blobs storage.Blobs, kinds tasks.Registry, spec *tasks.Spec, path string) (err error) {
	f, err := os.Open(path)
	var info fs.FileInfo
	if err == nil {
		defer f.Close()
		info, err = f.Stat()
	}
	switch {
	case err != nil:
		return api.Refuse(api.CodeNotFound, "check the path", "cannot read %s: %v", path, errors.Unwrap(err))
	case !info.Mode().IsRegular():
		return api.Refuse(api.CodeBadRequest, "name a plain file", "%s is not a file", path)
	case info.Size() > maxBeside:
		return api.Refuse(api.CodeBadRequest, "name a smaller one", "%s has %d MiB; %d MiB are allowed", path, info.Size()>>20, maxBeside>>20)
	}
	op := &spec.Ops[0]
	kind, err := kinds.Kind(op.Kind)
	if err != nil {
		return err
	}
	spec.Input, op.Params, err = execute.AddFile(ctx, blobs, kind, op.Params, spec.Input, filepath.Base(path), f)
	if errors.Is(err, execute.ErrNoFile) {
		return api.Refuse(api.CodeBadRequest, "leave the file away", "%v", err)
	}
	if errors.Is(err, execute.ErrInput) {
		return api.Refuse(api.CodeBadRequest, "kith kinds "+op.Kind+" says what is wanted", "%v", err)
	}
	return err
}

const maxBeside = 64 << 20 // bytes

// importing puts an import on the list until end is called.
func (s *submitting) importing(path string) (im *api.Import, end func()) {
	im = &api.Import{Path: path}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imports[im] = s.stores.blobs.Mark()
	return im, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.imports, im)
	}
}

// read stores a file or folder as blocks.
func (s *submitting) read(ctx context.Context, im *api.Import, progress func(api.Import)) (dag.Tree, error) {
	path := im.Path
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return dag.Tree{}, api.Refuse(api.CodeNotFound, "check the path", "there is no file or folder %s", path)
	case err == nil && !info.IsDir() && !info.Mode().IsRegular():
		return dag.Tree{}, api.Refuse(api.CodeBadRequest, "name a plain file or a folder", "%s is neither a file nor a folder", path)
	}
	var total atomic.Int64
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		total.Store(sizeOf(ctx, path))
		if err := s.room(total.Load()); err != nil {
			stop(err)
		}
	}()
	disk := s.node.drives.Passing(path)
	tree, err := dag.AddTree(ctx, s.stores.blobs, path, dag.Options{Wrap: func(r io.Reader) io.Reader { return disk.Reader(ctx, r) }, Progress: func(files int, bytes int64) {
		s.mu.Lock()
		im.Files, im.Bytes, im.TotalBytes = int64(files), bytes, max(bytes, total.Load())
		if total.Load() == 0 {
			im.TotalBytes = 0
		}
		now := *im
		s.mu.Unlock()
		progress(now)
	}})
	switch {
	case err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.Canceled):
		return tree, context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return tree, api.Refuse(api.CodeNotFound, "make it readable for this node, or leave it out", "cannot read the input: %v", err)
	case err != nil:
		return tree, fmt.Errorf("read the input: %w", err)
	case tree.Files == 0:
		return tree, api.Refuse(api.CodeBadRequest, "name a folder with files", "%s holds no file (%d entries that are no plain files were left out)", path, tree.SkippedCount)
	}
	if tree.SkippedCount > 0 {
		s.node.log.Info("Some of an input was left out", slog.String("path", path), slog.Int("entries", tree.SkippedCount), slog.String("first", fmt.Sprint(tree.Skipped[0])))
	}
	// An accepted job must find its input again even after a power cut.
	if err := s.stores.blobs.Sync(ctx); err != nil {
		return tree, fmt.Errorf("store the input: %w", err)
	}
	return tree, nil
}

// room refuses an input for which the quota or the disk has no room.
func (s *submitting) room(size int64) error {
	m, quota := s.node.meters.read(), int64(s.node.settings.Get().Storage.Quota)
	switch {
	case m.DiskUsedBytes+size > quota:
		return api.Refuse(api.CodeNoSpace, "raise storage.quota, or cancel jobs you do not need", "an input of %d MB does not fit: %d of %d MB are used", size/1e6, m.DiskUsedBytes/1e6, quota/1e6)
	case m.DiskTotalBytes > 0 && size > m.DiskFreeBytes:
		return api.Refuse(api.CodeNoSpace, "free some space", "an input of %d MB does not fit: the disk has %d MB left", size/1e6, m.DiskFreeBytes/1e6)
	}
	return nil
}

// oldestImport is the store's mark at the beginning of the oldest import under way, or the largest mark.
func (s *submitting) oldestImport() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := uint64(math.MaxUint64)
	for _, mark := range s.imports {
		oldest = min(oldest, mark)
	}
	return oldest
}

// sizeOf adds up the plain files below path, so that progress has an end in sight. 0 if ctx ends first.
func sizeOf(ctx context.Context, path string) int64 {
	var sum int64
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return sum
}

// Imports implements api.Submitter.
func (s *submitting) Imports() []api.Import {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]api.Import, 0, len(s.imports))
	for im := range s.imports {
		out = append(out, *im)
	}
	slices.SortFunc(out, func(a, b api.Import) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Cancel implements api.Submitter.
func (s *submitting) Cancel(ctx context.Context, id string) (api.JobDetail, error) {
	st, err := s.find(ctx, id)
	if err != nil {
		return api.JobDetail{}, err
	}
	if err := s.driver.Cancel(ctx, st.ID); err != nil {
		return api.JobDetail{}, refusalOf(err)
	}
	return s.detail(ctx, st.ID)
}

// refusalOf gives an error of the driver its code and remedy.
func refusalOf(err error) error {
	switch {
	case errors.Is(err, submit.ErrNoJob):
		return api.Refuse(api.CodeNotFound, "kith jobs lists them", "%v", err)
	case errors.Is(err, submit.ErrBusy):
		return api.Refuse(api.CodeConflict, "wait for one to end, or cancel one", "%v", err)
	case errors.Is(err, submit.ErrStopped):
		return api.Refuse(api.CodeInterrupted, "try again when it runs", "the node is stopping")
	case errors.Is(err, submit.ErrPrivate):
		return api.Refuse(api.CodeBadRequest, "tag it public, synthetic or approved, or do it on this machine alone with kith local", "%v", err)
	default:
		return err
	}
}

// find returns the job whose id begins with prefix.
func (s *submitting) find(ctx context.Context, prefix string) (submit.Status, error) {
	var id tasks.JobID
	if err := id.UnmarshalText([]byte(prefix)); err == nil {
		st, err := s.driver.Job(ctx, id)
		return st, refusalOf(err)
	}
	if len(prefix) < minPrefix {
		return submit.Status{}, api.Refuse(api.CodeBadRequest, "kith jobs lists them", "%.60q names no job: want an id, or at least its first %d letters", prefix, minPrefix)
	}
	list, err := s.driver.Jobs(ctx)
	if err != nil {
		return submit.Status{}, refusalOf(err)
	}
	var found []submit.Status
	for _, st := range list {
		if strings.HasPrefix(st.ID.String(), prefix) {
			found = append(found, st)
		}
	}
	switch len(found) {
	case 0:
		return submit.Status{}, api.Refuse(api.CodeNotFound, "kith jobs lists them", "no job begins with %.60q", prefix)
	case 1:
		return found[0], nil
	default:
		return submit.Status{}, api.Refuse(api.CodeAmbiguous, "write more letters", "%d jobs begin with %.60q", len(found), prefix)
	}
}

// remember keeps what is told of a job.
func (s *submitting) remember(id tasks.JobID, f facts) {
	s.mu.Lock()
	s.facts[id] = f
	s.mu.Unlock()
	data, err := json.Marshal(f)
	if err == nil {
		err = s.stores.kv.Set(context.Background(), []byte(factsKey+id.String()), data)
	}
	if err != nil {
		s.node.log.Warn("Cannot keep the facts of a job", slog.Any("job", id), slog.Any("error", err))
	}
}

// factsOf returns what is told of a job, and completes it once the job is over.
func (s *submitting) factsOf(st *submit.Status) facts {
	s.mu.Lock()
	f, ok := s.facts[st.ID]
	s.mu.Unlock()
	if !ok {
		if data, err := s.stores.kv.Get(context.Background(), []byte(factsKey+st.ID.String())); err == nil {
			_ = json.Unmarshal(data, &f) // losing them loses words only
		}
		s.mu.Lock()
		s.facts[st.ID] = f
		s.mu.Unlock()
	}
	if st.Phase.Over() && f.Finished == 0 {
		f.Finished = st.Finished
		if f.Finished == 0 {
			f.Finished = time.Now().UnixMilli() // it ended, and this node before it could be noted
		}
		if st.Result.Defined() {
			for e, err := range dag.ReadDir(context.Background(), s.stores.blobs, st.Result) {
				if err != nil {
					break
				}
				f.ResultBytes += e.Size
			}
		}
		s.remember(st.ID, f)
	}
	return f
}

// keepFacts notes the end of jobs as it happens, so that a later start still knows when it was.
func (s *submitting) keepFacts(ctx context.Context) error {
	const every = 5 * time.Second
	for {
		if list, err := s.driver.Jobs(ctx); err == nil {
			for i := range list {
				if list[i].Phase.Over() {
					s.factsOf(&list[i])
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}
