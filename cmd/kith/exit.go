package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"kith/bench/disk"
	"kith/node/api"
	"kith/node/api/client"
	"kith/node/config"
	"kith/node/lock"
	"kith/simnet"
	"kith/simnet/scenario"
	"kith/storage"
	"kith/tasks"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotRunning  = 3
	exitNotFound    = 4
	exitRefused     = 5
	exitTimeout     = 6
	exitInterrupted = 130
)

const exitHelp = `0    done
1    failed: the message says what went wrong and what to do
2    the command line was not understood, or a value is not allowed
3    no node is running in the data folder (start one with kith run)
4    there is no such job, kind, setting, file or folder
5    refused or ended with a reason (paused, no space, job failed or cancelled, another process holds the folder)
6    timed out
130  interrupted
`

// silent is an error whose message has been printed already, with its exit code.
type silent int

func (s silent) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// usageError is a command line that kong cannot know to be wrong.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode is the one place where an error becomes an exit code.
func exitCode(err error) int {
	var (
		told   *client.Error
		reason tasks.Reason
		wrong  usageError
		value  *config.Error
		done   silent
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &done):
		return int(done)
	case errors.As(err, &wrong), errors.As(err, &value):
		return exitUsage
	case errors.Is(err, client.ErrNotRunning):
		return exitNotRunning
	case errors.As(err, &told):
		switch told.Code {
		case api.CodeNotFound:
			return exitNotFound
		case api.CodeBadRequest, api.CodeAmbiguous, api.CodeTooLarge:
			return exitUsage
		case api.CodeInternal, api.CodeUnauthorized, api.CodeForbidden, api.CodeUnsupported:
			return exitFailed
		default:
			return exitRefused
		}
	case errors.As(err, &reason), errors.Is(err, lock.ErrTaken), errors.Is(err, config.ErrNoHistory),
		errors.Is(err, storage.ErrFull), errors.Is(err, syscall.ENOSPC), errors.Is(err, disk.ErrNoRoom), errors.Is(err, disk.ErrReadOnly):
		return exitRefused
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, config.ErrUnknownKey), errors.Is(err, tasks.ErrUnknownKind), errors.Is(err, simnet.ErrUnknown):
		return exitNotFound
	case errors.Is(err, tasks.ErrParams), errors.Is(err, tasks.ErrSpec), errors.Is(err, tasks.ErrPlan), errors.Is(err, scenario.ErrScenario):
		return exitUsage
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, disk.ErrHung):
		return exitTimeout
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailed
	}
}

// remedyFor says what to do about an error that does not say so itself.
func remedyFor(err error) string {
	var reason tasks.Reason
	switch {
	case errors.Is(err, client.ErrNotRunning):
		return "start it with: kith run"
	case errors.As(err, &reason):
		return reason.Remedy()
	case errors.Is(err, tasks.ErrUnknownKind):
		return "kith kinds lists what there is"
	case errors.Is(err, storage.ErrFull), errors.Is(err, syscall.ENOSPC):
		return "free some space"
	default:
		return ""
	}
}

// exitCodesCmd is "kith exit-codes".
type exitCodesCmd struct{}

// Run prints the table.
func (exitCodesCmd) Run(a *app) error {
	_, err := fmt.Fprint(a.stdout, exitHelp)
	return err
}

// helpCmd is "kith help [COMMAND…]".
type helpCmd struct {
	Command []string `arg:"" optional:"" help:"Command to explain, or exit-codes."`
}

// Run prints the help of a command.
func (c helpCmd) Run(a *app) error {
	if len(c.Command) == 1 && c.Command[0] == "exit-codes" {
		return exitCodesCmd{}.Run(a)
	}
	if code := run(a.ctx, append(c.Command, "--help"), a.stdout, a.stderr); code != exitOK {
		return silent(code)
	}
	return nil
}
