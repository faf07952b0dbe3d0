package scenario

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/simnet/links"
)

// ErrScenario: the text is not a scenario. The wrapped text has a line for each mistake: where it is, what is wrong, and what
// would be right.
var ErrScenario = errors.New("not a scenario")

// Limits of a scenario.
const (
	MaxNodes = 1 << 20
	MaxTasks = 1 << 20
	maxText  = 1 << 16
	maxLines = 1000
	maxTold  = 20 // mistakes in one error
	MaxSeeds = 10_000
)

// Measures is every name that expect knows, with its unit and meaning.
var Measures = []struct{ Name, Unit, What string }{
	{"done", "%", "tasks that have an accepted result at the end"},
	{"jobs.done", "", "jobs that ended with a result"},
	{"jobs.failed", "", "jobs that ended without one"},
	{"jobs.late", "", "jobs that were not over at the end"},
	{"makespan", "s", "from the first submission to the last result"},
	{"stretch", "×", "makespan against every host being a plain one and never idle"},
	{"wrong", "", "wrong results in what the submitters were handed"},
	{"wrong.bound", "%", "wrong results in what was handed over, of f·(1−p)·T: what is to be expected of liars that lie at a share f of the T results they give alone, of which a share p is audited, and who are never caught"},
	{"wrong.told", "%", "the same, of the lies that were in fact told alone, each times the chance that no audit was drawn for it"},
	{"outvoted", "", "results that others outvoted"},
	{"wrong.ever", "", "wrong results that were accepted at some time, those taken back later among them"},
	{"extra", "%", "executions beyond one a task, but for jobs that only warm up"},
	{"hedges", "%", "copies of tasks that were only slow, begun, of all executions"},
	{"waste", "%", "computing time that no accepted result came of"},
	{"detect", "", "wrong results of a liar before it is caught, median"},
	{"detect.trusted", "", "wrong results a liar submits while it is believed alone, until it is caught, median"},
	{"detect.time", "s", "from a liar's first wrong result to its being caught, median"},
	{"caught", "%", "liars that lied and were caught"},
	{"suspected", "", "honest hosts that are banned"},
	{"lie.work", "s", "honest computing time of hosts that lie, in plain hosts' seconds: what their lies cost them"},
	{"lie.cost", "s", "of it, for each wrong result handed over, over all runs together; not measured if there is none"},
	{"collusion.precision", "%", "hosts held to collude that do"},
	{"collusion.recall", "%", "colluders held to collude, of those that were outvoted beside another"},
	{"collusion.found", "%", "colluders held to collude, of those that lied"},
	{"fairness", "", "Jain's index of accepted work against what each honest host could have done"},
	{"lease.p50", "s", "from a job's submission to its first lease, median"},
	{"lease.p99", "s", "the same, 99 of 100"},
	{"task.p95", "s", "from a task's first lease to its verdict, 95 of 100"},
	{"dials", "×", "most dials in one ring, for each session wanted"},
	{"found", "%", "hosts unknown to gossip that a search found"},
	{"search.messages", "", "most messages of one search"},
	{"broken", "", "violations of the invariants"},
	{"wall", "s", "time the simulation took here"},
	{"heap", "MiB", "most memory the simulation used here"},
}

// Parse reads a scenario. name is what errors call the file.
func Parse(name, text string) (*Scenario, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d", ErrScenario, name, len(text), maxText)
	}
	s := &Scenario{Name: name, Rung: Core, Nodes: 100, Seed: 1, Seeds: 1, Limit: 24 * time.Hour}
	p := &parser{s: s, seen: map[string]int{}}
	lines := strings.Split(text, "\n")
	if len(lines) > maxLines {
		return nil, fmt.Errorf("%w: %s has %d lines, at most %d", ErrScenario, name, len(lines), maxLines)
	}
	var wrong []error
	for i, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		p.line = i + 1
		if err := p.directive(words, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), words[0]))); err != nil {
			if wrong = append(wrong, fmt.Errorf("%s:%d: %w", name, p.line, err)); len(wrong) == maxTold {
				break
			}
		}
	}
	switch {
	case len(wrong) == 1:
		return nil, fmt.Errorf("%w: %w", ErrScenario, wrong[0])
	case len(wrong) > 1:
		return nil, fmt.Errorf("%w:\n%w", ErrScenario, errors.Join(wrong...))
	}
	if err := s.complete(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrScenario, name, err)
	}
	return s, nil
}

