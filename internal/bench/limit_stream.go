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

	"tidings.dev/internal/pipe"
)

// A raw server does one thing on each connection, which the client names by its first byte.
const (
	rawFlood    = 'f' // write bytes from memory without end
	rawSendfile = 's' // write a file, from its start to its end, over and over, by sendfile
	rawEcho     = 'e' // send back each pingBytes
)

const (
	floodBytes      = 256 << 10 // of one write
	readBytes       = 1 << 20   // of one read
	pingBytes       = 64
	sendfileBytes   = 64 << 20 // of the file, which is warm
	streamWarmup    = 100 * time.Millisecond
	rawSetupTimeout = 10 * time.Second
)

// Raw is the other end of the limits of a connection. The zero value is ready; File is needed for sendfile alone.
type Raw struct {
	File string // a file of some size, warm
}

// Serve takes connections until l is closed, and serves each in the background. It returns nil then.
func (r *Raw) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go r.ServeConn(conn)
	}
}

// ServeConn serves one connection until the client leaves, and closes it.
func (r *Raw) ServeConn(conn net.Conn) {
	defer conn.Close()
	var way [1]byte
	if _, err := io.ReadFull(conn, way[:]); err != nil {
		return
	}
	switch way[0] {
	case rawFlood:
		for data := make([]byte, floodBytes); ; {
			if _, err := conn.Write(data); err != nil {
				return
			}
		}
	case rawSendfile:
		f, err := os.Open(r.File)
		if err != nil {
			return
		}
		defer f.Close()
		for err == nil {
			if _, err = f.Seek(0, io.SeekStart); err == nil {
				_, err = io.Copy(conn, f) // a TCPConn's ReadFrom: sendfile
			}
		}
	case rawEcho:
		_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}, make([]byte, pingBytes))
	}
}

// Dial connects within the process, by the same kind of connection that an in-process broker has.
func (r *Raw) Dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := pipe.New(0, pipe.Addr("raw"), pipe.Addr("client"))
	go r.ServeConn(ours)
	return theirs, nil
}

// StreamLimit reads what a raw server writes from memory, over a number of connections at once, for d.
func StreamLimit(ctx context.Context, raw Endpoint, conns int, d time.Duration) (Measured, error) {
	return readStreams(ctx, raw, rawFlood, conns, d)
}

// SendfileLimit is StreamLimit with a server that sends a file by sendfile.
func SendfileLimit(ctx context.Context, raw Endpoint, conns int, d time.Duration) (Measured, error) {
	return readStreams(ctx, raw, rawSendfile, conns, d)
}

func readStreams(ctx context.Context, raw Endpoint, way byte, conns int, d time.Duration) (Measured, error) {
	var m Measured
	var streams []net.Conn
	defer func() {
		for _, conn := range streams {
			conn.Close()
		}
	}()
	for range conns {
		conn, err := openStream(ctx, raw, way)
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
	_ = pause(ctx, streamWarmup) // who ends it is told below
	before, t := bytes.Load(), startMeter(raw)
	_ = pause(ctx, d)
	m.Bytes = bytes.Load() - before
	t.stop(&m)
	if err := failed.Load(); err != nil {
		return m, fmt.Errorf("read a raw stream: %w", *err)
	}
	for _, conn := range streams {
		conn.Close()
	}
	reading.Wait()
	return m, context.Cause(ctx)
}

// PingLimit sends a few bytes and waits until they are back, over and over, for d.
func PingLimit(ctx context.Context, raw Endpoint, d time.Duration) (Measured, error) {
	m := Measured{Latency: &Histogram{}}
	conn, err := openStream(ctx, raw, rawEcho)
	if err != nil {
		return m, err
	}
	defer conn.Close()
	t := startMeter(raw)
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
	t.stop(&m)
	return m, context.Cause(ctx)
}

func openStream(ctx context.Context, raw Endpoint, way byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, rawSetupTimeout)
	defer cancel()
	conn, err := raw.dial(ctx, raw.Seeds[0])
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{way}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// WriteSendfile makes the file that a raw server sends, warm.
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

// pause blocks for d or until ctx ends; the error is then why it did.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
