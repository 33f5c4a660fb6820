package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// faultyListener is a listener of which the next call of Accept returns the error that fault holds, once.
type faultyListener struct {
	net.Listener
	fault atomic.Pointer[error]
}

func (l *faultyListener) Accept() (net.Conn, error) {
	if err := l.fault.Swap(nil); err != nil {
		return nil, *err
	}
	return l.Listener.Accept()
}

// temporaryError is an error of a listener that is not one of package net.
type temporaryError struct{ error }

func (temporaryError) Temporary() bool { return true }

// TestServeEndsUnlessAnErrorPasses checks that Serve goes on to accept connections after an error that may pass, and
// that it returns any other error and closes the listener.
func TestServeEndsUnlessAnErrorPasses(t *testing.T) {
	accept := func(err error) error {
		return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	strange := errors.New("the listener has lost its socket")
	for _, c := range []struct {
		name   string
		fault  error
		passes bool
	}{
		{"no file descriptor", accept(syscall.EMFILE), true},
		{"no file descriptor in the system", accept(syscall.ENFILE), true},
		{"no memory", accept(syscall.ENOMEM), true},
		{"the connection was reset before it was accepted", accept(syscall.ECONNABORTED), true},
		{"an error that is temporary by its own account", temporaryError{strange}, true},
		{"not a listening socket", accept(syscall.EINVAL), false},
		{"an error of an unknown kind", strange, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, Config{Memory: true})
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer tcp.Close()
			l := &faultyListener{Listener: tcp}
			l.fault.Store(&c.fault)
			served := make(chan error, 1)
			go func() { served <- b.Serve(l) }()
			if c.passes {
				conn, err := net.Dial("tcp", tcp.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				awaitServed(t, conn)
				b.Close()
				if err := <-served; !errors.Is(err, ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
				return
			}
			select {
			case err := <-served:
				if !errors.Is(err, c.fault) {
					t.Errorf("Serve returned %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Serve goes on")
			}
			if conn, err := net.Dial("tcp", tcp.Addr().String()); err == nil {
				conn.Close()
				t.Error("the listener is still open")
			}
		})
	}
}

// awaitServed sends a request for the versions of the protocol, and fails the test if it is not answered.
func awaitServed(t *testing.T, conn net.Conn) {
	t.Helper()
	request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff} // ApiVersions, version 0, correlation 7, no client id
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	var answer [8]byte // the size of the response, and the correlation
	if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[7] != 7 {
		t.Fatalf("the request was answered with %v, %v", answer, err)
	}
}
