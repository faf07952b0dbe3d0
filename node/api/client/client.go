// Package client calls a node's local API. Every method may be used concurrently.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"kith/node/api"
	"kith/node/grading"
	"kith/node/lock"
	"kith/tasks/wire"
)

// ErrNotRunning: no node works in the data folder, or it does not answer.
var ErrNotRunning = errors.New("no node is running")

const maxAnswer = 256 << 20 // bytes of one JSON answer

// Error is a refusal of the API.
type Error struct {
	api.Failure
	Status int // of HTTP
}

func (e *Error) Error() string { return e.Failure.Error }

// Client calls one node.
type Client struct {
	access api.Access
	http   *http.Client
}

// Open finds the node that works in a data folder.
func Open(home string) (*Client, error) {
	access, err := api.ReadAccess(home)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return nil, err
	}
	// The lock is asked first: after a crash another program may listen at the old address.
	if err != nil || !lock.Held(home) {
		return nil, fmt.Errorf("%w in %s", ErrNotRunning, home)
	}
	return New(access), nil
}

// New makes a client of a known address.
func New(access api.Access) *Client {
	return &Client{access: access, http: &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 4,
	}}}
}

// Access is how this client calls.
func (c *Client) Access() api.Access { return c.access }

// Status is everything about the node at a glance.
func (c *Client) Status(ctx context.Context) (s api.Status, err error) {
	return s, c.call(ctx, http.MethodGet, "status", nil, &s)
}

// Peers lists the connected nodes.
func (c *Client) Peers(ctx context.Context) (p []api.Peer, err error) {
	return p, c.call(ctx, http.MethodGet, "peers", nil, &p)
}

// Replay does the task of a receipt again; id may be an unambiguous beginning of its lease.
func (c *Client) Replay(ctx context.Context, id string) (r api.Replay, err error) {
	return r, c.call(ctx, http.MethodPost, "receipts/"+url.PathEscape(id)+"/replay", nil, &r)
}

// Trust says what the node thinks of the workers it has met, the most suspicious first.
func (c *Client) Trust(ctx context.Context) (t []api.Trust, err error) {
	return t, c.call(ctx, http.MethodGet, "trust", nil, &t)
}

// Credit returns what the node and others owe one another.
func (c *Client) Credit(ctx context.Context) (v api.Credit, err error) {
	return v, c.call(ctx, http.MethodGet, "credit", nil, &v)
}

// Appeal lifts a worker's suspension; node may be an unambiguous beginning of its id.
func (c *Client) Appeal(ctx context.Context, node string) (t api.Trust, err error) {
	return t, c.call(ctx, http.MethodPost, "trust/"+url.PathEscape(node)+"/appeal", nil, &t)
}

// Why says why the node gets no work.
func (c *Client) Why(ctx context.Context) (w api.Why, err error) {
	return w, c.call(ctx, http.MethodGet, "work/why", nil, &w)
}

// Jobs lists the node's own jobs, newest first.
func (c *Client) Jobs(ctx context.Context) (j []api.Job, err error) {
	return j, c.call(ctx, http.MethodGet, "jobs", nil, &j)
}

// Job shows one job; id may be an unambiguous beginning.
func (c *Client) Job(ctx context.Context, id string) (j api.JobDetail, err error) {
	return j, c.call(ctx, http.MethodGet, "jobs/"+url.PathEscape(id), nil, &j)
}

// Explain says what a job waits for.
func (c *Client) Explain(ctx context.Context, id string) (e api.Explanation, err error) {
	return e, c.call(ctx, http.MethodGet, "jobs/"+url.PathEscape(id)+"/explain", nil, &e)
}

// Cancel ends a job.
func (c *Client) Cancel(ctx context.Context, id string) (j api.JobDetail, err error) {
	return j, c.call(ctx, http.MethodPost, "jobs/"+url.PathEscape(id)+"/cancel", nil, &j)
}

// Export writes a result into a folder of the node's machine.
func (c *Client) Export(ctx context.Context, id, dir string) (e api.Exported, err error) {
	return e, c.call(ctx, http.MethodPost, "jobs/"+url.PathEscape(id)+"/export", api.Export{Dir: dir}, &e)
}

// Kinds lists the kinds of work.
func (c *Client) Kinds(ctx context.Context) (k []api.Kind, err error) {
	return k, c.call(ctx, http.MethodGet, "kinds", nil, &k)
}

// Owner moves the owner's switch: verb is pause, resume or kill.
func (c *Client) Owner(ctx context.Context, verb string) (o api.Owner, err error) {
	return o, c.call(ctx, http.MethodPost, verb, nil, &o)
}

// Snooze pauses for a while; 0 ends that.
func (c *Client) Snooze(ctx context.Context, d time.Duration) (o api.Owner, err error) {
	return o, c.call(ctx, http.MethodPost, "snooze", api.Snooze{Millis: d.Milliseconds()}, &o)
}

// Notices lists the orders of the network's stewards that the node holds, the newest first.
func (c *Client) Notices(ctx context.Context) (l []api.Notice, err error) {
	return l, c.call(ctx, http.MethodGet, "notices", nil, &l)
}

