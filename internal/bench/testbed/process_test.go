package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// What the test program does as the other process of a test; its first argument chooses it.
const (
	announces = "announces" // runs until its stdin is closed
	silent    = "silent"    // announces nothing and ends
	babbles   = "babbles"   // writes what is no address
	fails     = "fails"     // announces and fails
	counts    = "counts"    // writes the number of its TIDINGS_ variables to stdout
	waits     = "waits"     // waits for an interrupt
)

func TestMain(m *testing.M) {
	role := ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	address := BrokerAddress{Address: "127.0.0.1:1"}
	switch role {
	case announces:
		err := Announce(context.Background(), os.Stdin, os.Stdout, address, nil)
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case silent:
		os.Exit(0)
	case babbles:
		fmt.Println("listening")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case fails:
		served := make(chan error, 1)
		served <- errors.New("no more")
		if err := Announce(context.Background(), os.Stdin, os.Stdout, address, served); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case counts:
		n := 0
		for _, variable := range os.Environ() {
			if strings.HasPrefix(variable, "TIDINGS_") {
				n++
			}
		}
		fmt.Print(n)
		os.Exit(0)
	case waits:
		fmt.Fprintln(os.Stderr, "ready")
		time.Sleep(time.Minute) // an interrupt ends it
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func program(t *testing.T) string {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Case: a process that is stopped ends well, one that is killed is gone, and one that fails is an error of Stop.
func TestProcess(t *testing.T) {
	for role, c := range map[string]struct{ kill, fails bool }{announces: {}, announces + " killed": {kill: true}, fails: {fails: true}} {
		role, _, _ := strings.Cut(role, " ")
		var announced BrokerAddress
		p, err := Start(io.Discard, &announced, program(t), role)
		if err != nil || announced.Address != "127.0.0.1:1" {
			t.Fatalf("%s: %v, %v", role, announced, err)
		}
		if c.kill {
			p.Kill()
			if _, err := p.Usage(); err == nil {
				t.Error("a process that was killed has usage")
			}
			continue
		}
		if err := p.Stop(); (err != nil) != c.fails {
			t.Errorf("%s ended with %v", role, err)
		}
	}
}

// Case: programs that announce no address. The error has the command line, and no process is left to be stopped.
func TestProcessWithoutAddress(t *testing.T) {
	for _, role := range []string{silent, babbles} {
		var announced BrokerAddress
		if p, err := Start(io.Discard, &announced, program(t), role); err == nil || !strings.Contains(err.Error(), role) {
			t.Errorf("%s: %v, %v", role, p, err)
		}
	}
	if _, err := Start(io.Discard, &BrokerAddress{}, "/no/such/program"); err == nil {
		t.Error("a program that does not exist was started")
	}
}

// Case: variables that are flags of this command line are not flags of the other process.
func TestRunWithoutVariablesOfFlags(t *testing.T) {
	t.Setenv("TIDINGS_OUTPUT", "yaml")
	if out, err := Run(t.Context(), io.Discard, program(t), counts); err != nil || string(out) != "0" {
		t.Errorf("%s variables: %v", out, err)
	}
	if _, err := Run(t.Context(), io.Discard, "/no/such/program"); err == nil {
		t.Error("a program that does not exist was run")
	}
}

// cancelWriter calls cancel at the first write.
type cancelWriter struct{ cancel func() }

func (c cancelWriter) Write(p []byte) (int, error) {
	c.cancel()
	return len(p), nil
}

// Case: the context ends while a program runs. It is interrupted, and the cause is returned.
func TestRunIsInterrupted(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	began := time.Now()
	_, err := Run(ctx, cancelWriter{func() { cancel(stop) }}, program(t), waits)
	if !errors.Is(err, stop) || time.Since(began) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
