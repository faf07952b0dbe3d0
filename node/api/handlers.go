package api

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kith/node/config"
	"kith/node/grading"
	"kith/node/strict"
)

const (
	defaultReceipts = 100
	maxReceipts     = 10_000
	maxSnooze       = 30 * 24 * 60 * 60 * 1000 // milliseconds
	importEvery     = 200 * time.Millisecond   // between two progress lines of a submit
)

// routes lists what the token opens.
func (s *Server) routes() map[string]http.HandlerFunc {
	routes := map[string]http.HandlerFunc{
		"GET /api/v1/status":            func(w http.ResponseWriter, _ *http.Request) { s.reply(w, http.StatusOK, s.observer.Status()) },
		"GET /api/v1/peers":             func(w http.ResponseWriter, _ *http.Request) { s.reply(w, http.StatusOK, list(s.observer.Peers())) },
		"GET /api/v1/work/why":          func(w http.ResponseWriter, _ *http.Request) { s.reply(w, http.StatusOK, s.observer.Why()) },
		"GET /api/v1/events":            s.stream,
		"POST /api/v1/login":            s.login,
		"GET /api/v1/jobs":              ask(s, func(p *Ports, _ *http.Request) (any, error) { return list(p.Jobs.Jobs()), nil }),
		"GET /api/v1/jobs/{id}":         ask(s, func(p *Ports, r *http.Request) (any, error) { return p.Jobs.Job(r.PathValue("id")) }),
		"GET /api/v1/jobs/{id}/explain": ask(s, func(p *Ports, r *http.Request) (any, error) { return p.Jobs.Explain(r.PathValue("id")) }),
		"POST /api/v1/jobs/{id}/cancel": ask(s, func(p *Ports, r *http.Request) (any, error) {
			return p.Submitter.Cancel(r.Context(), r.PathValue("id"))
		}),
		"POST /api/v1/jobs":             s.submit,
		"GET /api/v1/jobs/{id}/result":  s.result,
		"POST /api/v1/jobs/{id}/export": ask(s, s.export),
		"GET /api/v1/kinds":             ask(s, func(p *Ports, _ *http.Request) (any, error) { return list(p.Catalogue.Kinds()), nil }),
		"GET /api/v1/receipts":          ask(s, s.receipts),
		"POST /api/v1/receipts/{id}/replay": ask(s, func(p *Ports, r *http.Request) (any, error) {
			return p.Records.Replay(r.Context(), r.PathValue("id"))
		}),
		"GET /api/v1/credit": ask(s, func(p *Ports, r *http.Request) (any, error) { return p.Records.Credit(r.Context()) }),
		"GET /api/v1/evidence": ask(s, func(p *Ports, r *http.Request) (any, error) {
			e, err := p.Records.Evidence(r.Context())
			return list(e), err
		}),
		"GET /api/v1/evidence/bundle": ask(s, func(p *Ports, r *http.Request) (any, error) {
			return p.Records.Bundle(r.Context(), r.URL.Query().Get("job"))
		}),
		"GET /api/v1/trust": ask(s, func(p *Ports, r *http.Request) (any, error) {
			t, err := p.Judge.Trust(r.Context())
			return list(t), err
		}),
		"POST /api/v1/trust/{node}/appeal": ask(s, func(p *Ports, r *http.Request) (any, error) {
			return p.Judge.Appeal(r.Context(), r.PathValue("node"))
		}),
		"GET /api/v1/bench":   ask(s, func(p *Ports, _ *http.Request) (any, error) { return p.Grader.Grade(), nil }),
		"POST /api/v1/bench":  s.bench,
		"POST /api/v1/pause":  s.owner("paused"),
		"POST /api/v1/resume": s.owner("working"),
		"POST /api/v1/kill":   s.owner("killed"),
		"POST /api/v1/snooze": ask(s, s.snooze),
		"GET /api/v1/notices": ask(s, func(p *Ports, r *http.Request) (any, error) {
			l, err := p.Notices.Notices(r.Context())
			return list(l), err
		}),
		"POST /api/v1/notices": ask(s, func(p *Ports, r *http.Request) (any, error) {
			var in PublishNotice
			if err := decode(r, &in); err != nil {
				return nil, err
			}
			return p.Notices.PublishNotice(r.Context(), in.Notice)
		}),
		"GET /api/v1/config":       ask(s, func(p *Ports, _ *http.Request) (any, error) { return Settings(p.Settings), nil }),
		"PATCH /api/v1/config":     ask(s, s.patchConfig),
		"POST /api/v1/config/undo": ask(s, func(p *Ports, _ *http.Request) (any, error) { return changed(p.Settings, p.Settings.Undo) }),
		"POST /api/v1/config/redo": ask(s, func(p *Ports, _ *http.Request) (any, error) { return changed(p.Settings, p.Settings.Redo) }),
	}
	s.driveRoutes(routes)
	s.spaceRoutes(routes)
	return routes
}

