package wasm

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
)

const (
	dataFile  = corpus.DataFile
	indexFile = corpus.IndexFile
)

// Merge implements tasks.Kind.
func (Kind) Merge(ctx context.Context, c *tasks.Call) error {
	// The files of each input, and which inputs hold a corpus: the others have nothing to add to one.
	var corpora []fs.FS
	holders := map[string][]fs.FS{}
	for _, in := range c.In {
		names, isCorpus, err := list(in)
		if err != nil {
			return err
		}
		if isCorpus {
			corpora = append(corpora, in)
		}
		for _, name := range names {
			holders[name] = append(holders[name], in)
		}
	}
	if len(corpora) > 0 {
		of := *c
		of.In = corpora
		if err := corpus.Merge(ctx, &of); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(holders)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := join(c.Out, name, holders[name]); err != nil {
			return err
		}
	}
	return nil
}

// list names the files of in that do not belong to its corpus.
func list(in fs.FS) (names []string, isCorpus bool, err error) {
	_, err = fs.Stat(in, indexFile)
	if isCorpus = err == nil; err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	err = fs.WalkDir(in, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !isCorpus || name != dataFile && !(strings.HasSuffix(name, ".jsonl") && !strings.Contains(name, "/")) {
			names = append(names, name)
		}
		return nil
	})
	return names, isCorpus, err
}

// join writes the files of one name one after another.
func join(out tasks.Output, name string, in []fs.FS) (err error) {
	if len(in) == 1 {
		return out.Pass(in[0], name, name)
	}
	w, err := out.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, from := range in {
		f, err := from.Open(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
