package kafka

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
)

// produceHeader is the beginning of a Produce frame that announces size bytes.
func produceHeader(size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	return append(b, 0, byte(keyProduce), 0, 9)
}

// produceOf returns a Produce request with one record of valueBytes bytes.
func (h *testServer) produceOf(name string, valueBytes int) *kmsg.ProduceRequest {
	topic, ok := h.engine.Topic(name)
	if !ok {
		h.t.Fatal("no topic", name)
	}
	req := produceTo(topic, 0, records(string(bytes.Repeat([]byte("x"), valueBytes))))
	req.SetVersion(9)
	return req
}

// TestAnnouncedFramesHoldNothing has peers announce frames of the largest size, and send nothing of them. Requests of
// others, small and large, must be answered (trap 25).
func TestAnnouncedFramesHoldNothing(t *testing.T) {
	h := newTestServer(t)
	h.topic("orders", 1)
	for range 16 {
		h.dial().write(produceHeader(h.server.config.MaxFrameBytes))
	}
	w := h.dial()
	for range 3 {
		roundTrip[*kmsg.MetadataResponse](w, kmsg.NewPtrMetadataRequest(), 9)
		roundTrip[*kmsg.ProduceResponse](w, h.produceOf("orders", 900_000), 9)
	}
	if used := h.server.requestBytes.inUse(); used != 0 {
		t.Errorf("%d bytes are in use, and nothing is being handled", used)
	}
}

// TestHalfSentFramesAreGivenUp has peers send large frames up to their last byte, so that they hold the whole budget.
// Small requests of others must be answered all the same, and a large one after the slow peers were closed.
func TestHalfSentFramesAreGivenUp(t *testing.T) {
	const frameCap = 1 << 20
	h := newTestServer(t, func(c *Config) {
		c.MaxFrameBytes, c.MaxRequestBytes, c.MaxInFlightBytes = frameCap, frameCap, 4*frameCap
	})
	h.topic("orders", 1)
	var peers []*rawClient
	for range 8 {
		w := h.dial()
		peers = append(peers, w)
		w.write(append(produceHeader(frameCap), make([]byte, frameCap-5)...))
	}
	eventually(t, "the budget to be used up", func() bool { return h.server.requestBytes.inUse() >= 2*frameCap })
	w := h.dial()
	roundTrip[*kmsg.MetadataResponse](w, kmsg.NewPtrMetadataRequest(), 9)
	roundTrip[*kmsg.ProduceResponse](w, h.produceOf("orders", 20_000), 9) // from the reserve for small frames
	for range 4 {
		roundTrip[*kmsg.ProduceResponse](w, h.produceOf("orders", 900_000), 9)
	}
	for range 3 {
		var sending sync.WaitGroup
		for range 4 {
			sending.Go(func() { roundTrip[*kmsg.ProduceResponse](h.dial(), h.produceOf("orders", 900_000), 9) })
		}
		sending.Wait()
	}
	for _, w := range peers {
		w.net.Close()
	}
	w.net.Close()
	eventually(t, "all bytes to be given back", func() bool { return h.server.requestBytes.inUse() == 0 })
}

// TestManyLargeFramesArriveTogether has more clients than the budget has room for send large frames at the same time,
// each in pieces. None may wait for another for ever, and all must be answered.
func TestManyLargeFramesArriveTogether(t *testing.T) {
	const frameCap = 2 << 20 // above oneStepBytes
	h := newTestServer(t, func(c *Config) { c.MaxFrameBytes, c.MaxInFlightBytes = frameCap, 2*frameCap })
	h.topic("orders", 1)
	req := h.produceOf("orders", frameCap-1000) // refused, because the batch is too large, but answered
	frame := frameOf(req, 1)
	var sending sync.WaitGroup
	for range 12 {
		w := h.dial()
		sending.Go(func() {
			for range 3 {
				for rest := frame; len(rest) > 0; {
					n := min(len(rest), 100_000)
					if _, err := w.net.Write(rest[:n]); err != nil {
						t.Error("write:", err)
						return
					}
					rest = rest[n:]
				}
				receive[*kmsg.ProduceResponse](w, req, 1)
			}
		})
	}
	sending.Wait()
	eventually(t, "all bytes to be given back", func() bool { return h.server.requestBytes.inUse() == 0 })
}

