package drives

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// Events of drives: disk (7 bad block, 11 controller error, 51 paging error, 153 retried), storahci and stornvme (129
// reset), ntfs (55 damaged, 50 delayed write lost).
const driveEvents = `*[System[(Provider[@Name='disk'] and (EventID=7 or EventID=11 or EventID=51 or EventID=153)) or ((Provider[@Name='storahci'] or Provider[@Name='stornvme'] or Provider[@Name='UASPStor']) and EventID=129) or (Provider[@Name='Ntfs'] and (EventID=55 or EventID=50))]]`

// crashEvents are those of a machine that went down without farewell, and of a bug check.
const crashEvents = `*[System[(Provider[@Name='Microsoft-Windows-Kernel-Power'] and EventID=41) or (Provider[@Name='Microsoft-Windows-WER-SystemErrorReporting'] and EventID=1001)]]`

const eventsEvery = time.Minute

// query asks the system's log for what happened within a time, as text.
func query(ctx context.Context, filter string, within time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	limit := fmt.Sprintf(" and TimeCreated[timediff(@SystemTime) <= %d]]]", within.Milliseconds())
	filter = strings.TrimSuffix(filter, "]]") + limit
	out, err := exec.CommandContext(ctx, "wevtutil", "qe", "System", "/q:"+filter, "/c:100", "/f:text", "/rd:false").Output()
	return string(out), err
}

// kernelLog asks the system's log once a minute and gives each event the form of a kernel record.
func kernelLog(ctx context.Context, each func(string)) error {
	tick := time.NewTicker(eventsEvery)
	defer tick.Stop()
	for within := eventsEvery; ; {
		text, err := query(ctx, driveEvents, within)
		if err != nil {
			return errors.Join(errors.New("the system's event log cannot be read"), err)
		}
		for _, record := range recordsOf(text, time.Since(bootTime()).Microseconds()) {
			each(record)
		}
		begin := time.Now()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			within = time.Since(begin) + time.Second
		}
	}
}

func bootTime() time.Time { return time.Now().Add(-windows.DurationSinceBoot()) }

// boot names a start by its minute: Windows has no name for it.
func boot() (string, time.Time, error) {
	at := bootTime()
	return at.UTC().Truncate(time.Minute).Format(bootLayout), at, nil
}

// crashReports lists dumps of the system and what its log says of sudden ends.
func crashReports(since time.Time) (out []string) {
	root := os.Getenv("SystemRoot")
	for _, p := range []string{filepath.Join(root, "Minidump", "*.dmp"), filepath.Join(root, "MEMORY.DMP")} {
		names, _ := filepath.Glob(p)
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.ModTime().After(since) {
				out = append(out, name)
			}
		}
	}
	if text, err := query(context.Background(), crashEvents, time.Since(since)); err == nil && strings.Contains(text, "Event ID:") {
		out = append(out, "events of the system's log: "+strings.Join(eventIDs(text), ", "))
	}
	return out
}
