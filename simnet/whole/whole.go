// Package whole simulates fleets of whole nodes: the drivers of both sides, gossip, directory, sessions, stores and
// runners as a node has them, over a network of package fabric. Time is whatever package time says, so Play is called in
// a bubble of virtual time.
//
// Runs are not bit for bit alike: which of two things that are ready at once comes first is chance. Scenarios here
// expect outcomes and bands.
package whole

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kith/p2p/fabric"
	"kith/simnet/links"
	"kith/simnet/report"
	"kith/simnet/scenario"
	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/kinds/etl/vector"
	"kith/tasks/kinds/testkind"
	"kith/tasks/local"
	"kith/tasks/sandbox"
	"kith/tasks/submit"
)

const network = "simnet"

// world is one fleet.
type world struct {
	sc      *scenario.Scenario
	rng     *rand.Rand // under mu
	mu      sync.Mutex
	net     fabric.Net
	nodes   []*node // volunteers
	subs    []*node
	all     []*node
	place   map[netip.Addr]int // region
	mile    map[netip.Addr]time.Duration
	cut     atomic.Pointer[map[int]bool] // regions out of touch
	kinds   tasks.Registry
	scratch string
	began   time.Time
	jobs    []*task
	heap    atomic.Uint64
	longest int // messages of one search; under mu
	log     *slog.Logger
}

// task is one job and what came of it.
type task struct {
	spec  *scenario.Job
	sub   *node
	id    tasks.JobID
	at    time.Time // submitted
	last  submit.Status
	first time.Duration // until a lease was out
	over  time.Duration
	wrong bool
	done  chan struct{}
}

