package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"kith/tasks"
	"kith/tasks/credit"
	"kith/tasks/wire"
)

// creditCmd is "kith credit …".
type creditCmd struct {
	Show   creditShowCmd   `cmd:"" default:"1" help:"Show what this node and others owe one another, by their receipts."`
	Verify creditVerifyCmd `cmd:"" help:"Compute the same from exported files. It needs no node and trusts nobody."`
}

type (
	creditShowCmd   struct{}
	creditVerifyCmd struct {
		Files []string `arg:"" help:"Files that kith evidence export or kith receipts export wrote, of one node or of several."`
		For   string   `help:"Whose balance to show; none: the writer's of the first file." placeholder:"NODE"`
	}
)

// account is a statement as one node sees it.
type account struct {
	*credit.Statement
	Node    tasks.NodeID `json:"node"`
	Balance int64        `json:"balanceMillis"`
}

// Run shows the credit of this node.
func (creditShowCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	bundle, err := cl.Bundle(a.ctx, "")
	if err != nil {
		return err
	}
	if err := a.credit(bundle.Writer, bundle); err != nil || a.cli.JSON {
		return err
	}
	c, err := cl.Credit(a.ctx)
	if err != nil {
		return err
	}
	for _, w := range c.With {
		if w.Last {
			fmt.Fprintf(a.stdout, "%s signed for %d of %d results that it accepted: it is served last\n", short(w.Node), w.Signed, w.Earned)
		}
		switch {
		case w.Rest > 0:
			fmt.Fprintf(a.stdout, "%s had results and said nothing of them: it gets no more until %s\n", short(w.Node), timeText(w.Rest))
		case w.Silent > 0:
			fmt.Fprintf(a.stdout, "%s has said nothing yet of results that it has: %d\n", short(w.Node), w.Silent)
		}
	}
	return nil
}

// Run computes credit from files.
func (c creditVerifyCmd) Run(a *app) error {
	var bundles []*wire.Bundle
	for _, name := range c.Files {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read the receipts: %w", err)
		}
		b, err := wire.ReadBundle(f)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		bundles = append(bundles, b)
	}
	who := bundles[0].Writer
	if c.For != "" {
		if err := who.UnmarshalText([]byte(c.For)); err != nil {
			return usage("--for: %v", err)
		}
	}
	return a.credit(who, bundles...)
}

func (a *app) credit(who tasks.NodeID, bundles ...*wire.Bundle) error {
	s, err := credit.Compute(bundles...)
	if errors.Is(err, credit.ErrNetwork) {
		return usage("%w; name the files of one network", err)
	}
	if err != nil {
		return err
	}
	v := account{Statement: s, Node: who, Balance: s.Balance(who)}
	return a.show(v, func(w io.Writer) {
		if len(s.Transfers) > 0 {
			rows := [][]string{{"WORKED", "FOR", "NET CPU", "DID", "GOT BACK", "RECEIPTS", "CLAIMED", "UNSIGNED"}}
			for _, t := range s.Transfers {
				rows = append(rows, []string{
					short(t.Worker), short(t.Submitter), cpuText(t.Net), cpuText(t.Gained), cpuText(t.Spent), fmt.Sprint(t.Receipts), cpuText(t.Claimed), unsignedText(t),
				})
			}
			table(w, rows)
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "balance of %s: %s of processor time\n", short(who), cpuText(v.Balance))
		fmt.Fprintf(w, "digest %x: whoever has these receipts computes the same\n", s.Digest[:8])
		for _, why := range []credit.Void{credit.Forged, credit.Doubled, credit.Self, credit.Unearned} {
			if n := s.Void[why]; n > 0 {
				fmt.Fprintf(w, "worth nothing, %s: %d\n", why, n)
			}
		}
		if s.Asked > 0 {
			fmt.Fprintf(w, "results that were demanded and got no verdict: %d; it is signed that they arrived: %d\n", s.Asked, s.Delivered)
		}
		for _, f := range s.Faults {
			fmt.Fprintf(w, "  %s\n", f)
		}
	})
}

// unsignedText writes what is claimed without receipts, which is in no balance.
func unsignedText(t credit.Transfer) string {
	if t.Claims == 0 {
		return "–"
	}
	return fmt.Sprintf("%s in %d", cpuText(t.Unsigned), t.Claims)
}

// cpuText writes milliseconds of processor time.
func cpuText(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }
