package shell

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

	"tidings.dev/internal/logclient"
)

// Exit codes of the program. Scripts depend on them: a code must keep its meaning.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitAuth        = 4
	ExitUnreachable = 5
	ExitFindings    = 6 // doctor has found damage
	ExitInterrupted = 130
)

// Causes with which main cancels the context of Run, depending on the signal.
var (
	ErrInterrupted = errors.New("interrupted")  // SIGINT (ctrl-C): exit code 130
	ErrTerminated  = errors.New("asked to end") // SIGTERM: exit code 0 if the command runs until it is stopped
)

// Fault is the error of a command. It is reported as one line and a hint for people, or as a JSON object for
// programs.
type Fault struct {
	// Code names the kind of error for programs: usage, not_found, unreachable and so on.
	Code string `json:"code"`
	// Message is one line, without the program's name.
	Message string `json:"message"`
	// Hint is what the user can do about the error. It is empty if nothing is known.
	Hint string `json:"hint,omitempty"`
	// Exit is the exit code, one of the constants above.
	Exit int `json:"-"`
	// Err is the error that caused the fault, or nil.
	Err error `json:"-"`
}

// Error returns Message.
func (f *Fault) Error() string { return f.Message }

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

// Usagef returns a fault for an invalid command line, with exit code 2.
func Usagef(hint, format string, args ...any) *Fault {
	return &Fault{Code: "usage", Message: fmt.Sprintf(format, args...), Hint: hint, Exit: ExitUsage}
}

// NotFoundf returns a fault for something that does not exist, with exit code 3.
func NotFoundf(hint, format string, args ...any) *Fault {
	return &Fault{Code: "not_found", Message: fmt.Sprintf(format, args...), Hint: hint, Exit: ExitNotFound}
}

// Failedf returns a fault with the given code and exit code 1.
func Failedf(code, hint, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, Exit: ExitFailed}
}

// NeedsYes returns the fault of a command that has printed its plan but was run without --yes, with exit code 2.
func NeedsYes() *Fault {
	return &Fault{Code: "needs_yes", Message: "nothing was done: that was the plan", Hint: "add --yes to do it", Exit: ExitUsage}
}

const unreachableHint = "start a broker with `tidings serve`, or name another with --brokers HOST:PORT"

// unreachable returns the fault for a log at the place where that does not answer.
func unreachable(where string, err error) *Fault {
	return &Fault{
		Code: "unreachable", Message: fmt.Sprintf("no broker answers at %s: %s", where, RootCause(err)), Exit: ExitUnreachable, Err: err,
		Hint: unreachableHint,
	}
}

// AsFault returns the fault in the chain of err. If there is none, it makes a fault from err; this is the only place
// where errors of brokers, the network and the file system get their exit codes and hints. err must not be nil. The
// caller must not change the fault, as it may be shared.
func AsFault(err error) *Fault {
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
		f.Code, f.Exit, f.Hint = "unreachable", ExitUnreachable, unreachableHint
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		f.Code, f.Hint = "disk_full", "make room on that disk, or name another directory with --data; what was acknowledged is kept"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		f.Code, f.Hint = "no_descriptors", "raise the limit of open files (`ulimit -n`), or close connections"
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
	return dns || errors.Is(err, logclient.ErrUnreachable) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// explainsInterrupt reports whether the fault says what an interrupt has left done and undone, which the user needs to know.
func (f *Fault) explainsInterrupt() bool {
	return f.Exit == ExitInterrupted && (f.Message != ErrInterrupted.Error() || f.Hint != "")
}

// RootCause returns the message of the innermost error in a chain, such as "connection refused" for a failed dial.
// The outer errors of such a chain only repeat the address.
func RootCause(err error) string {
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