// Play runs a scenario and reports. It begins no goroutine that outlives it.
func Play(ctx context.Context, sc scenario.Scenario) (_ *report.Report, err error) {
	w := &world{
		sc: &sc, rng: rand.New(rand.NewPCG(sc.Seed, 0x77686f6c65)), place: map[netip.Addr]int{}, mile: map[netip.Addr]time.Duration{},
		kinds: kinds.New(append(testkind.All(), vector.Kind{})...), log: slog.New(slog.DiscardHandler),
	}
	w.cut.Store(&map[int]bool{})
	if w.scratch, err = os.MkdirTemp("", "kith-simnet-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(w.scratch)) }()
	if err := w.build(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	defer func() { err = errors.Join(err, w.close()) }()
	joined := time.Now()
	if err := w.join(ctx); err != nil {
		return nil, err
	}
	w.began = time.Now()
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	r := w.report()
	r.Notes = append(r.Notes, fmt.Sprintf("joining took %s of simulated time", w.began.Sub(joined).Round(time.Millisecond)))
	r.Judge(&sc)
	return r, nil
}

// build makes the network and everybody on it.
func (w *world) build() (err error) {
	c := fabric.Conditions{
		Network: network, Between: w.between,
		Cut: func(from, to netip.Addr) bool {
			cut := *w.cut.Load()
			return cut[w.place[from]] != cut[w.place[to]]
		},
		Bits: int(8 * w.sc.Net.Bandwidth), Logger: w.log,
	}
	if p := w.sc.Net.Loss; p > 0 {
		c.Lost = func() bool { return w.random() < p }
	}
	if p := w.sc.Net.NAT; p > 0 {
		c.Closed = func(a netip.Addr) bool { return a.As4()[0] == 12 }
	}
	if w.sc.Rung == scenario.QUIC {
		w.net, err = fabric.NewQUIC(c)
	} else {
		w.net, err = fabric.NewMemory(c)
	}
	if err != nil {
		return err
	}
	for i := range w.sc.Submitters() {
		if err := w.add(&scenario.Hosts{Actor: scenario.Honest, Slots: 1}, i, true); err != nil {
			return err
		}
	}
	total := 0
	for i := range w.sc.Hosts {
		h := &w.sc.Hosts[i]
		n := int(h.Share*float64(w.sc.Nodes) + .5)
		if i == len(w.sc.Hosts)-1 {
			n = w.sc.Nodes - total
		}
		total += n
		for range n {
			if err := w.add(h, len(w.all), false); err != nil {
				return err
			}
		}
	}
	return w.net.Ready()
}

// add makes one node.
func (w *world) add(h *scenario.Hosts, i int, submits bool) error {
	first := byte(11)
	if !submits && w.random() < w.sc.Net.NAT {
		first = 12 // behind a router that lets only answers in
	}
	at := netip.AddrFrom4([4]byte{first, byte(i >> 8), byte(i), 1})
	region := w.region(h.Region)
	w.place[at] = region
	w.mile[at] = 2*time.Millisecond + time.Duration(w.random()*float64(links.LastMile/2-2*time.Millisecond))
	seed := sha256.Sum256(fmt.Appendf(nil, "kith/simnet/%d/%d", w.sc.Seed, i))
	n := &node{w: w, hosts: h, region: region, at: at, key: ed25519.NewKeyFromSeed(seed[:]), submits: submits, blobs: memstore.NewBlobs()}
	n.id = tasks.NodeID(n.key.Public().(ed25519.PublicKey))
	w.all = append(w.all, n)
	if submits {
		w.subs = append(w.subs, n)
	} else {
		w.nodes = append(w.nodes, n)
	}
	return n.build(filepath.Join(w.scratch, fmt.Sprint(i)))
}

func (w *world) random() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64()
}

func (w *world) region(code string) int {
	if code != "" {
		return links.Index(code)
	}
	x := w.random()
	for _, r := range w.sc.Regions {
		if x -= r.Share; x < 0 {
			return links.Index(r.Code)
		}
	}
	return links.Index(w.sc.Regions[0].Code)
}

// between is one way from one address to another. The maps do not change once there is traffic.
func (w *world) between(from, to netip.Addr) time.Duration {
	if r := w.sc.Net.RTT; r > 0 {
		return r / 2
	}
	return links.RTT(w.place[from], w.place[to])/2 + w.mile[from]/2 + w.mile[to]/2
}

// join starts everybody, connects each to some others, and waits until gossip has settled.
func (w *world) join(ctx context.Context) error {
	for _, n := range w.all {
		if err := n.start(); err != nil {
			return err
		}
	}
	const links = 3 // dialled by each, so that each has about six
	for i, n := range w.all {
		for range min(links, len(w.all)-1) {
			other := w.all[(i+1+int(w.random()*float64(len(w.all)-1)))%len(w.all)]
			if w.sc.Net.NAT > 0 && other.at.As4()[0] == 12 {
				other = w.subs[0]
			}
			if other == n {
				continue
			}
			if _, err := n.host.ConnectAny(ctx, other.host.Addrs()); err != nil {
				return fmt.Errorf("join: %w", err)
			}
		}
	}
	w.weigh()
	if err := pause(ctx, 10*time.Second); err != nil {
		return err
	}
	return w.introduce(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// weigh notes the memory in use.
func (w *world) weigh() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w.heap.Store(max(w.heap.Load(), m.HeapInuse+m.StackInuse))
}

// run submits jobs and plays acts until all jobs are over or the limit.
func (w *world) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.sc.Limit)
	defer cancel()
	var going sync.WaitGroup
	fail := make(chan error, 1)
	report := func(err error) {
		if err != nil && ctx.Err() == nil {
			select {
			case fail <- err:
			default:
			}
			cancel()
		}
	}
	for i := range w.sc.Jobs {
		j := &w.sc.Jobs[i]
		for k := range j.Repeat {
			x := &task{spec: j, sub: w.subs[j.Submitter-1], done: make(chan struct{})}
			w.jobs = append(w.jobs, x)
			going.Go(func() {
				if pause(ctx, j.At+time.Duration(k)*j.Every) == nil {
					report(w.do(ctx, x))
				}
			})
		}
	}
	var acting sync.WaitGroup
	actx, stop := context.WithCancel(ctx)
	for i := range w.sc.Acts {
		a := &w.sc.Acts[i]
		acting.Go(func() {
			if pause(actx, a.At) == nil {
				report(w.act(a))
			}
		})
	}
	going.Wait()
	stop()
	acting.Wait()
	select {
	case err := <-fail:
		return err
	default:
		return nil
	}
}

