// Package fleet runs real kith processes on this machine's loopback, each with its own data folder, for demonstrations
// and measurements. Everything it starts ends with it.
package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kith/node/api"
)

// Fleet is a set of nodes on loopback. Its methods are not safe for concurrent use; different nodes are.
type Fleet struct {
	program string
	dir     string
	nodes   []*Node
}

// New makes an empty fleet whose data folders lie below dir. program is the kith binary.
func New(program, dir string) (*Fleet, error) {
	abs, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("the kith program: %w (make build it first: make bin/kith)", err)
	}
	return &Fleet{program: abs, dir: dir}, nil
}

// Nodes returns all nodes, in the order they were added.
func (f *Fleet) Nodes() []*Node { return f.nodes }

// Close ends every node and waits for it.
func (f *Fleet) Close() {
	for _, n := range f.nodes {
		n.Stop()
	}
}

// Add makes a node that listens on loopback only and knows the nodes of the fleet that are running. It does not start it.
// settings are key, value pairs on top of that.
func (f *Fleet) Add(ctx context.Context, name string, settings ...string) (*Node, error) {
	n := &Node{Name: name, Home: filepath.Join(f.dir, name), program: f.program}
	var known []string
	for _, other := range f.nodes {
		if other.address != "" {
			known = append(known, other.address)
		}
	}
	all := append([]string{
		"listen.ports", "any", "listen.on", "loopback", "listen.profile", "lan", "api.ports", "any", "peers.mdns", "off",
		"peers.bootstrap", strings.Join(known, ","),
		// Whoever sits at this machine, and what feeds it, is no part of what a fleet shows.
		"pause.active", "ignore", "pause.battery", "off", "pause.metered", "off", "pause.fullScreen", "off", "pause.busy", "100", "pause.hot", "110",
	}, settings...)
	if _, err := n.Kith(ctx, "init"); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for i := 0; i+1 < len(all); i += 2 {
		values[all[i]] = all[i+1]
	}
	set := []string{"config", "set"}
	for key, value := range values {
		set = append(set, key+"="+value)
	}
	if _, err := n.Kith(ctx, set...); err != nil {
		return nil, err
	}
	f.nodes = append(f.nodes, n)
	return n, nil
}

// Node is one kith process, or the data folder of one that does not run.
type Node struct {
	Name    string
	Home    string
	program string
	address string // multiaddr others can dial, known after the first start
	cmd     *exec.Cmd
	ended   chan struct{}
	client  http.Client
	access  api.Access
}

