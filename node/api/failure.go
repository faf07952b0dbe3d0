package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"kith/node/config"
	"kith/node/strict"
	"kith/storage"
	"kith/tasks"
)

// Codes of failures that are not a tasks.Code.
const (
	CodeBadRequest   = "bad-request"   // what was sent is not well formed, or not allowed
	CodeUnauthorized = "unauthorized"  // no token, or a wrong one
	CodeForbidden    = "forbidden"     // wrong Host or Origin
	CodeNotFound     = "not-found"     // no such job, path or setting
	CodeAmbiguous    = "ambiguous"     // more than one job begins like that
	CodeConflict     = "conflict"      // not possible in the present state
	CodeTooLarge     = "too-large"     // the request is over a limit
	CodeStarting     = "starting"      // the node is still opening its stores
	CodeNoSpace      = "no-space"      // disk or quota is full
	CodeInternal     = "internal"      // a fault of the node
	CodeInterrupted  = "interrupted"   // the node is stopping
	CodeUnsupported  = "not-supported" // wrong method or content type
)

// refusal lets a Failure travel as an error.
type refusal struct{ Failure }

func (r *refusal) Error() string { return r.Failure.Error }

// Refuse makes an error with a code and a remedy for the caller of the API.
func Refuse(code, remedy, format string, args ...any) error {
	return &refusal{Failure{Error: fmt.Sprintf(format, args...), Code: code, Remedy: remedy}}
}

// statusOf is the one place where a code becomes an HTTP status.
func statusOf(code string) int {
	switch code {
	case CodeBadRequest:
		return http.StatusBadRequest
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeForbidden:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeAmbiguous, CodeConflict:
		return http.StatusConflict
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeUnsupported:
		return http.StatusUnsupportedMediaType
	case CodeStarting, CodeInterrupted:
		return http.StatusServiceUnavailable
	case CodeNoSpace:
		return http.StatusInsufficientStorage
	case CodeInternal:
		return http.StatusInternalServerError
	default: // a tasks.Code: understood, and refused with a reason
		return http.StatusUnprocessableEntity
	}
}

// explain turns any error into what the caller is told.
func explain(err error) Failure {
	var (
		refused *refusal
		reason  tasks.Reason
		setting *config.Error
		located *strict.Error
		tooBig  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &refused):
		return refused.Failure
	case errors.As(err, &reason):
		return Failure{Error: err.Error(), Code: string(reason.Code), Remedy: reason.Remedy()}
	case errors.As(err, &tooBig):
		return Failure{Error: fmt.Sprintf("the request is larger than %d bytes", tooBig.Limit), Code: CodeTooLarge, Remedy: "send less"}
	case errors.As(err, &located):
		return Failure{Error: "request: " + err.Error(), Code: CodeBadRequest, Remedy: "correct the request; the shapes are documented with the API"}
	case errors.As(err, &setting):
		return Failure{Error: fmt.Sprintf("setting %s: %.200q %s", setting.Key, setting.Value, setting.Problem), Code: CodeBadRequest, Remedy: setting.Remedy}
	case errors.Is(err, config.ErrUnknownKey):
		return Failure{Error: err.Error(), Code: CodeNotFound, Remedy: "kith config list shows all settings"}
	case errors.Is(err, config.ErrNoHistory):
		return Failure{Error: err.Error(), Code: CodeConflict, Remedy: "nothing to do"}
	case errors.Is(err, tasks.ErrUnknownKind):
		return Failure{Error: err.Error(), Code: CodeBadRequest, Remedy: "kith kinds lists what there is"}
	case errors.Is(err, tasks.ErrParams), errors.Is(err, tasks.ErrSpec), errors.Is(err, tasks.ErrPlan):
		return Failure{Error: err.Error(), Code: CodeBadRequest, Remedy: "correct the parameters; kith kinds NAME shows them"}
	case errors.Is(err, storage.ErrFull):
		return Failure{Error: err.Error(), Code: CodeNoSpace, Remedy: "free some space, or raise storage.quota"}
	case errors.Is(err, storage.ErrClosed), errors.Is(err, context.Canceled):
		return Failure{Error: "the node is stopping, or the request was cut off", Code: CodeInterrupted, Remedy: "try again"}
	default:
		return Failure{Error: err.Error(), Code: CodeInternal, Remedy: "look at the node's log; if it happens again, report it"}
	}
}
