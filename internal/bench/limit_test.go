package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestDiskLimit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	l, err := OpenDiskLimit(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	for name, sizeBytes := range map[string]int{"1.log": 2<<20 + 7, "2.log": 1, "2.index": 5} {
		if err := os.WriteFile(filepath.Join(data, name), make([]byte, sizeBytes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(ctx context.Context, sizeBytes int, d time.Duration) (Measured, error) {
		return ReadLimit(ctx, data, "*.log", sizeBytes, d)
	}
	for name, limit := range map[string]func(context.Context, int, time.Duration) (Measured, error){
		"rewrite": l.Rewrite, "append": l.Append, "read": read,
	} {
		m, err := limit(t.Context(), 1<<20, 50*time.Millisecond)
		if err != nil || m.Records == 0 || m.Bytes == 0 || m.Bytes > m.Records*1<<20 || m.Latency.Count() != m.Records {
			t.Errorf("%s: %+v: %v", name, m, err)
		}
		if _, err := limit(t.Context(), 64<<20, time.Millisecond); !errors.Is(err, ErrLoad) {
			t.Errorf("%s, too much at a time: %v", name, err)
		}
	}
	if _, err := ReadLimit(t.Context(), data, "*.none", 1<<20, time.Millisecond); err == nil {
		t.Error("files that are not there were read")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Case: the servers as the other process runs them, and each ceiling at its ports; in memory what there is of it.
func TestStreams(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sendfile")
	if err := WriteSendfile(file); err != nil {
		t.Fatal(err)
	}
	servers, err := ListenCeilings(CeilingConfig{File: file})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- servers.Serve(ctx) }()
	tcp, memory := Endpoint{Seeds: []string{servers.RawAddress}}, Endpoint{Seeds: []string{"raw"}, Dial: (&RawServer{}).Dial}
	const d = 200 * time.Millisecond
	for name, run := range map[string]func() (Measured, error){
		"tcp":             func() (Measured, error) { return StreamLimit(ctx, tcp, 2, d) },
		"sendfile":        func() (Measured, error) { return SendfileLimit(ctx, tcp, 2, d) },
		"ping":            func() (Measured, error) { return PingLimit(ctx, tcp, d) },
		"pipe":            func() (Measured, error) { return StreamLimit(ctx, memory, 1, d) },
		"ping in memory":  func() (Measured, error) { return PingLimit(ctx, memory, d) },
		"produce to null": func() (Measured, error) { return produceToNull(ctx, servers, d) },
	} {
		if m, err := run(); err != nil || m.Bytes == 0 || m.Elapsed < d {
			t.Errorf("%s: %+v %v", name, m, err)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("the servers ended with %v", err)
	}
}

func produceToNull(ctx context.Context, servers *CeilingServers, d time.Duration) (Measured, error) {
	e := Endpoint{Seeds: []string{servers.NullAddress}}
	if err := e.CreateTopic(ctx, Topic{Name: "t", Partitions: 1}); err != nil {
		return Measured{}, err
	}
	return Produce{"t", Load{RecordBytes: 1024, Producers: 1, Buffered: 500, Duration: d}}.Run(ctx, e, nil)
}

func TestUsageOfAProcess(t *testing.T) {
	u, err := ProcessUsage(os.Getpid())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system does not tell")
	}
	if err != nil || u.RSSBytes == 0 || u.PeakRSSBytes < u.RSSBytes {
		t.Errorf("%+v %v", u, err)
	}
	if _, err := ProcessUsage(1 << 30); err == nil {
		t.Error("a process that is not there has usage")
	}
	if later := SelfUsage().since(u); later.CPU < 0 || later.Allocs == 0 {
		t.Errorf("%+v", later)
	}
}
