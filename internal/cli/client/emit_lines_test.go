package client

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

// batches counts the batches that a client fetches, and their records.
type batches struct{ batches, records int }

func (b *batches) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	b.batches++
	b.records += m.NumRecords
}

// Case: thousands of lines about a few subjects. They go many to a batch, the receipts come in the order of the lines, and in
// the log the events of each subject do, too.
func TestEmitSendsManyLinesAtATime(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	s.Want(s.Run("topic", "create", "doors", "-p", "4"), 0)
	const lines, subjects = 5000, 7
	var in strings.Builder
	for i := range lines {
		fmt.Fprintf(&in, "{\"door\":%d,\"n\":%d}\n", i%subjects, i)
	}
	r := s.Want(s.Pipe(in.String(), "emit", "door.opened", "--topic", "doors", "--subject", "door/{door}", "-o", "jsonl"), 0)

	var counted batches
	type place struct {
		partition int32
		offset    int64
	}
	at := map[place]int{} // n, by where its event is
	next := map[string]int{}
	client := kafkaClient(t, dir, kgo.ConsumeTopics("doors"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.WithHooks(&counted))
	for len(at) < lines {
		for _, r := range client.PollFetches(t.Context()).Records() {
			var data struct{ Door, N int }
			if err := json.Unmarshal(r.Value, &data); err != nil {
				t.Fatal(err)
			}
			subject := string(r.Key)
			if before, ok := next[subject]; ok && data.N != before || subject != fmt.Sprintf("door/%d", data.Door) {
				t.Fatalf("%s: event %d, want %d", subject, data.N, before)
			}
			next[subject] = data.N + subjects
			at[place{r.Partition, r.Offset}] = data.N
		}
	}
	n := 0
	for text := bufio.NewScanner(strings.NewReader(r.Stdout)); text.Scan(); n++ {
		var where receipt
		if err := json.Unmarshal(text.Bytes(), &where); err != nil {
			t.Fatal(err)
		}
		if got, ok := at[place{where.Partition, where.Offset}]; !ok || got != n {
			t.Fatalf("line %d says that its event is at %+v, where event %d is", n+1, where, got)
		}
	}
	if n != lines {
		t.Errorf("%d receipts", n)
	}
	if client.Close(); counted.batches > lines/10 {
		t.Errorf("%d events in %d batches: the next line waits for the one before", counted.records, counted.batches)
	}
}

// testConnection returns a connection to the broker in a directory, until the test ends.
func testConnection(t *testing.T, dir string) connection {
	t.Helper()
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.close)
	return conn
}

