package main

import (
	"fmt"
	"io"
	"runtime"

	"kith/node"
)

// versionCmd is "kith version".
type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(a *app) error {
	v := map[string]string{"version": node.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	return a.show(v, func(w io.Writer) { fmt.Fprintf(w, "kith %s, %s, %s\n", v["version"], v["go"], v["platform"]) })
}
