package node

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Folders below the data folder.
const (
	blocksDir  = "blocks"       // the block store
	submitDir  = "log/jobs"     // what the submitting side must not forget
	workDir    = "log/work"     // what the working side must not forget
	bookDir    = "log/receipts" // receipts and evidence of own jobs
	earnedDir  = "log/earned"   // receipts for work done
	scratchDir = "scratch"      // files of running tasks; wiped at every start
	codeDir    = "code"         // programs of tasks, compiled for this machine
	peersFile  = "peers.json"   // peers met before
)

// DefaultHome is the data folder where the owner names none.
func DefaultHome() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "kith")
	}
	switch runtime.GOOS {
	case "windows":
		if dir := os.Getenv("LOCALAPPDATA"); dir != "" {
			return filepath.Join(dir, "Kith")
		}
		return filepath.Join(home, "AppData", "Local", "Kith")
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "Kith")
	default:
		if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
			return filepath.Join(dir, "kith")
		}
		return HomeBelow(home)
	}
}

// HomeBelow is the data folder of a user of Linux whose home folder is dir and who says nothing else.
func HomeBelow(dir string) string { return filepath.Join(dir, ".local", "share", "kith") }

// CodeFolder is where the compiled programs of tasks are kept in a data folder, for all that run tasks there.
func CodeFolder(home string) string { return filepath.Join(home, codeDir) }

// makeHome makes the data folder, for its owner alone.
func makeHome(home string) error {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w; choose another one with --home", err)
	}
	info, err := os.Stat(home)
	if err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("the data folder %s is a file; choose another one with --home", home)
	}
	return nil
}

// MakeHome makes the data folder, for its owner alone.
func MakeHome(home string) error { return makeHome(home) }
