//go:build !linux

package steady

import "time"

// Other systems tell the time of a thread only in steps that are longer than a sample, or not at all.
func threadTime() (time.Duration, bool) { return 0, false }

func pin(int, int) bool { return false }

func readStolen() stolen { return stolen{} }
