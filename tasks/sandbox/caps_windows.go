package sandbox

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	ntdll     = windows.NewLazySystemDLL("ntdll.dll")
	ntSuspend = ntdll.NewProc("NtSuspendProcess")
	ntResume  = ntdll.NewProc("NtResumeProcess")
)

const (
	basicProcesses = 3   // JobObjectBasicProcessIdList
	maxProcesses   = 256 // of one job that are looked at
)

// stop suspends every process of the job once: Windows counts suspensions.
func (t *tree) stop(*os.Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped == nil {
		t.stopped = map[uint32]bool{}
	}
	for _, pid := range t.pidsLocked() {
		if !t.stopped[pid] && call(ntSuspend, pid) {
			t.stopped[pid] = true
		}
	}
}

// cont resumes what stop has suspended.
func (t *tree) cont(*os.Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for pid := range t.stopped {
		call(ntResume, pid)
	}
	t.stopped = nil
}

func call(proc *windows.LazyProc, pid uint32) bool {
	const suspendResume = 0x0800 // PROCESS_SUSPEND_RESUME
	h, err := windows.OpenProcess(suspendResume, false, pid)
	if err != nil {
		return false
	}
	defer func() { _ = windows.CloseHandle(h) }()
	status, _, _ := proc.Call(uintptr(h))
	return status == 0
}

func (t *tree) pidsLocked() []uint32 {
	var list struct {
		Assigned, Listed uint32
		IDs              [maxProcesses]uintptr
	}
	if t.job == 0 || windows.QueryInformationJobObject(t.job, basicProcesses, uintptr(unsafe.Pointer(&list)), uint32(unsafe.Sizeof(list)), nil) != nil {
		return nil
	}
	var pids []uint32
	for _, id := range list.IDs[:min(list.Listed, maxProcesses)] {
		pids = append(pids, uint32(id))
	}
	return pids
}
