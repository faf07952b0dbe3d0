package main

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"kith/node/api"
	"kith/node/api/client"
)

// jobCmd is "kith job …".
type jobCmd struct {
	Show    jobShowCmd    `cmd:"" default:"withargs" help:"Show a job."`
	Explain jobExplainCmd `cmd:"" help:"Say what a job waits for, and why."`
	Follow  jobFollowCmd  `cmd:"" help:"Show progress until the job ends."`
	Get     jobGetCmd     `cmd:"" help:"Write the result's files into a folder, or a tar to standard output."`
	Cancel  jobCancelCmd  `cmd:"" help:"End a job; what its workers have done is still paid."`
}

type (
	jobShowCmd struct {
		ID string `arg:"" help:"Job, or the beginning of its id."`
	}
	jobExplainCmd struct {
		ID string `arg:"" help:"Job, or the beginning of its id."`
	}
	jobFollowCmd struct {
		ID      string        `arg:"" help:"Job, or the beginning of its id."`
		Timeout time.Duration `help:"Give up after so long." placeholder:"TIME"`
	}
	jobGetCmd struct {
		ID  string `arg:"" help:"Job, or the beginning of its id."`
		Dir string `arg:"" optional:"" help:"Folder, new or empty; default: kith- and the job's id. - writes a tar to standard output."`
		Out string `short:"o" name:"output" help:"The same." placeholder:"DIR"`
	}
	jobCancelCmd struct {
		ID string `arg:"" help:"Job, or the beginning of its id."`
	}
)

// Run shows the job.
func (c jobShowCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	j, err := cl.Job(a.ctx, c.ID)
	if err != nil {
		return err
	}
	return a.show(j, func(w io.Writer) { a.job(w, j) })
}

// Run explains the job.
func (c jobExplainCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	e, err := cl.Explain(a.ctx, c.ID)
	if err != nil {
		return err
	}
	return a.show(e, func(w io.Writer) {
		fmt.Fprintln(w, e.Summary)
		for _, r := range e.Reasons {
			held := ""
			switch {
			case r.Tasks == 1:
				held = "1 task: "
			case r.Tasks > 1:
				held = fmt.Sprintf("%d tasks: ", r.Tasks)
			}
			fmt.Fprintf(w, "  %s%s: %s\n", held, r.Code, printable(reasonText(r.Reason)))
			if len(r.Examples) > 0 {
				fmt.Fprintf(w, "      for example %s\n", strings.Join(r.Examples, ", "))
			}
			if len(r.Nodes) > 0 {
				fmt.Fprintf(w, "      nodes: %s\n", strings.Join(r.Nodes, ", "))
			}
		}
	})
}

// Run follows the job.
func (c jobFollowCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	ctx, cancel := withTimeout(a.ctx, c.Timeout)
	defer cancel()
	j, err := a.follow(ctx, cl, c.ID)
	if err != nil {
		return err
	}
	return a.ended(j)
}

// Run writes the result.
func (c jobGetCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	return a.get(cl, c.ID, cmp.Or(c.Out, c.Dir))
}

// Run cancels the job.
func (c jobCancelCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	j, err := cl.Cancel(a.ctx, c.ID)
	if err != nil {
		return err
	}
	return a.show(j, func(w io.Writer) { fmt.Fprintf(w, "%s is %s\n", short(j.ID), j.State) })
}

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

const (
	followFirst   = 5 * time.Millisecond   // between two looks at a job, growing
	followEvery   = 100 * time.Millisecond // to this
	plainEvery    = 5 * time.Second        // between two lines where nobody redraws
	reconnectWait = 30 * time.Second       // for a node that restarts meanwhile
)

// follow shows progress until the job ends. A node that restarts meanwhile is waited for.
func (a *app) follow(ctx context.Context, cl *client.Client, id string) (api.JobDetail, error) {
	line := progress{app: a}
	defer line.end()
	var gone time.Time
	pause := followFirst
	for {
		j, err := cl.Job(ctx, id)
		var told *client.Error
		switch {
		case err == nil:
			gone = time.Time{}
			if j.Finished > 0 {
				line.job(j, true)
				return j, nil
			}
			line.job(j, false)
		case errors.Is(err, client.ErrNotRunning) || (errors.As(err, &told) && told.Code == api.CodeStarting):
			if gone.IsZero() {
				gone = time.Now()
			}
			if time.Since(gone) > reconnectWait {
				return j, err
			}
			if again, openErr := a.client(); openErr == nil {
				cl = again
			}
		default:
			return j, err
		}
		select {
		case <-ctx.Done():
			return j, ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, followEvery)
		}
	}
}

// ended prints how a job ended and returns an error unless it is done.
func (a *app) ended(j api.JobDetail) error {
	if err := a.show(j, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s after %s, %d tasks, result %s\n", short(j.ID), j.State, durationText(millis(j.Finished-j.Created)), j.Tasks.Done, bytesText(j.ResultBytes))
		for _, x := range j.Workers {
			if x.Outvoted+x.Forged+x.Withheld > 0 {
				fmt.Fprintf(w, "  %s: %d outvoted, %d forged, %d withheld\n", short(x.Node), x.Outvoted, x.Forged, x.Withheld)
			}
		}
	}); err != nil {
		return err
	}
	if j.State == "done" {
		return nil
	}
	if j.Reason != nil {
		return fmt.Errorf("job %s %s: %w", short(j.ID), j.State, &client.Error{Failure: api.Failure{Error: reasonText(*j.Reason), Code: string(j.Reason.Code), Remedy: j.Reason.Remedy}})
	}
	return silent(exitRefused)
}

// get writes a result to dir, or as a tar to standard output if dir is "-".
func (a *app) get(cl *client.Client, id, dir string) error {
	if dir != "-" {
		if dir == "" {
			dir = "kith-" + id[:min(10, len(id))]
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		if err := emptyDir(abs); err != nil {
			return err
		}
		r, err := cl.Result(a.ctx, id)
		if err != nil {
			return err
		}
		defer r.Close()
		done, err := untar(r, abs)
		if err != nil {
			return err
		}
		return a.show(done, func(w io.Writer) { fmt.Fprintf(w, "%d files, %s in %s\n", done.Files, bytesText(done.Bytes), done.Dir) })
	}
	r, err := cl.Result(a.ctx, id)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(a.stdout, r)
	return err
}

// emptyDir refuses a folder that holds something already.
func emptyDir(dir string) error {
	switch info, err := os.Stat(dir); {
	case err == nil && !info.IsDir():
		return usage("%s is a file; name a new or empty folder", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return usage("%s is below a file; name a new or empty folder", dir)
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return usage("%s is not empty; name a new or empty folder", dir)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// untar writes the files of a result below dir and nowhere else.
func untar(r io.Reader, dir string) (api.Exported, error) {
	done := api.Exported{Dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return done, fmt.Errorf("write the result: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return done, fmt.Errorf("write the result: %w", err)
	}
	defer root.Close()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return done, nil
		}
		if err != nil {
			return done, fmt.Errorf("the result broke off: %w", err)
		}
		name := filepath.FromSlash(h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeReg:
			if err = root.MkdirAll(filepath.Dir(name), 0o755); err == nil {
				err = writeFile(root, name, tr)
			}
			done.Files++
			done.Bytes += h.Size
		}
		if err != nil {
			return done, fmt.Errorf("write the result: %w", err)
		}
	}
}

func writeFile(root *os.Root, name string, r io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
