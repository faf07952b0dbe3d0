package work_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// depots is a depot that takes and gives what a test says.
type depots struct {
	direct  bool
	collect func(ctx context.Context, arrived func([]dag.CID)) error
	deposit error

	mu    sync.Mutex
	asked []string
}

func (d *depots) note(what string) { d.mu.Lock(); d.asked = append(d.asked, what); d.mu.Unlock() }

func (d *depots) Direct(tasks.NodeID) bool { return d.direct }

func (d *depots) Deposit(_ context.Context, at tasks.Depot, root dag.CID, until time.Time) error {
	if at.Node != (tasks.NodeID{5}) || !root.Defined() || time.Until(until) < time.Minute {
		return errors.New("not what the lease says")
	}
	d.note("deposit")
	return d.deposit
}

func (d *depots) Collect(ctx context.Context, at tasks.Depot, lease tasks.LeaseID, root dag.CID, token []byte, _ int64, arrived func([]dag.CID)) error {
	if at.Node != (tasks.NodeID{5}) || string(token) != "token" || lease == (tasks.LeaseID{}) {
		return errors.New("not what the lease says")
	}
	d.note("collect")
	return d.collect(ctx, arrived)
}

// Inputs come from the submitter or from the depot of the lease, whichever is likelier first, the other in its place.
func TestInputsThroughADepot(t *testing.T) {
	stands := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name          string
		direct        bool // a direct path seems to exist
		submitter     func(context.Context) error
		depot         func(context.Context) error
		want          []string
		back          bool // the lease goes back
		noDepot       bool
		within, after time.Duration
	}{
		{"directly", true, nil, stands, []string{"fetch"}, false, false, time.Second, 0},
		{"it stands still", true, stands, nil, []string{"fetch", "collect"}, false, false, 11 * time.Second, 10 * time.Second},
		{"a relay alone", false, stands, nil, []string{"collect"}, false, false, time.Second, 0},
		{"the depot has nothing", false, nil, func(context.Context) error { return tasks.Reason{Code: tasks.NotHere} }, []string{"collect", "fetch"}, false, false, time.Second, 0},
		{"no way at all", false, stands, stands, []string{"collect", "fetch"}, true, false, 21 * time.Second, 20 * time.Second},
		{"no depot", false, stands, nil, []string{"fetch"}, true, true, 11 * time.Second, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := &depots{direct: c.direct, collect: func(ctx context.Context, arrived func([]dag.CID)) error {
					if c.depot != nil {
						return c.depot(ctx)
					}
					return nil
				}}
				r := newRig(t, func(o *work.Options) { o.Depots = d })
				r.fetch = func(ctx context.Context, _ work.Input, _ func([]dag.CID)) error {
					d.note("fetch")
					if c.submitter != nil {
						return c.submitter(ctx)
					}
					return nil
				}
				input, err := dag.AddFiles(t.Context(), r.blobs, map[string][]byte{"x": []byte("y")})
				if err != nil {
					t.Fatal(err)
				}
				b := r.session()
				began := time.Now()
				b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, func(l *tasks.Lease) {
					l.Do.Inputs = []dag.CID{input.Root}
					if !c.noDepot {
						l.Depot = &tasks.Depot{Node: tasks.NodeID{5}, Tokens: [][]byte{[]byte("token")}}
					}
				})}})
				if c.back {
					back := hear[*wire.Returned](b)
					if back.Reason.Code != tasks.NoBlockPath || !c.noDepot && !strings.Contains(back.Reason.Detail, "depot") {
						t.Errorf("returned with %+v", back.Reason)
					}
				} else {
					hear[*wire.Commits](b)
				}
				if took := time.Since(began); took > c.within || took < c.after {
					t.Errorf("it took %v", took)
				}
				if !slices.Equal(d.asked, c.want) {
					t.Errorf("asked %v, want %v", d.asked, c.want)
				}
			})
		})
	}
}

// A large output without a direct path is left at the depot before the commit, and its reveal names it with a token for
// the submitter alone.
func TestOutputThroughADepot(t *testing.T) {
	for _, c := range []struct {
		name    string
		direct  bool
		bytes   string
		deposit error
		parcel  bool
		back    bool
	}{
		{"large", false, "200000", nil, true, false},
		{"small", false, "20", nil, false, false},
		{"direct", true, "200000", nil, false, false},
		{"refused", false, "200000", tasks.Reason{Code: tasks.DepotFull}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := &depots{direct: c.direct, deposit: c.deposit}
				r := newRig(t, func(o *work.Options) { o.Depots = d })
				b := r.session()
				l := b.lease(1, func(l *tasks.Lease) {
					l.Do.Steps[0].Params = []byte(`{"tasks":1,"bytes":` + c.bytes + `}`)
					l.Depot = &tasks.Depot{Node: tasks.NodeID{5}}
				})
				b.say(&wire.Leases{Leases: []tasks.Lease{l}})
				if c.back {
					if back := hear[*wire.Returned](b); back.Reason.Code != tasks.NoBlockPath {
						t.Errorf("returned with %+v", back.Reason)
					}
					return
				}
				hear[*wire.Commits](b)
				b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{l.ID}})
				shown := hear[*wire.Reveals](b).Reveals[0]
				if (shown.Parcel != nil) != c.parcel || (len(d.asked) == 1) != c.parcel {
					t.Fatalf("parcel %+v, asked %v", shown.Parcel, d.asked)
				}
				if !c.parcel {
					return
				}
				token, err := wire.OpenFetchToken(network, time.Now().UnixMilli(), r.id, shown.Parcel.Root, shown.Parcel.Token)
				if err != nil || token.By != r.me || token.Lease != l.ID || shown.Parcel.Depot != l.Depot.Node {
					t.Errorf("token %+v, %v", token, err)
				}
				if err := r.exec.Unpack(t.Context(), shown.Parcel.Root, tasks.OutputKey(l.Salt), shown.Root, 1<<30); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
