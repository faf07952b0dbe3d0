package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

const canConfine = true

// enter raises no walls: what holds this process is around it (see tree). It says which walls it finds, and none where
// they keep it from its own folders, so that the next runner is started without.
func enter(dir string, want Layers) (have Layers, err error) {
	if want == 0 {
		return 0, nil
	}
	if err := reach(dir); err != nil {
		return 0, err
	}
	token := windows.GetCurrentProcessToken()
	var errs []error
	if want&LayerToken != 0 {
		if low, err := isLow(token); err != nil || !low {
			errs = append(errs, errors.Join(errors.New("this process is not of low integrity"), err))
		} else {
			have |= LayerToken
		}
	}
	if want&LayerContainer != 0 {
		if in, err := isContained(token); err != nil || !in {
			errs = append(errs, errors.Join(errors.New("this process is in no container"), err))
		} else {
			have |= LayerContainer
		}
	}
	return have, errors.Join(errs...)
}

// reach uses its folders as tasks will.
func reach(dir string) error {
	if dir == "" {
		return nil
	}
	if _, err := os.ReadDir(filepath.Join(dir, InDir)); err != nil {
		return fmt.Errorf("read the inputs: %w", err)
	}
	for _, name := range [...]string{OutDir, TmpDir} {
		f, err := os.CreateTemp(filepath.Join(dir, name), "reach-")
		if err != nil {
			return fmt.Errorf("write to %s: %w", name, err)
		}
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			return fmt.Errorf("write to %s: %w", name, err)
		}
	}
	return nil
}

// isLow reports whether a token is of low integrity, or less.
func isLow(token windows.Token) (bool, error) {
	var n uint32
	_ = windows.GetTokenInformation(token, windows.TokenIntegrityLevel, nil, 0, &n)
	if n == 0 {
		return false, errors.New("the system tells no integrity")
	}
	buf := make([]byte, n)
	if err := windows.GetTokenInformation(token, windows.TokenIntegrityLevel, &buf[0], n, &n); err != nil {
		return false, err
	}
	sid := (*windows.Tokenmandatorylabel)(unsafe.Pointer(&buf[0])).Label.Sid
	const low = 0x1000 // SECURITY_MANDATORY_LOW_RID
	count := sid.SubAuthorityCount()
	return count > 0 && sid.SubAuthority(uint32(count)-1) <= low, nil
}

// entered: no runner here begins its life confined.
func entered() (Layers, bool) { return 0, false }
