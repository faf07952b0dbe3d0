package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"kith/node/atomicfile"
	"kith/node/config"
)

// Limits and times of the server.
const (
	maxBody       = 1 << 20 // bytes of a request
	maxHeader     = 32 << 10
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 2 * time.Second // for requests in progress
)

// FileName is where the command finds the API: an Access as JSON, readable by the owner alone.
const FileName = "api.json"

// Access is how to call a node's API.
type Access struct {
	URL   string `json:"url"` // "http://127.0.0.1:4780"
	Token string `json:"token"`
	PID   int    `json:"pid"`
}

// Server serves the API. Listen opens its listeners, Serve answers until its context ends. Ports may be attached later:
// until then what needs them says that the node is starting.
type Server struct {
	observer  Observer
	page      fs.FS
	log       *slog.Logger
	listeners []net.Listener
	guard     *guard
	access    Access
	moved     bool
	events    *events
	ports     atomic.Pointer[Ports]
}

// Listen opens the API's listeners on 127.0.0.1 and, where there is one, on ::1, takes the port of the run before or else
// the first free one of the plan, and writes api.json into home. The token of the run before is kept too, so that an open
// page goes on over a restart.
// page holds index.html and what it needs.
func Listen(home string, plan config.Ports, observer Observer, page fs.FS, log *slog.Logger) (*Server, error) {
	first, last, err := plan.Range()
	if err != nil {
		return nil, err
	}
	before, _ := ReadAccess(home)
	var four net.Listener
	for _, port := range candidates(first, last, before) {
		four, err = net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("no port of api.ports (%s) is free on 127.0.0.1: %w; stop the program that holds it, or set api.ports to another range or to any", plan, err)
	}
	port := four.Addr().(*net.TCPAddr).Port
	s := &Server{observer: observer, page: page, log: log, listeners: []net.Listener{four}, moved: first != 0 && port != first}
	if six, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(port))); err == nil {
		s.listeners = append(s.listeners, six)
	} // else there is no IPv6, or another program holds the port there; 127.0.0.1 is enough
	s.access = Access{URL: "http://127.0.0.1:" + strconv.Itoa(port), Token: rand.Text() + rand.Text(), PID: os.Getpid()}
	if len(before.Token) == len(s.access.Token) {
		s.access.Token = before.Token
	}
	data, err := json.Marshal(s.access)
	if err == nil {
		err = atomicfile.Write(filepath.Join(home, FileName), append(data, '\n'), 0o600)
	}
	if err != nil {
		for _, l := range s.listeners {
			_ = l.Close()
		}
		return nil, err
	}
	s.guard = newGuard(s.access.Token, port)
	s.events = newEvents(s.snapshot)
	return s, nil
}

// candidates are the ports of a plan in the order to try; 0 is any.
func candidates(first, last int, before Access) []int {
	var ports []int
	if u, err := url.Parse(before.URL); err == nil {
		if p, err := strconv.Atoi(u.Port()); err == nil && (first == 0 || first <= p && p <= last) {
			ports = append(ports, p)
		}
	}
	for p := first; p <= last; p++ {
		ports = append(ports, p)
	}
	return ports
}

// ReadAccess reads api.json of a data folder.
func ReadAccess(home string) (Access, error) {
	var a Access
	data, err := os.ReadFile(filepath.Join(home, FileName))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil || a.URL == "" || a.Token == "" {
		return a, fmt.Errorf("%s is damaged; restart the node to have it written anew", filepath.Join(home, FileName))
	}
	return a, nil
}

// Attach gives the server what it stands on. The node is ready from then on.
func (s *Server) Attach(p Ports) { s.ports.Store(&p) }

// Ready reports whether Attach was called.
func (s *Server) Ready() bool { return s.ports.Load() != nil }

// Access tells how to call the server.
func (s *Server) Access() Access { return s.access }

// Moved reports whether the first port of the plan was taken.
func (s *Server) Moved() bool { return s.moved }

// LoginURL returns an address that makes one browser ours, once.
func (s *Server) LoginURL() string { return s.access.URL + s.guard.newLogin() }

// Serve answers until ctx ends, then gives requests in progress stopTimeout to finish.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { failed <- srv.Serve(l) }()
	}
	go s.events.run(ctx)
	var err error
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case err = <-failed:
		err = fmt.Errorf("local API: %w", err)
	}
	cancel() // ends the event streams, which never finish by themselves
	stop, done := context.WithTimeout(context.Background(), stopTimeout)
	defer done()
	if stopErr := srv.Shutdown(stop); stopErr != nil {
		s.log.Warn("Requests to the local API did not finish in time", slog.Any("error", stopErr))
		_ = srv.Close()
	}
	return err
}

// handler is every route in one place.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "live") })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !s.Ready() {
			s.fail(w, errStarting)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /{$}", s.index)
	for route, h := range s.routes() {
		mux.Handle(route, s.authorized(h))
	}
	files := s.authorized(http.FileServerFS(s.page).ServeHTTP)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if info, err := fs.Stat(s.page, strings.TrimPrefix(r.URL.Path, "/")); err == nil && !info.IsDir() && r.Method == http.MethodGet {
			files.ServeHTTP(w, r)
			return
		}
		s.fail(w, Refuse(CodeNotFound, "the paths are documented with the API", "there is nothing at %s %.200q", r.Method, r.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("Cache-Control", "no-store")
		if err := s.guard.admit(r); err != nil {
			s.fail(w, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

// authorized lets only the owner in.
func (s *Server) authorized(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.guard.authorized(r) {
			s.fail(w, Refuse(CodeUnauthorized, "use the token in api.json of the data folder, or open the page with kith page", "no valid token"))
			return
		}
		next(w, r)
	})
}

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	if code := r.URL.Query().Get("token"); code != "" && s.guard.login(w, code) {
		// Reloading without the code keeps it out of the history. A refresh made by the page itself, not by the
		// link's origin, is what lets a strict cookie be sent at once.
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Refresh", "0; url=/")
		fmt.Fprint(w, `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/"><title>Kith</title>`)
		return
	}
	if !s.guard.authorized(r) {
		strangerPage(w)
		return
	}
	http.ServeFileFS(w, r, s.page, "index.html")
}

// reply writes v as JSON.
func (s *Server) reply(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		s.fail(w, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // a caller that went away needs no answer
}

// fail writes an error as a Failure.
func (s *Server) fail(w http.ResponseWriter, err error) {
	f := explain(err)
	status := statusOf(f.Code)
	if status == http.StatusInternalServerError {
		s.log.Error("A request to the local API failed", slog.Any("error", err))
	}
	s.reply(w, status, f)
}

var errStarting = Refuse(CodeStarting, "try again in a moment", "the node is still opening its stores")

// isHangup reports whether the caller went away.
func isHangup(ctx context.Context, err error) bool {
	return errors.Is(err, context.Canceled) && ctx.Err() != nil
}
