package broker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
)

// ControlName is the name of a unix socket in the data directory of a running broker. [SnapshotOf] and [CheckpointOf]
// use it to send the broker requests that are not part of the Kafka protocol. Only the owner of the directory can
// connect to it. A connection carries one request and one answer, each a line of JSON:
//
//	→ {"request":"snapshot"}
//	← {"dir":"snapshot.new","snapshot":{…}}   or {"error":"…"}
//	→ {"request":"checkpoint"}
//	← {}   when the checkpoint is durable     or {"error":"…"}
//
// Before the answer the broker sends a line {"waiting":true} every second, so that the client can tell work that takes long
// from a broker that hangs. A snapshot exists as long as its connection: when the connection ends, the broker removes the
// snapshot.
const ControlName = "control.sock"

// controlRequest is a request on the control socket.
type controlRequest struct {
	Request string `json:"request"`
}

// controlAnswer is the answer to a controlRequest. Error is empty if the request succeeded. Dir and Snapshot are set in
// the answer to a "snapshot" request only. Waiting means that this is not the answer yet.
type controlAnswer struct {
	Waiting  bool             `json:"waiting,omitempty"`
	Error    string           `json:"error,omitempty"`
	Dir      string           `json:"dir,omitempty"`
	Snapshot *engine.Snapshot `json:"snapshot,omitempty"`
}

// Times of the control socket. Only tests change them.
var (
	controlInterval = time.Second // between two lines that say that the broker is at work
	// controlTimeout is how long a client waits for the next line, and for the end of the connection that it closes.
	controlTimeout = 30 * time.Second
)

// maxControlBytes is the maximum length of a request on the control socket, in bytes.
const maxControlBytes = 4096

// listenForControl creates the control socket and serves it in the background. If the path is too long for a socket, it
// creates none and returns nil.
func (b *Broker) listenForControl() error {
	socket, err := b.listenUnix(filepath.Join(b.config.Dir, ControlName))
	if err != nil || socket == nil {
		return err
	}
	b.control = socket
	b.conns.Go(func() {
		for {
			conn, err := b.accept(socket.listener)
			if err != nil {
				if !b.isClosing() && !errors.Is(err, net.ErrClosed) {
					b.log.Error("the control socket has failed", "err", err)
				}
				return
			}
			b.conns.Go(func() { b.serveControl(conn) })
		}
	})
	return nil
}

// serveControl reads the one request of a connection, answers it, and closes the connection.
func (b *Broker) serveControl(conn net.Conn) {
	// When the broker closes, the connection must end even if the client does nothing.
	stop := context.AfterFunc(b.ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()

	in := bufio.NewReaderSize(conn, maxControlBytes)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return // the client has gone, or its request is too long
	}
	var request controlRequest
	answer := json.NewEncoder(conn)
	switch err := json.Unmarshal(line, &request); {
	case err != nil:
		_ = answer.Encode(controlAnswer{Error: "no request: " + err.Error()}) // Encode fails only if the client has gone
	case request.Request == "snapshot":
		b.serveSnapshot(in, answer)
	case request.Request == "checkpoint":
		var done controlAnswer
		if err := reporting(answer, func() error { return b.engine.Checkpoint(b.ctx) }); err != nil {
			done.Error = err.Error()
		}
		_ = answer.Encode(done)
	default:
		_ = answer.Encode(controlAnswer{Error: fmt.Sprintf("this broker knows no request %q", request.Request)})
	}
}

// reporting calls do and returns its error. Until do has returned, it tells the client every second that the broker is at
// work.
func reporting(answer *json.Encoder, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	every := time.NewTicker(controlInterval)
	defer every.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-every.C:
			_ = answer.Encode(controlAnswer{Waiting: true}) // fails only if the client has gone, which do notices if it matters
		}
	}
}

// serveSnapshot makes a snapshot and answers the client. It removes the snapshot when the client closes its side of the
// connection, or the broker closes. in is the connection after the request.
func (b *Broker) serveSnapshot(in *bufio.Reader, answer *json.Encoder) {
	if !b.snapshots.TryLock() {
		_ = answer.Encode(controlAnswer{Error: "another backup is under way"})
		return
	}
	defer b.snapshots.Unlock()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	go func() {
		_, _ = in.ReadByte() // returns when the connection ends, because the client sends nothing after its request
		cancel()
	}()
	var taken engine.Snapshot
	err := reporting(answer, func() (err error) {
		taken, err = b.engine.Snapshot(ctx, datadir.SnapshotDir)
		return err
	})
	if err != nil {
		_ = answer.Encode(controlAnswer{Error: err.Error()})
		return
	}
	b.log.Info("made a snapshot", "last_lsn", taken.Last, "files", taken.Files, "bytes", taken.SizeBytes)
	if err := answer.Encode(controlAnswer{Dir: datadir.SnapshotDir, Snapshot: &taken}); err == nil {
		<-ctx.Done()
	}
	if err := os.RemoveAll(filepath.Join(b.config.Dir, datadir.SnapshotDir)); err != nil {
		b.log.Warn("a snapshot could not be removed; the next start does it", "err", err)
	}
}

