package node

import (
	"context"
	"errors"
	"time"

	"kith/node/api"
	"kith/node/owner"
)

// SetOwner implements api.Switch.
func (n *Node) SetOwner(_ context.Context, state string) (api.Owner, error) {
	if owner.State(state) == owner.Working {
		if err := n.clearStop(); err != nil {
			return api.Owner{}, err
		}
	}
	err := n.owner.Set(owner.State(state))
	n.live.Load().gives.bring() // a stop holds even if it could not be written
	if err != nil {
		return api.Owner{}, err
	}
	return n.ownerState(), nil
}

// Snooze implements api.Switch.
func (n *Node) Snooze(_ context.Context, d time.Duration) (api.Owner, error) {
	err := n.owner.Snooze(d)
	n.live.Load().gives.bring()
	if errors.Is(err, owner.ErrSnooze) {
		return api.Owner{}, api.Refuse(api.CodeBadRequest, "name a time from 1 s to 30 days, or end the snooze with 0", "%v", err)
	}
	if err != nil {
		return api.Owner{}, err
	}
	return n.ownerState(), nil
}

// ownerState shows what the owner allows, and why.
func (n *Node) ownerState() api.Owner {
	s, since := n.owner.State()
	v := n.owner.Verdict()
	out := api.Owner{
		State: string(s), Since: since, Level: v.Level.String(), Words: v.Text(), Reasons: []api.Pause{}, Sensors: []api.Sensor{},
		Caps: api.Caps{
			Processors: v.Processors, MemoryBytes: v.Caps.Memory, VRAMBytes: v.Caps.VRAM, IOPerSecond: v.Caps.IO,
			DownPerSecond: v.Caps.Down, UpPerSecond: v.Caps.Up, Share: v.Comfort.Share, PromisedBytes: v.Memory,
		},
		Yield: api.Yield{
			Count: v.Comfort.Yields(), P50Millis: v.Comfort.Quantile(0.5).Milliseconds(), P99Millis: v.Comfort.Quantile(0.99).Milliseconds(),
			PromiseMillis: owner.Promise.Milliseconds(), Histogram: []api.Bar{},
		},
	}
	out.Goal.Hours = float64(n.orders.Load().goal)
	if l := n.live.Load(); l != nil {
		out.Goal.Done = l.gives.ready.Done().Hours()
	}
	if out.Caps.Share == 0 {
		out.Caps.Share = 1
	}
	for i, k := range v.Comfort.Counts {
		bar := api.Bar{Count: k}
		if edges := owner.Edges(); i < len(edges) {
			bar.ToMillis = edges[i].Milliseconds()
		}
		out.Yield.Histogram = append(out.Yield.Histogram, bar)
	}
	for _, w := range v.Why {
		out.Reasons = append(out.Reasons, api.Pause{
			Cause: string(w.Cause), Level: w.Level.String(), Since: millisOf(w.Since), Until: millisOf(w.Until), Text: w.Text, Ends: w.Ends,
		})
	}
	if r := n.readings.Load(); r != nil {
		for _, x := range []struct {
			name, unit string
			r          owner.Reading
		}{
			{"input", "s", r.Idle},
			{"full screen", "", r.FullScreen},
			{"programs", "", r.Program},
			{"battery", "", r.Battery},
			{"metered network", "", r.Metered},
			{"temperature", "°C", r.Heat},
			{"other programs", "%", r.Foreign},
			{"waiting", "%", r.Pressure},
			{"disk", "%", r.Disk},
		} {
			value := x.r.Value
			if x.unit == "%" {
				value *= 100
			}
			out.Sensors = append(out.Sensors, api.Sensor{Name: x.name, Known: x.r.Known, Value: value, Unit: x.unit, Text: x.r.Text})
		}
	}
	return out
}

func millisOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
