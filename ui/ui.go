// Package ui holds the page a node shows to its owner. web/ is the page's source (TypeScript, built by `make ui`);
// dist/ is what that gives, kept in the repository so that Go alone builds Kith.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed dist
var dist embed.FS

// Files returns the page: index.html and what it loads. It is read-only and safe for concurrent use.
func Files() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("BUG: the page is not embedded: " + err.Error())
	}
	return sub
}
