package kafka

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// tcpPair returns the two ends of a TCP connection, which are closed when the test ends.
func tcpPair(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

// Slices of all lengths, more than one system call takes, arrive as they are at a client that at first does not read. What
// is written is told step by step, and a short header goes with what follows it.
func TestGatherWriter(t *testing.T) {
	if !canGather {
		t.Skip("not on this platform")
	}
	ours, theirs := tcpPair(t)
	content := rand.NewChaCha8([32]byte{})
	random := rand.New(content)
	var bufs [][]byte
	add := func(length int) {
		b := make([]byte, length)
		content.Read(b)
		bufs = append(bufs, b)
	}
	add(10)
	add(16 << 20) // more than the buffers of both sockets hold
	for range 3000 {
		add(random.IntN(3) * random.IntN(500))
	}
	want := bytes.Join(bufs, nil)

	var firstBytes, sumBytes, steps atomic.Int64
	var g gatherWriter
	g.init(ours, func(bytes int) {
		firstBytes.CompareAndSwap(0, int64(bytes))
		sumBytes.Add(int64(bytes))
		steps.Add(1)
	})
	written := make(chan error, 1)
	go func() { written <- g.write(bufs) }()
	eventually(t, "the buffers of the sockets to be full", func() bool { return steps.Load() > 0 })
	if n := sumBytes.Load(); n == int64(len(want)) {
		t.Error("all was written before the client has read")
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(theirs, got); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes arrived, or an error: %v", err)
	}
	if n := firstBytes.Load(); n <= 10 {
		t.Errorf("%d bytes were written first", n)
	}
	if n := sumBytes.Load(); n != int64(len(want)) || steps.Load() < 3 {
		t.Errorf("%d of %d bytes were told, in %d steps", n, len(want), steps.Load())
	}

	ours.SetWriteDeadline(time.Unix(1, 0))
	if err := g.write([][]byte{want}); !isTimeout(err) {
		t.Errorf("after the deadline: %v", err)
	}
	ours.SetWriteDeadline(time.Time{})
	theirs.Close()
	for err := error(nil); err == nil; {
		err = g.write([][]byte{want})
	}
}

// A client that reads some of a large response has read last when it did, and one that does not read when the response was begun.
func TestResponseThatIsReadSlowly(t *testing.T) {
	tcpOurs, tcpTheirs := tcpPair(t)
	pipeOurs, pipeTheirs := net.Pipe()
	t.Cleanup(func() { pipeOurs.Close(); pipeTheirs.Close() })
	for name, ends := range map[string][2]net.Conn{"TCP": {tcpOurs, tcpTheirs}, "in memory": {pipeOurs, pipeTheirs}} {
		t.Run(name, func(t *testing.T) {
			const responseBytes = 32 << 20
			budget := &responseBudget{maxBytes: 1 << 40, minBytes: 1 << 40, others: func() int64 { return 0 }}
			var w responseWriter
			w.init(ends[0], budget, func(err error) { t.Error(err) })
			begun := time.Now().UnixNano()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				w.send(&response{body: encodedBody{make([]byte, responseBytes)}}, 0)
			}()
			left, since := responseBytes+8, begun
			read := func(n int) {
				t.Helper()
				if _, err := io.CopyN(io.Discard, ends[1], int64(n)); err != nil {
					t.Fatal(err)
				}
				left -= n
			}
			for range 2 { // less than would leave only what the buffers of both sockets hold
				before := time.Now().UnixNano()
				read(8 << 20)
				eventually(t, "the client to be known to have read", func() bool { return w.blockedSince.Load() >= before })
			}
			if since = w.blockedSince.Load(); since <= begun {
				t.Error("nothing is known of what the client reads")
			}
			read(left)
			<-sent
			if w.blockedSince.Load() != 0 {
				t.Error("the client is taken for one that has not read all")
			}
		})
	}
}
