//go:build linux

// Command committerbet checks by experiment that a reaction's committer, both at least once and with transactions,
// keeps its guarantees on a real Apache Kafka. docs/adr/0024-committer-settled-by-experiment.md has the results.
//
// It starts one node of Apache Kafka (KRaft), with the jars of the conformance suite, and runs three parts:
//
//   - probe: raw requests show which commits of positions the group coordinator accepts and which it refuses.
//   - trial: two instances of one reaction, each in a process, handle some thousand events of many subjects and commit in
//     rounds. At random moments and at named points of a round they are killed, stopped for longer than their sessions, cut off
//     from the broker, or told to leave, and a third instance joins and leaves. Then the topics are checked as a read_committed
//     consumer sees them, and so is the group's own log.
//   - hop: measures latency and processor time at least once, with transactions, and without a committer, in turn.
//
// All random choices follow from -seed, which is printed; the timing also depends on the machine. The exit code is 1
// if something is wrong. Go, Java 17 and Maven are needed:
//
//	(cd conformance/kafka && mvn -q -B dependency:copy-dependencies)
//	cd tools/committerbet && go run . -seed 31
//	go run . -parts trial -transaction-version 1 -kinds "B, takeover;B, takeover, old protocol"
//	go run . -parts trial -kinds "broken: B without member and generation"   # shows that the judge notices it
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// instanceCommand is the first argument with which this program runs an instance.
const instanceCommand = "instance"

func main() {
	if len(os.Args) == 3 && os.Args[1] == instanceCommand {
		var s settings
		err := json.Unmarshal([]byte(os.Args[2]), &s)
		if err == nil {
			err = runInstance(s)
		}
		exit(err)
	}
	var r referee
	flag.StringVar(&r.jars, "jars", "../../conformance/kafka/jars", "Apache Kafka's jars")
	flag.StringVar(&r.dir, "dir", "", "where the broker keeps its data; a temporary directory by default")
	flag.StringVar(&r.parts, "parts", "probe,trial,hop", "what to do, comma-separated")
	flag.IntVar(&r.txnVersion, "transaction-version", 2, "the cluster's")
	flag.StringVar(&r.setting, "broker-config", "", "a further line of the broker's configuration")
	flag.Uint64Var(&r.seed, "seed", uint64(time.Now().UnixNano()%1_000_000), "of all that is random")
	flag.IntVar(&r.seconds, "seconds", 60, "of each trial")
	flag.IntVar(&r.trials, "trials", 1, "of each kind")
	flag.StringVar(&r.kinds, "kinds", "", "names of kinds of trials, separated by semicolons; all by default")
	flag.IntVar(&r.hops, "hops", 5, "alternations of the measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(r.run(ctx))
}

// exit prints err, if it is not nil, and ends the process.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "committerbet:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// referee is the main program, which runs the broker and the parts. Its fields are the flags.
type referee struct {
	jars, dir, parts, kinds, setting  string
	txnVersion, seconds, trials, hops int
	seed                              uint64
	broker                            *broker
}

func (r *referee) run(ctx context.Context) (err error) {
	if r.jars, err = filepath.Abs(r.jars); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(r.dir, "committerbet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if r.broker, err = newBroker(ctx, r.jars, dir, r.txnVersion, r.setting); err != nil {
		return err
	}
	defer func() { r.broker.kill() }()
	fmt.Printf("Apache Kafka %s, transaction.version %d, seed %d %s\n", r.broker.version(), r.txnVersion, r.seed, r.setting)
	for part := range strings.SplitSeq(r.parts, ",") {
		switch part {
		case "probe":
			err = r.probe(ctx)
		case "trial":
			err = r.trial(ctx)
		case "hop":
			err = r.hop(ctx)
		default:
			err = fmt.Errorf("-parts: %q is none", part)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

// kind is a kind of trial. A broken one runs only if -kinds names it; its judge must find something wrong.
type kind struct {
	name       string
	settings   settings
	killBroker bool
	broken     bool // runs only if -kinds names it, and the judge must find something wrong
}

// kinds are all kinds of trials.
var kinds = []kind{
	{"A", settings{Mode: modeAtLeastOnce}, false, false},
	{"A, broker killed", settings{Mode: modeAtLeastOnce, LargeBatches: true}, true, false},
	{"B", settings{Mode: modeTransactions, TxnVersion: 2, AbortLost: true, LargeBatches: true}, false, false},
	{"B, takeover", settings{Mode: modeTransactions, TxnVersion: 2, AbortLost: true, Takeover: true}, false, false},
	{"B, takeover, overlap, commit when lost", settings{Mode: modeTransactions, TxnVersion: 2, Overlap: true, Takeover: true}, false, false},
	{"B, takeover, broker killed", settings{Mode: modeTransactions, TxnVersion: 2, AbortLost: true, Takeover: true}, true, false},
	{"B, takeover, old protocol", settings{Mode: modeTransactions, TxnVersion: 1, AbortLost: true, Takeover: true}, false, false},
	{"broken: B without member and generation", settings{Mode: modeTransactions, TxnVersion: 2, Blind: true}, false, true},
}

// trial runs all selected kinds of trials and prints their results.
func (r *referee) trial(ctx context.Context) error {
	number := 0
	wrong := 0
	for round := range r.trials {
		for _, k := range kinds {
			if named := strings.Contains(";"+r.kinds+";", ";"+k.name+";"); !named && (r.kinds != "" || k.broken) {
				continue
			}
			number++
			t := trial{settings: k.settings, killBroker: k.killBroker, feed: feed{events: 150 * r.seconds, perS: 150, subjects: 300, refused: 4}}
			t.settings.Address, t.settings.Trial = r.broker.address, fmt.Sprint("trial", number)
			t.settings.Seed, t.settings.Busy, t.settings.CommitEvery = r.seed+uint64(round), true, commitEvery
			fmt.Printf("\n%s, seed %d\n", k.name, t.settings.Seed)
			tally, found, err := t.run(ctx, r.broker)
			if tally != nil {
				fmt.Println(tally)
				wrong += tally.of(noteBroken)
			}
			if err != nil {
				return err
			}
			fmt.Println("   ", found)
			wrong += len(found.wrong)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d things are wrong", wrong)
	}
	return nil
}
