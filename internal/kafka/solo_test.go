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

// A client that waits for each answer, one that sends ahead, and one that is the first and then the second are answered in
// order, over TCP and in memory.
func TestSoloAndAhead(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 3)
	mine, theirs := pipe.New(0, pipe.Addr("client"), pipe.Addr("server"))
	t.Cleanup(func() { mine.Close() })
	mine.SetDeadline(time.Now().Add(patience))
	go h.server.ServeConn(t.Context(), theirs)
	next := make([]int64, 3)
	for name, w := range map[string]*wire{"tcp": h.dial(), "pipe": {t: t, net: mine}} {
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

// A connection is led until its client has sent ahead, and then looked at again.
func TestSolo(t *testing.T) {
	mine, theirs := pipe.New(0, pipe.Addr("client"), pipe.Addr("server"))
	defer mine.Close()
	c := newConn(t.Context(), newHouse(t).server, theirs)
	if !c.solo.leads(c) {
		t.Error("a client that is alone is not led")
	}
	c.solo.led(c.isAhead())
	if !c.solo.leads(c) {
		t.Error("a client that waited is not led")
	}
	if _, err := mine.Write([]byte("next")); err != nil {
		t.Fatal(err)
	}
	c.solo.led(c.isAhead())
	for i := range lookAgain {
		if c.solo.leads(c) {
			t.Fatalf("a client that has sent ahead is led after %d requests", i)
		}
	}
	if !c.solo.leads(c) {
		t.Error("nobody looked again")
	}
}

// The kernel is asked of a TCP connection; one that ends has something to read.
func TestPeek(t *testing.T) {
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
	var p peeker
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
