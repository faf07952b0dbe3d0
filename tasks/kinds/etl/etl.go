// Package etl holds what the kinds that clean and prepare texts have in common. Each kind has its own package below this
// one; all of them map a corpus (package corpus) to a corpus, so they can be chained in any order that makes sense.
package etl

import "kith/tasks"

// Describe returns the description of an etl kind with one map phase, "run", and the limits for a part that holds one
// document of the largest size. Callers change what differs.
func Describe(name, title string, version int, schema string) tasks.Description {
	return tasks.Description{
		Name:    name,
		Title:   title,
		Version: version,
		Schema:  schema,
		Phases:  []tasks.Phase{{Name: "run", Mode: tasks.Map}},
		Needs:   tasks.Needs{Class: tasks.CPU, Sandbox: tasks.GradeProcess, Memory: 512 << 20, Input: true},
		Limits: tasks.Limits{
			WallMillis:   120_000,
			CPUMillis:    120_000,
			MemoryBytes:  1 << 30,
			ScratchBytes: 256 << 20,
			OutputBytes:  256 << 20,
			LogBytes:     64 << 10,
			Processes:    256,
		},
		Comparison: tasks.Bitwise,
		Reusable:   true,
	}
}
