package broker

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
)

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestAPeerCannotFillTheLog has one peer send 300 frames that cannot be read, of two causes: there must be one line of
// each. Then another peer sends one, of which there must be a line, too.
func TestAPeerCannotFillTheLog(t *testing.T) {
	var log lines
	b := open(t, Config{Memory: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go b.Serve(l)
	send := func(conn net.Conn, err error, frame []byte) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(frame)
		io.Copy(io.Discard, conn) // until the broker closes the connection
	}
	tooShort, unknownKey := []byte{0, 0, 0, 0}, []byte{0, 0, 0, 10, 0x27, 0x0f, 0, 0}
	for i := range 150 {
		for _, frame := range [][]byte{tooShort, unknownKey} {
			frame[3] += byte(i % 2) // a size of its own does not make a cause of its own
			conn, err := net.Dial("tcp", l.Addr().String())
			send(conn, err, frame)
		}
		tooShort[3], unknownKey[3] = 0, 10
	}
	other, err := b.Dial(t.Context())
	send(other, err, tooShort)
	if err := b.Close(); err != nil { // waits for the connections, and so for their lines
		t.Fatal(err)
	}
	text := log.String()
	if tcp, local := strings.Count(text, "client=/127.0.0.1"), strings.Count(text, "client=/local"); tcp != 2 || local != 1 {
		t.Errorf("%d lines of the first peer, want 2, and %d of the second, want 1:\n%.2000s", tcp, local, text)
	}
}
