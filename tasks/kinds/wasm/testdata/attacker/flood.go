package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

var hold [][]byte

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// floods take all they can get, some up to a bound: a test must not depend on what it tests.
var floods = map[string]func(){
	"busy loop": func() {
		for {
		}
	},
	"endless sleep": func() {
		for {
			time.Sleep(time.Hour)
		}
	},
	"memory bomb": func() {
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			hold = append(hold, b)
		}
	},
	"goroutine bomb": func() {
		for {
			go func() { select {} }()
		}
	},
	"log flood": func() {
		for range 2000 {
			fmt.Println(strings.Repeat("x", 1000))
		}
	},
	"disk fill": func() {
		for i := range 32 {
			must(os.WriteFile(fmt.Sprintf("/tmp/%d", i), make([]byte, 1<<20), 0o600))
		}
	},
	"inode fill": func() {
		for i := range 5000 {
			must(os.WriteFile(fmt.Sprintf("/tmp/%d", i), nil, 0o600))
		}
	},
	"output larger than declared": func() {
		must(os.WriteFile("/out/big", make([]byte, 8<<20), 0o600))
	},
	"an archive that explodes": func() {
		r, w := io.Pipe()
		go func() {
			z := gzip.NewWriter(w)
			for range 8 {
				_, _ = z.Write(make([]byte, 1<<20))
			}
			w.CloseWithError(z.Close())
		}()
		z, err := gzip.NewReader(r)
		must(err)
		f, err := os.Create("/out/unpacked")
		must(err)
		_, err = io.Copy(f, z)
		must(err)
		must(f.Close())
	},
	"flood of open files":  func() { openMany(func() (*os.File, error) { return os.Create("/tmp/f") }) },
	"flood of open inputs": func() { openMany(func() (*os.File, error) { return os.Open("/in/data") }) },
	"endless recursion":    func() { fmt.Println(deeper(1)) },
}

func deeper(n int) int { return deeper(n+1) + n }

// openMany says how many it got if it was never refused.
func openMany(open func() (*os.File, error)) {
	var all []*os.File
	for range 100_000 {
		f, err := open()
		if err != nil {
			fmt.Println(len(all), err)
			for _, f := range all {
				must(f.Close())
			}
			say("")
			return
		}
		all = append(all, f)
	}
	say(fmt.Sprint(len(all)))
}
