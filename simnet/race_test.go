//go:build race

package simnet

func init() { underRace = true }