// ask makes a handler that needs the attached ports and answers with one JSON value.
func ask(s *Server, fn func(*Ports, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := s.ports.Load()
		if p == nil {
			s.fail(w, errStarting)
			return
		}
		v, err := fn(p, r)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.reply(w, http.StatusOK, v)
	}
}

// list keeps an empty list from becoming null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// decode reads the request's body as strict JSON into v.
func decode(r *http.Request, v any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return Refuse(CodeUnsupported, "send Content-Type: application/json", "the request is not JSON")
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	return strict.Decode(data, v)
}

func (s *Server) login(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, map[string]string{"url": s.LoginURL()})
}

func (s *Server) owner(state string) http.HandlerFunc {
	return ask(s, func(p *Ports, r *http.Request) (any, error) { return p.Switch.SetOwner(r.Context(), state) })
}

func (s *Server) snooze(p *Ports, r *http.Request) (any, error) {
	var z Snooze
	if err := decode(r, &z); err != nil {
		return nil, err
	}
	if z.Millis < 0 || z.Millis > maxSnooze {
		return nil, Refuse(CodeBadRequest, "name a time from 1 s to 30 days, or end the snooze with 0", "nobody can snooze for %d ms", z.Millis)
	}
	return p.Switch.Snooze(r.Context(), time.Duration(z.Millis)*time.Millisecond)
}

func (s *Server) export(p *Ports, r *http.Request) (any, error) {
	var e Export
	if err := decode(r, &e); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(e.Dir) {
		return nil, Refuse(CodeBadRequest, "name the folder from the root of the file system", "the folder %.200q is not an absolute path", e.Dir)
	}
	return p.Results.Export(r.Context(), r.PathValue("id"), filepath.Clean(e.Dir))
}

func (s *Server) receipts(p *Ports, r *http.Request) (any, error) {
	limit := defaultReceipts
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxReceipts {
			return nil, Refuse(CodeBadRequest, "ask again", "limit %.20q: want 1 to %d", text, maxReceipts)
		}
		limit = n
	}
	l, err := p.Records.Receipts(r.Context(), r.URL.Query().Get("job"), limit)
	return list(l), err
}

func (s *Server) patchConfig(p *Ports, r *http.Request) (any, error) {
	var values map[string]string
	if err := decode(r, &values); err != nil {
		return nil, err
	}
	return changed(p.Settings, func() ([]string, error) { return p.Settings.Set(values) })
}

func changed(store *config.Store, change func() ([]string, error)) (any, error) {
	keys, err := change()
	if err != nil {
		return nil, err
	}
	return Changed(store, keys), nil
}

// Settings lists every setting as it stands.
func Settings(store *config.Store) []Setting {
	raw, full, defaults := store.Raw(), store.Get(), config.Defaults()
	var out []Setting
	for _, f := range config.Fields() {
		value, _ := full.Text(f.Key)
		def, _ := defaults.Text(f.Key)
		own, _ := raw.Text(f.Key)
		zero, _ := config.Config{}.Text(f.Key)
		out = append(out, Setting{
			Key: f.Key, Value: value, Default: def, Set: own != zero, Doc: f.Doc, Type: f.Type, Choices: list(f.Choices), Range: f.Range, Live: f.Live,
		})
	}
	return out
}

