//go:build linux

// Command peers measures Tidings beside the brokers that it would be chosen over, each by a client of its own, in the
// same minutes and on the same disk: NATS JetStream, Redis Streams and Apache Kafka. In each round every row is measured
// with all of them in turn, and what counts are the ratios within a round.
//
// It brings what it can itself (nats-server by the Go toolchain, redis-server by apt, Apache Kafka by Maven); what can't
// be had is named and left out.
//
//	go run -C tools/peers . -data /var/tmp
//
// docs/performance.md says how to read it. Every server is a process of its own, and idle while others are measured.
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

func init() { runtime.LockOSThread() } // servers die with the thread that has started them: see process

// plan says what is measured.
type plan struct {
	rounds      int
	duration    time.Duration // of one measure
	warmup      time.Duration // before it, with the same load
	recordBytes int
	replayBytes int64
	rest        time.Duration
}

// replayRecords is how many records each peer's stream has that is replayed.
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

// errAbsent matches errors of a peer that can't be had on this machine.
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

// choose finds the peers of a list of names; Tidings is the first, whatever is asked for.
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

// lineUp is the order of a round: each row with all peers in turn.
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

func key(row, peer string) string { return row + " " + peer }

// say tells who waits how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "peers: "+format+"\n", args...) }

// setup is what peers are started with.
type setup struct {
	dir  string // for their data, on the disk that is measured
	made map[string]string
}

// program builds a program with the Go toolchain, once, from this module's folder, and returns its path.
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
