package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"kith/node/atomicfile"
	"kith/node/config"
	"kith/node/identity"
	"kith/tasks"
	"kith/tasks/wire"
)

// noticeCmd is "kith notice …": what the stewards of a network order together.
type noticeCmd struct {
	List noticeListCmd `cmd:"" default:"1" help:"List the notices this node holds, the newest first."`
	New  noticeNewCmd  `cmd:"" help:"Write a notice with this node's signature into a file, for other stewards to sign."`
	Sign noticeSignCmd `cmd:"" help:"Add this node's signature to a notice in a file."`
	Send noticeSendCmd `cmd:"" help:"Act upon a notice and pass it on to the network."`
}

type (
	noticeListCmd struct{}
	noticeNewCmd  struct {
		Action  string `arg:"" enum:"stop,resume,revoke" help:"stop all work (or one job), resume (a stop is over; also a sign of life), or revoke a node."`
		File    string `arg:"" help:"File to write." type:"path"`
		Reason  string `help:"What people are told." required:"" placeholder:"TEXT"`
		Job     string `help:"Stop this job alone." placeholder:"ID"`
		Node    string `help:"Node to revoke." placeholder:"ID"`
		Expires string `help:"How long it counts." default:"168h"`
		Network string `help:"Network it is for." default:"main"`
	}
	noticeSignCmd struct {
		File string `arg:"" help:"File with the notice." type:"existingfile"`
	}
	noticeSendCmd struct {
		File string `arg:"" help:"File with the notice." type:"existingfile"`
	}
)

// Run lists notices.
func (noticeListCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	list, err := c.Notices(a.ctx)
	if err != nil {
		return err
	}
	return a.show(list, func(w io.Writer) {
		rows := [][]string{}
		for _, n := range list {
			rows = append(rows, []string{n.Action, n.Job + n.Subject, timeText(n.At), "until " + timeText(n.Expires), n.Reason})
		}
		table(w, rows)
		if len(rows) == 0 {
			a.note("none")
		}
	})
}

// Run writes a notice.
func (c noticeNewCmd) Run(a *app) error {
	span, err := config.ParseSpan(c.Expires)
	if err != nil || span == config.Never {
		return usage("--expires %q: want a time like 24h", c.Expires)
	}
	now := time.Now()
	n := wire.Notice{
		Action: wire.Action(c.Action), Reason: tasks.Because(tasks.Killed, "%s", c.Reason),
		Time: now.UnixMilli(), Expiry: now.Add(time.Duration(span)).UnixMilli(),
	}
	if _, err := rand.Read(n.Nonce[:]); err != nil {
		return err
	}
	if c.Job != "" && n.Job.UnmarshalText([]byte(c.Job)) != nil {
		return usage("--job %.60q is no whole id of a job", c.Job)
	}
	if c.Node != "" && n.Subject.UnmarshalText([]byte(c.Node)) != nil {
		return usage("--node %.60q is no id of a node", c.Node)
	}
	if err := n.Validate(n.Time); err != nil {
		return usage("%v", err)
	}
	return a.writeNotice(c.File, c.Network, n, nil)
}

// Run signs a notice.
func (c noticeSignCmd) Run(a *app) error {
	data, err := readNotice(c.File)
	if err != nil {
		return err
	}
	network, n, sigs, err := wire.PeekNotice(data)
	if err != nil {
		return usage("%s: %v", c.File, err)
	}
	a.note("%s of network %s: %s", n.Action, network, printable(n.Reason.Detail))
	return a.writeNotice(c.File, network, n, sigs)
}

func (a *app) writeNotice(file, network string, n wire.Notice, sigs []wire.Endorsement) error {
	self, _, err := identity.Open(a.cli.Home)
	if err != nil {
		return err
	}
	data, err := wire.JoinNotice(network, n, append(sigs, wire.Endorse(network, self.Key(), n)))
	if err != nil {
		return usage("%v", err)
	}
	if err := atomicfile.Write(file, []byte(base64.StdEncoding.EncodeToString(data)+"\n"), 0o644); err != nil {
		return err
	}
	_, _, sigs, err = wire.PeekNotice(data)
	if err != nil {
		return err
	}
	return a.show(map[string]any{"file": file, "signatures": len(sigs)}, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d signatures\n", file, len(sigs))
	})
}

func readNotice(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(data) > wire.MaxNotice {
		return nil, usage("%s holds no notice; kith notice new writes one", file)
	}
	return data, nil
}

// Run sends a notice.
func (c noticeSendCmd) Run(a *app) error {
	data, err := readNotice(c.File)
	if err != nil {
		return err
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	n, err := cl.PublishNotice(a.ctx, data)
	if err != nil {
		return err
	}
	return a.show(n, func(w io.Writer) { fmt.Fprintf(w, "sent: %s, %s\n", n.Action, printable(n.Reason)) })
}