// Snapshot is an image of a running broker's data directory at one moment. [SnapshotOf] makes a Snapshot. The image
// exists until [Snapshot.Close] is called, the process that called SnapshotOf ends, or the broker closes.
type Snapshot struct {
	engine.Snapshot
	// Dir is the directory of the image, which is itself a data directory. A file of it may be longer than it was at
	// that moment; its file CONTENT lists how many bytes of each file belong to the image.
	Dir  string
	conn net.Conn
}

// SnapshotOf asks the broker that has dir open as its data directory, in any process of this machine, for an image of
// it. SnapshotOf blocks while the broker takes a checkpoint. The caller must call [Snapshot.Close]. There can be one
// snapshot at a time; for a second, SnapshotOf returns an error. If no broker has dir open, the error is that of
// [DialDir]. If the broker gives no sign of life for half a minute, the error matches [os.ErrDeadlineExceeded]. If ctx is
// done first, the error is ctx's.
func SnapshotOf(ctx context.Context, dir string) (*Snapshot, error) {
	answer, conn, err := ask(ctx, dir, "snapshot")
	if err != nil {
		return nil, err
	}
	if answer.Snapshot == nil || !fs.ValidPath(answer.Dir) {
		conn.Close()
		return nil, fmt.Errorf("broker: the broker on %s gave no snapshot", dir)
	}
	return &Snapshot{Snapshot: *answer.Snapshot, Dir: filepath.Join(dir, answer.Dir), conn: conn}, nil
}

// CheckpointOf asks the broker that has dir open as its data directory, in any process of this machine, for a
// checkpoint, and blocks until the checkpoint is durable. If nothing is written afterwards, the next Open has no
// journal to replay. A broker takes checkpoints by itself; CheckpointOf is for choosing the moment. If no broker has
// dir open, the error is that of [DialDir]. Signs of life and ctx are as for [SnapshotOf].
func CheckpointOf(ctx context.Context, dir string) error {
	_, conn, err := ask(ctx, dir, "checkpoint")
	if err != nil {
		return err
	}
	return conn.Close()
}

// ask sends a request to the control socket of the broker that has dir open. It returns the answer and the open
// connection, which the caller must close. An answer with an error is returned as an error, without a connection.
func ask(ctx context.Context, dir, request string) (controlAnswer, net.Conn, error) {
	var answer controlAnswer
	conn, err := dialSocket(ctx, dir, ControlName)
	if err != nil {
		return answer, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(controlTimeout))
	err = json.NewEncoder(conn).Encode(controlRequest{Request: request})
	lines := json.NewDecoder(conn)
	for err == nil {
		answer = controlAnswer{}
		if err = lines.Decode(&answer); !answer.Waiting {
			break
		}
		conn.SetDeadline(time.Now().Add(controlTimeout))
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("broker: the broker on %s hangs or is stopped: it has sent nothing for %v to a request for a %s: %w", dir, controlTimeout, request, err)
	case err != nil:
		err = fmt.Errorf("broker: the broker on %s did not answer: %w", dir, err)
	case answer.Error != "":
		err = fmt.Errorf("broker: the broker on %s: %s", dir, answer.Error)
	default:
		conn.SetDeadline(time.Time{})
		return answer, conn, nil
	}
	conn.Close()
	return answer, nil, err
}

// Close makes the broker remove the image. It blocks until the image is removed or the broker has closed, for at most half
// a minute if the broker hangs; it then returns an error that matches [os.ErrDeadlineExceeded]. A second call returns an
// error that matches [net.ErrClosed].
func (s *Snapshot) Close() error {
	if s == nil || s.conn == nil {
		return errors.New("broker: Close of a Snapshot that was not made: use broker.SnapshotOf")
	}
	var late error
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		s.conn.SetReadDeadline(time.Now().Add(controlTimeout))
		_, err := io.Copy(io.Discard, s.conn) // blocks until the broker closes its side
		if errors.Is(err, os.ErrDeadlineExceeded) {
			late = fmt.Errorf("broker: the broker hangs or is stopped: it has not removed %s for %v: %w", s.Dir, controlTimeout, err)
		}
	}
	return errors.Join(late, s.conn.Close())
}
