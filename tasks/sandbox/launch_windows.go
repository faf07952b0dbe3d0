package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Of UpdateProcThreadAttribute, and not in x/sys.
const (
	attributeSecurity = 0x00020009 // PROC_THREAD_ATTRIBUTE_SECURITY_CAPABILITIES
	attributeJobs     = 0x0002000D // PROC_THREAD_ATTRIBUTE_JOB_LIST
)

// securityCapabilities is SECURITY_CAPABILITIES: a container without any capability, not even the network.
type securityCapabilities struct {
	Container    *windows.SID
	Capabilities uintptr
	Count        uint32
	_            uint32
}

// launch starts cmd, which names files as its standard input and output, in a job, with a token (0: this process's own) and in
// a container (nil: none). It does not run before it is in the job. It inherits its three standard handles and nothing
// else. said is closed when its standard error has been read to the end.
func launch(cmd *exec.Cmd, job windows.Handle, token windows.Token, box *container) (said chan struct{}, err error) {
	in, ok1 := cmd.Stdin.(*os.File)
	out, ok2 := cmd.Stdout.(*os.File)
	if !ok1 || !ok2 {
		return nil, errors.New("standard input and output must be files")
	}
	ourErr, theirErr, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() {
		theirErr.Close()
		if err != nil {
			ourErr.Close()
		}
	}()
	var std [3]windows.Handle // copies that may be inherited
	for i, f := range [...]*os.File{in, out, theirErr} {
		self := windows.CurrentProcess()
		if err := windows.DuplicateHandle(self, windows.Handle(f.Fd()), self, &std[i], 0, true, windows.DUPLICATE_SAME_ACCESS); err != nil {
			return nil, fmt.Errorf("share a pipe: %w", err)
		}
		defer windows.CloseHandle(std[i])
	}
	list, err := windows.NewProcThreadAttributeList(3)
	if err != nil {
		return nil, err
	}
	defer list.Delete()
	if err := list.Update(windows.PROC_THREAD_ATTRIBUTE_HANDLE_LIST, unsafe.Pointer(&std[0]), unsafe.Sizeof(std)); err != nil {
		return nil, fmt.Errorf("name what is inherited: %w", err)
	}
	// Systems before Windows 10 do not know this one; below it is done for them.
	_ = list.Update(attributeJobs, unsafe.Pointer(&job), unsafe.Sizeof(job))
	if box != nil {
		if err := list.Update(attributeSecurity, unsafe.Pointer(&securityCapabilities{Container: box.sid}), unsafe.Sizeof(securityCapabilities{})); err != nil {
			return nil, fmt.Errorf("name the container: %w", err)
		}
	}
	info := windows.StartupInfoEx{ProcThreadAttributeList: list.List()}
	info.Cb = uint32(unsafe.Sizeof(info))
	info.Flags = windows.STARTF_USESTDHANDLES
	info.StdInput, info.StdOutput, info.StdErr = std[0], std[1], std[2]
	line, err := windows.UTF16PtrFromString(windows.ComposeCommandLine(cmd.Args))
	if err != nil {
		return nil, err
	}
	path, err := windows.UTF16PtrFromString(cmd.Path)
	if err != nil {
		return nil, err
	}
	dir, err := windows.UTF16PtrFromString(cmd.Dir)
	if err != nil {
		return nil, err
	}
	env, err := environment(cmd.Env)
	if err != nil {
		return nil, err
	}
	const flags = windows.EXTENDED_STARTUPINFO_PRESENT | windows.CREATE_UNICODE_ENVIRONMENT | windows.CREATE_SUSPENDED |
		windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW
	var p windows.ProcessInformation
	if token == 0 {
		err = windows.CreateProcess(path, line, nil, nil, true, flags, &env[0], dir, &info.StartupInfo, &p)
	} else {
		err = windows.CreateProcessAsUser(token, path, line, nil, nil, true, flags, &env[0], dir, &info.StartupInfo, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	defer windows.CloseHandle(p.Process)
	defer windows.CloseHandle(p.Thread)
	err = inJob(p.Process, job)
	if err == nil && box != nil {
		err = inContainer(p.Process)
	}
	if err == nil {
		cmd.Process, err = os.FindProcess(int(p.ProcessId))
	}
	if err == nil {
		_, err = windows.ResumeThread(p.Thread)
	}
	if err != nil {
		_ = windows.TerminateProcess(p.Process, 1)
		if cmd.Process != nil {
			_ = cmd.Process.Release()
			cmd.Process = nil
		}
		return nil, err
	}
	said = make(chan struct{})
	go func() {
		defer close(said)
		defer ourErr.Close()
		_, _ = io.Copy(cmd.Stderr, ourErr)
	}()
	return said, nil
}

var isProcessInJob = windows.NewLazySystemDLL("kernel32.dll").NewProc("IsProcessInJob")

// inJob puts a process into the job unless it is in it.
func inJob(process, job windows.Handle) error {
	var in int32
	if ok, _, _ := isProcessInJob.Call(uintptr(process), uintptr(job), uintptr(unsafe.Pointer(&in))); ok != 0 && in != 0 {
		return nil
	}
	if err := windows.AssignProcessToJobObject(job, process); err != nil {
		return fmt.Errorf("put the runner into its job: %w", err)
	}
	return nil
}

// environment writes variables as CreateProcess wants them: each with an end, and one more end.
func environment(env []string) ([]uint16, error) {
	var block []uint16
	for _, v := range env {
		if strings.ContainsRune(v, 0) {
			return nil, fmt.Errorf("environment: %.40q has an end in its middle", v)
		}
		block = append(append(block, utf16.Encode([]rune(v))...), 0)
	}
	if len(block) == 0 {
		block = append(block, 0)
	}
	return append(block, 0), nil
}
