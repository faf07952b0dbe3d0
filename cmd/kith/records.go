package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"kith/node/api"
	"kith/node/atomicfile"
	"kith/tasks/wire"
)

// receiptsCmd is "kith receipts …".
type receiptsCmd struct {
	List   receiptsListCmd   `cmd:"" default:"withargs" help:"List receipts, the newest first."`
	Replay receiptsReplayCmd `cmd:"" help:"Do the task of one receipt of this node's own work again, in its sandbox, and compare the result."`
	Export evidenceExportCmd `cmd:"" help:"Write receipts with their signatures to a file, so that anybody can check them."`
}

type receiptsReplayCmd struct {
	ID string `arg:"" help:"The receipt, or the first letters of its id."`
}

// errDiffers makes a replay that differs fail.
var errDiffers = errors.New("the result is not the one in the receipt")

// Run replays a receipt.
func (c receiptsReplayCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	r, err := cl.Replay(a.ctx, c.ID)
	if err != nil {
		return err
	}
	if err := a.show(r, func(w io.Writer) {
		verdict := "the same result"
		if !r.Same {
			verdict = "ANOTHER RESULT"
		}
		fmt.Fprintf(w, "%s: %s\n", short(r.Receipt.Lease), verdict)
		table(w, [][]string{
			{"", "ROOT", "CPU"},
			{"receipt", r.Claimed.String(), cpuText(r.Receipt.CPUMillis)},
			{"now", r.Root.String(), cpuText(r.CPUMillis)},
		})
	}); err != nil {
		return err
	}
	if !r.Same {
		return errDiffers
	}
	return nil
}

type receiptsListCmd struct {
	Job   string `help:"Only of this job." placeholder:"ID"`
	Limit int    `help:"The newest so many, at most 10000." default:"100"`
}

// Run lists receipts.
func (c receiptsListCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	list, err := cl.Receipts(a.ctx, c.Job, c.Limit)
	if err != nil {
		return err
	}
	return a.show(list, func(w io.Writer) {
		if len(list) == 0 {
			a.note("no receipts yet")
			return
		}
		rows := [][]string{{"ID", "TIME", "AS", "WITH", "JOB", "WHAT", "OUTCOME", "CPU", "SIGNED"}}
		for _, r := range list {
			with := r.Submitter
			if r.Role == "submitter" {
				with = r.Worker
			}
			rows = append(rows, []string{
				short(r.Lease), timeText(r.At), r.Role, short(with), short(r.Job), strings.Join(r.Kinds, " → "), string(r.Outcome), durationText(millis(r.CPUMillis)), signedText(&r),
			})
		}
		table(w, rows)
	})
}

// signedText says what is signed of a result.
func signedText(r *api.Receipt) string {
	switch {
	case r.Countered:
		return "by both"
	case r.Claim == api.ClaimAccepted:
		return "claim"
	case r.Claim == api.ClaimDelivered:
		return "claim, delivered"
	case r.Claim == api.ClaimAsked:
		return "claim, no verdict"
	}
	return "by one"
}

// evidenceCmd is "kith evidence …".
type evidenceCmd struct {
	List   evidenceListCmd   `cmd:"" default:"1" help:"List who was caught at what."`
	Export evidenceExportCmd `cmd:"" help:"Write receipts and proofs with their signatures, so that anybody can check them."`
	Verify evidenceVerifyCmd `cmd:"" help:"Check an exported file. It needs no node and trusts nobody."`
}

type (
	evidenceListCmd   struct{}
	evidenceExportCmd struct {
		File string `arg:"" optional:"" help:"File to write, new; none: standard output."`
		Job  string `help:"Only of this job." placeholder:"ID"`
	}
	evidenceVerifyCmd struct {
		File string `arg:"" help:"File to check."`
	}
)

// Run lists evidence.
func (evidenceListCmd) Run(a *app) error {
	list, err := a.evidence()
	if err != nil {
		return err
	}
	return a.show(list, func(w io.Writer) {
		if len(list) == 0 {
			a.note("nothing to show: nobody was caught at anything")
			return
		}
		rows := [][]string{{"TIME", "NODE", "JOB", "WHAT", "PROOF", "TEXT"}}
		for _, e := range list {
			proof := "–"
			if e.Proof != "" {
				proof = "signed"
			}
			rows = append(rows, []string{timeText(e.At), short(e.Node), short(e.Job), e.What, proof, e.Text})
		}
		table(w, rows)
	})
}

// Run exports evidence.
func (c evidenceExportCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	bundle, err := cl.Bundle(a.ctx, c.Job)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := bundle.WriteJSON(&text); err != nil {
		return err
	}
	if c.File == "" {
		_, err := a.stdout.Write(text.Bytes())
		return err
	}
	if err := atomicfile.Create(c.File, text.Bytes(), 0o600); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return usage("%s exists already; name another file", c.File)
		}
		return err
	}
	a.note("%d batches of receipts, %d messages that prove claims and %d proofs of lies in %s", len(bundle.Batches), len(bundle.Claims), len(bundle.Conflicts), c.File)
	return nil
}

// Run checks an exported file.
func (c evidenceVerifyCmd) Run(a *app) error {
	f, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("read the evidence: %w", err)
	}
	defer f.Close()
	bundle, err := wire.ReadBundle(f)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if err := bundle.Verify(); err != nil {
		return fmt.Errorf("%s does not hold: %w", c.File, err)
	}
	both, receipts := 0, 0
	for i := range bundle.Batches {
		receipts += len(bundle.Batches[i].Receipts)
		if bundle.Batches[i].Countered != (wire.Signature{}) {
			both++
		}
	}
	claimed, delivered := 0, 0
	for i := range bundle.Claims {
		claimed += len(bundle.Claims[i].Leases)
		if bundle.Claims[i].Heard.Head.Type.Word() == wire.Got {
			delivered += len(bundle.Claims[i].Leases)
		}
	}
	v := map[string]any{"claims": claimed, "delivered": delivered, "batches": len(bundle.Batches), "countersigned": both, "receipts": receipts, "conflicts": len(bundle.Conflicts), "writer": bundle.Writer}
	return a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "it holds: %d receipts in %d batches, %d of them signed by both sides, %d claims without a receipt, for %d of which it is signed that the result arrived and got no verdict, and %d proofs of lies\n", receipts, len(bundle.Batches), both, claimed, delivered, len(bundle.Conflicts))
	})
}

func (a *app) evidence() ([]api.Evidence, error) {
	cl, err := a.client()
	if err != nil {
		return nil, err
	}
	list, err := cl.Evidence(a.ctx)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return list, nil
}
