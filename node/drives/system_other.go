//go:build !linux && !windows && !darwin

package drives

import (
	"context"
	"errors"
	"runtime"
	"time"
)

var errNotHere = errors.New("not known on " + runtime.GOOS)

func kernelLog(context.Context, func(string)) error { return errNotHere }

func boot() (string, time.Time, error) { return "", time.Time{}, errNotHere }

func crashReports(time.Time) []string { return nil }
