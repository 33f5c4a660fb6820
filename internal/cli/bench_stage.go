package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
)

// benchStage is what a benchmark plays on: a broker, and with --ceiling the stub and the disk beside it.
type benchStage struct {
	b       *benchmark
	target  bench.Target
	data    string // of a broker of ours; "" with --brokers
	scratch string // for raw limits: on the same file system as data
	temp    string // removed at the end; "" for none

	remote bench.Endpoint // with --brokers
	child  *child         // the broker in another process
	addr   string         // its address
	own    *broker.Broker // the broker in this one

	stub      *child
	addresses bench.Stub
	null      *bench.Null // in this process
	raw       *bench.Raw
	disk      *bench.DiskLimit
}

func (b *benchmark) openStage(ctx context.Context) (_ *benchStage, err error) {
	s := &benchStage{b: b}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.places(); err != nil {
		return nil, err
	}
	switch {
	case b.brokers != "":
		t, err := brokersTarget("--brokers", b.brokers)
		if err != nil {
			return nil, err
		}
		s.remote = bench.Endpoint{Seeds: t.brokers}
		s.target = bench.Target{Kind: "brokers", Address: b.brokers}
	default:
		if err := s.startBroker(); err != nil {
			return nil, err
		}
		s.target = bench.Target{Kind: "process", Data: absolute(s.data), FileSystem: fileSystem(s.data)}
		if b.inProcess {
			s.target.Kind = "in-process"
		}
	}
	if b.ceiling {
		err = s.openCeilings()
	}
	return s, err
}

// places finds directories. Raw limits are measured beside the data, since nothing foreign may be in it.
func (s *benchStage) places() (err error) {
	switch {
	case s.b.brokers == "" && s.b.data != "":
		s.data, s.scratch = s.b.data, s.b.data+".bench"
		s.temp = s.scratch
	default:
		if s.temp, err = os.MkdirTemp("", "tidings-bench-"); err != nil {
			return err
		}
		s.scratch = filepath.Join(s.temp, "scratch")
		if s.b.brokers == "" {
			s.data = filepath.Join(s.temp, "data")
		}
	}
	if err := os.MkdirAll(s.scratch, 0o700); err != nil {
		return err
	}
	if kind := fileSystem(s.scratch); kind == "tmpfs" {
		s.b.note("%s is in memory (tmpfs): syncs cost nothing there; name a directory on a disk with --data", s.scratch)
	}
	return nil
}

func (s *benchStage) startBroker() error {
	config := s.b.childConfig
	if s.b.inProcess {
		config.Dir, config.Logger = s.data, s.b.logger()
		own, err := openBroker(config)
		s.own = own
		return err
	}
	var told brokerChild
	c, err := startChild(s.b.stderr, &told, append([]string{"bench", "serve", "--data", s.data}, childArguments(config)...)...)
	s.child, s.addr = c, told.Address
	return err
}

func (s *benchStage) stopBroker() (err error) {
	if s.own != nil {
		err = s.own.Close()
		s.own = nil
	}
	if s.child != nil {
		err = errors.Join(err, s.child.stop())
		s.child = nil
	}
	return err
}

// restartCold stops the broker, drops its files from the page cache, and starts it again.
func (s *benchStage) restartCold() error {
	if err := s.stopBroker(); err != nil {
		return err
	}
	if err := s.forget(); err != nil {
		return err
	}
	return s.startBroker()
}

// forget drops the files of a broker that does not run from the page cache.
func (s *benchStage) forget() error {
	err := filepath.WalkDir(s.data, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return dropFromCache(name)
	})
	if err != nil {
		return fmt.Errorf("empty the page cache: %w", err)
	}
	return nil
}

// restart stops the broker and starts it again, as it is configured now.
func (s *benchStage) restart() error {
	if err := s.stopBroker(); err != nil {
		return err
	}
	return s.startBroker()
}

// kill ends a broker in another process as a crash would.
func (s *benchStage) kill() {
	s.child.kill()
	s.child = nil
}

// broker is where the broker is now: it moves when it is restarted.
func (s *benchStage) broker() bench.Endpoint {
	switch {
	case s.own != nil:
		own := s.own
		return bench.Endpoint{Seeds: []string{localBroker}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return own.Dial(ctx) }}
	case s.child != nil:
		return bench.Endpoint{Seeds: []string{s.addr}, Usage: s.child.usage}
	}
	return s.remote
}

// openCeilings starts what the broker is held against: in this process where the broker is, else in another one.
func (s *benchStage) openCeilings() (err error) {
	if s.disk, err = bench.OpenDiskLimit(s.scratch); err != nil {
		return err
	}
	if s.b.inProcess {
		s.null, s.raw = &bench.Null{KeepBytes: benchKeepBytes}, &bench.Raw{}
		return nil
	}
	file := filepath.Join(s.scratch, "sendfile")
	if err := bench.WriteSendfile(file); err != nil {
		return err
	}
	s.stub, err = startChild(s.b.stderr, &s.addresses, "bench", "stub", "--file", file, "--keep-bytes", fmt.Sprint(benchKeepBytes))
	return err
}

func (s *benchStage) nullServer() bench.Endpoint {
	if s.null != nil {
		return bench.Endpoint{Seeds: []string{localBroker}, Dial: s.null.Dial}
	}
	return bench.Endpoint{Seeds: []string{s.addresses.Null}, Usage: s.stub.usage}
}

func (s *benchStage) rawServer() bench.Endpoint {
	if s.raw != nil {
		return bench.Endpoint{Seeds: []string{localBroker}, Dial: s.raw.Dial}
	}
	return bench.Endpoint{Seeds: []string{s.addresses.Raw}, Usage: s.stub.usage}
}

// streamName is what the raw limit of the transport is called.
func (s *benchStage) streamName() string {
	if s.raw != nil {
		return memoryPipe
	}
	return loopbackTCP
}

func (s *benchStage) close() error {
	err := s.stopBroker()
	if s.stub != nil {
		err = errors.Join(err, s.stub.stop())
	}
	if s.disk != nil {
		err = errors.Join(err, s.disk.Close())
	}
	if s.temp != "" {
		err = errors.Join(err, os.RemoveAll(s.temp))
	}
	return err
}
