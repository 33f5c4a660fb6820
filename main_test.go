package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"tidings.dev"
)

// Case: the address is dead. The program ends with an error that names it; it does not wait for reactions that will never
// be ready.
func TestMainEndsWhenTheLogCannotBeReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	app := open(t, "email", tidings.Kafka(address), tidings.ConnectTimeout(100*time.Millisecond))
	err = app.Main(t.Context(), func(context.Context) error {
		t.Error("work was called")
		return nil
	})
	if !errors.Is(err, tidings.ErrUnreachable) || !strings.Contains(err.Error(), address) {
		t.Errorf("%v", err)
	}
}

// Case: work emits, and returns. What it has emitted is handled by then if work waits for it; the app is closed.
func TestMainEndsWhenItsWorkIsDone(t *testing.T) {
	for _, want := range []error{nil, errors.New("the work has failed")} {
		app := open(t, "email", keep(t))
		seen := make(chan string, 1)
		tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { seen <- e.Data.ID; return nil })
		err := app.Main(t.Context(), func(ctx context.Context) error {
			if _, err := placed.Emit(ctx, order{ID: "1"}); err != nil {
				return err
			}
			if id := <-seen; id != "1" {
				return fmt.Errorf("saw %q", id)
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if _, err := placed.Emit(app.Context(t.Context()), order{ID: "2"}); !errors.Is(err, tidings.ErrClosed) {
			t.Errorf("Emit after Main: %v", err)
		}
	}
}

// Case: the process is asked to end while a handler runs. The handler finishes, and what it emits is in the log; work is
// told by its context, and the context's error is no failure.
func TestMainDrainsAfterASignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send itself an interrupt there")
	}
	where := keep(t)
	app := open(t, "payment", where)
	entered, release := make(chan struct{}), make(chan struct{})
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		close(entered)
		<-release
		_, err := captured.Emit(ctx, e.Data)
		return err
	})
	err := app.Main(t.Context(), func(ctx context.Context) error {
		if _, err := placed.Emit(ctx, order{ID: "1"}); err != nil {
			return err
		}
		<-entered
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		if err := self.Signal(os.Interrupt); err != nil {
			return err
		}
		<-ctx.Done()
		close(release)
		return ctx.Err()
	})
	if err != nil {
		t.Errorf("Main: %v", err)
	}
	if n := len(dump(t, where, "orders")); n != 2 {
		t.Errorf("%d events in the log, want the order and its payment", n)
	}
}

// Case: the end of ctx is an orderly end, without work as well.
func TestMainEndsWithItsContext(t *testing.T) {
	app := open(t, "email", keep(t))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-app.Ready()
		cancel()
	}()
	if err := app.Main(ctx, nil); err != nil {
		t.Errorf("%v", err)
	}
	if err := app.Main(ctx, nil); !errors.Is(err, tidings.ErrClosed) {
		t.Errorf("a second time: %v", err)
	}
}
