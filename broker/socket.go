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
)

// SocketName is the unix socket in the data directory of a running broker. Whoever may read the directory, and nobody
// else, reaches the broker by it: see DialDir.
const SocketName = "tidings.sock"

// maxSocketPath is what fits into a socket address everywhere (108 bytes on Linux, 104 on others, with a final zero).
const maxSocketPath = 103

// socket is the broker's listener in its data directory.
type socket struct {
	listener net.Listener
	dir      *os.File // nil unless the path had to be shortened
}

// listenOnSocket makes the socket and serves it.
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

// listenUnix makes a socket that nobody but the directory's owner reaches; nil if its path is too long for one. What an
// earlier broker left is removed: we hold the lock.
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

func (s *socket) close() {
	s.listener.Close() // removes the file
	if s.dir != nil {
		s.dir.Close()
	}
}

// DialDir connects to the broker that runs on a data directory, in whichever process of this machine, by its unix
// socket. The error matches fs.ErrNotExist where no broker has run, and syscall.ECONNREFUSED where none runs now.
func DialDir(ctx context.Context, dir string) (net.Conn, error) {
	return dialUnix(ctx, filepath.Join(dir, SocketName))
}

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

// shortPath gives a path of the same file that fits into a socket address. The file, if not nil, must stay open while
// the path is in use.
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
