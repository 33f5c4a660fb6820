package kafka

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/pipe"
)

// TestInlineCommitAndPipelining checks that responses come in order for clients that wait for each response, clients
// that pipeline, and clients that alternate, over TCP and in memory.
func TestInlineCommitAndPipelining(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 3)
	mine, theirs := pipe.New(0, pipe.Addr("client"), pipe.Addr("server"))
	t.Cleanup(func() { mine.Close() })
	mine.SetDeadline(time.Now().Add(patience))
	go h.server.ServeConn(t.Context(), theirs)
	next := make([]int64, 3)
	for name, w := range map[string]*rawClient{"tcp": h.dial(), "pipe": {t: t, net: mine}} {
		t.Run(name, func(t *testing.T) {
			produce := func(ahead int) {
				t.Helper()
				var frames bytes.Buffer
				var reqs []*kmsg.ProduceRequest
				for i := range ahead {
					req := produceTo(topic, int32(i%3), records(fmt.Sprint(i)))
					req.SetVersion(9)
					w.next++
					frames.Write(frameOf(req, w.next))
					reqs = append(reqs, req)
				}
				w.write(frames.Bytes())
				for i, req := range reqs {
					resp := receive[*kmsg.ProduceResponse](w, req, w.next-int32(ahead-1-i))
					p := resp.Topics[0].Partitions[0]
					if p.ErrorCode != none || p.BaseOffset != next[i%3] {
						t.Fatalf("request %d of %d: %+v, want offset %d", i, ahead, p, next[i%3])
					}
					next[i%3]++
				}
			}
			for _, ahead := range []int{1, 1, 1, 20, 1, 300, 1, 1, 2, 1, 100, 1, 1} {
				produce(ahead)
			}
		})
	}
}

// TestInlineCommitIsForClientsThatWait checks that the reader commits inline until its client pipelines a request, and
// tries again after recheckAfter further requests.
func TestInlineCommitIsForClientsThatWait(t *testing.T) {
	mine, theirs := pipe.New(0, pipe.Addr("client"), pipe.Addr("server"))
	defer mine.Close()
	c := newConn(t.Context(), newTestServer(t).server, theirs)
	if !c.inlineCommit.allowed(c) {
		t.Error("the first request is not committed inline")
	}
	c.inlineCommit.committed(c.hasPipelinedRequest())
	if !c.inlineCommit.allowed(c) {
		t.Error("a client that waits is not committed inline")
	}
	if _, err := mine.Write([]byte("next")); err != nil {
		t.Fatal(err)
	}
	c.inlineCommit.committed(c.hasPipelinedRequest())
	for i := range recheckAfter {
		if c.inlineCommit.allowed(c) {
			t.Fatalf("a client that pipelines is committed inline after %d requests", i)
		}
	}
	if !c.inlineCommit.allowed(c) {
		t.Error("the client was not looked at again")
	}
}

// TestInputProbe checks that a TCP connection has input when bytes have arrived and when it has ended, and not before.
func TestInputProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if !canPeek {
		t.Skip("no way to ask on this platform")
	}
	var p inputProbe
	if !p.hasInput() {
		t.Error("a connection that can't be asked has nothing to read")
	}
	p.init(nc.(*net.TCPConn))
	if p.hasInput() {
		t.Error("there is something to read, and nothing was sent")
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the byte that was sent", p.hasInput)
	if n, err := nc.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("the peek has taken what it saw: %d, %v", n, err)
	}
	if p.hasInput() {
		t.Error("there is something to read after all was read")
	}
	client.Close()
	eventually(t, "the end", p.hasInput)
}
