package submit

import (
	"context"
	"slices"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/wire"
)

// checkKey names an output that is fetched and checked.
type checkKey struct {
	ref  job.Ref
	root dag.CID
}

// fetching is one such output on its way.
type fetching struct {
	from []tasks.NodeID // all who claim to have it
	lost chan struct{}  // has something to receive when a session with one of them has ended
}

// check fetches one copy of an output that did not come inline and compares all digests with its bytes.
func (d *Driver) check(j *running, c job.Examine) {
	key := checkKey{c.Task, c.Root}
	if j.checks[key] != nil {
		return
	}
	c.Claims = slices.Clone(c.Claims)
	slices.SortStableFunc(c.Claims, func(a, b job.Claim) int { // whoever is away is asked last
		return d.away(a.Worker) - d.away(b.Worker)
	})
	f := &fetching{lost: make(chan struct{}, 1)}
	parcels := map[tasks.LeaseID]tasks.Parcel{}
	for i := range c.Claims {
		f.from = append(f.from, c.Claims[i].Worker)
		if p, ok := j.parcels[c.Claims[i].Lease]; ok {
			parcels[c.Claims[i].Lease] = p
		}
	}
	j.checks[key] = f
	secret, wait := j.state.Secret(), j.fetched.patience(c.Bytes)
	d.work.Go(func() {
		ev := job.Checked{Task: c.Task, Root: c.Root}
		took, ok := d.fetchAny(j.ctx, secret, &c, parcels, wait, f.lost)
		if !ok {
			ev.Missing = true
			for i := range c.Claims {
				ev.Bad = append(ev.Bad, c.Claims[i].Lease)
			}
		} else if !d.digests(j.ctx, secret, &c, &ev) {
			return
		}
		d.box.Post(func() {
			delete(j.checks, key)
			if ok {
				j.fetched.add(c.Bytes, took)
			}
			now := time.Now().UnixMilli()
			d.step(j, ev, now)
			for _, x := range c.Claims {
				if slices.Contains(ev.Good, x.Lease) {
					d.have(j, c.Task, x.Worker, wire.Delivery{Lease: x.Lease, Root: c.Root, Digest: x.Digest}, now)
				}
			}
		})
	})
}

// away is 1 for a worker without a session, else 0.
func (d *Driver) away(worker tasks.NodeID) int {
	if d.sessions[worker] == nil {
		return 1
	}
	return 0
}

// hurry tells the fetches of a job that a worker has gone.
func (j *running) hurry(worker tasks.NodeID) {
	for _, f := range j.checks {
		if slices.Contains(f.from, worker) {
			select {
			case f.lost <- struct{}{}:
			default:
			}
		}
	}
}

// Whoever has an output too is asked for it when the first that was asked takes longer than patient times the median of the
// job's deliveries, but not before leastPatience; while that is not known, after the part 1/mostPatience of the time for a
// delivery.
const (
	patient       = 4
	leastPatience = 1500 * time.Millisecond
	mostPatience  = 6
	keptFetches   = 32
	certainly     = 4 // deliveries that must be known
)

// deliveries is how long a job's newest deliveries took for every MiB begun, the newest last.
type deliveries []time.Duration

func (l *deliveries) add(size int64, took time.Duration) {
	if len(*l) == keptFetches {
		*l = append((*l)[:0], (*l)[1:]...)
	}
	*l = append(*l, took/time.Duration(1+size>>20))
}

// patience is how long a delivery of so many bytes may take before somebody else is asked as well.
func (l deliveries) patience(size int64) time.Duration {
	most := deliveryTime(size) / mostPatience
	if len(l) < certainly {
		return most
	}
	sorted := slices.Sorted(slices.Values(l))
	return min(max(patient*sorted[len(sorted)/2]*time.Duration(1+size>>20), leastPatience), most)
}

// deliveryTime is how long a delivery may take in all.
func deliveryTime(size int64) time.Duration {
	return time.Duration(job.DeliveryMillis+size>>20*1000) * time.Millisecond
}

// fetchAny brings one copy here from the first claimant that delivers. They all claim to have the same bytes, so nobody is
// waited for alone while there is another: the next is asked as soon as one fails, loses its session, or is slow. Whoever
// was asked may still be the first. It returns how long it took from the first question on.
func (d *Driver) fetchAny(ctx context.Context, secret [32]byte, c *job.Examine, parcels map[tasks.LeaseID]tasks.Parcel, wait time.Duration, lost <-chan struct{}) (took time.Duration, ok bool) {
	select {
	case d.net <- struct{}{}:
		defer func() { <-d.net }()
	case <-ctx.Done():
		return 0, false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start, limit := time.Now(), deliveryTime(c.Bytes)
	done := make(chan bool, len(c.Claims))
	begun, failed := 0, 0
	slow := time.NewTimer(wait)
	defer slow.Stop()
	ask := func() {
		if begun == len(c.Claims) {
			return
		}
		from := &c.Claims[begun]
		begun++
		slow.Reset(wait)
		d.work.Go(func() {
			each, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			var err error
			if p, ok := parcels[from.Lease]; ok && d.o.Depots != nil {
				err = d.unpack(each, secret, from.Lease, c, &p)
			} else {
				err = d.o.Fetcher.FetchOutput(each, from.Worker, from.Lease, c.Root)
			}
			if err != nil && ctx.Err() == nil { // nobody else has brought it
				d.log.Info("A worker does not deliver", "worker", from.Worker, "lease", from.Lease, slogErr(err))
			}
			done <- err == nil
		})
	}
	for ask(); failed < len(c.Claims); {
		select {
		case ok := <-done:
			if ok {
				return time.Since(start), true
			}
			failed++
			ask()
		case <-lost:
			ask()
		case <-slow.C:
			ask()
		}
	}
	return 0, false
}

// digests compares every claim with the bytes; it reports false when the job ended.
func (d *Driver) digests(ctx context.Context, secret [32]byte, c *job.Examine, ev *job.Checked) bool {
	select {
	case d.cpu <- struct{}{}:
		defer func() { <-d.cpu }()
	case <-ctx.Done():
		return false
	}
	salts := make([][32]byte, len(c.Claims))
	for i := range c.Claims {
		salts[i] = salt(secret, c.Claims[i].Lease)
	}
	sums, err := d.o.Executor.Digest(ctx, salts, c.Root, nil)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		d.log.Info("An output cannot be read", "task", c.Task.String(), slogErr(err))
	}
	for i := range c.Claims {
		if err == nil && sums[i] == c.Claims[i].Digest {
			ev.Good = append(ev.Good, c.Claims[i].Lease)
		} else {
			ev.Bad = append(ev.Bad, c.Claims[i].Lease)
		}
	}
	return true
}
