package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readBytes       = 1 << 20 // size of the buffer for one read
	sendfileBytes   = 64 << 20
	streamWarmup    = 100 * time.Millisecond
	rawSetupTimeout = 10 * time.Second
)

// StreamLimit measures how fast bytes are received that a [RawServer] sends from memory, over conns connections at
// once, for the duration d.
func StreamLimit(ctx context.Context, raw Endpoint, conns int, d time.Duration) (Measured, error) {
	return readStreams(ctx, raw, rawFlood, conns, d)
}

// SendfileLimit is like StreamLimit, but the server sends the bytes from a file with sendfile.
func SendfileLimit(ctx context.Context, raw Endpoint, conns int, d time.Duration) (Measured, error) {
	return readStreams(ctx, raw, rawSendfile, conns, d)
}

func readStreams(ctx context.Context, raw Endpoint, mode byte, conns int, d time.Duration) (Measured, error) {
	var m Measured
	var streams []net.Conn
	defer func() {
		for _, conn := range streams {
			conn.Close()
		}
	}()
	for range conns {
		conn, err := openStream(ctx, raw, mode)
		if err != nil {
			return m, err
		}
		streams = append(streams, conn)
	}
	var bytes atomic.Int64
	var failed atomic.Pointer[error]
	var reading sync.WaitGroup
	for _, conn := range streams {
		reading.Go(func() {
			for buf := make([]byte, readBytes); ; {
				n, err := conn.Read(buf)
				bytes.Add(int64(n))
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	_ = pause(ctx, streamWarmup) // the cause of ctx is returned below
	before, t := bytes.Load(), StartMeter(raw)
	_ = pause(ctx, d)
	m.Bytes = bytes.Load() - before
	t.Stop(&m)
	if err := failed.Load(); err != nil {
		return m, fmt.Errorf("read a raw stream: %w", *err)
	}
	for _, conn := range streams {
		conn.Close()
	}
	reading.Wait()
	return m, context.Cause(ctx)
}

// PingLimit measures the time of a round trip. For the duration d it repeatedly sends 64 bytes to a [RawServer] and
// waits for the echo.
func PingLimit(ctx context.Context, raw Endpoint, d time.Duration) (Measured, error) {
	m := Measured{Latency: &Histogram{}}
	conn, err := openStream(ctx, raw, rawEcho)
	if err != nil {
		return m, err
	}
	defer conn.Close()
	t := StartMeter(raw)
	buf := make([]byte, pingBytes)
	for end := t.began.Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		before := time.Now()
		if _, err := conn.Write(buf); err != nil {
			return m, err
		}
		if _, err := io.ReadFull(conn, buf); err != nil {
			return m, err
		}
		m.Latency.Record(time.Since(before))
		m.Records++
		m.Bytes += pingBytes
	}
	t.Stop(&m)
	return m, context.Cause(ctx)
}

// openStream connects to a raw server and selects its mode. The caller must close the connection.
func openStream(ctx context.Context, raw Endpoint, mode byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, rawSetupTimeout)
	defer cancel()
	conn, err := raw.dial(ctx, raw.Seeds[0])
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{mode}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// WriteSendfile writes the file of 64 MiB that a [RawServer] sends. Afterwards the file is in the page cache.
func WriteSendfile(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	chunk := make([]byte, 1<<20)
	for written := 0; written < sendfileBytes && err == nil; written += len(chunk) {
		_, err = f.Write(chunk)
	}
	return errors.Join(err, f.Close())
}
