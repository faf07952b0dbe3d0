package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"kith/node"
	"kith/node/api"
	"kith/storage/badgerstore"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/local"
)

// localCmd is "kith local". It needs no node and no data folder; only compiled programs of tasks are kept there, if there
// are any.
type localCmd struct {
	pipeline
	Output   string `short:"o" help:"Folder for the result, new or empty." placeholder:"DIR" required:""`
	PartSize string `help:"Input of one task, for example 8MiB." placeholder:"SIZE"`
	Parallel int    `help:"Tasks at once; 0: one for each core." default:"0"`
	Temp     string `help:"Folder for blocks and scratch files while it runs; default: beside the result." placeholder:"DIR"`
}

// localDone is what kith local prints for programs.
type localDone struct {
	api.Exported
	Root    dag.CID `json:"root"`
	Parts   int     `json:"parts"`
	Stages  int     `json:"stages"`
	Input   int64   `json:"inputBytes"`
	InFiles int64   `json:"inputFiles"`
	Millis  int64   `json:"millis"`
	PerSec  int64   `json:"bytesPerSecond"`
	Skipped int     `json:"skipped"`
}

// Run does the job here.
func (c localCmd) Run(a *app) (err error) {
	ops, input, err := c.ops()
	if err != nil {
		return err
	}
	part, err := sizeFlag("--part-size", c.PartSize)
	if err != nil {
		return err
	}
	if input {
		if err := readable(c.Path); err != nil {
			return err
		}
	}
	out, err := filepath.Abs(c.Output)
	if err != nil {
		return err
	}
	if err := emptyDir(out); err != nil {
		return err
	}
	begun := time.Now()
	temp := c.Temp
	if temp == "" {
		temp = filepath.Dir(out)
	}
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return fmt.Errorf("make a folder for blocks: %w", err)
	}
	dir, err := os.MkdirTemp(temp, ".kith-local-*")
	if err != nil {
		return fmt.Errorf("make a folder for blocks: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := badgerstore.Open(filepath.Join(dir, "blocks"), badgerstore.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	registry := kinds.All()
	executor, engine, err := node.OpenRunners(execute.Options{
		Blobs: store.Blobs(), Kinds: registry, Scratch: filepath.Join(dir, "scratch"), Prepared: code(a.cli.Home, dir), Logger: log,
	}, -1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, executor.Close(), engine.Close()) }()

	spec := tasks.Spec{Version: tasks.SpecVersion, Sensitivity: tasks.Private, PartBytes: part}
	for i, op := range ops {
		kind, err := registry.Kind(op.Kind)
		if err != nil {
			return err
		}
		var params []byte
		if len(op.Params) > 0 {
			if params, err = json.Marshal(op.Params); err != nil {
				return err
			}
		}
		if params, err = kind.Check(params); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, op.Kind, err)
		}
		spec.Ops = append(spec.Ops, tasks.Op{Kind: op.Kind, Params: params})
	}
	line := progress{app: a}
	defer line.end()
	var tree dag.Tree
	if input {
		tree, err = dag.AddTree(a.ctx, store.Blobs(), c.Path, dag.Options{Progress: func(files int, bytes int64) {
			line.reading(api.Import{Files: int64(files), Bytes: bytes})
		}})
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("read the input: %w; make it readable for you, or leave it out", err)
		}
		if err != nil {
			return fmt.Errorf("read the input: %w", err)
		}
		if tree.Files == 0 {
			return usage("%s holds no file (%d entries that are no plain files were left out); name a folder with files", c.Path, tree.SkippedCount)
		}
		spec.Input = tree.Root
		if c.Module != "" {
			if err := node.AddFile(a.ctx, store.Blobs(), registry, &spec, c.Module); err != nil {
				return err
			}
		}
		if tree.SkippedCount > 0 {
			a.note("%d entries that are no plain files were left out, the first: %v", tree.SkippedCount, tree.Skipped[0])
		}
	}
	job := tasks.Job{ID: tasks.JobID(sha256.Sum256([]byte(dir))), Spec: spec, Created: begun.UnixMilli()}
	res, err := local.Run(a.ctx, local.Options{Blobs: store.Blobs(), Executor: executor, Kinds: registry, Parallel: c.Parallel}, job, func(p local.Progress) {
		text := fmt.Sprintf("stage %d of %d, %d/%d tasks", p.Stage+1, p.Stages, p.Done, p.Tasks)
		if p.Stage == p.Stages {
			text = fmt.Sprintf("merging, %d/%d", p.Done, p.Tasks)
		}
		line.draw(text, text, false)
	})
	line.end()
	if err != nil {
		return err
	}
	exported, err := node.Export(a.ctx, store.Blobs(), res.Root, out)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	done := localDone{
		Exported: exported, Root: res.Root, Parts: res.Parts, Stages: len(res.Plan), Input: tree.Size, InFiles: int64(tree.Files),
		Millis: took.Milliseconds(), PerSec: int64(float64(tree.Size) / took.Seconds()), Skipped: tree.SkippedCount,
	}
	return a.show(done, func(w io.Writer) {
		fmt.Fprintf(w, "%d files, %s in %s\n", exported.Files, bytesText(exported.Bytes), out)
		a.note("%d files, %s in %d parts and %d stages, %s at %s/s", done.InFiles, bytesText(done.Input), done.Parts, done.Stages, durationText(took), bytesText(done.PerSec))
	})
}

// code is where compiled programs are kept: in the data folder, for the next time and for the node, or, where that belongs
// to somebody else, in temp for as long as this one runs.
func code(home, temp string) string {
	dir := node.CodeFolder(home)
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
			continue // it is made when there is something to keep
		}
		if err == nil && info.IsDir() {
			var f *os.File
			if f, err = os.CreateTemp(at, ".kith-*"); err == nil && errors.Join(f.Close(), os.Remove(f.Name())) == nil {
				return dir
			}
		}
		return node.CodeFolder(temp)
	}
}

// readable says what is wrong with an input before any work is done for it.
func readable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("there is no such input, check the path %s: %w", path, fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("read the input: %w; make it readable for you, or leave it out", err)
	case !info.IsDir() && !info.Mode().IsRegular():
		return usage("%s is neither a file nor a folder; name a plain file or a folder", path)
	}
	return nil
}
