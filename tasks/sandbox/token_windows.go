package sandbox

import (
	"fmt"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

var createRestrictedToken = windows.NewLazySystemDLL("advapi32.dll").NewProc("CreateRestrictedToken")

// Of CreateRestrictedToken.
const (
	disableMaxPrivilege = 0x1
	luaToken            = 0x4 // as an ordinary user would have it
)

// restrictedToken is a copy of this process's token without privileges, in which the groups that may administer the
// machine only ever deny, of low integrity: what it belongs to cannot change what belongs to the user, nor send messages
// to the user's windows.
func restrictedToken() (token windows.Token, err error) {
	var own windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_DUPLICATE|windows.TOKEN_QUERY|windows.TOKEN_ASSIGN_PRIMARY|
		windows.TOKEN_ADJUST_DEFAULT, &own); err != nil {
		return 0, fmt.Errorf("open own token: %w", err)
	}
	defer own.Close()
	if err := createRestrictedToken.Find(); err != nil {
		return 0, err
	}
	admins, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		return 0, err
	}
	deny := windows.SIDAndAttributes{Sid: admins}
	ok, _, errno := createRestrictedToken.Call(uintptr(own), disableMaxPrivilege|luaToken, 1, uintptr(unsafe.Pointer(&deny)), 0, 0, 0, 0, uintptr(unsafe.Pointer(&token)))
	runtime.KeepAlive(deny)
	if ok == 0 {
		return 0, fmt.Errorf("restrict token: %w", errno)
	}
	low, err := windows.CreateWellKnownSid(windows.WinLowLabelSid)
	if err == nil {
		label := windows.Tokenmandatorylabel{Label: windows.SIDAndAttributes{Sid: low, Attributes: windows.SE_GROUP_INTEGRITY}}
		err = windows.SetTokenInformation(token, windows.TokenIntegrityLevel, (*byte)(unsafe.Pointer(&label)), label.Size())
	}
	if err != nil {
		token.Close()
		return 0, fmt.Errorf("lower integrity: %w", err)
	}
	return token, nil
}

// admit lets a runner of low integrity write to its output and scratch folders in dir, and to nothing else, and one in a
// container read its inputs too.
func (t *tree) admit(dir string) error {
	if dir == "" || t.has == 0 {
		return nil
	}
	if t.box != nil {
		for _, f := range [...]struct {
			name   string
			rights windows.ACCESS_MASK
		}{{InDir, mayRead}, {OutDir, mayWrite}, {TmpDir, mayWrite}} {
			if err := t.box.grant(filepath.Join(dir, f.name), f.rights, true); err != nil {
				return err
			}
		}
	}
	// A label for all that will be made in the folder: nothing of lower integrity may write up to it, and it is low itself.
	sd, err := windows.SecurityDescriptorFromString("S:(ML;OICI;NW;;;LW)")
	if err != nil {
		return err
	}
	label, _, err := sd.SACL()
	if err != nil {
		return err
	}
	for _, name := range [...]string{OutDir, TmpDir} {
		path := filepath.Join(dir, name)
		if err := windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.LABEL_SECURITY_INFORMATION, nil, nil, nil, label); err != nil {
			return fmt.Errorf("label %s: %w", name, err)
		}
	}
	return nil
}

// cpuRate is JOBOBJECT_CPU_RATE_CONTROL_INFORMATION.
type cpuRate struct{ Flags, Rate uint32 }

// Of cpuRate.
const (
	rateEnable  = 0x1
	rateHardCap = 0x4
)

// capJob sets what a job has from its first moment: a share of the processors, and no way to the desktop, the clipboard,
// the windows and the settings of the user. What an older system does not know is left out: the self-test finds out what
// holds.
func capJob(job windows.Handle, procs int) {
	if n := runtime.NumCPU(); procs < n {
		rate := cpuRate{rateEnable | rateHardCap, uint32(max(1, procs*10_000/n))} // hundredths of a per cent of all processors
		_, _ = windows.SetInformationJobObject(job, windows.JobObjectCpuRateControlInformation, uintptr(unsafe.Pointer(&rate)), uint32(unsafe.Sizeof(rate)))
	}
	ui := windows.JOBOBJECT_BASIC_UI_RESTRICTIONS{UIRestrictionsClass: windows.JOB_OBJECT_UILIMIT_DESKTOP | windows.JOB_OBJECT_UILIMIT_DISPLAYSETTINGS |
		windows.JOB_OBJECT_UILIMIT_EXITWINDOWS | windows.JOB_OBJECT_UILIMIT_GLOBALATOMS | windows.JOB_OBJECT_UILIMIT_HANDLES |
		windows.JOB_OBJECT_UILIMIT_READCLIPBOARD | windows.JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS | windows.JOB_OBJECT_UILIMIT_WRITECLIPBOARD}
	_, _ = windows.SetInformationJobObject(job, windows.JobObjectBasicUIRestrictions, uintptr(unsafe.Pointer(&ui)), uint32(unsafe.Sizeof(ui)))
}
