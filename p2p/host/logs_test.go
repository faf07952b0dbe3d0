package host

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestDemoted(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(demoted{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})}).With("logger", "swarm").WithGroup("g")
	log.Error("hung up", "n", 1)
	log.Warn("slow")
	log.Info("chatter")
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "level=WARN msg=\"hung up\" logger=swarm g.n=1") ||
		!strings.Contains(got, "level=INFO msg=slow") {
		t.Errorf("logged %q", got)
	}
}
