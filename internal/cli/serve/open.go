package serve

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"tidings.dev/broker"
	"tidings.dev/internal/cli/shell"
)

// Open opens a broker. Errors are faults that name the data directory and say what is wrong with it. The caller must
// close the broker.
func Open(c broker.Config) (*broker.Broker, error) {
	b, err := broker.Open(c)
	if err == nil {
		return b, nil
	}
	if locked, ok := errors.AsType[*broker.LockedError](err); ok {
		return nil, &shell.Fault{Code: "data_in_use", Message: locked.Error(), Exit: shell.ExitFailed, Err: err,
			Hint: fmt.Sprintf("it can be reached with --data %s; or end that process, or name another directory", c.Dir)}
	}
	if foreign, ok := errors.AsType[*broker.ForeignError](err); ok {
		return nil, &shell.Fault{Code: "data_foreign", Message: fmt.Sprintf("%s: %v", c.Dir, foreign), Exit: shell.ExitFailed, Err: err,
			Hint: "name an empty directory, or one of a broker's, with --data DIR; if it was one, `tidings doctor` finds what became of it"}
	}
	if format, ok := errors.AsType[*broker.FormatError](err); ok {
		return nil, &shell.Fault{Code: "data_format", Message: fmt.Sprintf("%s: %v", c.Dir, format), Exit: shell.ExitFailed, Err: err,
			Hint: "open it with the version that made it"}
	}
	if errors.Is(err, broker.ErrSetting) {
		return nil, shell.Usagef("`tidings serve --help` lists the settings", "%v", err)
	}
	fault := *shell.AsFault(err)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		fault.Code, fault.Exit, fault.Hint = "unwritable", shell.ExitFailed, "name a directory with --data DIR"
	case fault.Code == "failed", fault.Code == "not_found":
		fault.Code, fault.Exit = "data", shell.ExitFailed
		fault.Hint = fmt.Sprintf("`tidings doctor %s` finds what is wrong with it", c.Dir)
	}
	return nil, &fault
}

// WriteCheckInterval is the interval at which commands call WriteError on a running broker.
const WriteCheckInterval = time.Second

// WriteError returns the reason why the broker refuses writes: its log is fenced or its disk is full. It returns nil
// if the broker accepts writes.
func WriteError(b *broker.Broker) error {
	if err := b.Err(); err != nil {
		return err
	}
	return b.Full()
}

// StorageFault returns the fault for an error that WriteError has returned. err must not be nil.
func StorageFault(err error) *shell.Fault {
	f := *shell.AsFault(err)
	if f.Code == "failed" {
		f.Code = "storage"
	}
	f.Message = "the log cannot be written to: " + err.Error()
	if f.Hint == "" {
		f.Hint = "what was acknowledged is safe and can be read; mend the disk and start again"
	}
	return &f
}
