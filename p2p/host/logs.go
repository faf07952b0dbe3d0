package host

import (
	"context"
	"log/slog"

	"github.com/libp2p/go-libp2p/gologshim"
)

// LogLibraries sends the log lines of libp2p to handler, one level down: what a library calls an error is a peer that
// hung up. It concerns the whole process and works only before the first host is made.
func LogLibraries(handler slog.Handler) { gologshim.SetDefaultHandler(demoted{handler}) }

// demoted lowers each line by one level; the lines below Warn are dropped.
type demoted struct{ slog.Handler }

const oneLevel = slog.LevelError - slog.LevelWarn

func (d demoted) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && d.Handler.Enabled(ctx, l-oneLevel)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level -= oneLevel
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs)}
}

func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }
