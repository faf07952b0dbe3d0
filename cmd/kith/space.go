package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"kith/node"
	"kith/node/api"
	"kith/node/api/client"
	"kith/node/config"
	"kith/storage/quota"
)

// spaceCmd is "kith space".
type spaceCmd struct {
	Free     bool     `help:"Delete what would go; without it nothing is deleted."`
	Kind     []string `help:"What to free: blocks, logs or results. May be repeated; default: blocks and logs, which nobody misses." placeholder:"KIND"`
	Override string   `help:"Take work on a full disk for so long, for example 2h; off ends it." placeholder:"TIME"`
}

// Run shows what fills the disk.
func (c spaceCmd) Run(a *app) error {
	kinds := []quota.Kind{quota.Blocks, quota.Logs}
	if len(c.Kind) > 0 {
		kinds = nil
		for _, k := range c.Kind {
			if k != string(quota.Blocks) && k != string(quota.Logs) && k != string(quota.Results) {
				return usage("--kind %.20q: blocks, logs and results can be freed", k)
			}
			kinds = append(kinds, quota.Kind(k))
		}
		if !c.Free {
			return usage("--kind says what to free: it goes with --free")
		}
	}
	cl, err := a.client()
	if errors.Is(err, client.ErrNotRunning) && c.Override == "" {
		if c.Free {
			return c.freeOffline(a, kinds)
		}
		return a.offlineSpace()
	}
	if err != nil {
		return err
	}
	switch {
	case c.Override != "":
		return c.override(a, cl)
	case c.Free:
		f, err := cl.FreeSpace(a.ctx, kinds)
		if err != nil {
			return err
		}
		return a.show(f, func(w io.Writer) { freed(w, f) })
	}
	r, err := cl.Space(a.ctx)
	if err != nil {
		return err
	}
	return a.show(r, func(w io.Writer) { a.spaceText(w, r) })
}

// freeOffline frees space without a node, which may not start any more when the disk is full. What went before an error is
// shown too.
func (c spaceCmd) freeOffline(a *app, kinds []quota.Kind) error {
	f, err := node.FreeOffline(a.ctx, a.cli.Home, kinds, slog.New(slog.DiscardHandler))
	if err != nil && len(f.Kinds) == 0 {
		return err
	}
	return errors.Join(a.show(f, func(w io.Writer) { freed(w, f) }), err)
}

func freed(w io.Writer, f api.Freed) {
	for _, k := range f.Kinds {
		fmt.Fprintf(w, "%s: %d things of %s are gone\n", k.Kind, k.Things, bytesText(k.Bytes))
	}
	if f.After > 0 {
		fmt.Fprintf(w, "the data folder has %s now, it had %s\n", bytesText(f.After), bytesText(f.Before))
	}
}

func (c spaceCmd) override(a *app, cl *client.Client) error {
	var d time.Duration
	if c.Override != "off" {
		var err error
		if d, err = time.ParseDuration(c.Override); err != nil || d < time.Second {
			return usage("--override %.20q: want a time like 30m or 2h, or off", c.Override)
		}
	}
	if err := cl.Override(a.ctx, d); err != nil {
		return err
	}
	return a.show(map[string]any{"seconds": int64(d.Seconds())}, func(w io.Writer) {
		if d == 0 {
			fmt.Fprintln(w, "the disk guard is on")
			return
		}
		fmt.Fprintf(w, "the disk guard is off for %s: work is taken however full the disk is\n", durationText(d))
	})
}

func (a *app) offlineSpace() error {
	store, err := config.Open(a.cli.Home)
	if err != nil {
		return err
	}
	r := node.SpaceOf(a.cli.Home, store.Get())
	return a.show(r, func(w io.Writer) { a.spaceText(w, r) })
}

func (a *app) spaceText(w io.Writer, r api.SpaceReport) {
	share := fmt.Sprintf("%d %% used", r.UsedPercent)
	switch {
	case r.UsedPercent >= r.Stop:
		share = a.term.red(share)
	case r.UsedPercent >= r.Alert:
		share = a.term.yellow(share)
	}
	fmt.Fprintf(w, "disk: %s, %s of %s free; a warning from %d %%, no new work from %d %%\n", share, bytesText(r.DiskFree), bytesText(r.DiskTotal), r.Alert, r.Stop)
	if r.OffUntil > 0 {
		fmt.Fprintln(w, a.term.yellow("the disk guard is off until "+timeText(r.OffUntil)))
	}
	fmt.Fprintf(w, "data folder: %s of %s\n\n", bytesText(r.Used), bytesText(r.Quota))
	rows := [][]string{{"KIND", "USES", "AT MOST", "WOULD GO", "WHAT"}}
	for _, k := range r.Kinds {
		most, free := "–", "–"
		if k.Quota > 0 {
			most = bytesText(k.Quota)
		}
		if k.Free > 0 {
			free = bytesText(k.Free)
		}
		rows = append(rows, []string{string(k.Kind), bytesText(k.Bytes), most, free, k.Goes})
	}
	table(w, rows)
	words := "kith space --free deletes what would go of blocks and logs; results only with --kind results"
	if !r.Running {
		words += ". No node runs: it also wipes the scratch folder"
	}
	a.note("\n%s", words)
}
