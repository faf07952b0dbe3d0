package scenario

import (
	"fmt"
	"strings"
)

// Check says what of the scenario its rung cannot do, so that nothing is passed over in silence.
func (s *Scenario) Check() error {
	if s.Rung == Core {
		return s.checkCore()
	}
	var no []string
	lacks := func(it bool, format string, args ...any) {
		if what := fmt.Sprintf(format, args...); it && !strings.Contains(strings.Join(no, ", ")+", ", what+", ") {
			no = append(no, what)
		}
	}
	lacks(s.Churn != Churn{}, "churn")
	for _, h := range s.Hosts {
		switch h.Actor {
		case Laptop, Relayed, Spammer, Copier, Sybil:
			lacks(true, "%s hosts", h.Actor)
		}
		lacks(h.After > 0, "hosts after=")
		lacks(h.Groups > 0 && h.Actor != Sybil, "hosts groups=")
		lacks(h.Join > 0, "hosts join=")
		lacks(h.Over > 0, "hosts over=")
	}
	for _, j := range s.Jobs {
		lacks(j.Spread >= 0, "job spread=")
		lacks(j.Input > 0, "job input=")
		lacks(j.Reduce, "job shape=reduce")
		lacks(j.Warm, "job warm=")
	}
	for _, a := range s.Acts {
		lacks(a.Verb == Storm || a.Verb == Hub, "%s", a.Verb)
	}
	if s.Rung == Mock {
		lacks(s.Net.Loss > 0, "net loss=")
		lacks(s.Net.Bandwidth > 0, "net bandwidth=")
		lacks(s.Net.NAT > 0, "net nat=")
	}
	if len(no) > 0 {
		return fmt.Errorf("%w: %s: rung %s cannot do %s; use rung core, or leave that away", ErrScenario, s.Name, s.Rung, strings.Join(no, ", "))
	}
	return nil
}

func (s *Scenario) checkCore() error {
	if s.Net.NAT > 0 {
		return fmt.Errorf("%w: %s: rung core cannot do net nat=; use rung quic, or a share of relayed hosts", ErrScenario, s.Name)
	}
	for _, h := range s.Hosts {
		if h.Floats != "" || h.Off > 0 {
			return fmt.Errorf("%w: %s: rung core cannot do hosts floats= or off=; use rung mock", ErrScenario, s.Name)
		}
	}
	for _, j := range s.Jobs {
		if j.Numbers {
			return fmt.Errorf("%w: %s: rung core cannot do job numbers=; use rung mock", ErrScenario, s.Name)
		}
	}
	return nil
}

// usualSpread is the spread of the times of a job's tasks that does not say it.
const usualSpread = 0.2

// Varies is the spread of the log of a task's time.
func (j *Job) Varies() float64 {
	if j.Spread < 0 {
		return usualSpread
	}
	return j.Spread
}
