package shell

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// Session is one running command line: its streams and the values of the shared flags. Run makes it. A command may
// read the flags once they are parsed, which is when its RunE is called.
type Session struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Brokers and Data are the values of --brokers and --data on the command line, or empty. Environment variables
	// are not included; Target and DataDir take them into account.
	Brokers, Data string
	// Format is the value of -o.
	Format Format
	// Verbose is the value of --verbose.
	Verbose bool
}

// Report writes an error to Stderr: as a JSON object in one line if the format is one for programs, otherwise as its
// message and hint. After ctrl-C it writes nothing, unless the fault says more than that or the format is one for programs.
func (s *Session) Report(err error) {
	f := AsFault(err)
	if s.Format.Machine() {
		line, _ := json.Marshal(f) // a struct of strings always encodes
		fmt.Fprintf(s.Stderr, "%s\n", line)
		return
	}
	if errors.Is(f.Err, ErrInterrupted) && !f.explainsInterrupt() {
		return
	}
	fmt.Fprintf(s.Stderr, "tidings: %s\n", f.Message)
	if f.Hint != "" {
		fmt.Fprintf(s.Stderr, "  %s\n", f.Hint)
	}
}

// Note writes one line for people to Stderr. The arguments are those of fmt.Printf.
func (s *Session) Note(format string, args ...any) {
	fmt.Fprintf(s.Stderr, format+"\n", args...)
}

// Output returns an Output that prints to Stdout in the format of -o.
func (s *Session) Output() *Output { return NewOutput(s.Stdout, s.Format) }

// Logger returns a logger to Stderr. It logs all levels with --verbose, and only warnings and errors otherwise.
func (s *Session) Logger() *slog.Logger {
	level := slog.LevelWarn
	if s.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(s.Stderr, &slog.HandlerOptions{Level: level}))
}

// DataDir returns the data directory of a broker on this machine: the value of --data, else TIDINGS_DATA, else
// DefaultDataDir. The directory may not exist.
func (s *Session) DataDir() string {
	if s.Data != "" {
		return s.Data
	}
	if dir := os.Getenv("TIDINGS_DATA"); dir != "" {
		return dir
	}
	return DefaultDataDir
}