// Changed says what a change of settings did to these keys.
func Changed(store *config.Store, keys []string) ConfigChange {
	c := ConfigChange{Changed: []Setting{}, CanUndo: store.CanUndo(), CanRedo: store.CanRedo(), Settings: Settings(store)}
	for _, setting := range c.Settings {
		if slices.Contains(keys, setting.Key) {
			c.Changed = append(c.Changed, setting)
			c.Restart = c.Restart || !setting.Live
		}
	}
	return c
}

// submit answers with the job, or, if asked for lines, with progress first.
func (s *Server) submit(w http.ResponseWriter, r *http.Request) {
	p := s.ports.Load()
	var req Submit
	err := decode(r, &req)
	switch {
	case p == nil:
		err = errStarting
	case err == nil && req.Path != "" && !filepath.IsAbs(req.Path):
		err = Refuse(CodeBadRequest, "name the input from the root of the file system", "the input %.200q is not an absolute path", req.Path)
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	if !strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
		j, err := p.Submitter.Submit(r.Context(), req, func(Import) {})
		if err != nil {
			s.fail(w, err)
			return
		}
		s.reply(w, http.StatusCreated, j)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := &lineWriter{w: w, flush: http.NewResponseController(w).Flush}
	j, err := p.Submitter.Submit(r.Context(), req, func(i Import) { lines.now(SubmitLine{Import: &i}, importEvery) })
	if err != nil {
		f := explain(err)
		lines.now(SubmitLine{Error: &f}, 0)
		return
	}
	lines.now(SubmitLine{Job: &j}, 0)
}

// bench measures this machine, with progress if asked for lines.
func (s *Server) bench(w http.ResponseWriter, r *http.Request) {
	p := s.ports.Load()
	var req grading.Request
	err := decode(r, &req)
	if p == nil {
		err = errStarting
	}
	if err == nil {
		if req, err = req.Check(); err != nil {
			err = Refuse(CodeBadRequest, "kith bench --help shows what can be measured", "%s", err)
		}
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	if !strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
		report, err := p.Grader.Bench(r.Context(), req, func(grading.Progress) {})
		if err != nil {
			s.fail(w, err)
			return
		}
		s.reply(w, http.StatusOK, report)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := &lineWriter{w: w, flush: http.NewResponseController(w).Flush}
	report, err := p.Grader.Bench(r.Context(), req, func(x grading.Progress) { lines.now(BenchLine{Progress: &x}, 0) })
	if err != nil {
		f := explain(err)
		lines.now(BenchLine{Error: &f}, 0)
		return
	}
	lines.now(BenchLine{Report: &report}, 0)
}

// lineWriter writes JSON lines at a bounded rate. It is safe for concurrent use.
type lineWriter struct {
	mu    sync.Mutex
	w     io.Writer
	flush func() error
	last  time.Time
}

// now writes one line unless the one before was less than every ago.
func (l *lineWriter) now(v any, every time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if every > 0 && time.Since(l.last) < every {
		return
	}
	l.last = time.Now()
	data, err := json.Marshal(v)
	if err != nil {
		return
	}
	_, _ = l.w.Write(append(data, '\n')) // a caller that went away cancels the request's context
	_ = l.flush()
}

// result streams a tar. Once bytes are under way an error can only cut the connection.
func (s *Server) result(w http.ResponseWriter, r *http.Request) {
	p := s.ports.Load()
	if p == nil {
		s.fail(w, errStarting)
		return
	}
	started := &firstWrite{w: w, before: func() {
		w.Header().Set("Content-Type", "application/x-tar")
		w.Header().Set("Content-Disposition", `attachment; filename="result.tar"`)
	}}
	err := p.Results.Tar(r.Context(), r.PathValue("id"), started)
	switch {
	case err == nil:
	case !started.begun:
		s.fail(w, err)
	default:
		if !isHangup(r.Context(), err) {
			s.log.Error("Sending a result failed", "error", err)
		}
		panic(http.ErrAbortHandler) // the caller must not take a cut stream for a whole one
	}
}

// firstWrite runs before ahead of the first write.
type firstWrite struct {
	w      io.Writer
	before func()
	begun  bool
}

func (f *firstWrite) Write(b []byte) (int, error) {
	if !f.begun {
		f.begun = true
		f.before()
	}
	return f.w.Write(b)
}