// TestFramesOfAllSizesInPieces sends frames of sizes around the steps in which a frame is read, in random pieces, and
// reads the records back.
func TestFramesOfAllSizesInPieces(t *testing.T) {
	for name, budget := range map[string]int64{"with room": 0, "without room for one step": 2 << 20} {
		t.Run(name, func(t *testing.T) {
			h := newTestServer(t, func(c *Config) { c.MaxFrameBytes, c.MaxInFlightBytes = 1<<20, budget })
			topic := h.topic("orders", 1)
			if budget > 0 { // more than half is in use
				half := h.dial()
				half.write(append(produceHeader(1<<20), make([]byte, 1<<20-5)...))
				eventually(t, "half of the budget to be used", func() bool { return h.server.requestBytes.inUse() >= budget/2 })
			}
			rng := seeded(t)
			w := h.dial()
			var sent [][]byte
			for _, around := range []int{100, readBufferBytes, firstStepBytes, firstStepBytes * stepFactor, 400_000} {
				for _, d := range []int{-200, -100, -70, rng.IntN(100), 100} {
					value := make([]byte, max(around+d, 0))
					for i := range value {
						value[i] = byte(rng.IntN(256))
					}
					sent = append(sent, value)
					req := produceTo(topic, 0, records(string(value)))
					req.SetVersion(9)
					for rest := frameOf(req, 1); len(rest) > 0; {
						n := min(len(rest), 1+rng.IntN(1+len(rest)/2))
						w.write(rest[:n])
						rest = rest[n:]
						if rng.IntN(4) == 0 {
							time.Sleep(time.Millisecond)
						}
					}
					if got := receive[*kmsg.ProduceResponse](w, req, 1); got.Topics[0].Partitions[0].ErrorCode != none {
						t.Fatalf("%d bytes: %+v", len(value), got)
					}
				}
			}
			for i, want := range sent {
				got := h.engine.Fetch(t.Context(), engine.FetchRequest{MaxBytes: 1 << 20, Partitions: []engine.FetchPartition{
					{Partition: engine.Partition{Topic: topic.ID}, Offset: int64(i), MaxBytes: 1, LeaderEpoch: -1}}}, nil)
				if len(got[0].Records) == 0 || !bytes.Contains(got[0].Records[0], want) {
					t.Errorf("record %d of %d bytes is not what was sent", i, len(want))
				}
			}
		})
	}
}

// TestDrainEndsAHalfSentFrame checks that Drain waits for no frame that is still arriving.
func TestDrainEndsAHalfSentFrame(t *testing.T) {
	h := newTestServer(t)
	for _, sent := range []int{0, 1, 5000, 300_000} {
		h.dial().write(append(produceHeader(1<<20), make([]byte, sent)...))
	}
	eventually(t, "the frames to begin", func() bool { return h.server.Connections() == 4 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.server.Drain(t.Context())
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Drain waits for a frame that does not arrive")
	}
	if used := h.server.requestBytes.inUse(); used != 0 {
		t.Errorf("%d bytes are in use", used)
	}
}

// TestShortageEndsSlowFramesAtOnce checks, in virtual time, that whoever needs memory waits for no frame that has been
// arriving slowly, for at most a few seconds for frames that arrive fast, and with a small frame not at all.
func TestShortageEndsSlowFramesAtOnce(t *testing.T) {
	const mib = 1 << 20
	fill := func(b *requestBudget, t *testing.T) (stopped *int) {
		stopped = new(int)
		for range 12 {
			a := b.begin(mib, nil)
			a.stop = func(error) {
				*stopped++
				go func() { b.release(b.end(a), mib) }()
			}
			for taken := 0; taken < mib; {
				taken, _, _ = b.grow(t.Context(), a)
			}
			a.received.Store(mib - 1)
		}
		return stopped
	}
	grow := func(b *requestBudget, t *testing.T) time.Duration {
		a := b.begin(mib, func(error) { t.Error("the frame that waits was given up") })
		_, waited, err := b.grow(t.Context(), a)
		if err != nil {
			t.Error(err)
		}
		return waited
	}
	t.Run("slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newRequestBudget(16*mib, mib)
			stopped := fill(b, t)
			time.Sleep(time.Minute) // at less than 64 KiB/s
			if waited := grow(b, t); waited > 0 || *stopped != 12 {
				t.Errorf("waited for %v, and %d of 12 slow frames were given up", waited, *stopped)
			}
		})
	})
	t.Run("fast", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newRequestBudget(16*mib, mib)
			stopped := fill(b, t)
			time.Sleep(2 * time.Second) // at half a MiB/s
			if waited := grow(b, t); waited != slowAfter || *stopped != 1 {
				t.Errorf("waited for %v, and %d frames were given up; want %v and 1", waited, *stopped, slowAfter)
			}
		})
	})
	t.Run("small", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newRequestBudget(16*mib, mib)
			stopped := fill(b, t)
			began := time.Now()
			for range 4 * mib / smallFrameBytes {
				if err := b.take(t.Context(), smallFrameBytes); err != nil {
					t.Fatal(err)
				}
			}
			if waited := time.Since(began); waited > 0 || *stopped > 0 {
				t.Errorf("waited for %v, and %d frames were given up", waited, *stopped)
			}
		})
	})
}
