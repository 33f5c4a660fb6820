package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/shell"
)

// Names of contenders in reports. The name of the measured broker is bench.BrokerName.
const (
	against     = "against" // the same broker with the --against-… flags
	nullSink    = "null_sink"
	nullSource  = "null_source"
	sync4K      = "fdatasync_4k"
	sync1M      = "fdatasync_1m"
	append1M    = "append_1m"
	coldRead    = "cold_read"
	loopbackTCP = "loopback_tcp"
	memoryPipe  = "memory_pipe"
	sendfile    = "sendfile"
	oneGroup    = "one_group"
)

const (
	maxLimitTime = time.Second // maximum time for one limit in one round
	keepBytes    = 64 << 20    // bytes of batches that the null source keeps
)

// ceilings are the limits of the machine that a broker is compared with: the disk, and servers at the other end of a
// connection. The servers run where the broker runs: in this process, reached through memory, or in another process,
// reached over TCP.
type ceilings struct {
	disk      *bench.DiskLimit
	limitTime time.Duration // time for one limit in one round

	null *bench.NullServer // both in this process, or both nil if they run in process
	raw  *bench.RawServer

	process   *testbed.Process
	addresses bench.CeilingServers
}

// openCeilings starts the servers and opens the disk limit, with files in the directory scratch. The caller must
// close the result, also after an error.
func openCeilings(c *common, scratch string) (_ *ceilings, err error) {
	s, err := openDiskCeiling(c, scratch)
	if err != nil {
		return s, err
	}
	if c.inProcess {
		s.null, s.raw = &bench.NullServer{KeepBytes: keepBytes}, &bench.RawServer{}
		return s, nil
	}
	file := filepath.Join(scratch, "sendfile")
	if err := bench.WriteSendfile(file); err != nil {
		return s, err
	}
	program, err := thisProgram()
	if err != nil {
		return s, err
	}
	s.process, err = testbed.Start(c.session.Stderr, &s.addresses, program, "bench", ceilingsName, "--file", file, "--keep-bytes", fmt.Sprint(keepBytes))
	return s, err
}

// openDiskCeiling opens the disk limit alone, without the servers. The caller must close the result, also after an
// error.
func openDiskCeiling(c *common, scratch string) (_ *ceilings, err error) {
	s := &ceilings{limitTime: maxLimitTime}
	if d := c.load.Flags.Duration; d > 0 {
		s.limitTime = min(d, maxLimitTime)
	}
	s.disk, err = bench.OpenDiskLimit(scratch)
	return s, err
}

func (s *ceilings) close() error {
	var errs []error
	if s.process != nil {
		errs = append(errs, s.process.Stop())
	}
	if s.disk != nil {
		errs = append(errs, s.disk.Close())
	}
	return errors.Join(errs...)
}

// nullServer returns the endpoint of the null server.
func (s *ceilings) nullServer() bench.Endpoint {
	if s.null != nil {
		return bench.Endpoint{Seeds: []string{shell.LocalBroker}, Dial: s.null.Dial}
	}
	return bench.Endpoint{Seeds: []string{s.addresses.NullAddress}, Usage: s.process.Usage}
}

// rawServer returns the endpoint of the raw server.
func (s *ceilings) rawServer() bench.Endpoint {
	if s.raw != nil {
		return bench.Endpoint{Seeds: []string{shell.LocalBroker}, Dial: s.raw.Dial}
	}
	return bench.Endpoint{Seeds: []string{s.addresses.RawAddress}, Usage: s.process.Usage}
}

// sync returns a contender that writes writeBytes at a time to a file and makes each write durable.
func (s *ceilings) sync(name string, writeBytes int) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (bench.Measured, error) {
		return s.disk.Rewrite(ctx, writeBytes, s.limitTime)
	}}
}

// appendFile returns a contender that appends 1 MiB at a time to a file and makes each append durable.
func (s *ceilings) appendFile() bench.Contender {
	return bench.Contender{Name: append1M, Run: func(ctx context.Context) (bench.Measured, error) {
		return s.disk.Append(ctx, 1<<20, s.limitTime)
	}}
}

// readCold returns a contender that reads the segment files of a data directory, 4 MiB at a time, after dropping them
// from the page cache.
func (s *ceilings) readCold(data string) bench.Contender {
	return bench.Contender{Name: coldRead, Run: func(ctx context.Context) (bench.Measured, error) {
		return bench.ReadLimit(ctx, data, "*.log", 4<<20, s.limitTime)
	}}
}

// transport returns contenders that send bytes over conns connections: over TCP from memory and by sendfile, or, if
// the servers run in this process, through memory.
func (s *ceilings) transport(conns int) []bench.Contender {
	stream := bench.Contender{Name: memoryPipe, Run: func(ctx context.Context) (bench.Measured, error) {
		return bench.StreamLimit(ctx, s.rawServer(), conns, s.limitTime)
	}}
	if s.raw != nil {
		return []bench.Contender{stream}
	}
	stream.Name = loopbackTCP
	return []bench.Contender{stream, {Name: sendfile, Run: func(ctx context.Context) (bench.Measured, error) {
		return bench.SendfileLimit(ctx, s.rawServer(), conns, s.limitTime)
	}}}
}
