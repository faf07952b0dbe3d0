//go:build race

package fabric

func init() { underRace = true }
