//go:build unix && !linux

package meter

func resident() int64 { return goMemory() }
