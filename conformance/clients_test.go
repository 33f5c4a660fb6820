package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// served runs the demo until all stories have settled, starts a broker on its data, and returns the broker's address.
func served(t *testing.T) (address string) {
	t.Helper()
	data := t.TempDir()
	address = freeAddress(t)
	run(t, 2*time.Minute, "tidings", "demo", "--settle", "-o", "json", "--data", data, "--listen", address)
	serve(t, data, address, "--auto-create-topics")
	return address
}

// TestKcat uses kcat (librdkafka) to list topics, to write and read records with headers and with each codec, and to
// read in a group.
func TestKcat(t *testing.T) {
	address := served(t)

	var listed struct {
		Topics []struct {
			Topic      string
			Partitions []struct{ Partition, Leader int }
		}
	}
	if err := json.Unmarshal(tool(t, "", "kcat", "-b", address, "-L", "-J"), &listed); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, topic := range listed.Topics {
		names = append(names, topic.Topic)
		for _, p := range topic.Partitions {
			if p.Leader < 0 {
				t.Errorf("%s/%d has no leader", topic.Topic, p.Partition)
			}
		}
	}
	for _, want := range []string{"orders", "tidings.subscriptions", "tidings.reactions", "tidings.story"} {
		if !slices.Contains(names, want) {
			t.Errorf("kcat lists %v, without %s", names, want)
		}
	}

	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		topic := "kcat-" + codec
		var lines strings.Builder
		for i := range 500 {
			fmt.Fprintf(&lines, "key-%d\tvalue %d of %s\n", i%7, i, codec)
		}
		tool(t, lines.String(), "kcat", "-b", address, "-P", "-t", topic, "-K", "\t", "-z", codec, "-H", "origin=kcat", "-H", "codec="+codec, "-X", "enable.idempotence=true")
		got := tool(t, "", "kcat", "-b", address, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k\t%s\t%h\n")
		var want []string
		for line := range strings.Lines(lines.String()) {
			want = append(want, strings.TrimSuffix(line, "\n")+"\torigin=kcat,codec="+codec)
		}
		have := strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
		slices.Sort(want)
		slices.Sort(have)
		if !slices.Equal(have, want) {
			t.Errorf("%s: %d records came back for %d, or not the same ones", codec, len(have), len(want))
		}
	}

	// Case: a group reads the whole topic once and commits. When it joins again, it reads nothing.
	all := len(dump(t, address, "orders"))
	group := func() int {
		out := tool(t, "", "kcat", "-b", address, "-G", "kcat-group", "-e", "-q", "-f", "%t/%p/%o\n", "-X", "auto.offset.reset=earliest", "orders")
		return strings.Count(string(out), "\n")
	}
	if got := group(); got != all {
		t.Errorf("the group read %d records of %d", got, all)
	}
	if got := group(); got != 0 {
		t.Errorf("the group read %d records again after it had committed them", got)
	}
}

// TestKafkajs uses kafkajs, an independent client in JavaScript, to list topics, and to write and read records in a
// group of two members. Keys, values and headers must arrive unchanged.
func TestKafkajs(t *testing.T) {
	if _, err := os.Stat(filepath.Join("clients", "node", "node_modules")); err != nil {
		t.Fatal("kafkajs is not installed: npm ci --prefix conformance/clients/node")
	}
	address := served(t)
	all := len(dump(t, address, "orders"))
	var got struct {
		Topics        []string
		Records, Left int
		Mine          struct {
			Key, Value, Origin, Empty string
			Bytes                     []int
		}
		Placed map[string]string
	}
	out := tool(t, "", "node", "clients/node/demo.mjs", address, "orders", fmt.Sprint(all))
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !slices.Contains(got.Topics, "orders") {
		t.Errorf("kafkajs lists %v, without orders", got.Topics)
	}
	if got.Records != all+1 || got.Left != 0 {
		t.Errorf("kafkajs read %d records of %d and left %d uncommitted", got.Records, all+1, got.Left)
	}
	if got.Mine.Key != "order/536365" || got.Mine.Origin != "kafkajs" || got.Mine.Empty != "" || !slices.Equal(got.Mine.Bytes, []int{0, 1, 255}) {
		t.Errorf("kafkajs' own record came back as %+v", got.Mine)
	}
	for _, header := range []string{"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_correlationid", "ce_schemaversion", "traceparent", "content-type"} {
		if got.Placed[header] == "" {
			t.Errorf("OrderPlaced reached kafkajs without its header %s: %v", header, got.Placed)
		}
	}
	// Case: a record that Tidings has not written belongs to the story of the order that its key names.
	story := run(t, time.Minute, "tidings", "story", "order/536365", "--brokers", address)
	if !strings.Contains(string(story), "\nrecord ") || !strings.Contains(string(story), "kafkajs-readers") {
		t.Errorf("the story does not show the record that kafkajs wrote, and the group that read it:\n%s", story)
	}
}
