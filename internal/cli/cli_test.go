package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

// program is the whole program.
func program(t testing.TB) clitest.Program { return clitest.New(t, commands) }

// Case: each mistake has its message, its hint and its exit code; under -o json for programs too.
func TestMistakes(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	nowhere := program(t)
	gone := clitest.FreeAddress(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x\ty\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got   clitest.Result
		code  int
		texts []string
	}{
		"unknown command":      {nowhere.Run("tali"), 2, []string{`"tali"`, "tidings tail"}},
		"unknown subcommand":   {nowhere.Run("topic", "remove"), 2, []string{`"remove"`}},
		"unknown flag":         {nowhere.Run("tail", "--nope"), 2, []string{"--nope", "--help"}},
		"no argument":          {nowhere.Run("story"), 2, []string{"usage: tidings story"}},
		"too many arguments":   {nowhere.Run("version", "x"), 2, []string{`"x"`}},
		"format":               {nowhere.Run("version", "-o", "xml"), 2, []string{"table, json, jsonl or yaml"}},
		"unreachable":          {nowhere.Run("topic", "ls", "--brokers", gone), 5, []string{gone, "connection refused", "tidings serve"}},
		"bad address":          {nowhere.Run("topic", "ls", "--brokers", "localhost:port"), 2, []string{"--brokers", "HOST:PORT"}},
		"no data directory":    {nowhere.Run("topic", "ls", "--data", "/no/such"), 3, []string{"/no/such"}},
		"no broker on it":      {nowhere.Run("topic", "ls", "--data", t.TempDir()), 5, []string{"no broker runs"}},
		"tail unknown topic":   {s.Run("tail", "nope"), 3, []string{`"nope"`, "topic ls"}},
		"show unknown topic":   {s.Run("topic", "show", "nope"), 3, []string{`"nope"`}},
		"emit unknown topic":   {s.Run("emit", "a.happened", "{}", "--topic", "nope"), 3, []string{`"nope"`, "topic create nope"}},
		"emit bad data":        {s.Run("emit", "a.happened", "{oops}", "--topic", "nope"), 2, []string{"column 2"}},
		"emit bad type":        {s.Run("emit", "a b", "{}"), 2, []string{`"a b"`}},
		"unknown group":        {s.Run("group", "show", "nope"), 3, []string{`"nope"`, "group ls"}},
		"bad topic name":       {s.Run("topic", "create", "a/b"), 2, []string{`"a/b"`}},
		"bad topic setting":    {s.Run("topic", "create", "a", "-c", "nope=1"), 2, []string{"nope"}},
		"bad offset":           {s.Run("tail", "--from", "soon"), 2, []string{`"soon"`}},
		"demo unknown service": {nowhere.Run("demo", "--without", "emial"), 2, []string{`"emial"`, "email"}},
		"demo no such input":   {nowhere.Run("demo", "--input", "/no/such.csv"), 3, []string{"/no/such.csv"}},
		"demo not orders":      {nowhere.Run("demo", "--input", file), 1, []string{"InvoiceNo"}},
		"demo bad money":       {nowhere.Run("demo", "--decline-above", "lots"), 2, []string{"decline-above"}},
		"serve open address":   {nowhere.Run("serve", "--listen", "0.0.0.0:0"), 2, []string{"--insecure"}},
		"serve on brokers":     {nowhere.Run("serve", "--brokers", gone), 2, []string{"--data"}},
		"serve bad address":    {nowhere.Run("serve", "--listen", "9092"), 2, []string{"HOST:PORT"}},
	} {
		t.Run(name, func(t *testing.T) { program(t).Want(c.got, c.code, c.texts...) })
	}

	r := s.Run("topic", "show", "nope", "-o", "json")
	var f shell.Fault
	if err := json.Unmarshal([]byte(r.Stderr), &f); err != nil || f.Code != "not_found" || f.Hint == "" || r.Stdout != "" || r.Code != 3 {
		t.Errorf("exit %d, stdout %q, stderr %q: %v", r.Code, r.Stdout, r.Stderr, err)
	}
}

// Case: a flag counts before its variable, and a bad variable is named.
func TestEnvironment(t *testing.T) {
	t.Setenv("TIDINGS_OUTPUT", "yaml")
	s := program(t)
	s.Want(s.Run("version"), 0, "version: ")
	s.Want(s.Run("version", "-o", "json"), 0, `"version": `)
	t.Setenv("TIDINGS_OUTPUT", "xml")
	s.Want(s.Run("version"), 2, "TIDINGS_OUTPUT")
	t.Setenv("TIDINGS_OUTPUT", "")
	t.Setenv("TIDINGS_BROKERS", clitest.FreeAddress(t))
	s.Want(s.Run("topic", "ls"), 5, os.Getenv("TIDINGS_BROKERS"))
	beside := program(t).On(clitest.Broker(t))
	beside.Want(beside.Run("topic", "ls"), 0)
}

func TestDataDirectoriesThatWillNotDo(t *testing.T) {
	s := program(t)
	foreign := t.TempDir()
	file := filepath.Join(foreign, "thesis.doc")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"demo", "--settle", "--listen", "127.0.0.1:0"}} {
		s.Want(s.Run(append(command, "--data", foreign)...), 1, "thesis.doc", "--data")
		s.Want(s.Run(append(command, "--data", file)...), 1, file)
		s.Want(s.Run(append(command, "--data", "/proc/nope")...), 1, "/proc/nope")
	}
	left, err := os.ReadDir(foreign)
	if err != nil || len(left) != 1 {
		t.Errorf("something was put into the foreign directory: %v %v", left, err)
	}
}
