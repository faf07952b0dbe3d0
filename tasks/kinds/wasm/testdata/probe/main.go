// Probe is a module that tells what it sees, and misbehaves on demand.
package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"time"
)

var hold [][]byte

func main() {
	how := ""
	if len(os.Args) > 1 {
		how = os.Args[1]
	}
	switch how {
	case "exit":
		fmt.Fprintln(os.Stderr, "out of luck")
		os.Exit(7)
	case "panic":
		panic("at the disco")
	case "spin":
		for {
		}
	case "memory":
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			hold = append(hold, b)
		}
	case "half":
		check(os.WriteFile("/out/data", nil, 0o600))
		return
	case "link":
		check(os.Symlink("/etc/passwd", "/out/link"))
		return
	case "none":
		return
	}
	out, err := os.Create("/out/seen")
	check(err)
	defer out.Close()
	began := time.Now()
	time.Sleep(time.Hour)
	var random [8]byte
	_, _ = rand.Read(random[:])
	fmt.Fprintf(out, "random %x\nyear %d, slept an hour: %v\n", random, began.UTC().Year(), time.Since(began) >= time.Hour && time.Since(began) < time.Hour+time.Second)
	fmt.Fprintf(out, "args %q\nenv %q\n", os.Args, os.Environ())
	refused := func(what string, err error) { fmt.Fprintf(out, "%s: refused %v\n", what, err != nil) }
	_, err = os.ReadFile("/etc/passwd")
	refused("read the password file", err)
	_, err = os.ReadFile("/in/../../../../etc/passwd")
	refused("read by ..", err)
	_, err = os.ReadDir("/")
	refused("list the root", err)
	refused("write to an input", os.WriteFile("/in/data", []byte("x"), 0o600))
	refused("add an input", os.WriteFile("/in/new", nil, 0o600))
	refused("remove an input", os.Remove("/in/data"))
	refused("link out", os.Link("/in/data", "/out/stolen"))
	_ = os.Symlink("/", "/tmp/root")
	_, err = os.ReadFile("/tmp/root/etc/passwd")
	refused("follow a link out", err)
	_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	refused("connect", err)
	check(os.WriteFile("/tmp/mine", []byte("x"), 0o600))
	check(os.MkdirAll("/out/a/b", 0o700))
	check(os.WriteFile("/out/a/b/c", []byte("deep\n"), 0o600))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
