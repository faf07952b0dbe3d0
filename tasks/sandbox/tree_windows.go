package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"kith/tasks"
)

const (
	canIsolate = true // where the system lets us make a token
	offered    = LayerToken | LayerContainer
)

var neutralDir = filepath.VolumeName(os.Getenv("SystemRoot")) + `\`

// scans is what the trees of an engine share.
type scans struct{ acls sync.Mutex } // held while a file's list of rights is changed

// tree is a job object: the system ends all of it when its last handle closes, also when this process dies.
type tree struct {
	mu   sync.Mutex // guards job against use after close
	job  windows.Handle
	has  Layers        // LayerToken, LayerContainer
	why  error         // it has no container, though it was to have one
	box  *container    // nil: none
	said chan struct{} // closed when all that the runner printed is read

	stopped map[uint32]bool // processes that are suspended
}

func (t *tree) isolated() bool { return false }

// holds is what the runner was started in, and why it was not started in more.
func (t *tree) holds() (Layers, error) { return t.has, t.why }

// start starts the runner in its job, and in a container unless it is to do without.
func (t *tree) start(cmd *exec.Cmd, plain bool, without Layers, procs int, s *scans) error {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return err
	}
	capJob(job, procs)
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | windows.JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION
	if err := set(job, &info); err != nil {
		windows.CloseHandle(job)
		return err
	}
	var token windows.Token
	if !plain {
		if token, err = restrictedToken(); err != nil {
			windows.CloseHandle(job)
			return err
		}
		defer token.Close()
		t.has = LayerToken
	}
	if !plain && without&LayerContainer == 0 {
		if t.why = t.boxed(cmd, job, token, s); t.why == nil {
			t.job = job
			return nil
		}
	}
	if t.said, err = launch(cmd, job, token, nil); err != nil {
		windows.CloseHandle(job)
		return err
	}
	t.job = job
	return nil
}

// boxed starts the runner in a container.
func (t *tree) boxed(cmd *exec.Cmd, job windows.Handle, token windows.Token, s *scans) error {
	box, err := newContainer(cmd.Path, &s.acls)
	if err != nil {
		return err
	}
	if err = box.grant(cmd.Path, mayRead, false); err == nil {
		t.said, err = launch(cmd, job, token, box)
	}
	if err != nil {
		box.close()
		return err
	}
	t.box, t.has = box, t.has|LayerContainer
	return nil
}

func set(job windows.Handle, info *windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION) error {
	_, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(info)), uint32(unsafe.Sizeof(*info)))
	return err
}

func (t *tree) limit(_ int, l *tasks.Limits, base usage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.job == 0 {
		return
	}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{JobMemoryLimit: uintptr(base.memory + l.MemoryBytes + memorySlack)}
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | windows.JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION |
		windows.JOB_OBJECT_LIMIT_JOB_MEMORY | windows.JOB_OBJECT_LIMIT_ACTIVE_PROCESS
	info.BasicLimitInformation.ActiveProcessLimit = uint32(min(l.Processes, 1<<16))
	_ = set(t.job, &info)
}

func (t *tree) kill(root *os.Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.job != 0 {
		_ = windows.TerminateJobObject(t.job, 1)
	}
	_ = root.Kill()
}

// sweep ends what is left and lets go of the job.
func (t *tree) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.job != 0 {
		_ = windows.TerminateJobObject(t.job, 1)
		_ = windows.CloseHandle(t.job)
		t.job = 0
	}
	if t.said != nil {
		select { // else the last words would be missing
		case <-t.said:
		case <-time.After(time.Second):
		}
	}
	if t.box != nil {
		t.box.close()
		t.box = nil
	}
}

// accounting is JOBOBJECT_BASIC_AND_IO_ACCOUNTING_INFORMATION; times are in 100 ns, and what is read and written is so on
// disks and elsewhere.
type accounting struct {
	UserTime, KernelTime, PeriodUserTime, PeriodKernelTime int64
	PageFaults, Processes, Active, Terminated              uint32

	Reads, Writes, Others                uint64
	ReadBytes, WrittenBytes, OthersBytes uint64
}

const basicAndIO = 8 // JobObjectBasicAndIoAccountingInformation

func (t *tree) usage(int, int64) (usage, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var a accounting
	if t.job == 0 || windows.QueryInformationJobObject(t.job, basicAndIO, uintptr(unsafe.Pointer(&a)), uint32(unsafe.Sizeof(a)), nil) != nil {
		return usage{}, false
	}
	// Memory is limited by the job itself.
	return usage{cpu: time.Duration(a.UserTime+a.KernelTime) * 100, io: int64(a.ReadBytes + a.WrittenBytes), tasks: int64(a.Active)}, true
}

// nameless cannot be told here.
func (t *tree) nameless(int) int64 { return 0 }
