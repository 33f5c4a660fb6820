// Package suite is what the programs of the Go clients share: the cases, the command line, and the lines of JSON that
// TestClients reads. A program is called in one of two ways:
//
//	PROGRAM cases ADDRESS PREFIX [CASE...]               runs the cases, all without names, on topics that begin with PREFIX
//	PROGRAM member ADDRESS TOPIC GROUP PROTOCOL INSTANCE is one member of a group until SIGTERM
//
// PROTOCOL is classic or consumer (KIP-848), INSTANCE the id of a static member, or "-".
package suite

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// limit is how long a case may take.
const limit = time.Minute

// Member is what a member of a group is told.
type Member struct {
	Address, Topic, Group string
	Consumer              bool   // the protocol of KIP-848
	Instance              string // of a static member, else empty
}

// Main runs the program of the client of module. open connects to a broker. member returns when its context is done,
// after the member has left.
func Main(module string, open func(address string) (Client, error), member func(context.Context, Member) error) {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch args := flag.Args(); {
	case len(args) >= 3 && args[0] == "cases":
		emit(map[string]string{"version": version(module)})
		for _, c := range cases {
			if len(args) > 3 && !slices.Contains(args[3:], c.name) {
				continue
			}
			err := within(ctx, func(ctx context.Context) error {
				client, err := open(args[1])
				if err != nil {
					return err
				}
				defer client.Close()
				return c.run(ctx, test{client, args[2] + "-" + c.name})
			})
			emit(map[string]any{"case": c.name, "ok": err == nil, "lacks": errors.Is(err, errors.ErrUnsupported), "detail": fmt.Sprint(err)})
		}
	case len(args) == 6 && args[0] == "member":
		m := Member{Address: args[1], Topic: args[2], Group: args[3], Consumer: args[4] == "consumer", Instance: strings.TrimPrefix(args[5], "-")}
		if err := member(ctx, m); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: cases ADDRESS PREFIX [CASE...] | member ADDRESS TOPIC GROUP PROTOCOL INSTANCE")
		os.Exit(2)
	}
}

// within runs a case. One that does not end in time is left alone.
func within(ctx context.Context, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit + 5*time.Second):
		return fmt.Errorf("no end after %v", limit)
	}
}

// Assigned reports, to the test that has started the program, all partitions that the group has assigned to this member.
func Assigned(partitions []int32) {
	emit(map[string][]int32{"assigned": append([]int32{}, partitions...)})
}

// Got reports, to the test that has started the program, that this member has read the record at an offset.
func Got(partition int32, offset int64) {
	emit(map[string][2]int64{"read": {int64(partition), offset}})
}

var stdout sync.Mutex

// emit prints one line of JSON.
func emit(v any) {
	stdout.Lock()
	defer stdout.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(v)
}

// version returns the version of module that this program was built with.
func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "unknown"
}
