package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/sandbox"
)

// Runner is the whole life of the child process in which tasks run.
func Runner() int { return sandbox.Main(kinds.All()) }

const sandboxTries = 3 // of the self-test, before no work is taken

// runners is where work runs on this machine.
type runners struct {
	engine   *sandbox.Process
	report   sandbox.Report
	executor *execute.Executor
}

// OpenRunners returns the sandbox and the executor over a store, with files of running tasks below scratch. Close the
// executor first, then the engine.
func OpenRunners(o execute.Options, spares int) (*execute.Executor, *sandbox.Process, error) {
	return openRunners(o, spares, 0)
}

func openRunners(o execute.Options, spares int, without sandbox.Layers) (*execute.Executor, *sandbox.Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program's own file: %w", err)
	}
	engine, err := sandbox.NewProcess(sandbox.Options{Exe: exe, Args: []string{RunnerArg}, Kinds: o.Kinds, Spares: spares, Without: without, Logger: o.Logger})
	if err != nil {
		return nil, nil, err
	}
	o.Engine = engine
	executor, err := execute.New(o)
	if err != nil {
		_ = engine.Close()
		return nil, nil, err
	}
	return executor, engine, nil
}

func (n *Node) openRunners(ctx context.Context, l *live) (*runners, error) {
	scratch := filepath.Join(n.o.Home, scratchDir)
	executor, engine, err := openRunners(execute.Options{
		Blobs: l.stores.blobs, Kinds: n.kinds, Scratch: scratch, Prepared: CodeFolder(n.o.Home),
		Disk: n.drives.Device(scratch), Logger: n.log,
	}, 0, n.o.without)
	if err != nil {
		return nil, err
	}
	n.closing.add("sandbox", engine.Close)
	n.closing.add("executor", executor.Close)
	// What the node says of its sandbox is what attacks on it have just shown.
	var report sandbox.Report
	for range sandboxTries { // a machine that is busy starting up may be too slow for the attackers, which must not count
		if report, err = engine.SelfTest(ctx, scratch); ctx.Err() != nil || err == nil && report.Grade > tasks.GradeNone {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	through := strings.Join(report.Broken(), ", ")
	if err != nil {
		through = err.Error()
		n.log.Error("The sandbox cannot be trusted; no work will be taken", slog.Any("error", err))
	} else {
		n.log.Info("Sandbox tested", slog.Int("grade", int(report.Grade)), slog.String("layers", report.Layers.String()),
			slog.Any("broken", report.Broken()), slog.Duration("took", report.Took), slog.Int64("memoryOvershoot", report.Overshoot.Memory),
			slog.Duration("timeOvershoot", report.Overshoot.Wall), slog.String("missing", report.Missing))
	}
	n.health.When(report.Grade == tasks.GradeNone, sandboxBroken, through)
	n.health.When(report.Grade == tasks.GradeProcess && report.Remedy() != "", sandboxThin, report.Promise(), report.Remedy())
	n.health.When(report.Grade == tasks.GradeB, sandboxSampled, report.Promise(), report.Remedy())
	n.health.When(report.Grade == tasks.GradeA && report.Remedy() != "", sandboxBare, report.Promise(), report.Remedy())
	return &runners{engine, report, executor}, nil
}
