package health

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestTracker(t *testing.T) {
	var out bytes.Buffer
	tr := NewTracker(slog.New(slog.NewTextHandler(&out, nil)))
	disk := &Warnable{Code: "disk", Severity: Medium, Title: "Disk", Text: "%d %% used", Remedy: "free some space"}
	port := &Warnable{Code: "port", Severity: Low, Title: "Port", Text: "100% taken"}
	clock := &Warnable{Code: "clock", Severity: High, Title: "Clock", Text: "wrong"}
	tr.Set(port)
	tr.Set(disk, 81)
	since := tr.Active()[0].Since
	tr.Set(disk, 82)
	tr.When(true, clock)
	got := tr.Active()
	if len(got) != 3 || got[0].Code != "clock" || got[1].Text != "82 % used" || got[1].Since != since || got[2].Text != "100% taken" {
		t.Fatalf("active: %+v", got)
	}
	tr.When(false, clock)
	tr.Clear(disk)
	tr.Clear(disk)
	if got := tr.Active(); len(got) != 1 || got[0].Code != "port" {
		t.Fatalf("active: %+v", got)
	}
	if n := strings.Count(out.String(), "\n"); n != 5 {
		t.Errorf("%d log lines, want one for each beginning and end:\n%s", n, &out)
	}
}