// Kith runs the command line against this node's folder and returns what it printed.
func (n *Node) Kith(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, n.program, args...)
	c.Env = append(os.Environ(), "KITH_HOME="+n.Home, "NO_COLOR=1")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("kith %s (%s): %w: %s", strings.Join(args, " "), n.Name, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Start runs the node and returns when it takes jobs. args are further arguments of kith run.
func (n *Node) Start(ctx context.Context, args ...string) error {
	if err := n.Launch(args...); err != nil {
		return err
	}
	return n.WaitReady(ctx)
}

// Launch starts the process and returns at once.
func (n *Node) Launch(args ...string) error {
	logs, err := os.OpenFile(n.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close()
	n.cmd = exec.Command(n.program, append([]string{"run"}, args...)...)
	n.cmd.Env = append(os.Environ(), "KITH_HOME="+n.Home)
	n.cmd.Stdout, n.cmd.Stderr = logs, logs
	n.cmd.SysProcAttr = dieWithUs()
	if err := n.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	n.ended = ended
	go func(c *exec.Cmd) {
		_ = c.Wait()
		close(ended)
	}(n.cmd)
	return nil
}

// LogFile is where the node's output goes.
func (n *Node) LogFile() string { return n.Home + ".log" }

// WaitAnswer waits until the node's page answers.
func (n *Node) WaitAnswer(ctx context.Context) error { return n.wait(ctx, "/live") }

// WaitReady waits until the node takes jobs, and learns its address.
func (n *Node) WaitReady(ctx context.Context) error {
	if err := n.wait(ctx, "/ready"); err != nil {
		return err
	}
	var s api.Status
	if err := n.Call(ctx, http.MethodGet, "status", nil, &s); err != nil {
		return err
	}
	for _, a := range s.Addresses {
		if !strings.HasPrefix(a, "/ip4/127.0.0.1/") {
			continue
		}
		if !strings.Contains(a, "/p2p/") {
			a += "/p2p/" + s.Peer
		}
		n.address = a
		break
	}
	return nil
}

func (n *Node) wait(ctx context.Context, path string) error {
	for {
		if access, err := api.ReadAccess(n.Home); err == nil && access.PID == n.PID() { // not that of the run before
			n.access = access
			if answer, err := n.client.Get(access.URL + path); err == nil {
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					return nil
				}
			}
		}
		select {
		case <-n.ended:
			said, _ := os.ReadFile(n.LogFile())
			return fmt.Errorf("node %s ended at its start; it said:\n%s", n.Name, tail(said, 2000))
		case <-ctx.Done():
			said, _ := os.ReadFile(n.LogFile())
			return fmt.Errorf("node %s does not answer: %w; it said:\n%s", n.Name, ctx.Err(), tail(said, 2000))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// Call calls the node's API. in may be nil; out receives the answer.
func (n *Node) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, n.access.URL+"/api/v1/"+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+n.access.Token)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := n.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		var refused api.Failure
		if json.Unmarshal(b, &refused) != nil {
			refused.Error = string(b)
		}
		return fmt.Errorf("%s %s on %s: %s (%s)", method, path, n.Name, refused.Error, refused.Remedy)
	}
	return json.Unmarshal(b, out)
}

// Wait follows a job until it has ended and calls see, if not nil, with every look at it.
func (n *Node) Wait(ctx context.Context, id string, every time.Duration, see func(api.JobDetail)) (api.JobDetail, error) {
	for {
		var j api.JobDetail
		if err := n.Call(ctx, http.MethodGet, "jobs/"+id, nil, &j); err != nil {
			return j, err
		}
		if see != nil {
			see(j)
		}
		if j.Finished != 0 {
			if j.State != "done" {
				return j, fmt.Errorf("job %s: %s: %s", j.Name, j.State, why(j))
			}
			return j, nil
		}
		select {
		case <-ctx.Done():
			return j, fmt.Errorf("job %s is not finished: %w: %s", j.Name, ctx.Err(), why(j))
		case <-time.After(every):
		}
	}
}

func why(j api.JobDetail) string {
	if j.Reason == nil {
		return strconv.Itoa(j.Tasks.Done) + " of " + strconv.Itoa(j.Tasks.Total) + " tasks done"
	}
	return j.Reason.Words + " " + j.Reason.Detail
}

// PID is the process id of the running node.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Kill ends the process as a power cut would, without a word, and waits until it is gone.
func (n *Node) Kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
}

// Stop ends the process in good order, or kills it after ten seconds.
func (n *Node) Stop() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(os.Interrupt)
	select {
	case <-n.ended:
	case <-time.After(10 * time.Second):
		n.Kill()
	}
}

// Connected waits until the node has at least want peers.
func (n *Node) Connected(ctx context.Context, want int) error {
	for {
		var s api.Status
		if err := n.Call(ctx, http.MethodGet, "status", nil, &s); err != nil {
			return err
		}
		if s.Peers >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s has %d of %d peers: %w", n.Name, s.Peers, want, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ErrDiffer: two folders do not hold the same files.
var ErrDiffer = errors.New("the folders differ")

// Same compares two folders byte for byte and returns how much they hold.
func Same(a, b string) (files int, size int64, err error) {
	err = filepath.WalkDir(a, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(a, path)
		if err != nil {
			return err
		}
		left, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		right, err := os.ReadFile(filepath.Join(b, name))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDiffer, err)
		}
		if !bytes.Equal(left, right) {
			return fmt.Errorf("%w: %s is %d bytes here, %d there", ErrDiffer, name, len(left), len(right))
		}
		files++
		size += int64(len(left))
		return nil
	})
	if err != nil {
		return files, size, err
	}
	others := 0
	err = filepath.WalkDir(b, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			others++
		}
		return err
	})
	if err == nil && others != files {
		err = fmt.Errorf("%w: %d files here, %d there", ErrDiffer, files, others)
	}
	return files, size, err
}

// Usage is what a process has used: processor time and resident memory.
type Usage struct {
	CPU time.Duration
	RSS int64 // bytes
}
