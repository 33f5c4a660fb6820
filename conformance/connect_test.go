package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// connectWorker is the configuration of a distributed worker of Connect: address, REST, topic.
const connectWorker = `bootstrap.servers=%[1]s
group.id=%[3]s-workers
listeners=HTTP://%[2]s
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
config.storage.topic=%[3]s-configs
offset.storage.topic=%[3]s-offsets
status.storage.topic=%[3]s-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=3
status.storage.partitions=2
offset.flush.interval.ms=200
session.timeout.ms=6000
heartbeat.interval.ms=500
plugin.discovery=service_load
`

// connect runs a worker of Connect with a source, which reads lines of a file into a topic, and a sink, which writes them
// to another file. Then it kills the worker, and starts one that must go on where that one was.
func connect(ctx context.Context, k *tools) error {
	from, to := filepath.Join(k.dir, "from.txt"), filepath.Join(k.dir, "to.txt")
	if err := os.WriteFile(from, []byte("one\ntwo\n"), 0o600); err != nil {
		return err
	}
	rest, stop, err := k.connectWorker()
	if err != nil {
		return err
	}
	defer func() { stop() }()
	for name, config := range map[string]map[string]string{
		"source": {"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "tasks.max": "1", "file": from, "topic": k.topic},
		"sink":   {"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "tasks.max": "1", "file": to, "topics": k.topic},
	} {
		body, err := json.Marshal(map[string]any{"name": name, "config": config})
		if err != nil {
			return err
		}
		if _, err := askConnect(ctx, http.MethodPost, rest+"/connectors", body); err != nil {
			return err
		}
	}
	if err := endsWith(ctx, to, "one\ntwo\n"); err != nil {
		return err
	}
	if status, err := askConnect(ctx, http.MethodGet, rest+"/connectors/sink/status", nil); err != nil || !strings.Contains(status, `"RUNNING"`) {
		return fmt.Errorf("the sink is %s (%w)", status, err)
	}
	stop()

	if _, stop, err = k.connectWorker(); err != nil {
		return err
	}
	f, err := os.OpenFile(from, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString("three\n"); err != nil {
		return err
	}
	return endsWith(ctx, to, "two\nthree\n") // the lines before it may be there twice
}

// connectWorker starts a worker and returns the address of its REST API, and what kills it.
func (k *tools) connectWorker() (rest string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	listen := l.Addr().String()
	l.Close()
	config := filepath.Join(k.dir, "worker.properties")
	if err := os.WriteFile(config, fmt.Appendf(nil, connectWorker, k.address, listen, k.topic), 0o600); err != nil {
		return "", nil, err
	}
	cmd := exec.Command("java", "-Xmx256m", "-cp", toolsPath(), "org.apache.kafka.connect.cli.ConnectDistributed", config)
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	return "http://" + listen, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}, nil
}

// askConnect sends a request until the worker answers it: before it has joined its group it refuses.
func askConnect(ctx context.Context, method, url string, body []byte) (answer string, err error) {
	for {
		req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			content, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode < 300 {
				return string(content), nil
			}
			answer = string(content)
		}
		if err := pause(ctx); err != nil {
			return "", fmt.Errorf("%s %s: %w, last %s", method, url, err, answer)
		}
	}
}

// endsWith waits until the content of a file ends with want.
func endsWith(ctx context.Context, name, want string) error {
	for {
		got, err := os.ReadFile(name)
		if err == nil && strings.HasSuffix(string(got), want) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%s has %q, which should end with %q: %w", filepath.Base(name), got, want, err)
		}
	}
}

// pause waits a moment before something outside is asked again.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}
