package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"kith/node"
	"kith/node/api"
	"kith/node/api/client"
	"kith/node/config"
	"kith/node/lock"
)

// configCmd is "kith config …". It goes through the running node if there is one, else to the file.
type configCmd struct {
	List configListCmd `cmd:"" default:"1" help:"List every setting with its value."`
	Get  configGetCmd  `cmd:"" help:"Print the value of a setting."`
	Set  configSetCmd  `cmd:"" help:"Change a setting; default sets the default again."`
	Undo configUndoCmd `cmd:"" help:"Take the last change back."`
	Redo configRedoCmd `cmd:"" help:"Repeat the change that undo took back."`
	Docs configDocsCmd `cmd:"" help:"Print the reference of all settings in Markdown."`
}

type (
	configListCmd struct {
		Changed bool `help:"Only what differs from the defaults."`
	}
	configGetCmd struct {
		Key string `arg:"" help:"Setting, for example work.slots."`
	}
	configSetCmd struct {
		Words []string `arg:"" name:"key=value" help:"Settings, for example work.slots=2, or one setting and its value: work.slots 2. Lists are joined by commas."`
	}
	configUndoCmd struct{}
	configRedoCmd struct{}
	configDocsCmd struct{}
)

// settings is what the command needs of the running node or of the file.
type settings interface {
	list() ([]api.Setting, error)
	set(values map[string]string) (api.ConfigChange, error)
	step(redo bool) (api.ConfigChange, error)
}

// stopWait is how long a command waits for a node that is stopping.
const stopWait = 5 * time.Second

// settings returns the running node, or the file, and what to close. To change settings makes the data folder if there
// is none; to read them does not.
func (a *app) settings(change bool) (settings, func(), error) {
	cl, err := a.client()
	if err == nil {
		if _, err = cl.Settings(a.ctx); err == nil {
			return running{a, cl}, func() {}, nil
		}
	}
	if !errors.Is(err, client.ErrNotRunning) {
		return nil, nil, err
	}
	if _, err := os.Stat(a.cli.Home); errors.Is(err, fs.ErrNotExist) {
		if !change {
			store, err := config.Open(a.cli.Home)
			return file{store}, func() {}, err
		}
		if _, _, err := node.Init(a.cli.Home); err != nil {
			return nil, nil, err
		}
	}
	l, err := lock.Take(a.cli.Home)
	for until := time.Now().Add(stopWait); errors.Is(err, lock.ErrTaken) && time.Now().Before(until); {
		time.Sleep(20 * time.Millisecond) // a node that is stopping answers no more and holds the folder still
		l, err = lock.Take(a.cli.Home)
	}
	if err != nil {
		return nil, nil, err
	}
	store, err := config.Open(a.cli.Home)
	if err != nil {
		_ = l.Close()
		return nil, nil, err
	}
	return file{store}, func() { _ = l.Close() }, nil
}

type running struct {
	a  *app
	cl *client.Client
}

func (r running) list() ([]api.Setting, error) { return r.cl.Settings(r.a.ctx) }
func (r running) set(v map[string]string) (api.ConfigChange, error) {
	return r.cl.Set(r.a.ctx, v)
}

func (r running) step(redo bool) (api.ConfigChange, error) {
	if redo {
		return r.cl.Redo(r.a.ctx)
	}
	return r.cl.Undo(r.a.ctx)
}

type file struct{ store *config.Store }

func (f file) list() ([]api.Setting, error) { return api.Settings(f.store), nil }
func (f file) set(v map[string]string) (api.ConfigChange, error) {
	return f.change(func() ([]string, error) { return f.store.Set(v) })
}

func (f file) step(redo bool) (api.ConfigChange, error) {
	if redo {
		return f.change(f.store.Redo)
	}
	return f.change(f.store.Undo)
}

func (f file) change(do func() ([]string, error)) (api.ConfigChange, error) {
	keys, err := do()
	if err != nil {
		return api.ConfigChange{}, err
	}
	return api.Changed(f.store, keys), nil
}

// Run lists the settings.
func (c configListCmd) Run(a *app) error {
	s, done, err := a.settings(false)
	if err != nil {
		return err
	}
	defer done()
	all, err := s.list()
	if err != nil {
		return err
	}
	list := all[:0:0]
	for _, x := range all {
		if x.Set || !c.Changed {
			list = append(list, x)
		}
	}
	return a.show(list, func(w io.Writer) {
		rows := [][]string{}
		for _, x := range list {
			mark := " "
			if x.Set {
				mark = "*"
			}
			rows = append(rows, []string{mark, x.Key, x.Value, x.Doc})
		}
		table(w, rows)
		a.note("* differs from the default")
	})
}

// Run prints one value.
func (c configGetCmd) Run(a *app) error {
	if _, err := config.Defaults().Text(c.Key); err != nil {
		return err
	}
	s, done, err := a.settings(false)
	if err != nil {
		return err
	}
	defer done()
	all, err := s.list()
	if err != nil {
		return err
	}
	for _, x := range all {
		if x.Key == c.Key {
			return a.show(x, func(w io.Writer) { fmt.Fprintln(w, x.Value) })
		}
	}
	return fmt.Errorf("%w: %q; the running node is of another version", config.ErrUnknownKey, c.Key)
}

// Run changes settings: all of them, as one change to undo, or none.
func (c configSetCmd) Run(a *app) error {
	values, err := c.values()
	if err != nil {
		return err
	}
	s, done, err := a.settings(true)
	if err != nil {
		return err
	}
	defer done()
	ch, err := s.set(values)
	return a.changed(s, ch, err)
}

// values reads KEY VALUE or KEY=VALUE…, and refuses what no setting can be: the same refusal with and without a node.
func (c configSetCmd) values() (map[string]string, error) {
	words := c.Words
	if len(words) == 2 && !strings.Contains(words[0], "=") {
		words = []string{words[0] + "=" + words[1]}
	}
	var try config.Config
	values := make(map[string]string, len(words))
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, usage("%q has no value; write it as %s=VALUE", w, w)
		}
		if _, twice := values[key]; twice {
			return nil, usage("%s is set twice", key)
		}
		if err := try.SetText(key, value); err != nil {
			return nil, err
		}
		values[key] = value
	}
	return values, nil
}

// Run takes a change back.
func (configUndoCmd) Run(a *app) error { return a.step(false) }

// Run repeats a change.
func (configRedoCmd) Run(a *app) error { return a.step(true) }

func (a *app) step(redo bool) error {
	s, done, err := a.settings(true)
	if err != nil {
		return err
	}
	defer done()
	ch, err := s.step(redo)
	return a.changed(s, ch, err)
}

func (a *app) changed(s settings, ch api.ConfigChange, err error) error {
	if err != nil {
		return err
	}
	return a.show(ch, func(w io.Writer) {
		if len(ch.Changed) == 0 {
			a.note("nothing changed")
		}
		for _, x := range ch.Changed {
			fmt.Fprintf(w, "%s = %s\n", x.Key, x.Value)
		}
		if _, live := s.(running); live && ch.Restart {
			a.note("takes effect when the node starts again")
		}
	})
}

// Run prints the reference.
func (configDocsCmd) Run(a *app) error {
	_, err := fmt.Fprint(a.stdout, config.Reference())
	return err
}
