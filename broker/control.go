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

	"tidings.dev/internal/engine"
)

// ControlName is the unix socket in the data directory by which the programs of this machine ask a running broker for
// what is no part of the Kafka protocol. Whoever may read the directory, and nobody else, reaches it. One connection
// carries one request: a line of JSON, answered by a line of JSON.
//
//	→ {"request":"snapshot"}
//	← {"dir":"snapshot.new","snapshot":{…}}   or {"error":"…"}
//	→ {"request":"checkpoint"}
//	← {}   when it is durable                 or {"error":"…"}
//
// A snapshot stays as long as its connection: when that ends, however it ends, the broker removes it.
const ControlName = "control.sock"

type controlRequest struct {
	Request string `json:"request"`
}

type controlAnswer struct {
	Error    string           `json:"error,omitempty"`
	Dir      string           `json:"dir,omitempty"`
	Snapshot *engine.Snapshot `json:"snapshot,omitempty"`
}

// maxControlBytes bounds a request.
const maxControlBytes = 4096

// listenForControl makes the control socket and serves it. Without one, for a path that is too long, the broker serves
// all the same.
func (b *Broker) listenForControl() error {
	socket, err := b.listenUnix(filepath.Join(b.config.Dir, ControlName))
	if err != nil || socket == nil {
		return err
	}
	b.control = socket
	b.conns.Go(func() {
		for {
			conn, err := socket.listener.Accept()
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

// serveControl answers one request.
func (b *Broker) serveControl(conn net.Conn) {
	// Connections end with the broker, whatever their peers do.
	stop := context.AfterFunc(b.ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()

	in := bufio.NewReaderSize(conn, maxControlBytes)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return // it has said nothing that could be answered
	}
	var request controlRequest
	answer := json.NewEncoder(conn)
	switch err := json.Unmarshal(line, &request); {
	case err != nil:
		_ = answer.Encode(controlAnswer{Error: "no request: " + err.Error()}) // if it has gone, there is nobody to tell
	case request.Request == "snapshot":
		b.serveSnapshot(in, answer)
	case request.Request == "checkpoint":
		var said controlAnswer
		if err := b.engine.Checkpoint(b.ctx); err != nil {
			said.Error = err.Error()
		}
		_ = answer.Encode(said) // the same
	default:
		_ = answer.Encode(controlAnswer{Error: fmt.Sprintf("this broker knows no request %q", request.Request)})
	}
}

// serveSnapshot makes a snapshot and keeps it until the connection ends, or its peer says no more.
func (b *Broker) serveSnapshot(in *bufio.Reader, answer *json.Encoder) {
	if !b.snapshots.TryLock() {
		_ = answer.Encode(controlAnswer{Error: "another backup is under way"})
		return
	}
	defer b.snapshots.Unlock()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	go func() {
		_, _ = in.ReadByte() // nothing more is to come but the end
		cancel()
	}()
	taken, err := b.engine.Snapshot(ctx, engine.SnapshotDir)
	if err != nil {
		_ = answer.Encode(controlAnswer{Error: err.Error()})
		return
	}
	b.log.Info("made a snapshot", "last_lsn", taken.Last, "files", taken.Files, "bytes", taken.SizeBytes)
	if err := answer.Encode(controlAnswer{Dir: engine.SnapshotDir, Snapshot: &taken}); err == nil {
		<-ctx.Done()
	}
	if err := os.RemoveAll(filepath.Join(b.config.Dir, engine.SnapshotDir)); err != nil {
		b.log.Warn("a snapshot could not be removed; the next start does it", "err", err)
	}
}

// Snapshot is an image of a running broker's data directory. It stays until Close or until the broker ends.
type Snapshot struct {
	engine.Snapshot
	Dir  string // the image: a data directory; only as much of each file as its CONTENT says belongs to it
	conn net.Conn
}

// SnapshotOf asks the broker that runs on a data directory, in whichever process of this machine, for an image of it. It
// blocks while the broker takes a checkpoint. The error matches fs.ErrNotExist or syscall.ECONNREFUSED where no broker
// runs.
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

// CheckpointOf asks the broker that runs on a data directory, in whichever process of this machine, for a checkpoint,
// and returns when it is durable: after it, and with nothing written since, a start has nothing to replay. A broker takes
// checkpoints by itself; nobody needs this but to choose the moment. Errors are as of SnapshotOf.
func CheckpointOf(ctx context.Context, dir string) error {
	_, conn, err := ask(ctx, dir, "checkpoint")
	if err != nil {
		return err
	}
	return conn.Close()
}

// ask sends one request to the broker on a data directory and returns its answer, with the connection that it came on.
func ask(ctx context.Context, dir, request string) (controlAnswer, net.Conn, error) {
	var answer controlAnswer
	conn, err := dialUnix(ctx, filepath.Join(dir, ControlName))
	if err != nil {
		return answer, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err = json.NewEncoder(conn).Encode(controlRequest{Request: request})
	if err == nil {
		err = json.NewDecoder(conn).Decode(&answer)
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
		err = fmt.Errorf("broker: the broker on %s did not answer: %w", dir, err)
	case answer.Error != "":
		err = fmt.Errorf("broker: the broker on %s: %s", dir, answer.Error)
	default:
		return answer, conn, nil
	}
	conn.Close()
	return answer, nil, err
}

// Close gives the snapshot up. It returns when the broker has removed it, or has ended.
func (s *Snapshot) Close() error {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, s.conn) // an end of any kind will do
	}
	return s.conn.Close()
}
