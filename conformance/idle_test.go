package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	idleTopics    = 100
	idleConsumers = 100
	mostIdleCPU   = 0.01 // of one core
	mostIdleMiB   = 60   // resident memory
	longPoll      = 30 * time.Second
)

// firstFetch is a hook of a kgo client. It calls sent when the client has written its first Fetch request.
type firstFetch struct {
	once sync.Once
	sent func()
}

func (f *firstFetch) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == int16(kmsg.Fetch) && err == nil {
		f.once.Do(f.sent)
	}
}

// TestIdleCostsNothing checks that an idle broker with 100 topics and 100 waiting consumers uses almost no CPU time and
// little memory. It measures the CPU time of the broker's process, which does not depend on the load of the machine.
func TestIdleCostsNothing(t *testing.T) {
	address := freeAddress(t)
	broker := serve(t, t.TempDir(), address, "--auto-create-topics")
	for i := range idleTopics {
		run(t, time.Minute, "tidings", "topic", "create", fmt.Sprintf("idle-%d", i), "--brokers", address)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var fetching sync.WaitGroup // done when each consumer has sent its first Fetch
	for i := range idleConsumers {
		fetching.Add(1)
		client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(fmt.Sprintf("idle-%d", i%idleTopics)), kgo.FetchMaxWait(longPoll),
			kgo.WithHooks(&firstFetch{sent: fetching.Done}))
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
	started := make(chan struct{})
	go func() { fetching.Wait(); close(started) }()
	select {
	case <-started:
	case <-time.After(time.Minute):
		t.Fatal("not every consumer has sent a Fetch")
	}

	const window = 20 * time.Second // shorter than longPoll, so that few Fetch requests end in it
	before := cpuSeconds(t, broker)
	time.Sleep(window) // the measurement
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

// cpuSeconds returns the CPU time, user and system, that a process has used since its start. It reads fields 14 and 15
// of /proc/PID/stat, in hundredths of a second (proc_pid_stat(5)).
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

// rssMiB returns the resident memory of a process.
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
