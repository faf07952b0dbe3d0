//go:build race

package whole

func init() { underRace = true }
