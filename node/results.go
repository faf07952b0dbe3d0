package node

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"kith/node/api"
	"kith/storage"
	"kith/storage/dag"
	"kith/tasks/job"
	"kith/tasks/submit"
)

// result returns a finished job, or why there is no result.
func (s *submitting) result(ctx context.Context, id string) (submit.Status, error) {
	st, err := s.find(ctx, id)
	if err != nil {
		return st, err
	}
	switch {
	case st.Phase == job.Finished:
		return st, nil
	case st.Phase.Over():
		return st, api.Refuse(api.CodeConflict, "submit it again", "job %s has no result: it %s: %s", st.ID.Short(), st.Phase, st.Reason.Error())
	default:
		return st, api.Refuse(api.CodeConflict, "wait for it with kith job follow", "job %s is not finished: %d of %d tasks are done", st.ID.Short(), st.Done, st.Tasks)
	}
}

// Tar implements api.Results.
func (s *submitting) Tar(ctx context.Context, id string, w io.Writer) error {
	st, err := s.result(ctx, id)
	if err != nil {
		return err
	}
	when := time.UnixMilli(s.factsOf(&st).Finished)
	tw := tar.NewWriter(w)
	err = EachFile(ctx, s.stores.blobs, st.Result, func(name string, size int64, r io.Reader) error {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: when, Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err := io.Copy(tw, r)
		return err
	})
	if err != nil {
		return removed(err)
	}
	return tw.Close()
}

// removed explains a result whose blocks are gone.
func removed(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return api.Refuse(api.CodeNotFound, "submit the job again; storage.keepResults says for how many days results are kept", "the result is not in the store any more: %v", err)
	}
	return err
}

// Export implements api.Results.
func (s *submitting) Export(ctx context.Context, id, dir string) (api.Exported, error) {
	st, err := s.result(ctx, id)
	if err != nil {
		return api.Exported{}, err
	}
	disk := s.node.drives.Passing(dir)
	out, err := export(ctx, s.stores.blobs, st.Result, dir, func(w io.Writer) io.Writer { return disk.Writer(ctx, w) })
	if errors.Is(err, errNotEmpty) {
		return out, api.Refuse(api.CodeConflict, "name a new or empty folder", "%v", err)
	}
	return out, removed(err)
}

var errNotEmpty = errors.New("the folder is not empty")

// Export writes the files of a folder in a store below dir, which must be new or empty, and nowhere else. After an
// error what was written so far stays.
func Export(ctx context.Context, blobs storage.Blobs, root dag.CID, dir string) (api.Exported, error) {
	return export(ctx, blobs, root, dir, func(w io.Writer) io.Writer { return w })
}

// export is Export with something between each file and its writer.
func export(ctx context.Context, blobs storage.Blobs, root dag.CID, dir string, wrap func(io.Writer) io.Writer) (api.Exported, error) {
	out := api.Exported{Dir: dir}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return out, fmt.Errorf("%w: %s", errNotEmpty, dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("export: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return out, fmt.Errorf("export: %w", err)
	}
	within, err := os.OpenRoot(dir)
	if err != nil {
		return out, fmt.Errorf("export: %w", err)
	}
	defer within.Close()
	err = EachFile(ctx, blobs, root, func(name string, size int64, r io.Reader) error {
		path := filepath.FromSlash(name)
		if err := within.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := within.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = io.Copy(wrap(f), r)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		out.Files++
		out.Bytes += size
		return err
	})
	if err != nil {
		return out, fmt.Errorf("export: %w", err)
	}
	return out, nil
}

// EachFile reads every file of a folder in a store, in byte order of their paths.
func EachFile(ctx context.Context, blobs storage.Blobs, root dag.CID, visit func(name string, size int64, r io.Reader) error) error {
	for e, err := range dag.Files(ctx, blobs, root) {
		if err != nil {
			return err
		}
		r, err := dag.Open(ctx, blobs, e.Root)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		err = visit(e.Name, e.Size, r)
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	return nil
}