type parser struct {
	s    *Scenario
	line int
	seen map[string]int // directives that may stand once
}

func (p *parser) once(word string) error {
	if at := p.seen[word]; at != 0 {
		return fmt.Errorf("%s was given in line %d already; keep one of them", word, at)
	}
	p.seen[word] = p.line
	return nil
}

func (p *parser) directive(words []string, rest string) error {
	s := p.s
	args := words[1:]
	switch words[0] {
	case "title", "rung", "nodes", "seed", "seeds", "churn", "net", "limit", "regions":
		if err := p.once(words[0]); err != nil {
			return err
		}
	}
	switch words[0] {
	case "title":
		s.Title = rest
		return nil
	case "rung":
		return p.one(args, "core, mock or quic", func(w string) error {
			s.Rung = Rung(w)
			if !slices.Contains([]Rung{Core, Mock, QUIC}, s.Rung) {
				return fmt.Errorf("there is no rung %q: use core, mock or quic", w)
			}
			return nil
		})
	case "nodes":
		return p.one(args, "a number of nodes", func(w string) (err error) { s.Nodes, err = whole(w, 0, MaxNodes); return err })
	case "seed":
		return p.one(args, "a number", func(w string) (err error) { s.Seed, err = strconv.ParseUint(w, 10, 64); return err })
	case "seeds":
		return p.one(args, "a number of runs", func(w string) (err error) { s.Seeds, err = whole(w, 1, MaxSeeds); return err })
	case "limit":
		return p.one(args, "a time such as 6h", func(w string) (err error) { s.Limit, err = span(w); return err })
	case "churn":
		return p.one(args, "none, typical, or a share an hour such as 50%", p.churn)
	case "net":
		return p.net(args)
	case "regions":
		return p.regions(args)
	case "hosts":
		return p.hosts(args)
	case "job":
		return p.job(args)
	case "at":
		return p.act(args)
	case "expect":
		return p.expect(args)
	}
	return fmt.Errorf("there is no directive %q: use title, rung, nodes, seed, seeds, hosts, regions, churn, net, job, at, limit or expect", words[0])
}

func (p *parser) one(args []string, what string, f func(string) error) error {
	if len(args) != 1 {
		return fmt.Errorf("want %s and nothing else", what)
	}
	return f(args[0])
}

func (p *parser) churn(w string) (err error) {
	switch w {
	case "none":
	case "typical":
		p.s.Churn.Typical = true
	default:
		p.s.Churn.Hourly, err = share(w)
	}
	return err
}

