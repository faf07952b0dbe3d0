package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	userenv         = windows.NewLazySystemDLL("userenv.dll")
	createProfile   = userenv.NewProc("CreateAppContainerProfile")
	deleteProfile   = userenv.NewProc("DeleteAppContainerProfile")
	deriveContainer = userenv.NewProc("DeriveAppContainerSidFromAppContainerName")
)

const (
	tokenIsAppContainer = 29         // TokenIsAppContainer
	alreadyExists       = 0x800700B7 // HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS)
	mostContainers      = 1024
)

// container is an AppContainer of one runner: an identity of its own that has no capability, so no network, and reaches
// no file but those that were granted to it and what every program of Windows may read. Its profile and its grants are
// taken back in close; what a crash left is used again by the next of the same number.
type container struct {
	name    string
	sid     *windows.SID
	lock    windows.Handle // that nobody else uses the number
	acls    *sync.Mutex
	granted []string
}

// newContainer makes one for a program. acls is held while a file's list of rights is changed.
func newContainer(exe string, acls *sync.Mutex) (*container, error) {
	for _, p := range []*windows.LazyProc{createProfile, deleteProfile, deriveContainer} {
		if err := p.Find(); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256([]byte(exe))
	for n := range mostContainers {
		c := &container{name: containerName(sum[:], n), acls: acls}
		lock, err := windows.UTF16PtrFromString(`Local\` + c.name)
		if err != nil {
			return nil, err
		}
		c.lock, err = windows.CreateMutex(nil, false, lock)
		if err != nil {
			if c.lock != 0 {
				_ = windows.CloseHandle(c.lock)
			}
			if errors.Is(err, windows.ERROR_ALREADY_EXISTS) || errors.Is(err, windows.ERROR_ACCESS_DENIED) {
				continue // somebody uses it
			}
			return nil, fmt.Errorf("claim a container: %w", err)
		}
		if err := c.profile(); err != nil {
			_ = windows.CloseHandle(c.lock)
			return nil, err
		}
		return c, nil
	}
	return nil, fmt.Errorf("all %d containers are in use", mostContainers)
}

// containerName is at most 64 characters of letters, digits and dots.
func containerName(program []byte, n int) string {
	return fmt.Sprintf("Kith.Runner.%s.%d", hex.EncodeToString(program[:8]), n)
}

// profile makes the profile and finds its identity.
func (c *container) profile() error {
	name, err := windows.UTF16PtrFromString(c.name)
	if err != nil {
		return err
	}
	words, err := windows.UTF16PtrFromString("Tasks of Kith")
	if err != nil {
		return err
	}
	hr, _, _ := createProfile.Call(uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(words)), uintptr(unsafe.Pointer(words)), 0, 0, uintptr(unsafe.Pointer(&c.sid)))
	if uint32(hr) == alreadyExists {
		hr, _, _ = deriveContainer.Call(uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&c.sid)))
	}
	if int32(hr) < 0 {
		return fmt.Errorf("make a container: error %#x", uint32(hr))
	}
	if c.sid == nil {
		return errors.New("make a container: the system gives it no identity")
	}
	return nil
}

// Rights in a container's folders.
const (
	mayRead  = windows.GENERIC_READ | windows.GENERIC_EXECUTE
	mayWrite = mayRead | windows.GENERIC_WRITE | windows.DELETE
)

// grant gives rights to a file, or to a folder and all in it.
func (c *container) grant(path string, rights windows.ACCESS_MASK, folder bool) error {
	inherit := uint32(windows.NO_INHERITANCE)
	if folder {
		inherit = windows.SUB_CONTAINERS_AND_OBJECTS_INHERIT
	}
	if err := c.change(path, entryFor(c.sid, windows.GRANT_ACCESS, rights, inherit)); err != nil {
		return fmt.Errorf("grant %s: %w", filepath.Base(path), err)
	}
	c.granted = append(c.granted, path)
	return nil
}

// change changes a list of rights by one entry.
func (c *container) change(path string, entry windows.EXPLICIT_ACCESS) error {
	c.acls.Lock()
	defer c.acls.Unlock()
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	old, _, err := sd.DACL()
	if err != nil {
		return err
	}
	acl, err := windows.ACLFromEntries([]windows.EXPLICIT_ACCESS{entry}, old)
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION, nil, nil, acl, nil)
}

// entryFor is what one identity may do, or, with REVOKE_ACCESS, no longer may.
func entryFor(sid *windows.SID, mode windows.ACCESS_MODE, rights windows.ACCESS_MASK, inherit uint32) windows.EXPLICIT_ACCESS {
	return windows.EXPLICIT_ACCESS{
		AccessPermissions: rights, AccessMode: mode, Inheritance: inherit,
		Trustee: windows.TRUSTEE{TrusteeForm: windows.TRUSTEE_IS_SID, TrusteeType: windows.TRUSTEE_IS_UNKNOWN, TrusteeValue: windows.TrusteeValueFromSID(sid)},
	}
}

// close takes back what was granted, and the profile. The runner must have ended.
func (c *container) close() {
	for _, path := range c.granted { // a folder may be gone
		_ = c.change(path, entryFor(c.sid, windows.REVOKE_ACCESS, 0, windows.NO_INHERITANCE))
	}
	if name, err := windows.UTF16PtrFromString(c.name); err == nil {
		_, _, _ = deleteProfile.Call(uintptr(unsafe.Pointer(name)))
	}
	_ = windows.FreeSid(c.sid)
	_ = windows.CloseHandle(c.lock)
}

// inContainer makes sure that a process is in a container.
func inContainer(process windows.Handle) error {
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token); err != nil {
		return fmt.Errorf("look at the runner's token: %w", err)
	}
	defer token.Close()
	in, err := isContained(token)
	if err == nil && !in {
		err = errors.New("the system started the runner outside of its container")
	}
	return err
}

func isContained(token windows.Token) (bool, error) {
	var in, n uint32
	err := windows.GetTokenInformation(token, tokenIsAppContainer, (*byte)(unsafe.Pointer(&in)), uint32(unsafe.Sizeof(in)), &n)
	return in != 0, err
}
