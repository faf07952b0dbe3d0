//go:build unix && !linux && !darwin

package sandbox

const offered Layers = 0
