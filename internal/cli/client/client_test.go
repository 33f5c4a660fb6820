package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

func program(t testing.TB) clitest.Program { return clitest.New(t, Commands) }

// Case: a first visit. A topic is made, events go in, and all commands show them.
func TestCommandsAgainstABroker(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	s.Want(s.Run("topic", "create", "doors", "-p", "2", "-c", "retention.ms=-1"), 0, "doors\t2")
	s.Want(s.Run("topic", "create", "doors"), 1, "already")
	s.Want(s.Run("topic", "show", "doors"), 0, "retention.ms=-1", "PARTITION")
	s.Want(s.Run("topic", "edit", "doors", "retention.ms=", "retention.bytes=5000"), 0)
	s.Want(s.Run("topic", "show", "doors"), 0, "retention.bytes=5000")
	s.Want(s.Run("topic", "edit", "doors", "retention.ms=soon"), 2, "not a whole number", "doors")
	s.Want(s.Run("topic", "edit", "doors", "retention.ms"), 2, "NAME=VALUE")
	s.Want(s.Run("topic", "edit", "windows", "retention.ms=5"), 3, "no topic")
	s.Want(s.Run("emit", "home.door.opened", `{"door":"7"}`, "--topic", "doors", "--subject", "door/{door}", "--id", "one"), 0, "one\tdoors")
	r := s.Want(s.Pipe("{\"door\":\"7\"}\n\n{\"door\":\"8\"}", "emit", "home.door.closed", "--topic", "doors", "--subject", "door/{door}", "-o", "jsonl"), 0)
	if n := strings.Count(r.Stdout, "\n"); n != 2 {
		t.Errorf("%d receipts for two lines: %s", n, r.Stdout)
	}

	r = s.Want(s.Run("tail", "doors", "-n", "2", "-o", "jsonl"), 0)
	var last eventLine
	if err := json.Unmarshal([]byte(strings.Split(strings.TrimSpace(r.Stdout), "\n")[1]), &last); err != nil {
		t.Fatal(err)
	}
	if last.Type != "home.door.closed" || last.Subject != "door/8" || string(last.Data) != `{"door":"8"}` || last.Source == "" {
		t.Errorf("the last event is %+v", last)
	}
	s.Want(s.Run("tail", "--from", "earliest", "--follow=false"), 0, "home.door.opened", "door/7")
	s.Want(s.Run("tail", "doors", "--since", "1h", "-n", "1"), 0, "door/")
	s.Want(s.Run("story", "door/7"), 0, "home.door.opened", "home.door.closed", "nobody listening")
	s.Want(s.Run("story", "one", "-o", "json"), 0, `"home.door.opened"`)
	s.Want(s.Run("story", "door/9"), 3, "nothing is known")
	s.Want(s.Run("topic", "ls"), 0, "doors\t2\t3")

	// Case: --verbose also logs what the Kafka client does.
	if r := s.Want(s.Run("topic", "ls", "--verbose"), 0, "doors\t2\t3"); !strings.Contains(r.Stderr, "ListOffsets") {
		t.Errorf("nothing of requests in %s", r.Stderr)
	}
	if r := s.Run("topic", "ls"); r.Stderr != "" {
		t.Errorf("logged without --verbose: %s", r.Stderr)
	}

	// Case: a command that destroys prints what it would do, and needs --yes.
	s.Want(s.Run("topic", "rm", "doors"), 2, "3 records", "--yes")
	s.Want(s.Run("topic", "ls"), 0, "doors")
	s.Want(s.Run("topic", "rm", "doors", "--yes"), 0)
	s.Want(s.Run("topic", "show", "doors"), 3, "no topic")
}

// Case: the third line is broken. What came before is in the log, and the message has where to go on.
func TestEmitStopsAtABadLine(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	s.Want(s.Run("topic", "create", "doors"), 0)
	s.Want(s.Pipe("{\"n\":1}\n{\"n\":2}\n{\"n\": oops}\n{\"n\":4}\n", "emit", "door.opened", "--topic", "doors"), 1,
		"line 3, column 7", "2 events were emitted and durable", "--from-line 3 < FILE")
	s.Want(s.Pipe("{\"n\":1}\n{\"m\":2}\n", "emit", "door.opened", "--topic", "doors", "--subject", "door/{n}"), 1, "line 2", `"n"`)
	s.Want(s.Pipe("", "emit", "door.opened", "--topic", "doors"), 2, "stdin is empty")
	r := s.Want(s.Run("topic", "show", "doors", "-o", "json"), 0)
	var d topicDetail
	if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, p := range d.Partitions {
		n += p.End
	}
	if n != 3 {
		t.Errorf("%d events in the log, want 3: those before the bad lines", n)
	}
}

// Case: ctrl-C while a command waits for more.
func TestInterruptEndsATail(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	s.Want(s.Run("topic", "create", "doors"), 0)
	s.Want(s.Run("emit", "home.door.opened", `{"door":"7"}`, "--topic", "doors", "--id", "one"), 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	tail := s.Start(ctx, "", "tail", "doors", "--from", "earliest")
	tail.Await(t, "home.door.opened")
	cancel(shell.ErrInterrupted)
	s.Want(tail.Wait(), shell.ExitInterrupted)
}

// Case: the log has records that nobody can decode. A tail says so once for those in a row, and prints the rest.
func TestTailPassesOverWhatCannotBeDecoded(t *testing.T) {
	record := func(topic string, offset int64, header string) *kgo.Record {
		return &kgo.Record{Topic: topic, Offset: offset, Headers: []kgo.RecordHeader{{Key: header}}}
	}
	var notes strings.Builder
	taking := tail{notes: &notes, passed: map[topicPartition]int64{}}
	taken := ""
	for _, r := range []*kgo.Record{
		record("a", 0, "x"), record("a", 1, "tidings-undecodable"), record("b", 1, "tidings-undecodable"), record("a", 2, "tidings-undecodable"),
		record("a", 3, "x"), record("a", 4, "tidings-undecodable"),
	} {
		if taking.takes(r) {
			taken += fmt.Sprint(r.Topic, r.Offset, " ")
		}
	}
	if taken != "a0 a3 " || strings.Count(notes.String(), "\n") != 3 || !strings.Contains(notes.String(), "of a: the records from offset 4 on") {
		t.Errorf("took %q, and noted\n%s", taken, notes.String())
	}
}
