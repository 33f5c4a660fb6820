package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev/broker"
)

// shell runs command lines as a user would, against one data directory.
type shell struct {
	t    *testing.T
	data string // given as --data to each command; "" for none
}

// result is what a command line came to.
type result struct {
	code        int
	out, errout string
}

func (s shell) run(args ...string) result { return s.pipe("", args...) }

func (s shell) pipe(stdin string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	return s.runUntil(ctx, stdin, args...)
}

func (s shell) runUntil(ctx context.Context, stdin string, args ...string) result {
	s.t.Helper()
	if s.data != "" {
		args = append(args, "--data", s.data)
	}
	var out, errout safeBuffer
	code := Run(ctx, args, strings.NewReader(stdin), &out, &errout)
	return result{code, out.String(), errout.String()}
}

// want fails the test unless the command ended with a code, and said these things on stderr or stdout.
func (s shell) want(r result, code int, says ...string) result {
	s.t.Helper()
	if r.code != code {
		s.t.Fatalf("exit %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.errout)
	}
	for _, text := range says {
		if !strings.Contains(r.out+r.errout, text) {
			s.t.Errorf("nothing of %q in\nstdout: %s\nstderr: %s", text, r.out, r.errout)
		}
	}
	return r
}

// safeBuffer may be read while a command writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// withBroker is a shell beside a running broker, which it reaches by the socket in its data directory.
func withBroker(t *testing.T) shell {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return shell{t, dir}
}

// freePort is a loopback port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Case: a first visit. A topic is made, events go in, and all commands tell of them.
func TestCommandsAgainstABroker(t *testing.T) {
	s := withBroker(t)
	s.want(s.run("topic", "create", "doors", "-p", "2", "-c", "retention.ms=-1"), 0, "doors\t2")
	s.want(s.run("topic", "create", "doors"), 1, "already")
	s.want(s.run("topic", "show", "doors"), 0, "retention.ms=-1", "PARTITION")
	s.want(s.run("topic", "edit", "doors", "retention.ms=", "retention.bytes=5000"), 0)
	s.want(s.run("topic", "show", "doors"), 0, "retention.bytes=5000")
	s.want(s.run("topic", "edit", "doors", "retention.ms=soon"), 2, "not a whole number", "doors")
	s.want(s.run("topic", "edit", "doors", "retention.ms"), 2, "NAME=VALUE")
	s.want(s.run("topic", "edit", "windows", "retention.ms=5"), 3, "no topic")
	s.want(s.run("emit", "home.door.opened", `{"door":"7"}`, "--topic", "doors", "--subject", "door/{door}", "--id", "one"), 0, "one\tdoors")
	r := s.want(s.pipe("{\"door\":\"7\"}\n\n{\"door\":\"8\"}", "emit", "home.door.closed", "--topic", "doors", "--subject", "door/{door}", "-o", "jsonl"), 0)
	if n := strings.Count(r.out, "\n"); n != 2 {
		t.Errorf("%d receipts for two lines: %s", n, r.out)
	}

	r = s.want(s.run("tail", "doors", "-n", "2", "-o", "jsonl"), 0)
	var last eventLine
	if err := json.Unmarshal([]byte(strings.Split(strings.TrimSpace(r.out), "\n")[1]), &last); err != nil {
		t.Fatal(err)
	}
	if last.Type != "home.door.closed" || last.Subject != "door/8" || string(last.Data) != `{"door":"8"}` || last.Source == "" {
		t.Errorf("the last event is %+v", last)
	}
	s.want(s.run("tail", "--from", "earliest", "--follow=false"), 0, "home.door.opened", "door/7")
	s.want(s.run("tail", "doors", "--since", "1h", "-n", "1"), 0, "door/")
	s.want(s.run("story", "door/7"), 0, "home.door.opened", "home.door.closed", "nobody listening")
	s.want(s.run("story", "one", "-o", "json"), 0, `"home.door.opened"`)
	s.want(s.run("story", "door/9"), 3, "nothing is known")
	s.want(s.run("topic", "ls"), 0, "doors\t2\t3")

	// Case: what destroys says what it would do, and needs --yes.
	s.want(s.run("topic", "rm", "doors"), 2, "3 records", "--yes")
	s.want(s.run("topic", "ls"), 0, "doors")
	s.want(s.run("topic", "rm", "doors", "--yes"), 0)
	s.want(s.run("topic", "show", "doors"), 3, "no topic")
}

// Case: each mistake has its message, its hint and its exit code; under -o json for programs too.
func TestMistakes(t *testing.T) {
	s := withBroker(t)
	nowhere := shell{t, ""}
	gone := freePort(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x\ty\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got  result
		code int
		says []string
	}{
		"unknown command":      {nowhere.run("tali"), 2, []string{`"tali"`, "tidings tail"}},
		"unknown subcommand":   {nowhere.run("topic", "remove"), 2, []string{`"remove"`}},
		"unknown flag":         {nowhere.run("tail", "--nope"), 2, []string{"--nope", "--help"}},
		"no argument":          {nowhere.run("story"), 2, []string{"usage: tidings story"}},
		"too many arguments":   {nowhere.run("version", "x"), 2, []string{`"x"`}},
		"format":               {nowhere.run("version", "-o", "xml"), 2, []string{"table, json, jsonl or yaml"}},
		"unreachable":          {nowhere.run("topic", "ls", "--brokers", gone), 5, []string{gone, "connection refused", "tidings serve"}},
		"bad address":          {nowhere.run("topic", "ls", "--brokers", "localhost:port"), 2, []string{"--brokers", "HOST:PORT"}},
		"no data directory":    {nowhere.run("topic", "ls", "--data", "/no/such"), 3, []string{"/no/such"}},
		"no broker on it":      {nowhere.run("topic", "ls", "--data", t.TempDir()), 5, []string{"no broker runs"}},
		"tail unknown topic":   {s.run("tail", "nope"), 3, []string{`"nope"`, "topic ls"}},
		"show unknown topic":   {s.run("topic", "show", "nope"), 3, []string{`"nope"`}},
		"emit unknown topic":   {s.run("emit", "a.happened", "{}", "--topic", "nope"), 3, []string{`"nope"`, "topic create nope"}},
		"emit bad data":        {s.run("emit", "a.happened", "{oops}", "--topic", "nope"), 2, []string{"column 2"}},
		"emit bad type":        {s.run("emit", "a b", "{}"), 2, []string{`"a b"`}},
		"unknown group":        {s.run("group", "show", "nope"), 3, []string{`"nope"`, "group ls"}},
		"bad topic name":       {s.run("topic", "create", "a/b"), 2, []string{`"a/b"`}},
		"bad topic setting":    {s.run("topic", "create", "a", "-c", "nope=1"), 2, []string{"nope"}},
		"bad place":            {s.run("tail", "--from", "soon"), 2, []string{`"soon"`}},
		"demo unknown service": {nowhere.run("demo", "--without", "emial"), 2, []string{`"emial"`, "email"}},
		"demo no such input":   {nowhere.run("demo", "--input", "/no/such.csv"), 3, []string{"/no/such.csv"}},
		"demo not orders":      {nowhere.run("demo", "--input", file), 1, []string{"InvoiceNo"}},
		"demo bad money":       {nowhere.run("demo", "--decline-above", "lots"), 2, []string{"decline-above"}},
		"serve open address":   {nowhere.run("serve", "--listen", "0.0.0.0:0"), 2, []string{"--insecure"}},
		"serve bad address":    {nowhere.run("serve", "--listen", "9092"), 2, []string{"HOST:PORT"}},
	} {
		t.Run(name, func(t *testing.T) { shell{t, ""}.want(c.got, c.code, c.says...) })
	}

	r := s.run("topic", "show", "nope", "-o", "json")
	var f Fault
	if err := json.Unmarshal([]byte(r.errout), &f); err != nil || f.Code != "not_found" || f.Hint == "" || r.out != "" || r.code != 3 {
		t.Errorf("exit %d, stdout %q, stderr %q: %v", r.code, r.out, r.errout, err)
	}
}

// Case: a flag counts before its variable, and a bad variable is named.
func TestEnvironment(t *testing.T) {
	t.Setenv("TIDINGS_OUTPUT", "yaml")
	s := shell{t, ""}
	s.want(s.run("version"), 0, "version: ")
	s.want(s.run("version", "-o", "json"), 0, `"version": `)
	t.Setenv("TIDINGS_OUTPUT", "xml")
	s.want(s.run("version"), 2, "TIDINGS_OUTPUT")
	t.Setenv("TIDINGS_OUTPUT", "")
	t.Setenv("TIDINGS_BROKERS", freePort(t))
	s.want(s.run("topic", "ls"), 5, os.Getenv("TIDINGS_BROKERS"))
	beside := withBroker(t)
	beside.want(beside.run("topic", "ls"), 0)
}

// Case: the third line is broken. What came before is in the log, and the message says where to go on.
func TestEmitStopsAtABadLine(t *testing.T) {
	s := withBroker(t)
	s.want(s.run("topic", "create", "doors"), 0)
	s.want(s.pipe("{\"n\":1}\n{\"n\":2}\n{\"n\": oops}\n{\"n\":4}\n", "emit", "door.opened", "--topic", "doors"), 1,
		"line 3, column 7", "2 events were emitted and durable", "tail -n +3")
	s.want(s.pipe("{\"n\":1}\n{\"m\":2}\n", "emit", "door.opened", "--topic", "doors", "--subject", "door/{n}"), 1, "line 2", `"n"`)
	s.want(s.pipe("", "emit", "door.opened", "--topic", "doors"), 2, "stdin is empty")
	r := s.want(s.run("topic", "show", "doors", "-o", "json"), 0)
	var d topicDetail
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
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
	s := withBroker(t)
	s.want(s.run("topic", "create", "doors"), 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { cancel(ErrInterrupted) })
	s.want(s.runUntil(ctx, "", "tail", "doors"), 130)
}

// Case: a broker is served, asked over TCP, and asked to end.
func TestServe(t *testing.T) {
	for cause, code := range map[error]int{ErrTerminated: 0, ErrInterrupted: 130} {
		dir, address := filepath.Join(t.TempDir(), "made", "here"), freePort(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan result, 1)
		go func() {
			ended <- shell{t, dir}.runUntil(ctx, "", "serve", "--listen", address, "-o", "jsonl")
		}()
		other := shell{t, ""}
		for deadline := time.Now().Add(10 * time.Second); other.run("topic", "ls", "--brokers", address).code != 0; {
			if time.Now().After(deadline) {
				t.Fatal("serve does not answer")
			}
			time.Sleep(10 * time.Millisecond)
		}

		// Case: a second one on the same data, and one on the same port.
		other.want(other.run("serve", "--data", dir, "--listen", "127.0.0.1:0"), 1, fmt.Sprint(os.Getpid()))
		other.want(other.run("serve", "--data", t.TempDir(), "--listen", address), 1, address+" is taken by process "+fmt.Sprint(os.Getpid()), ":0")

		cancel(cause)
		r := shell{t, ""}.want(<-ended, code)
		var told serving
		if err := json.Unmarshal([]byte(r.out), &told); err != nil || told.Address != address || told.Data != dir {
			t.Errorf("%s: %v", r.out, err)
		}
	}
}

func TestDataDirectoriesThatWillNotDo(t *testing.T) {
	s := shell{t, ""}
	foreign := t.TempDir()
	file := filepath.Join(foreign, "thesis.doc")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"demo", "--settle", "--listen", "127.0.0.1:0"}} {
		s.want(s.run(append(command, "--data", foreign)...), 1, "thesis.doc", "--data")
		s.want(s.run(append(command, "--data", file)...), 1, file)
		s.want(s.run(append(command, "--data", "/proc/nope")...), 1, "/proc/nope")
	}
	left, err := os.ReadDir(foreign)
	if err != nil || len(left) != 1 {
		t.Errorf("something was put into the foreign directory: %v %v", left, err)
	}
}
