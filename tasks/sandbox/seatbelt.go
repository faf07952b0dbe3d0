package sandbox

import (
	"fmt"
	"path"
	"strings"
)

// seatbelt is the profile by which macOS confines a runner, the program exe, to the folders of dir, or to none if dir is
// empty. Both are absolute paths without links in them: the system compares what it resolved. It allows what a Go program
// needs to start and to compute, and nothing else: no network, no services, no other program, no new process, no signal
// to another process.
func seatbelt(exe, dir string) (string, error) {
	for _, p := range []string{exe, dir} {
		if p != "" && (!path.IsAbs(p) || strings.ContainsAny(p, "\x00\n")) {
			return "", fmt.Errorf("sandbox profile: %q is not a path that can be named", p)
		}
	}
	var b strings.Builder
	b.WriteString(`(version 1)
(deny default)
(allow process-exec (literal ` + quoted(exe) + `))
(allow file-read* file-map-executable (literal ` + quoted(exe) + `))
(allow file-read* file-map-executable (subpath "/usr/lib") (subpath "/System/Library") (subpath "/System/Volumes/Preboot/Cryptexes"))
(allow file-read* (literal "/") (literal "/dev/urandom") (literal "/dev/random"))
(allow file-read* file-write-data (literal "/dev/null"))
(allow file-read-metadata (literal "/usr") (literal "/System") (literal "/private") (literal "/private/var") (literal "/private/var/db") (subpath "/private/var/db/dyld"))
(allow sysctl-read)
(allow signal (target self))
`)
	if dir != "" {
		fmt.Fprintf(&b, "(allow file-read* (subpath %s) (subpath %s) (subpath %s))\n",
			quoted(path.Join(dir, InDir)), quoted(path.Join(dir, OutDir)), quoted(path.Join(dir, TmpDir)))
		fmt.Fprintf(&b, "(allow file-write* (subpath %s) (subpath %s))\n", quoted(path.Join(dir, OutDir)), quoted(path.Join(dir, TmpDir)))
		fmt.Fprintf(&b, "(deny file-write-create (vnode-type SYMLINK) (vnode-type CHARACTER-DEVICE) (vnode-type BLOCK-DEVICE) (vnode-type SOCKET) (vnode-type FIFO))\n")
		for up := path.Dir(dir); ; up = path.Dir(up) { // a path is walked folder by folder
			fmt.Fprintf(&b, "(allow file-read-metadata (literal %s))\n", quoted(up))
			if up == "/" {
				break
			}
		}
	}
	return b.String(), nil
}

// quoted writes a string as profiles have them.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
