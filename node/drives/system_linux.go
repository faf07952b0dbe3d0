package drives

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kernelLog reads /dev/kmsg: first what there is, then what comes. One read is one record.
func kernelLog(ctx context.Context, each func(string)) error {
	f, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer func() {
		if stop() {
			_ = f.Close()
		}
	}()
	buf := make([]byte, 8<<10)
	for {
		n, err := f.Read(buf)
		switch {
		case err == nil:
			each(string(buf[:n]))
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINVAL): // overwritten before we came; or longer than any record of use
		default:
			return err
		}
	}
}

// boot reads the name the kernel gave to this start.
func boot() (string, time.Time, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", time.Time{}, err
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return "", time.Time{}, err
	}
	up, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(up, 64)
	if err != nil || seconds < 0 {
		return "", time.Time{}, fmt.Errorf("/proc/uptime says %.40q", text)
	}
	return strings.TrimSpace(string(id)), time.Now().Add(-time.Duration(seconds * float64(time.Second))), nil
}

// crashReports lists what the kernel left of itself.
func crashReports(since time.Time) []string {
	return newer(since, "/sys/fs/pstore/dmesg-*", "/var/lib/systemd/pstore/*", "/var/crash/*")
}

func newer(since time.Time, patterns ...string) (out []string) {
	for _, p := range patterns {
		names, _ := filepath.Glob(p)
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.ModTime().After(since) {
				out = append(out, name)
			}
		}
	}
	return out
}
