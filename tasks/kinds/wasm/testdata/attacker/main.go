// Attacker is a module that tries to get out: the attempt that its one argument names, with what to aim at as JSON in the
// file data of the input. It writes to /out/said what it met with, and nothing if it got out.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"
)

// host is what sandboxtest.Host is on the other side.
type host struct {
	Dir, Secret, TCP4, TCP6, UDP4, UDP6, Unix string
	PID                                       int
	Now                                       int64 // seconds
}

// up leads from anywhere to the root, where there is one.
const up = "../../../../../../../../../../../../../../../.."

func read(name func(*host) string) func(*host) error {
	return func(h *host) error { _, err := os.ReadFile(name(h)); return err }
}

func dial(network string, address func(*host) string) func(*host) error {
	return func(h *host) error {
		c, err := net.DialTimeout(network, address(h), time.Second)
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("out"))
		return errors.Join(err, c.Close())
	}
}

// follow makes a link to where it leads and goes that way.
func follow(link, to string, then func(string) error) error {
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		return err
	}
	defer os.Remove(link)
	if err := os.Symlink(to, link); err != nil {
		return err
	}
	return then(link)
}

func readFile(name string) error { _, err := os.ReadFile(name); return err }
func readDir(name string) error  { _, err := os.ReadDir(name); return err }

var attempts = map[string]func(*host) error{
	"connect by TCP":                  dial("tcp", func(h *host) string { return h.TCP4 }),
	"connect by TCP over IPv6":        dial("tcp", func(h *host) string { return h.TCP6 }),
	"send by UDP":                     dial("udp", func(h *host) string { return h.UDP4 }),
	"send by UDP over IPv6":           dial("udp", func(h *host) string { return h.UDP6 }),
	"connect to a socket file":        dial("unix", func(h *host) string { return h.Unix }),
	"connect to an abstract socket":   dial("unix", func(h *host) string { return "@" + h.Unix }),
	"raw socket":                      dial("ip4:icmp", func(*host) string { return "127.0.0.1" }),
	"ask the DNS":                     func(*host) error { _, err := net.LookupHost("localhost.example"); return err },
	"open a socket file as a file":    read(func(h *host) string { return h.Unix }),
	"read the password file":          read(func(*host) string { return "/etc/passwd" }),
	"read a key":                      read(func(h *host) string { return h.Secret }),
	"read a key by way of ..":         read(func(h *host) string { return "/in/" + up + h.Secret }),
	"read a key by way of its folder": func(h *host) error { return errors.Join(os.Chdir(h.Dir), readFile("key")) },
	"read the environment of another process": func(h *host) error {
		return readFile(fmt.Sprintf("/proc/%d/environ", h.PID))
	},
	"read its own process":  read(func(*host) string { return "/proc/self/maps" }),
	"read its own program":  read(func(*host) string { return "/proc/self/exe" }),
	"open a device":         read(func(*host) string { return "/dev/zero" }),
	"list the root":         func(*host) error { return readDir("/") },
	"list a folder outside": func(h *host) error { return readDir(h.Dir) },
	"write to a key":        func(h *host) error { return os.WriteFile(h.Secret, []byte("mine"), 0o600) },
	"make a file outside":   func(h *host) error { return os.WriteFile(filepath.Join(h.Dir, "new"), nil, 0o600) },
	"rename a file outside": func(h *host) error { return os.Rename(h.Secret, h.Secret+"2") },
	"remove a file outside": func(h *host) error { return os.Remove(h.Secret) },
	"hard link to a key":    func(h *host) error { return os.Link(h.Secret, "/out/link") },
	"hard link to an input": func(*host) error { return os.Link("/in/data", "/out/link") },
	"follow a symbolic link to a key": func(h *host) error {
		return follow("/tmp/l1", h.Secret, readFile)
	},
	"follow a relative link to a key": func(h *host) error {
		return follow("/tmp/l2", up+h.Secret, readFile)
	},
	"follow a link in a folder": func(h *host) error {
		return follow("/tmp/deep/er/l3", up+h.Secret, readFile)
	},
	"list by way of a link": func(h *host) error {
		return follow("/tmp/l4", up+h.Dir, readDir)
	},
	"make a file by way of a link": func(h *host) error {
		return follow("/tmp/l5", up+h.Dir, func(l string) error { return os.WriteFile(l+"/new", nil, 0o600) })
	},
	"write to a key by way of a link": func(h *host) error {
		return follow("/out/l6", up+h.Secret, func(l string) error { return os.WriteFile(l, []byte("mine"), 0o600) })
	},
	"read a device by way of a link": func(*host) error {
		return follow("/tmp/l7", up+"/dev/zero", func(l string) error {
			f, err := os.Open(l)
			if err != nil {
				return err
			}
			_, err = f.Read(make([]byte, 8))
			return errors.Join(err, f.Close())
		})
	},
	"hand a link over as a result":      func(h *host) error { return os.Symlink(up+h.Secret, "/out/l8") },
	"write to an input":                 func(*host) error { return os.WriteFile("/in/data", []byte("other"), 0o600) },
	"add to an input":                   func(*host) error { return os.WriteFile("/in/more", nil, 0o600) },
	"remove an input":                   func(*host) error { return os.Remove("/in/data") },
	"rename an input":                   func(*host) error { return os.Rename("/in/data", "/in/data2") },
	"steal an input":                    func(*host) error { return os.Rename("/in/data", "/out/data") },
	"empty an input":                    func(*host) error { return os.Truncate("/in/data", 0) },
	"make a folder in an input":         func(*host) error { return os.Mkdir("/in/d", 0o700) },
	"change the time of an input":       func(*host) error { return os.Chtimes("/in/data", time.Unix(1, 0), time.Unix(1, 0)) },
	"change the module itself":          func(*host) error { return os.WriteFile("/in/module.wasm", []byte("other"), 0o600) },
	"replace the scratch folder":        func(*host) error { return os.Rename("/tmp", "/tmp-old") },
	"remove the output folder":          func(*host) error { return os.Remove("/out") },
	"move a file between mounts' hosts": func(*host) error { return os.Rename("/tmp/"+up+"/x", "/out/x") },
	"start a program": func(*host) error {
		_, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		return err
	},
	"read the environment": func(*host) error {
		if env := os.Environ(); len(env) > 0 {
			return nil
		}
		return errors.New("it is empty")
	},
	"learn the time": func(h *host) error {
		if d := time.Since(time.Unix(h.Now, 0)).Abs(); d < 24*time.Hour {
			return nil
		}
		return errors.New("the clock is the task's own")
	},
}

func main() {
	b, err := os.ReadFile("/in/data")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Args[1] == "list" {
		var names []string
		for name := range attempts {
			names = append(names, name)
		}
		sort.Strings(names)
		say(strings.Join(names, "\n"))
		return
	}
	if try, ok := floods[os.Args[1]]; ok {
		try()
		return
	}
	var h host
	if err := json.Unmarshal(b, &h); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var said []string
	for _, name := range os.Args[1:] {
		err := attempts[name](&h)
		if err == nil {
			said = append(said, name)
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	slices.Sort(said)
	say(strings.Join(said, "\n"))
}

func say(text string) {
	if err := os.WriteFile("/out/said", []byte(text), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