// PublishNotice has the node act upon a notice and pass it on.
func (c *Client) PublishNotice(ctx context.Context, notice []byte) (n api.Notice, err error) {
	return n, c.call(ctx, http.MethodPost, "notices", api.PublishNotice{Notice: notice}, &n)
}

// Settings lists every setting.
func (c *Client) Settings(ctx context.Context) (s []api.Setting, err error) {
	return s, c.call(ctx, http.MethodGet, "config", nil, &s)
}

// Set changes settings, all or none.
func (c *Client) Set(ctx context.Context, values map[string]string) (ch api.ConfigChange, err error) {
	return ch, c.call(ctx, http.MethodPatch, "config", values, &ch)
}

// Undo takes the last change of settings back.
func (c *Client) Undo(ctx context.Context) (ch api.ConfigChange, err error) {
	return ch, c.call(ctx, http.MethodPost, "config/undo", nil, &ch)
}

// Redo repeats what Undo took back.
func (c *Client) Redo(ctx context.Context) (ch api.ConfigChange, err error) {
	return ch, c.call(ctx, http.MethodPost, "config/redo", nil, &ch)
}

// Receipts lists the newest receipts of one job, or of all if job is empty.
func (c *Client) Receipts(ctx context.Context, job string, limit int) (r []api.Receipt, err error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if job != "" {
		q.Set("job", job)
	}
	return r, c.call(ctx, http.MethodGet, "receipts?"+q.Encode(), nil, &r)
}

// Evidence lists what this node can prove.
func (c *Client) Evidence(ctx context.Context) (e []api.Evidence, err error) {
	return e, c.call(ctx, http.MethodGet, "evidence", nil, &e)
}

// Bundle is the signed proof of what was done and who was caught, of one job or of everything.
func (c *Client) Bundle(ctx context.Context, job string) (*wire.Bundle, error) {
	b := new(wire.Bundle)
	return b, c.call(ctx, http.MethodGet, "evidence/bundle?"+url.Values{"job": {job}}.Encode(), nil, b)
}

// Login returns an address that opens the page in one browser, once.
func (c *Client) Login(ctx context.Context) (address string, err error) {
	var l struct {
		URL string `json:"url"`
	}
	return l.URL, c.call(ctx, http.MethodPost, "login", nil, &l)
}

// Result opens the tar stream of a result.
func (c *Client) Result(ctx context.Context, id string) (io.ReadCloser, error) {
	res, err := c.send(ctx, http.MethodGet, "jobs/"+url.PathEscape(id)+"/result", nil, "")
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Submit begins a job and reports the reading of its input.
func (c *Client) Submit(ctx context.Context, s api.Submit, progress func(api.Import)) (api.JobDetail, error) {
	res, err := c.send(ctx, http.MethodPost, "jobs", s, "application/x-ndjson")
	if err != nil {
		return api.JobDetail{}, err
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return api.JobDetail{}, fmt.Errorf("the node stopped before the job was accepted: %w", err)
		}
		var line api.SubmitLine
		if err := json.Unmarshal(text, &line); err != nil {
			return api.JobDetail{}, fmt.Errorf("answer of the node: %w", err)
		}
		switch {
		case line.Import != nil:
			progress(*line.Import)
		case line.Error != nil:
			return api.JobDetail{}, &Error{Failure: *line.Error}
		case line.Job != nil:
			return *line.Job, nil
		}
	}
}

// Grade is how good the node's machine is, as last measured.
func (c *Client) Grade(ctx context.Context) (r grading.Report, err error) {
	return r, c.call(ctx, http.MethodGet, "bench", nil, &r)
}

// Bench measures the node's machine now.
func (c *Client) Bench(ctx context.Context, r grading.Request, progress func(grading.Progress)) (grading.Report, error) {
	res, err := c.send(ctx, http.MethodPost, "bench", r, "application/x-ndjson")
	if err != nil {
		return grading.Report{}, err
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			if ctx.Err() != nil {
				return grading.Report{}, ctx.Err()
			}
			return grading.Report{}, fmt.Errorf("the node stopped before the measurement was done: %w", err)
		}
		var line api.BenchLine
		if err := json.Unmarshal(text, &line); err != nil {
			return grading.Report{}, fmt.Errorf("answer of the node: %w", err)
		}
		switch {
		case line.Progress != nil:
			progress(*line.Progress)
		case line.Error != nil:
			return grading.Report{}, &Error{Failure: *line.Error}
		case line.Report != nil:
			return *line.Report, nil
		}
	}
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	res, err := c.send(ctx, method, path, in, "application/json")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("answer of the node: %w", err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, in any, accept string) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.access.URL+"/api/v1/"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.access.Token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrNotRunning, c.access.URL, err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	failed := &Error{Status: res.StatusCode}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&failed.Failure); err != nil || failed.Failure.Error == "" {
		failed.Failure = api.Failure{Error: "the node answers " + res.Status, Code: api.CodeInternal, Remedy: "look at the node's log"}
	}
	return nil, failed
}
