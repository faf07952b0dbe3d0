package sensors

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/screensaver"
	"github.com/jezek/xgb/xproto"

	"kith/node/owner"
)

// screen is an X display. A display that is gone, or does not let this user in, is asked again a minute later.
type screen struct {
	name  string
	conn  *xgb.Conn
	root  xproto.Window
	saver bool
	tried time.Time
}

const screenAgain = time.Minute

// displays lists the X displays of this computer.
func (s *Set) displays() []string {
	if s.o.Displays != nil {
		return s.o.Displays()
	}
	var out []string
	if d := os.Getenv("DISPLAY"); d != "" {
		out = append(out, d)
	}
	sockets, _ := filepath.Glob(s.path("tmp/.X11-unix/X[0-9]*"))
	for _, name := range sockets {
		if d := ":" + strings.TrimPrefix(filepath.Base(name), "X"); !slices.Contains(out, d) && !slices.Contains(out, d+".0") {
			out = append(out, d)
		}
	}
	return out
}

func (s *Set) screen(display string) *screen {
	if s.parts.screens == nil {
		s.parts.screens = map[string]*screen{}
		xgb.Logger.SetOutput(discard{}) // it would write to the node's own output
	}
	x := s.parts.screens[display]
	if x == nil {
		x = &screen{name: display}
		s.parts.screens[display] = x
	}
	return x
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func (x *screen) open() bool {
	if x.conn != nil {
		return true
	}
	if !x.tried.IsZero() && time.Since(x.tried) < screenAgain {
		return false
	}
	x.tried = time.Now()
	conn, err := xgb.NewConnDisplay(x.name)
	if err != nil {
		return false
	}
	x.conn, x.root = conn, xproto.Setup(conn).DefaultScreen(conn).Root
	x.saver = screensaver.Init(conn) == nil
	x.tried = time.Time{} // should it break, it may be back at once
	return true
}

func (x *screen) close() {
	if x.conn != nil {
		x.conn.Close()
		x.conn = nil
	}
}

// idle is the time since the last key or move of the mouse on the display.
func (x *screen) idle() owner.Reading {
	if !x.open() || !x.saver {
		return owner.Reading{}
	}
	info, err := screensaver.QueryInfo(x.conn, xproto.Drawable(x.root)).Reply()
	if err != nil {
		x.close()
		return owner.Reading{}
	}
	return owner.Seen(float64(info.MsSinceUserInput)/1000, 1e10, "says the screen "+x.name)
}

// full reports whether the active window says that it fills the screen.
func (x *screen) full() owner.Reading {
	if !x.open() {
		return owner.Reading{}
	}
	active, ok := x.words(x.root, "_NET_ACTIVE_WINDOW")
	if !ok {
		return owner.Reading{}
	}
	if len(active) == 0 || active[0] == 0 {
		return owner.YesNo(false, "no window is in front")
	}
	states, ok := x.words(xproto.Window(active[0]), "_NET_WM_STATE")
	if !ok {
		return owner.Reading{}
	}
	filling, ok := x.atom("_NET_WM_STATE_FULLSCREEN")
	if ok && slices.Contains(states, uint32(filling)) {
		return owner.YesNo(true, "a program fills the screen")
	}
	return owner.YesNo(false, "no program fills the screen")
}

func (x *screen) atom(name string) (xproto.Atom, bool) {
	r, err := xproto.InternAtom(x.conn, false, uint16(len(name)), name).Reply()
	if err != nil {
		return 0, false
	}
	return r.Atom, true
}

// words reads a property of 32-bit values. A window that has just closed has none.
func (x *screen) words(w xproto.Window, name string) ([]uint32, bool) {
	a, ok := x.atom(name)
	if !ok {
		x.close()
		return nil, false
	}
	r, err := xproto.GetProperty(x.conn, false, w, a, xproto.GetPropertyTypeAny, 0, 64).Reply()
	if err != nil {
		return nil, w != x.root
	}
	var out []uint32
	if r.Format == 32 {
		for b := r.Value; len(b) >= 4; b = b[4:] {
			out = append(out, binary.LittleEndian.Uint32(b))
		}
	}
	return out, true
}
