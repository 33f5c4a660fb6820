package pipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestBytesArriveInOrder writes pieces of random sizes through a buffer that is smaller than most of them. The reader
// must get the same bytes in order.
func TestBytesArriveInOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 0))
	a, b := New(5000, Addr("a"), Addr("b"))
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	sizes := rand.New(rand.NewPCG(seed, 1))
	go func() {
		for rest := want; len(rest) > 0; {
			n := min(1+sizes.IntN(20000), len(rest))
			if m, err := a.Write(rest[:n]); m != n || err != nil {
				t.Errorf("write of %d: %d, %v", n, m, err)
			}
			rest = rest[n:]
		}
		a.Close()
	}()
	var got []byte
	p := make([]byte, 7000)
	for {
		n, err := b.Read(p[:1+rng.IntN(len(p))])
		got = append(got, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes arrived, and not the %d that were sent", len(got), len(want))
	}
}

// TestDeadlines checks that a deadline ends a blocked call, applies to later calls, and can be moved and removed.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := New(10, Addr("a"), Addr("b"))
		defer a.Close()
		defer b.Close()
		began := time.Now()
		a.SetReadDeadline(began.Add(time.Second))
		_, err := a.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Fatalf("read: %v after %v", err, time.Since(began))
		}
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Error("the error does not say that it is a timeout")
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a later read: %v", err)
		}

		a.SetDeadline(time.Now().Add(time.Second))
		if n, err := a.Write(make([]byte, 25)); n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write that nobody reads: %d, %v", n, err)
		}

		a.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Hour)
			b.Write([]byte{42})
		}()
		if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("a read without a deadline: %d, %v", n, err)
		}

		// Case: a read that blocks returns when a deadline is set that has passed.
		go func() {
			time.Sleep(time.Minute)
			a.SetReadDeadline(time.Now())
		}()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read under a deadline set meanwhile: %v", err)
		}
	})
}

// TestClose checks that bytes written before Close can be read, and that then both ends return errors.
func TestClose(t *testing.T) {
	a, b := New(0, Addr("a"), Addr("b"))
	a.Write([]byte("last words"))
	a.Close()
	if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
		t.Errorf("read after the peer's close: %q, %v", got, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write to a closed peer: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read on the closed end: %v", err)
	}

	// Case: calls that block return.
	synctest.Test(t, func(t *testing.T) {
		a, b := New(1, Addr("a"), Addr("b"))
		var wg sync.WaitGroup
		wg.Go(func() { b.Read(make([]byte, 1)) })
		wg.Go(func() { b.Write(make([]byte, 10)) })
		synctest.Wait()
		a.Close()
		wg.Wait()
	})
	if a.LocalAddr().String() != "a" || b.LocalAddr().String() != "b" || a.RemoteAddr().String() != "b" {
		t.Error("the addresses are mixed up")
	}
}

// BenchmarkRoundTrip measures a request of 100 bytes and its response.
func BenchmarkRoundTrip(b *testing.B) {
	for name, make := range map[string]func() (net.Conn, net.Conn){
		"pipe":     func() (net.Conn, net.Conn) { return New(0, Addr("a"), Addr("b")) },
		"net.Pipe": net.Pipe,
	} {
		b.Run(name, func(b *testing.B) {
			client, server := make()
			defer client.Close()
			go func() {
				p := [100]byte{}
				for {
					if _, err := io.ReadFull(server, p[:]); err != nil {
						return
					}
					server.Write(p[:4]) // a Kafka frame comes in two writes
					server.Write(p[4:])
				}
			}()
			p := [100]byte{}
			for b.Loop() {
				client.Write(p[:])
				if _, err := io.ReadFull(client, p[:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, size := range []int{64 << 10} {
		b.Run(fmt.Sprintf("stream of %d", size), func(b *testing.B) {
			client, server := New(0, Addr("a"), Addr("b"))
			go io.Copy(io.Discard, server)
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				client.Write(p)
			}
			client.Close()
		})
	}
}