// pairs calls set for every key=value.
func pairs(args []string, keys string, set func(key, value string) (bool, error)) error {
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok {
			return fmt.Errorf("%q is not key=value; keys are %s", a, keys)
		}
		known, err := set(k, v)
		if !known {
			return fmt.Errorf("there is no key %q here; keys are %s", k, keys)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}

func (p *parser) net(args []string) error {
	n := &p.s.Net
	return pairs(args, "loss, bandwidth, rtt, nat", func(k, v string) (bool, error) {
		var err error
		switch k {
		case "loss":
			n.Loss, err = share(v)
		case "bandwidth":
			n.Bandwidth, err = bytesOf(v)
		case "rtt":
			n.RTT, err = span(v)
		case "nat":
			n.NAT, err = share(v)
		default:
			return false, nil
		}
		return true, err
	})
}

func (p *parser) regions(args []string) error {
	if len(args) == 0 || len(args)%2 != 0 {
		return errors.New("want a code and a share for each region, such as: regions DE 60% JP 40%")
	}
	for i := 0; i < len(args); i += 2 {
		if !links.Known(args[i]) {
			return fmt.Errorf("no latency is known for region %q: use %s", args[i], strings.Join(links.Regions(), ", "))
		}
		sh, err := share(args[i+1])
		if err != nil {
			return err
		}
		p.s.Regions = append(p.s.Regions, Region{Code: args[i], Share: sh})
	}
	return nil
}

var actors = []Actor{Honest, Slow, Straggler, Flapping, Random, Constant, Plausible, Colluder, Sybil, Copier, Eclipse, Spammer, Relayed, Laptop}

func (p *parser) hosts(args []string) error {
	if len(args) < 2 {
		return errors.New("want an actor and its share of the nodes, such as: hosts honest 100%")
	}
	h := Hosts{Actor: Actor(args[0]), Lie: 1}
	if !slices.Contains(actors, h.Actor) {
		names := make([]string, len(actors))
		for i, a := range actors {
			names[i] = string(a)
		}
		return fmt.Errorf("there is no actor %q: use %s", args[0], strings.Join(names, ", "))
	}
	var err error
	if h.Share, err = share(args[1]); err != nil {
		return err
	}
	if h.Actor == Sybil {
		h.Groups = 3
	}
	err = pairs(args[2:], "lie, after, factor, slots, region, groups, join, over, quiet, floats, off", func(k, v string) (bool, error) {
		var err error
		switch k {
		case "lie":
			h.Lie, err = share(v)
		case "after":
			h.After, err = whole(v, 0, 1<<20)
		case "factor":
			h.Factor, err = number(v, 0.01, 1000)
		case "slots":
			h.Slots, err = whole(v, 1, 256)
		case "region":
			h.Region = v
			if !links.Known(v) {
				err = fmt.Errorf("no latency is known for region %q", v)
			}
		case "groups":
			h.Groups, err = whole(v, 1, MaxNodes)
		case "join":
			h.Join, err = span(v)
		case "over":
			h.Over, err = span(v)
		case "quiet":
			h.Quiet, err = strconv.ParseBool(v)
		case "floats":
			h.Floats = v
			if len(v) == 0 || len(v) > 16 || strings.ContainsFunc(v, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
				err = fmt.Errorf("%q is not 1 to 16 small letters and digits", v)
			}
		case "off":
			h.Off, err = whole(v, 0, 1<<23)
		default:
			return false, nil
		}
		return true, err
	})
	p.s.Hosts = append(p.s.Hosts, h)
	return err
}

func (p *parser) job(args []string) error {
	j := Job{Submitter: 1, Repeat: 1, Seconds: 10, Spread: -1, K: 2}
	err := pairs(args, "tasks, seconds, spread, input, k, n, adaptive, regions, nodes, want, deadline, at, every, repeat, by, shape, numbers, warm", func(k, v string) (bool, error) {
		var err error
		switch k {
		case "tasks":
			j.Tasks, err = whole(v, 1, MaxTasks)
		case "seconds":
			j.Seconds, err = number(v, 0, 86400)
		case "spread":
			j.Spread, err = number(v, 0, 3)
		case "input":
			j.Input, err = bytesOf(v)
		case "k":
			j.K, err = whole(v, 1, 8)
		case "n":
			j.N, err = whole(v, 1, 16)
		case "adaptive":
			j.Adaptive, err = strconv.ParseBool(v)
		case "regions":
			j.Regions = strings.Split(v, ",")
		case "nodes":
			j.Nodes, err = whole(v, 1, MaxNodes)
		case "want":
			j.Want, err = whole(v, 1, MaxNodes)
		case "numbers":
			j.Numbers, err = strconv.ParseBool(v)
		case "warm":
			j.Warm, err = strconv.ParseBool(v)
		case "deadline":
			j.Deadline, err = span(v)
		case "at":
			j.At, err = span(v)
		case "every":
			j.Every, err = span(v)
		case "repeat":
			j.Repeat, err = whole(v, 1, 100_000)
		case "by":
			j.Submitter, err = whole(v, 1, 10_000)
		case "shape":
			if j.Reduce = v == "reduce"; v != "reduce" && v != "map" {
				err = fmt.Errorf("%q is neither map nor reduce", v)
			}
		default:
			return false, nil
		}
		return true, err
	})
	switch {
	case err != nil:
		return err
	case j.Warm && j.Repeat > 1:
		return errors.New("a job that warms up is not repeated; write it down as often as it is wanted")
	case j.Tasks == 0:
		return errors.New("want tasks=, the number of tasks")
	case j.N == 0:
		j.N = max(j.K+1, min(16, 4*j.K))
	case j.N < j.K:
		return fmt.Errorf("n=%d executions cannot give k=%d agreeing results; make n at least k", j.N, j.K)
	}
	p.s.Jobs = append(p.s.Jobs, j)
	return nil
}

func (p *parser) act(args []string) error {
	if len(args) < 2 {
		return errors.New("want a time and what happens then, such as: at 10m partition EU")
	}
	a := Act{Verb: Verb(args[1]), Args: args[2:]}
	var err error
	if a.At, err = span(args[0]); err != nil {
		return err
	}
	need := func(n int, what string) error {
		if len(a.Args) != n {
			return fmt.Errorf("%s wants %s", a.Verb, what)
		}
		return nil
	}
	switch a.Verb {
	case Partition:
		if len(a.Args) == 0 {
			return errors.New("partition wants the regions that are cut off")
		}
		for _, r := range a.Args {
			if !links.Known(r) {
				return fmt.Errorf("no latency is known for region %q: use %s", r, strings.Join(links.Regions(), ", "))
			}
		}
	case Heal:
		err = need(0, "nothing more")
	case Crash, Restart:
		if len(a.Args) == 0 {
			a.Count = 1
		} else if a.Count, err = whole(a.Args[0], 1, 10_000); err == nil {
			err = need(1, "one submitter")
		}
	case Leave:
		if err = need(1, "a share of the hosts, such as 50%"); err == nil {
			a.Share, err = share(a.Args[0])
		}
	case Storm:
		if err = need(2, "offers a second and how long, such as: storm 100 5m"); err == nil {
			if a.Count, err = whole(a.Args[0], 1, 100_000); err == nil {
				a.Span, err = span(a.Args[1])
			}
		}
	case Hub:
		if err = need(1, "how long the hub is gone"); err == nil {
			a.Span, err = span(a.Args[0])
		}
	default:
		return fmt.Errorf("nothing is called %q: use partition, heal, crash, restart, leave, storm or hub", a.Verb)
	}
	p.s.Acts = append(p.s.Acts, a)
	return err
}

func (p *parser) expect(args []string) error {
	mean := len(args) == 4 && args[0] == "mean"
	if mean {
		args = args[1:]
	}
	if len(args) != 3 {
		return errors.New("want a measure, one of = < <= > >=, and a value, such as: expect wrong = 0, or: expect mean extra <= 8")
	}
	b := Band{Measure: args[0], Op: args[1], Text: args[2], Mean: mean, Line: p.line}
	unit, known := "", false
	for _, m := range Measures {
		if m.Name == b.Measure {
			unit, known = m.Unit, true
		}
	}
	if !known {
		return fmt.Errorf("nothing is measured as %q; kith simnet list shows the measures", b.Measure)
	}
	if !slices.Contains([]string{"=", "<", "<=", ">", ">="}, b.Op) {
		return fmt.Errorf("%q is not one of = < <= > >=", b.Op)
	}
	v := strings.TrimSuffix(b.Text, "%")
	var err error
	if unit == "s" && strings.ContainsAny(v, "smhd") {
		var d time.Duration
		d, err = span(v)
		b.Value = d.Seconds()
	} else {
		b.Value, err = number(v, -1e12, 1e12)
	}
	p.s.Expect = append(p.s.Expect, b)
	return err
}

// complete fills in what was left out and refuses what does not fit together.
func (s *Scenario) complete() error {
	if s.Title == "" {
		return errors.New("no title: begin with a line that says what the scenario shows, such as: title one straggler")
	}
	if len(s.Jobs) == 0 {
		return errors.New("no job: add a line such as: job tasks=100 seconds=10")
	}
	if len(s.Hosts) == 0 {
		s.Hosts = []Hosts{{Actor: Honest, Share: 1, Lie: 1}}
	}
	if len(s.Regions) == 0 {
		s.Regions = []Region{{"DE", 0.3}, {"GB", 0.15}, {"US", 0.3}, {"BR", 0.05}, {"JP", 0.15}, {"AU", 0.05}}
	}
	sum := 0.0
	for _, h := range s.Hosts {
		sum += h.Share
		if h.Off > 0 && !slices.ContainsFunc(s.Jobs, func(j Job) bool { return j.Numbers }) {
			return errors.New("off= changes the numbers of jobs that have some; give a job numbers=true")
		}
	}
	if math.Abs(sum-1) > 1e-6 {
		return fmt.Errorf("the shares of the hosts make %g%% together; make them 100%%", math.Round(1e4*sum)/100)
	}
	sum = 0
	for _, r := range s.Regions {
		sum += r.Share
	}
	if math.Abs(sum-1) > 1e-6 {
		return fmt.Errorf("the shares of the regions make %g%% together; make them 100%%", math.Round(1e4*sum)/100)
	}
	if !slices.ContainsFunc(s.Jobs, func(j Job) bool { return !j.Warm }) {
		return errors.New("every job only warms up; leave warm= away where it is to be measured")
	}
	total := 0
	for _, j := range s.Jobs {
		total += j.Tasks * j.Repeat
		if total > 4*MaxTasks {
			return fmt.Errorf("more than %d tasks together; ask for fewer", 4*MaxTasks)
		}
	}
	last := 0
	for _, j := range s.Jobs {
		last = max(last, j.Submitter)
	}
	for _, a := range s.Acts {
		if (a.Verb == Crash || a.Verb == Restart) && a.Count > last {
			return fmt.Errorf("submitter %d crashes, and there are %d; name one that has a job", a.Count, last)
		}
	}
	return nil
}

// Submitters is how many nodes submit jobs.
func (s *Scenario) Submitters() (n int) {
	for _, j := range s.Jobs {
		n = max(n, j.Submitter)
	}
	return n
}

func whole(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(strings.ReplaceAll(s, "_", ""))
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is not a whole number from %d to %d", s, least, most)
	}
	return n, nil
}

func number(s string, least, most float64) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= least && v <= most) {
		return 0, fmt.Errorf("%q is not a number from %g to %g", s, least, most)
	}
	return v, nil
}

func share(s string) (float64, error) {
	body, ok := strings.CutSuffix(s, "%")
	if !ok {
		return 0, fmt.Errorf("%q is not a share; write it such as 30%%", s)
	}
	v, err := number(body, 0, 100)
	return v / 100, err
}

func span(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := number(days, 0, 366)
		return time.Duration(n * 24 * float64(time.Hour)), err
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 366*24*time.Hour {
		return 0, fmt.Errorf("%q is not a time; write it such as 250ms, 90s, 15m, 2h or 1d", s)
	}
	return d, nil
}

func bytesOf(s string) (int64, error) {
	for suffix, unit := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if body, ok := strings.CutSuffix(s, suffix); ok {
			n, err := number(body, 0, 1<<20)
			return int64(n * unit), err
		}
	}
	return 0, fmt.Errorf("%q is not a size; write it such as 512KiB or 4MiB", s)
}
