package submit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/wire"
)

// Where a worker and this node have no direct path, blocks go through a depot: inputs are left there before their lease
// is sent, and an output too large for a message comes back the same way, sealed for this node.

const (
	cutRetry    = 2 * time.Second  // until a way to a worker is looked for again
	depositTime = 2 * time.Minute  // for the inputs of one lease
	depositMore = 10 * time.Minute // kept after the lease's end, for outputs and clocks
	parcelRoom  = 64 << 20         // for the names and folders of an output, beside its bytes
)

// apart reports whether blocks have no direct way to a worker at this moment.
func (d *Driver) apart(s *session) bool {
	return s.relayed && d.o.Depots != nil && !d.o.Depots.Direct(s.peer.id)
}

// cutOff says that a job's blocks have no way to a worker at all, or returns nil.
func (d *Driver) cutOff(j *running, s *session) *tasks.Reason {
	if !j.state.Job().Spec.Input.Defined() || !d.apart(s) {
		return nil
	}
	if _, _, ok := d.o.Depots.Choose(); ok {
		return nil
	}
	d.lookAgain(time.Now().Add(cutRetry).UnixMilli())
	return ptr(tasks.Because(tasks.NoBlockPath, "only a relay leads there, and no depot is known"))
}

// hand sends a lease to its worker: at once, or when its inputs lie in the depot that it names.
func (d *Driver) hand(j *running, s *session, lease tasks.Lease) {
	if d.apart(s) {
		if node, addresses, ok := d.o.Depots.Choose(); ok {
			lease.Depot = &tasks.Depot{Node: node, Addresses: addresses[:min(len(addresses), wire.MaxAddresses)]}
			if len(lease.Do.Inputs) > 0 {
				d.deposit(j, s, lease)
				return
			}
		}
	}
	s.mu.Lock()
	s.out.leases = append(s.out.leases, lease)
	s.mu.Unlock()
	s.dirty = true
}

// deposit leaves the inputs of a lease at its depot, aside, and sends it then. If that fails the lease counts as
// returned.
func (d *Driver) deposit(j *running, s *session, lease tasks.Lease) {
	d.work.Go(func() {
		tokens, err := d.bring(j.ctx, &lease)
		d.box.Post(func() {
			if _, live := j.state.Lookup(lease.ID); !live || s.gone || s.grants.get(lease.ID) == nil {
				return // cancelled meanwhile
			}
			if err != nil {
				d.log.Info("Inputs could not be left at a depot", "worker", s.peer.id, "depot", lease.Depot.Node, slogErr(err))
				why := clipReason(tasks.Because(tasks.NoBlockPath, "only a relay leads there, and depot %s failed: %v", lease.Depot.Node.Short(), err))
				d.returned(s, &wire.Returned{Lease: lease.ID, Reason: why})
				return
			}
			lease.Depot.Tokens = tokens
			s.mu.Lock()
			s.out.leases = append(s.out.leases, lease)
			s.mu.Unlock()
			s.dirty = true
		})
	})
}

// bring takes the inputs of a lease to its depot and makes the tokens for them.
func (d *Driver) bring(ctx context.Context, lease *tasks.Lease) ([][]byte, error) {
	inputs := lease.Do.Inputs
	if len(inputs) > wire.MaxTokens {
		return nil, fmt.Errorf("%d inputs, a depot takes %d", len(inputs), wire.MaxTokens)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, depositTime, errors.New("it took too long"))
	defer cancel()
	select {
	case d.net <- struct{}{}:
		defer func() { <-d.net }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	end := time.UnixMilli(lease.Expiry)
	tokens := make([][]byte, len(inputs))
	for i, root := range inputs {
		if first := slices.Index(inputs, root); first < i {
			tokens[i] = tokens[first]
			continue
		}
		if err := d.o.Depots.Deposit(ctx, *lease.Depot, root, end.Add(depositMore)); err != nil {
			return nil, err
		}
		var err error
		if tokens[i], err = wire.SignFetchToken(d.o.Network, d.o.Key, wire.FetchToken{
			Holder: lease.Worker, Root: root, Lease: lease.ID, Expiry: lease.Expiry,
		}); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// unpack brings an output here that lies in a depot.
func (d *Driver) unpack(ctx context.Context, secret [32]byte, lease tasks.LeaseID, c *job.Examine, p *tasks.Parcel) error {
	most := 4*c.Bytes + parcelRoom
	if p.Bytes > most {
		return tasks.Because(tasks.OutputLimit, "a parcel of %d bytes for an output of %d", p.Bytes, c.Bytes)
	}
	if err := d.o.Depots.Collect(ctx, tasks.Depot{Node: p.Depot}, lease, p.Root, p.Token, most, func([]dag.CID) {}); err != nil {
		return err
	}
	return d.o.Executor.Unpack(ctx, p.Root, tasks.OutputKey(salt(secret, lease)), c.Root, most)
}
