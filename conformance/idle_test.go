package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	idleTopics    = 100
	idleConsumers = 100
	mostIdleCPU   = 0.01 // of one core
	mostIdleMiB   = 60
)

// An idle broker with 100 topics and 100 consumers in long polls costs next to nothing. CPU seconds are counted, not
// the clock, so that a noisy machine does not decide.
func TestIdleCostsNothing(t *testing.T) {
	address := freeAddress(t)
	broker := serve(t, t.TempDir(), address, "--auto-create-topics")
	for i := range idleTopics {
		run(t, time.Minute, "tidings", "topic", "create", fmt.Sprintf("idle-%d", i), "--brokers", address)
	}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range idleConsumers {
		client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(fmt.Sprintf("idle-%d", i%idleTopics)), kgo.FetchMaxWait(30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for ctx.Err() == nil {
				client.PollFetches(ctx)
			}
		}()
		t.Cleanup(client.Close)
	}
	t.Cleanup(cancel)
	time.Sleep(5 * time.Second) // they connect

	const window = 20 * time.Second
	before := cpuSeconds(t, broker)
	time.Sleep(window)
	used := (cpuSeconds(t, broker) - before) / window.Seconds()
	rss := rssMiB(t, broker)
	t.Logf("idle with %d topics and %d consumers: %.2f %% of a core, %.1f MiB RSS", idleTopics, idleConsumers, 100*used, rss)
	if used >= mostIdleCPU {
		t.Errorf("%.2f %% of a core, want under %.0f %%", 100*used, 100*mostIdleCPU)
	}
	if rss >= mostIdleMiB {
		t.Errorf("%.1f MiB RSS, want under %d", rss, mostIdleMiB)
	}
}

// cpuSeconds is user and system time of a process since its start (proc_pid_stat(5), fields 14 and 15, in hundredths).
func cpuSeconds(t *testing.T, p *program) float64 {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if err1 != nil || err2 != nil {
		t.Fatalf("proc stat: %s", stat)
	}
	return (user + system) / 100
}

func rssMiB(t *testing.T, p *program) float64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}
