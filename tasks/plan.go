package tasks

import (
	"errors"
	"fmt"
)

// Source is the stage number of the job's own input in Stage.Inputs.
const Source = -1

// Step is one phase of one op inside a stage.
type Step struct {
	Op     int    `cbor:"op" json:"op"`       // index in Spec.Ops
	Kind   string `cbor:"kind" json:"kind"`   // of that op
	Phase  string `cbor:"phase" json:"phase"` // of that kind
	Params []byte `cbor:"params" json:"params"`
}

// Stage is one wave of tasks. Its steps run one after another inside one task, each reading what the one before wrote.
type Stage struct {
	Index  int    `cbor:"i" json:"index"`
	Mode   Mode   `cbor:"mode" json:"mode"`
	Steps  []Step `cbor:"steps" json:"steps"`
	Inputs []int  `cbor:"in" json:"inputs"`     // stages whose outputs the first step reads, in the order of Call.In; Source first
	Ranges int    `cbor:"ranges" json:"ranges"` // key ranges a following reduce has; 0 if none follows
	// Comparison is how results are compared: as the kind of the last step says. "": by their bytes.
	Comparison Comparison `cbor:"cmp,omitempty" json:"comparison,omitempty"`
}

// ErrPlan: the ops do not make a job. The wrapped text says which op and why.
var ErrPlan = errors.New("these steps do not make a job")

// MaxOps bounds the length of a pipeline.
const MaxOps = 16

// Plan lays the ops out as stages: neighbouring map phases share a stage, so that data stays where it is; a reduce or
// a gather begins a new one, and so does what reads results that are not compared by their bytes: first one of them must
// be agreed upon. parts is the number of parts the input was split into.
func Plan(ops []Op, parts int, kinds Registry) ([]Stage, error) {
	if len(ops) == 0 || len(ops) > MaxOps {
		return nil, fmt.Errorf("%w: %d ops, want 1 to %d", ErrPlan, len(ops), MaxOps)
	}
	var stages []Stage
	last := Source // the stage the next phase reads
	for i, op := range ops {
		kind, err := kinds.Kind(op.Kind)
		if err != nil {
			return nil, fmt.Errorf("%w: op %d: %w", ErrPlan, i+1, err)
		}
		at := map[string]int{} // phase of this op → its stage
		for _, phase := range kind.Describe().Phases {
			inputs := []int{last}
			for _, also := range phase.Also {
				s, ok := at[also]
				if !ok {
					return nil, fmt.Errorf("%w: op %d (%s): phase %s reads %s, which does not come before it", ErrPlan, i+1, op.Kind, phase.Name, also)
				}
				inputs = append(inputs, s)
			}
			step := Step{Op: i, Kind: op.Kind, Phase: phase.Name, Params: op.Params}
			fuse := phase.Mode == Map && len(phase.Also) == 0 && last != Source && stages[last].Mode == Map && stages[last].Comparison == ""
			if fuse {
				stages[last].Steps = append(stages[last].Steps, step)
			} else {
				if phase.Mode != Map && (last == Source || (phase.Mode == Reduce) != (stages[last].Mode == Map)) {
					return nil, fmt.Errorf("%w: op %d (%s): a %s phase must follow a %s", ErrPlan, i+1, op.Kind, phase.Mode, before(phase.Mode))
				}
				if phase.Mode == Reduce {
					stages[last].Ranges = ranges(parts)
				}
				stages = append(stages, Stage{Index: len(stages), Mode: phase.Mode, Steps: []Step{step}, Inputs: inputs})
				last = len(stages) - 1
			}
			if how := kind.Describe().Comparison; phase.Mode != Gather && (how == Numeric || how == Schema) { // a gather is this node's own work
				stages[last].Comparison = how
			}
			at[phase.Name] = last
		}
		if stages[last].Mode != Map {
			return nil, fmt.Errorf("%w: op %d (%s) does not end in a map", ErrPlan, i+1, op.Kind)
		}
	}
	return stages, nil
}

func before(m Mode) Mode {
	if m == Reduce {
		return Map
	}
	return Reduce
}

// ranges chooses how many key ranges a reduce has: enough to spread, few enough that each is worth a task.
func ranges(parts int) int { return min(max(1, parts/4), 64) }

// Count returns how many tasks stage s has.
func (s Stage) Count(parts int, stages []Stage) int {
	switch s.Mode {
	case Gather:
		return 1
	case Reduce:
		return stages[s.Inputs[0]].Ranges
	default:
		return parts
	}
}