// kafkaClient returns a client of the broker in a directory.
func kafkaClient(t *testing.T, dir string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	conn := testConnection(t, dir)
	client, err := kgo.NewClient(conn.log.Kgo(opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// Case: files as people have them. A byte order mark is left out; what is no UTF-8 is refused with its place.
func TestEmitTakesUTF8Only(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	s.Want(s.Run("topic", "create", "doors"), 0)
	emit := func(in string) clitest.Result { return s.Pipe(in, "emit", "door.opened", "--topic", "doors") }
	s.Want(emit("\xef\xbb\xbf{\"ID\":\"1\"}\r\n{\"ID\":\"2\"}\r\n"), 0)
	s.Want(emit("{\"ID\":\"3\"}\n{\"ID\":\"4\",\"Name\":\"caf\xe9\"}\n{\"ID\":\"5\"}\n"), 1, "line 2, column 22", "0xe9", "UTF-8", "1 event was emitted and durable")
	s.Want(emit("\xff\xfe{\x00}\x00"), 1, "line 1, column 1", "UTF-16")
	s.Want(emit("{\"ID\":\"4\"}\n\xef\xbb\xbf{}"), 1, "line 2, column 1") // a mark in the middle is none
	s.Want(emit("\xef\xbb\xbf"), 2, "stdin is empty")
	s.Want(s.Run("emit", "door.opened", "{\"a\":\"\xe9\"}", "--topic", "doors"), 2, "column 7", "UTF-8")
	s.Want(s.Run("emit", "door.opened", "\xef\xbb\xbf{}", "--topic", "doors"), 0)
	s.Want(s.Run("topic", "ls"), 0, "doors\t4\t5") // 1, 2, 3, 4, and that of the argument
}

// Case: one line is too large for the topic. Those before it are durable, and none after it is sent.
func TestEmitStopsAtALineThatIsTooLarge(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	s.Want(s.Run("topic", "create", "doors"), 0)
	large := `"` + strings.Repeat("x", 2<<20) + `"`
	s.Want(s.Pipe("1\n2\n"+large+"\n4\n", "emit", "door.opened", "--topic", "doors"), 1, "line 3: ", "max.message.bytes", "2 events were emitted and durable", "--from-line 3 < FILE")
	s.Want(s.Run("topic", "ls"), 0, "doors\t4\t2")
}

// Case: the log refuses lines that are among others on their way. The fault names the first, and what became of the others.
func TestWhatBecomesOfLinesAfterOneThatFails(t *testing.T) {
	stopped := 0
	var out strings.Builder
	r := newReceipts(shell.NewOutput(&out, shell.FormatAuto), continuation{"notes", true}, func() { stopped++ })
	sent := make(chan []sentLine, 1)
	outcomes := []error{nil, nil, errors.New("no"), nil, nil, nil, &tidings.UnacknowledgedError{MayBeInLog: true}, errors.New("no"), nil, errNotSent}
	lines := make([]sentLine, len(outcomes))
	for i, err := range outcomes {
		lines[i].number = i + 1
		r.awaited.answer(&lines[i], receipt{ID: fmt.Sprint("id", i+1)}, err)
	}
	sent <- lines
	close(sent)
	err := r.collect(t.Context(), sent, t.Logf)
	f, ok := errors.AsType[*shell.Fault](err)
	if !ok || f.Message != "stdin, line 3: no" || f.Exit != 1 || stopped != 1 || r.durable() != 6 {
		t.Fatalf("%+v", f)
	}
	for _, want := range []string{"2 events were emitted and durable before it", "lines 4-6, 9", "of line 7 it is not known (ids notes-LINE)", "--id notes --from-line 3", "a copy"} {
		if !strings.Contains(f.Hint, want) {
			t.Errorf("nothing of %q in %q", want, f.Hint)
		}
	}
	// Without subjects copies may be events of their own.
	if hint := r.failed.fault(continuation{"notes", false}).(*shell.Fault).Hint; !strings.Contains(hint, "handled twice") || strings.Contains(hint, "a copy") {
		t.Error(hint)
	}
	if rows := strings.Count(out.String(), "\n"); rows != 6 || !strings.HasPrefix(out.String(), "id1\t") {
		t.Errorf("%s", out.String())
	}
}

// Case: lines come one by one, as from tail -f. Each receipt is there before the next line.
func TestReceiptsOfSlowLines(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	s.Want(s.Run("topic", "create", "doors"), 0)
	in, lines, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr clitest.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- shell.Run(t.Context(), []string{"emit", "door.opened", "--topic", "doors", "--data", dir}, in, &stdout, &stderr, Commands)
	}()
	for n := range 3 {
		io.WriteString(lines, "{}\n")
		for deadline := time.Now().Add(time.Minute); strings.Count(stdout.String(), "\n") != n+1; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q after %d lines; %s", stdout.String(), n+1, stderr.String())
			}
		}
	}
	lines.Close()
	if code := <-ended; code != 0 {
		t.Error(code, stderr.String())
	}
}

func TestProgressOfAnEmission(t *testing.T) {
	var w strings.Builder
	tick, over := make(chan time.Time), make(chan struct{})
	counts := []int{1, 2501}
	durable := func() int { n := counts[0]; counts = counts[1:]; return n }
	go func() {
		tick <- time.Time{}
		tick <- time.Time{}
		close(over)
	}()
	writeProgress(&w, durable, tick, over)
	if want := clearLine + "1 event durable  2/s" + clearLine + "2501 events durable  5000/s" + clearLine; w.String() != want {
		t.Errorf("%q", w.String())
	}
}
