package sandbox

import (
	"fmt"
	"path/filepath"
	"strings"

	"kith/tasks"
)

// Names of the folders in what Engine.Open is given.
const (
	InDir  = "in"  // the task's inputs: read-only to it
	OutDir = "out" // its output
	TmpDir = "tmp" // its scratch
)

// Layers are the walls around a runner. Each holds without the others.
type Layers uint16

// The layers.
const (
	// LayerNamespaces: no network, no view of other processes, no shared memory with them; all ends with the first process.
	LayerNamespaces Layers = 1 << iota
	// LayerRoot: a file system of its own that holds nothing but the task's folders.
	LayerRoot
	// LayerLandlock: the kernel refuses to open, list, make or change any file but the task's. Where it holds alone, names
	// and sizes of others can still be asked for.
	LayerLandlock
	// LayerSyscalls: only the system calls that a Go program needs for files, memory, time and threads: no sockets, no
	// new processes or programs, no mounts, no tracing.
	LayerSyscalls
	// LayerPrivileges: no capability in any thread, and no way to get one.
	LayerPrivileges
	// LayerCaps: memory, processor and processes of the whole tree are limited by the kernel itself (see package cgroup).
	LayerCaps
	// LayerProfile is macOS's sandbox with a profile of our own: no file but the task's and the system's, no network, no
	// new processes.
	LayerProfile
	// LayerToken is Windows' restricted token of low integrity: no privilege, no group that may administer, and nothing
	// to be changed but the task's folders. It hides no file and no network.
	LayerToken
	// LayerContainer is Windows' AppContainer without any capability: no network, and no file but the task's and what every
	// program of Windows may read.
	LayerContainer

	inside  = LayerNamespaces | LayerRoot | LayerLandlock | LayerSyscalls | LayerPrivileges | LayerProfile | LayerToken | LayerContainer // raised, or seen, by the runner itself
	atStart = LayerNamespaces | LayerRoot | LayerToken | LayerContainer                                                                  // cannot be had by a process started plain
	whole   = LayerRoot | LayerToken | LayerContainer                                                                                    // a runner that lacks one may be of no use: the next is started without
)

var layerNames = [...]string{"namespaces", "own root", "landlock", "system call filter", "no privileges", "exact caps", "sandbox profile", "restricted token", "app container"}

// String lists the layers.
func (l Layers) String() string {
	var names []string
	for i, name := range layerNames {
		if l&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// grade is what the layers promise together.
func (l Layers) grade() tasks.SandboxGrade {
	switch {
	case l&LayerSyscalls == 0 || l&(LayerRoot|LayerLandlock) == 0:
		return tasks.GradeProcess
	case l&LayerCaps == 0:
		return tasks.GradeB
	}
	return tasks.GradeA
}

// translate writes the paths of w, which lie below the folder dir, as the runner sees them below its own root. An empty
// root means that it sees what everybody sees.
func translate(w *Work, dir, root string) (Work, error) {
	t := *w
	inside := func(path string, want string) (string, error) {
		if path == "" {
			return "", nil
		}
		rel, err := filepath.Rel(dir, path)
		if dir == "" || err != nil || (rel != want && (want != InDir || !strings.HasPrefix(rel, InDir+string(filepath.Separator)))) {
			return "", fmt.Errorf("sandbox: %s is not the folder %q of the runner", path, want)
		}
		if root == "" {
			return path, nil
		}
		return filepath.Join(root, rel), nil
	}
	var err error
	if t.OutDir, err = inside(w.OutDir, OutDir); err != nil {
		return t, err
	}
	if t.Scratch, err = inside(w.Scratch, TmpDir); err != nil {
		return t, err
	}
	if t.Prepared, err = inside(w.Prepared, InDir); err != nil {
		return t, err
	}
	for i := range w.In {
		if w.In[i].Dir == "" {
			continue
		}
		if i == 0 || &t.In[0] == &w.In[0] {
			t.In = append([]Files(nil), w.In...)
		}
		if t.In[i].Dir, err = inside(w.In[i].Dir, InDir); err != nil {
			return t, err
		}
	}
	return t, nil
}
