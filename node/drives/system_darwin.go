package drives

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// kernelLog has nothing to read: the unified log of macOS opens to administrators only.
func kernelLog(context.Context, func(string)) error {
	return errors.New("macOS shows its kernel's log to administrators only")
}

// boot names a start by its second.
func boot() (string, time.Time, error) {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return "", time.Time{}, err
	}
	return strconv.FormatInt(tv.Sec, 10), time.Unix(tv.Sec, 0), nil
}

// crashReports lists panics.
func crashReports(since time.Time) (out []string) {
	names, _ := filepath.Glob("/Library/Logs/DiagnosticReports/*.panic")
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(since) {
			out = append(out, name)
		}
	}
	return out
}
