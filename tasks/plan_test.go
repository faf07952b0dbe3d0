package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"kith/tasks"
)

// shape is a kind that is nothing but its phases.
type shape struct {
	name   string
	phases []tasks.Phase
	how    tasks.Comparison
}

func (s shape) Describe() tasks.Description {
	return tasks.Description{Name: s.name, Phases: s.phases, Comparison: s.how}
}
func (shape) Check(p []byte) ([]byte, error)           { return p, nil }
func (shape) Run(context.Context, *tasks.Call) error   { return nil }
func (shape) Merge(context.Context, *tasks.Call) error { return nil }
func (s shape) op() tasks.Op                           { return tasks.Op{Kind: s.name} }
func phase(name string, m tasks.Mode, also ...string) tasks.Phase {
	return tasks.Phase{Name: name, Mode: m, Also: also}
}

type shapes []shape

func (s shapes) Kind(name string) (tasks.Kind, error) {
	for _, k := range s {
		if k.name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", tasks.ErrUnknownKind, name)
}
func (s shapes) Names() []string { return nil }

var (
	plain  = shape{"plain", []tasks.Phase{phase("run", tasks.Map)}, tasks.Bitwise}
	floats = shape{"floats", []tasks.Phase{phase("run", tasks.Map)}, tasks.Numeric}
	global = shape{"global", []tasks.Phase{
		phase("sign", tasks.Map), phase("agree", tasks.Reduce), phase("resolve", tasks.Gather), phase("apply", tasks.Map, "sign"),
	}, tasks.Bitwise}
	early    = shape{"early", []tasks.Phase{phase("agree", tasks.Reduce)}, tasks.Bitwise}
	open     = shape{"open", []tasks.Phase{phase("sign", tasks.Map), phase("agree", tasks.Reduce)}, tasks.Bitwise}
	dangling = shape{"dangling", []tasks.Phase{phase("sign", tasks.Map, "nowhere")}, tasks.Bitwise}
	registry = shapes{plain, floats, global, early, open, dangling}
)

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		ops   []tasks.Op
		parts int
		want  []string // mode inputs ranges count: kind/phase …
	}{
		{"one map", []tasks.Op{plain.op()}, 8, []string{"map [-1] 0 8: plain/run"}},
		{"neighbouring maps share a stage", []tasks.Op{plain.op(), plain.op()}, 8, []string{"map [-1] 0 8: plain/run plain/run"}},
		{
			"a pipeline around a global op",
			[]tasks.Op{plain.op(), global.op(), plain.op()},
			32,
			[]string{
				"map [-1] 8 32: plain/run global/sign", "reduce [0] 0 8: global/agree",
				"gather [1] 0 1: global/resolve", "map [2 0] 0 32: global/apply plain/run",
			},
		},
		{
			"two global ops",
			[]tasks.Op{global.op(), global.op()},
			4,
			[]string{
				"map [-1] 1 4: global/sign", "reduce [0] 0 1: global/agree", "gather [1] 0 1: global/resolve",
				"map [2 0] 1 4: global/apply global/sign", "reduce [3] 0 1: global/agree", "gather [4] 0 1: global/resolve",
				"map [5 3] 0 4: global/apply",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			stages, err := tasks.Plan(c.ops, c.parts, registry)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range stages {
				line := fmt.Sprintf("%s %v %d %d:", s.Mode, s.Inputs, s.Ranges, s.Count(c.parts, stages))
				for _, step := range s.Steps {
					line += " " + step.Kind + "/" + step.Phase
				}
				got = append(got, line)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, ops := range map[string][]tasks.Op{
		"nothing":                 nil,
		"too many":                slices.Repeat([]tasks.Op{plain.op()}, tasks.MaxOps+1),
		"an unknown kind":         {{Kind: "etl.nothing"}},
		"a reduce of the input":   {early.op()},
		"an end in a reduce":      {open.op()},
		"a phase that is missing": {dangling.op()},
	} {
		t.Run(name, func(t *testing.T) {
			if stages, err := tasks.Plan(ops, 4, registry); !errors.Is(err, tasks.ErrPlan) {
				t.Errorf("got %d stages and %v, want ErrPlan", len(stages), err)
			}
		})
	}
}

// However ops are mixed, a stage reads only stages before it, and every step of every op appears once and in order.
func TestPlanKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := rapid.SliceOfN(rapid.SampledFrom([]tasks.Op{plain.op(), global.op()}), 1, tasks.MaxOps).Draw(t, "ops")
		parts := rapid.IntRange(1, 10_000).Draw(t, "parts")
		stages, err := tasks.Plan(ops, parts, registry)
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for i, s := range stages {
			if s.Index != i {
				t.Fatalf("stage %d calls itself %d", i, s.Index)
			}
			for _, in := range s.Inputs {
				if in >= i || in < tasks.Source {
					t.Fatalf("stage %d reads stage %d", i, in)
				}
			}
			if (s.Ranges > 0) != (i+1 < len(stages) && stages[i+1].Mode == tasks.Reduce) {
				t.Fatalf("stage %d has %d key ranges", i, s.Ranges)
			}
			if n := s.Count(parts, stages); n < 1 || n > parts {
				t.Fatalf("stage %d has %d tasks of %d parts", i, n, parts)
			}
			for _, step := range s.Steps {
				got = append(got, fmt.Sprint(step.Op, step.Phase))
			}
		}
		for i, op := range ops {
			kind, _ := registry.Kind(op.Kind)
			for _, p := range kind.Describe().Phases {
				want = append(want, fmt.Sprint(i, p.Name))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("steps %v, want %v", got, want)
		}
	})
}

// What is compared by its numbers must be agreed upon before anything is made of it: the stage ends there, and says so.
func TestPlanComparison(t *testing.T) {
	stages, err := tasks.Plan([]tasks.Op{plain.op(), floats.op(), plain.op(), plain.op()}, 4, registry)
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 || len(stages[0].Steps) != 2 || stages[0].Comparison != tasks.Numeric || stages[1].Comparison != "" || !slices.Equal(stages[1].Inputs, []int{0}) {
		t.Errorf("%+v", stages)
	}
}
