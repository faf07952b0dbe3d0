//go:build race

package p2p_test

func init() { underRace = true }
