package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"kith/node"
	"kith/node/logfile"
	"kith/ui"
)

// runCmd is "kith run".
type runCmd struct {
	Open      bool          `help:"Open this node's page in the browser."`
	Port      string        `help:"UDP and TCP port for other nodes, for this run: one number, a range, or any." placeholder:"PORT"`
	APIPort   string        `name:"api-port" help:"TCP port of the page, for this run." placeholder:"PORT"`
	Bootstrap []string      `short:"b" sep:"none" help:"Address of a node to meet first, besides the setting. May be repeated." placeholder:"ADDR"`
	Network   string        `help:"Network to join, for this run." placeholder:"NAME"`
	LogJSON   bool          `name:"log-json" help:"Write the log as JSON lines."`
	SyncDelay time.Duration `hidden:"" help:"Added to every sync of the logs."`
}

// Run runs the node until it is told to stop.
func (c runCmd) Run(a *app) error {
	if os.Getenv("GOGC") == "" {
		go paceHeap(a.ctx)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	level := &slog.LevelVar{}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(a.stderr, options)
	if c.LogJSON {
		handler = slog.NewJSONHandler(a.stderr, options)
	}
	// What scrolls by is kept too, a file a day.
	kept := logfile.New(a.cli.Home, logfile.Options{Most: func() int64 { return node.LogQuota(a.cli.Home) }})
	defer func() { _ = kept.Close() }()
	log := slog.New(slog.NewMultiHandler(handler, slog.NewTextHandler(kept, options)))
	slog.SetDefault(log) // libraries log there
	n, err := node.New(node.Options{
		Home: a.cli.Home, Page: ui.Files(), Overrides: c.overrides(a.cli.Home), SyncDelay: c.SyncDelay, Logger: log, Level: level,
	})
	if err != nil {
		return err
	}
	page := n.API().LoginURL()
	v := map[string]any{"node": n.Self(), "api": n.API().Access().URL, "page": page, "home": a.cli.Home, "pid": os.Getpid()}
	if err := a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "node %s\npage %s\n", n.Self(), page)
		a.note("the page's address works once; kith page prints another. Ctrl-C stops the node")
	}); err != nil {
		return err
	}
	if c.Open {
		time.AfterFunc(300*time.Millisecond, func() {
			if err := openBrowser(page); err != nil {
				log.Warn("Cannot open a browser", slog.Any("error", err))
			}
		})
	}
	return n.Serve(a.ctx)
}

// overrides are the settings of this run. The list of peers to meet is added to, not replaced.
func (c runCmd) overrides(home string) map[string]string {
	out := map[string]string{}
	for key, value := range map[string]string{"listen.ports": c.Port, "api.ports": c.APIPort, "network": c.Network} {
		if value != "" {
			out[key] = value
		}
	}
	if len(c.Bootstrap) > 0 {
		out["peers.bootstrap"] = strings.Join(append(node.BootstrapSetting(home), c.Bootstrap...), ",")
	}
	return out
}
