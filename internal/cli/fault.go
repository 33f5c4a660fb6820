package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Exit codes. They are a contract with scripts.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitAuth        = 4
	ExitUnreachable = 5
	ExitThreshold   = 6
	ExitInterrupted = 130
)

// Causes of a cancelled context, by which Run tells how it was asked to stop.
var (
	ErrInterrupted = errors.New("interrupted")  // ctrl-C: exit 130
	ErrTerminated  = errors.New("asked to end") // SIGTERM: commands that run until stopped end well
)

// Fault is an error as a person and a script are to see it.
type Fault struct {
	Code    string `json:"code"` // for scripts: usage, not_found, unreachable, …
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do about it
	Exit    int    `json:"-"`
	Err     error  `json:"-"` // what it was made of, for errors.Is; may be nil
}

func (f *Fault) Error() string { return f.Message }
func (f *Fault) Unwrap() error { return f.Err }

func usagef(hint, format string, args ...any) *Fault {
	return &Fault{Code: "usage", Message: fmt.Sprintf(format, args...), Hint: hint, Exit: ExitUsage}
}

func notFoundf(hint, format string, args ...any) *Fault {
	return &Fault{Code: "not_found", Message: fmt.Sprintf(format, args...), Hint: hint, Exit: ExitNotFound}
}

func failedf(code, hint, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, Exit: ExitFailed}
}

func unreachable(where string, err error) *Fault {
	return &Fault{
		Code: "unreachable", Message: fmt.Sprintf("no broker answers at %s: %s", where, rootCause(err)), Exit: ExitUnreachable, Err: err,
		Hint: "start one with `tidings serve`, or name another with --brokers HOST:PORT",
	}
}

// asFault gives any error a code, a hint and an exit code. It is the one place that does.
func asFault(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	f := &Fault{Code: "failed", Message: err.Error(), Exit: ExitFailed, Err: err}
	switch {
	case errors.Is(err, ErrInterrupted), errors.Is(err, context.Canceled):
		f.Code, f.Message, f.Exit = "interrupted", "interrupted", ExitInterrupted
	case errors.Is(err, ErrTerminated):
		f.Code, f.Exit = "interrupted", ExitInterrupted
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		f.Code, f.Exit, f.Hint = "not_found", ExitNotFound, "`tidings topic ls` lists the topics"
	case errors.Is(err, kerr.GroupIDNotFound):
		f.Code, f.Exit, f.Hint = "not_found", ExitNotFound, "`tidings group ls` lists the groups"
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.TopicAuthorizationFailed),
		errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		f.Code, f.Exit = "auth", ExitAuth
	case isUnreachable(err):
		f.Code, f.Exit, f.Hint = "unreachable", ExitUnreachable, "start a broker with `tidings serve`, or name another with --brokers HOST:PORT"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		f.Code, f.Hint = "disk_full", "make room on that disk, or name another directory with --data; what was acknowledged is kept"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		f.Code, f.Hint = "unwritable", "name a directory that you may write to with --data DIR"
	case errors.Is(err, fs.ErrNotExist):
		f.Code, f.Exit = "not_found", ExitNotFound
	}
	return f
}

func isUnreachable(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	_, dns := errors.AsType[*net.DNSError](err)
	return dns || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// rootCause is the innermost message: what a person needs of a chain of dial errors.
func rootCause(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return strings.TrimSpace(err.Error())
		}
		err = inner
	}
}
