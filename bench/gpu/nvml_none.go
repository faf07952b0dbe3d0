//go:build !windows && !(linux && cgo)

package gpu

// HasLibrary says whether Library can work in this program.
const HasLibrary = false

// Library asks NVIDIA's management library, which this program was built without.
func Library() ([]Card, error) { return nil, ErrNoLibrary }
