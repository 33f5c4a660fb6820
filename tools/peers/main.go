//go:build linux

// Command peers compares Tidings with other brokers: NATS JetStream, Redis Streams and Apache Kafka. Each broker is
// used through its own client, on the same disk. In each round, each row of the report is measured with all brokers
// in turn, so that the ratios within a round are meaningful.
//
// The program installs what it can (nats-server with the Go toolchain, redis-server with apt, Apache Kafka with
// Maven). Brokers that cannot be installed are named in the report and left out.
//
//	go run -C tools/peers . -data /var/tmp
//
// docs/performance.md explains how to read the report. Each server is a separate process, and is idle while others
// are measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidings.dev/internal/bench"
)

func init() { runtime.LockOSThread() } // the kernel kills servers when the thread that started them ends, see startProcess

// plan has the parameters of the measurements.
type plan struct {
	rounds      int
	duration    time.Duration // measured time of one measurement
	warmup      time.Duration // time before it with the same load
	recordBytes int
	replayBytes int64
	rest        time.Duration
}

// replayRecords returns the number of records in the stream that is replayed.
func (p plan) replayRecords() int64 { return max(p.replayBytes/int64(p.recordBytes), 1) }

func main() {
	var p plan
	dir := flag.String("data", os.TempDir(), "where the servers keep their data, in a directory that is removed at the end; a disk, not a tmpfs")
	only := flag.String("only", "", "names of peers, with commas between: only these (tidings always; default: all of "+strings.Join(names(), ",")+")")
	output := flag.String("o", "table", "table or json")
	check := flag.Bool("check", false, "exit with 6 if a ratio misses its goal")
	flag.IntVar(&p.rounds, "rounds", 5, "rounds")
	flag.DurationVar(&p.duration, "duration", 3*time.Second, "of one measure")
	flag.DurationVar(&p.warmup, "warmup", time.Second, "before each, with the same load")
	flag.DurationVar(&p.rest, "rest", time.Second, "between measures")
	flag.IntVar(&p.recordBytes, "size", 1024, "bytes of a record")
	replay := flag.Int64("replay-mib", 256, "how much is replayed: MiB")
	flag.Parse()
	p.replayBytes = *replay << 20
	if p.rounds < 1 || p.recordBytes < 1 || p.replayBytes < 1 || p.duration <= 0 || flag.NArg() > 0 || *output != "table" && *output != "json" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	missed, err := run(ctx, p, *dir, *only, *output)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "peers: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	case *check && len(missed) > 0:
		fmt.Fprintln(os.Stderr, "peers: missed:", strings.Join(missed, "; "))
		os.Exit(6)
	}
}

// errAbsent matches errors of peers that are not available on this machine.
var errAbsent = errors.New("it can't be had here")

func run(ctx context.Context, p plan, dir, only, output string) (missed []string, err error) {
	began := time.Now()
	chosen, err := choose(only)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp(dir, "tidings-peers-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	s := &setup{dir: scratch}
	var contenders []*contender
	defer func() {
		for _, c := range contenders {
			err = errors.Join(err, c.server.stop())
		}
	}()
	r := newReport(p, scratch)
	say("about %v once all are started", (time.Duration(p.rounds*len(chosen)) * (2*(p.duration+p.warmup) + 3*p.rest + 2*time.Second)).Round(10*time.Second))
	for _, peer := range chosen {
		say("start %s", peer.name)
		c, err := peer.start(ctx, s, peer)
		switch {
		case errors.Is(err, errAbsent):
			say("without %s: %v", peer.name, err)
			r.absent(peer, err)
			continue
		case err != nil:
			return nil, fmt.Errorf("start %s: %w", peer.name, err)
		}
		contenders = append(contenders, c)
		say("fill %s with %d MiB", peer.name, p.replayBytes>>20)
		if err := c.fill(ctx, p); err != nil {
			return nil, fmt.Errorf("fill %s: %w", peer.name, err)
		}
	}
	rounds, err := bench.Alternate(ctx, p.rounds, p.rest, lineUp(p, contenders), nil)
	if err != nil {
		return nil, err
	}
	missed = r.take(rounds, contenders)
	r.TookSeconds = time.Since(began).Round(time.Second).Seconds()
	if output == "json" {
		return missed, r.writeJSON(os.Stdout)
	}
	return missed, r.writeTable(os.Stdout)
}

// choose returns the peers in a comma-separated list of names, and always Tidings, which comes first. For "" it
// returns all peers except those that are measured on request only.
func choose(only string) ([]peer, error) {
	if only == "" {
		return slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return p.onRequest }), nil
	}
	wanted := map[string]bool{tidingsName: true}
	for name := range strings.SplitSeq(only, ",") {
		if !slices.Contains(names(), name) {
			return nil, fmt.Errorf("-only: there is no peer %q: want some of %s", name, strings.Join(names(), ","))
		}
		wanted[name] = true
	}
	return slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return !wanted[p.name] }), nil
}

// lineUp returns the measurements of a round in order: each row with all peers in turn.
func lineUp(p plan, contenders []*contender) []bench.Contender {
	var all []bench.Contender
	for _, row := range rows {
		for _, c := range contenders {
			all = append(all, bench.Contender{Name: key(row.name, c.peer.name), Run: func(ctx context.Context) (bench.Measured, error) {
				m, err := row.run(ctx, c, p)
				if err == nil {
					say("%-12s %-14s %s", row.name, c.peer.name, row.figure(m))
				}
				return m, err
			}})
		}
	}
	return all
}

// key returns the name under which a bench.Round has the measurement of a row with a peer.
func key(row, peer string) string { return row + " " + peer }

// say prints a line of progress to stderr.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "peers: "+format+"\n", args...) }

// setup has what is needed to start peers.
type setup struct {
	dir string // directory for the data of all peers, on the disk that is measured
	// made has the paths of the programs that were built, by package.
	made map[string]string
}

// program builds the Go program of package name and returns its path. The build runs in directory from. Each program
// is built once.
func (s *setup) program(ctx context.Context, name, from string) (string, error) {
	if at, ok := s.made[name]; ok {
		return at, nil
	}
	at := filepath.Join(s.dir, name)
	if err := command(ctx, from, "go", "build", "-o", at, name); err != nil {
		return "", err
	}
	if s.made == nil {
		s.made = map[string]string{}
	}
	s.made[name] = at
	return at, nil
}