// do submits one job and follows it to its end.
func (w *world) do(ctx context.Context, x *task) error {
	policy := tasks.Policy{K: x.spec.K, N: x.spec.N, NodeLimit: x.spec.Nodes, SessionsWant: x.spec.Want}
	if x.spec.Adaptive {
		policy.Replication = tasks.Adaptive
	}
	if policy.NodeLimit == 0 {
		policy.NodeLimit = tasks.DefaultNodeLimit
	}
	policy.Regions = slices.Clone(x.spec.Regions)
	spec := tasks.Spec{
		Ops:         []tasks.Op{{Kind: "test.sleep", Params: fmt.Appendf(nil, `{"tasks":%d,"millis":%d}`, x.spec.Tasks, int(1000*x.spec.Seconds))}},
		Sensitivity: tasks.Public, Policy: policy,
	}
	if x.spec.Numbers {
		numbers, err := x.vectors(ctx)
		if err != nil {
			return fmt.Errorf("make texts: %w", err)
		}
		numbers.Policy = policy
		spec = numbers
	}
	x.at = time.Now()
	if x.spec.Deadline > 0 {
		spec.Policy.Deadline = x.at.Add(x.spec.Deadline).UnixMilli()
	}
	id, err := x.sub.submitter().Submit(ctx, spec)
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	x.id = id
	for ctx.Err() == nil {
		for st, err := range x.sub.submitter().Follow(ctx, id) {
			if err != nil {
				break // the submitter was killed; it comes back
			}
			if x.first == 0 && st.Leases > 0 {
				x.first = time.Since(x.at)
			}
			x.last = st
			w.weigh()
		}
		if x.last.Phase.Over() {
			break
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return nil
		}
	}
	x.over = time.Since(w.began)
	if !x.last.Result.Defined() {
		return nil
	}
	if x.spec.Numbers {
		same, err := w.alike(ctx, x)
		x.wrong = !same
		return err
	}
	right, err := w.reference(ctx, x)
	x.wrong = x.last.Result != right
	return err
}

// act does what the scenario says happens now.
func (w *world) act(a *scenario.Act) error {
	switch a.Verb {
	case scenario.Partition:
		cut := map[int]bool{}
		for _, r := range a.Args {
			cut[links.Index(r)] = true
		}
		w.cut.Store(&cut)
		return w.net.Changed()
	case scenario.Heal:
		w.cut.Store(&map[int]bool{})
		return w.net.Changed()
	case scenario.Crash:
		w.subs[a.Count-1].kill()
	case scenario.Restart:
		return w.subs[a.Count-1].startDrivers()
	case scenario.Leave:
		for _, n := range slices.Clone(w.nodes) {
			if w.random() < a.Share {
				n.kill()
			}
		}
	default:
		return fmt.Errorf("BUG: rung %s does not know %q", w.sc.Rung, a.Verb) // Scenario.Check refuses it
	}
	return nil
}

// reference is the result of the same job, done here by one who does not lie.
func (w *world) reference(ctx context.Context, x *task) (root dag.CID, err error) {
	blobs := memstore.NewBlobs()
	engine := sandbox.InProcess(w.kinds)
	defer engine.Close()
	e, err := execute.New(execute.Options{Engine: engine, Blobs: blobs, Kinds: w.kinds, Scratch: filepath.Join(w.scratch, "reference-"+x.id.Short()), Logger: w.log})
	if err != nil {
		return root, err
	}
	defer e.Close()
	spec := x.last.Spec
	spec.Ops = []tasks.Op{{Kind: "test.sleep", Params: fmt.Appendf(nil, `{"tasks":%d,"millis":0}`, x.spec.Tasks)}}
	r, err := local.Run(ctx, local.Options{Blobs: blobs, Executor: e, Kinds: w.kinds}, tasks.Job{ID: x.id, Spec: spec}, nil)
	return r.Root, err
}

// close ends everybody, then the network.
func (w *world) close() error {
	var errs []error
	for _, n := range w.all {
		errs = append(errs, n.stopParts())
	}
	for _, n := range w.all {
		n.hangUp()
	}
	time.Sleep(time.Second)
	for _, n := range w.all {
		errs = append(errs, n.closeHost())
	}
	if w.net != nil {
		errs = append(errs, w.net.Close())
	}
	return errors.Join(errs...)
}
