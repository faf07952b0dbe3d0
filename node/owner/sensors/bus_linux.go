package sensors

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"

	"kith/node/owner"
)

// systemBus is a connection to the system bus, made when it is first needed, and again a while after it broke.
type systemBus struct {
	conn  *dbus.Conn
	tried time.Time
	login owner.Reading // what the login manager last said
	asked time.Time
}

const busAgain = time.Minute // after a bus could not be reached

func (s *Set) property(ctx context.Context, service, path, name string) (any, error) {
	if s.o.Bus != nil {
		return s.o.Bus.Property(ctx, service, path, name)
	}
	b := &s.parts.bus
	if b.conn == nil || !b.conn.Connected() {
		if !b.tried.IsZero() && time.Since(b.tried) < busAgain {
			return nil, dbus.ErrClosed
		}
		b.tried = time.Now()
		_ = b.close()
		conn, err := dbus.ConnectSystemBus()
		if err != nil {
			return nil, err
		}
		b.conn = conn
	}
	var v dbus.Variant
	iface, property := cutLast(name)
	// No service is started for our sake.
	err := b.conn.Object(service, dbus.ObjectPath(path)).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, iface, property).Store(&v)
	if err != nil {
		return nil, err
	}
	return v.Value(), nil
}

// cutLast splits at the last dot.
func cutLast(name string) (before, after string) {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			return name[:i], name[i+1:]
		}
	}
	return "", name
}

func (b *systemBus) close() error {
	if b.conn == nil {
		return nil
	}
	err := b.conn.Close()
	b.conn = nil
	return err
}
