package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"kith/bench/disk"
	"kith/node/drives"
	"kith/storage/governor"
)

// TestStoryOfACheapDisk: what happened to a slow, hot, failing external disk while a node ran is what kith
// drives tells afterwards, in words that say why, and what the log told meanwhile.
func TestStoryOfACheapDisk(t *testing.T) {
	home := t.TempDir()
	var log bytes.Buffer
	smart := disk.SMART{Verdict: disk.Sound, Celsius: 63, Hot: "63 °C, and 60 are too many for it"}
	k, err := drives.Open(home, drives.Options{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Of: func(path string) (disk.Drive, error) {
			d, err := disk.Of(path)
			d.Kind, d.Bus, d.Model, d.Spinning = disk.USB, "usb", "Expansion Desk", "yes"
			return d, err
		},
		Ask: func(context.Context, disk.Drive) disk.SMART { return smart },
	})
	if err != nil {
		t.Fatal(err)
	}
	list, _ := k.List()
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	d := list[0].Drive
	rate := []disk.Rate{{Depth: 1, Bytes: 9 << 20, Requests: 90, Confidence: 1}}
	slow := disk.Result{At: time.Now(), Took: time.Second, Method: "direct IO, verified", Direct: true, SeqRead: rate, SeqWrite: rate, RandRead: rate, RandWrite: rate, SyncMedian: 90 * time.Millisecond, SyncSlow: 400 * time.Millisecond, Syncs: 5}
	k.Measured(disk.Report{Drive: d, Speed: slow, SMART: smart})
	k.AskAll(t.Context())
	for _, cause := range []governor.Cause{governor.MediumError, governor.LinkReset, governor.IOError} {
		if err := k.Tell(d.ID, cause, "kernel: critical medium error, sector 4711"); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	text := attempt{"the drive", []string{"drives", d.ID}, 0, []string{
		"fragile", "writes only", "63 °C", "hot", "medium-error", "sector 4711", "link-reset", "io-error",
	}}.in(t, home)
	t.Log(text)
	for _, words := range []string{"cause=regraded", "writes only", "cause=hot", "63 °C", "cause=medium-error", "sector 4711", "cause=link-reset", "write_before", "write_after"} {
		if !strings.Contains(log.String(), words) {
			t.Errorf("the log does not tell %q:\n%s", words, log.String())
		}
	}
}
