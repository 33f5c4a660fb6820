package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// SocketName is the name of a unix socket in the data directory of a running broker. Clients connect to it with
// [DialDir] and speak the Kafka protocol. Only the owner of the directory can connect to it.
const SocketName = "tidings.sock"

// maxSocketPath is the length in bytes of the longest path that fits into a socket address on every system: the address
// has 108 bytes on Linux and 104 on others, with a zero at the end.
const maxSocketPath = 103

// socket is a unix socket in the data directory on which the broker listens.
type socket struct {
	listener net.Listener
	dir      *os.File // the directory, which must stay open as long as the socket; nil unless shortPath returned it
}

// listenOnSocket creates the socket SocketName and serves it in the background. If the path is too long for a socket,
// it creates none and returns nil.
func (b *Broker) listenOnSocket() error {
	path := filepath.Join(b.config.Dir, SocketName)
	socket, err := b.listenUnix(path)
	if err != nil || socket == nil {
		return err
	}
	b.socket = socket
	b.conns.Go(func() {
		if err := b.Serve(socket.listener); !errors.Is(err, ErrClosed) {
			b.log.Error("the unix socket has failed", "path", path, "err", err)
		}
	})
	return nil
}

// listenUnix listens on a unix socket that only the owner of the directory can connect to. If the path is too long for
// a socket, it returns nil and no error. It first removes a socket that an earlier broker has left at the path, which
// is safe because b has the directory locked.
func (b *Broker) listenUnix(path string) (*socket, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("broker: remove an old socket: %w", err)
	}
	short, dir, err := shortPath(path)
	if err != nil {
		b.log.Warn("no unix socket: the data directory's path is too long for one", "path", path, "max_bytes", maxSocketPath, "err", err)
		return nil, nil
	}
	listener, err := net.Listen("unix", short)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		if dir != nil {
			dir.Close()
		}
		return nil, fmt.Errorf("broker: listen on %s: %w", path, err)
	}
	return &socket{listener, dir}, nil
}

// close makes Accept return an error, and removes the socket's file.
func (s *socket) close() {
	s.listener.Close()
	if s.dir != nil {
		s.dir.Close()
	}
}

// DialDir connects to the broker that has dir open as its data directory, in any process of this machine. It uses the
// unix socket [SocketName]. The caller must close the connection. If no broker has dir open, the error names dir and
// matches [fs.ErrNotExist] or, after a broker was killed, [syscall.ECONNREFUSED].
func DialDir(ctx context.Context, dir string) (net.Conn, error) {
	return dialSocket(ctx, dir, SocketName)
}

// dialSocket connects to the unix socket with this name in the data directory dir. Errors are as described at DialDir.
func dialSocket(ctx context.Context, dir, name string) (net.Conn, error) {
	if dir == "" {
		return nil, errors.New("broker: the data directory is empty: name the directory of a running broker")
	}
	conn, err := dialUnix(ctx, filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("broker: no broker runs on %s; `tidings serve --data %s` or broker.Open starts one: %w", dir, dir, err)
	}
	return conn, err
}

// dialUnix connects to the unix socket at path. If path is too long for a socket address, it uses shortPath.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	path, held, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	if held != nil {
		defer held.Close()
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// shortPath returns a path to the same file that fits into a socket address, or an error if there is none. If the
// returned file is not nil, it must stay open while the path is in use.
func shortPath(path string) (string, *os.File, error) {
	if len(path) <= maxSocketPath {
		return path, nil, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("%s is %d bytes long; a socket's path may have %d", path, len(path), maxSocketPath)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), dir, nil
}
