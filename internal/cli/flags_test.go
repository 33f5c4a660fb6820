package cli

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

// sharedFlags has, for each command, which of the flags --brokers, --data and --verbose it uses.
var sharedFlags = map[string]string{
	"backup":        "data verbose",
	"bench":         "",
	"bench consume": "brokers data verbose",
	"bench e2e":     "brokers data verbose",
	"bench fanout":  "brokers data verbose",
	"bench produce": "brokers data verbose",

	"bench react":         "",
	"bench react backlog": "brokers data verbose",
	"bench react emit":    "brokers data verbose",
	"bench react latency": "brokers data verbose",
	"bench react memory":  "brokers data verbose",

	"bench story":         "",
	"bench story index":   "brokers data verbose",
	"bench story lag":     "brokers data verbose",
	"bench story lookup":  "brokers data verbose",
	"bench story settled": "brokers data verbose",

	"demo":         "brokers data verbose",
	"doctor":       "data",
	"emit":         "brokers data verbose",
	"group":        "",
	"group ls":     "brokers data verbose",
	"group retire": "brokers data verbose",
	"group seek":   "brokers data verbose",
	"group show":   "brokers data verbose",
	"repair":       "data",
	"restore":      "data",
	"serve":        "data verbose",
	"show":         "brokers data verbose",
	"story":        "brokers data verbose",
	"tail":         "brokers data verbose",
	"topic":        "",
	"topic create": "brokers data verbose",
	"topic edit":   "brokers data verbose",
	"topic ls":     "brokers data verbose",
	"topic rm":     "brokers data verbose",
	"topic show":   "brokers data verbose",
	"version":      "",
}

// Case: each command with each shared flag that it does not use. Those that it uses are in its help, and no others.
func TestSharedFlags(t *testing.T) {
	found := map[string]*cobra.Command{}
	var walk func(cs []*cobra.Command, above string)
	walk = func(cs []*cobra.Command, above string) {
		for _, c := range cs {
			if !c.Hidden {
				found[above+c.Name()] = c
				walk(c.Commands(), above+c.Name()+" ")
			}
		}
	}
	walk(commands(&shell.Session{}), "")
	if want, got := slices.Sorted(maps.Keys(sharedFlags)), slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Fatalf("the commands are %q, and the table has %q", got, want)
	}
	p := program(t)
	for name, c := range found {
		uses := strings.Fields(sharedFlags[name])
		// As many arguments as the command needs, so that the flag is all that is wrong.
		args := strings.Fields(name)
		for c.Args(c, args[len(strings.Fields(name)):]) != nil {
			if args = append(args, "x"); len(args) > 6 {
				t.Fatalf("%s takes no number of arguments", name)
			}
		}
		help := p.Want(p.Run(append(strings.Fields(name), "--help")...), shell.ExitOK)
		for flag, value := range map[string]string{"brokers": "=127.0.0.1:1", "data": "=there", "verbose": ""} {
			_, flags, _ := strings.Cut(help.Stdout, "Flags:\n")
			if listed := strings.Contains(flags, "--"+flag); listed != slices.Contains(uses, flag) {
				t.Errorf("%s --help: has --%s: %v\n%s", name, flag, listed, help.Stdout)
			}
			if slices.Contains(uses, flag) {
				continue
			}
			r := p.Run(append(slices.Clone(args), "--"+flag+value)...)
			if r.Code != shell.ExitUsage || !strings.Contains(r.Stderr, "tidings "+name+" does not use --"+flag) {
				t.Errorf("%s --%s: exit %d: %s", name, flag, r.Code, r.Stderr)
			}
		}
		if slices.Contains(uses, "brokers") && slices.Contains(uses, "data") {
			p.Want(p.Run(append(slices.Clone(args), "--brokers=127.0.0.1:1", "--data=there")...), shell.ExitUsage, "--brokers and --data")
		}
	}
}

// Case: the commands that cobra makes, and help.
func TestFlagsOfHelp(t *testing.T) {
	p := program(t)
	for _, args := range []string{"help", "help topic ls", "completion bash", ""} {
		r := p.Run(append(strings.Fields(args), "--brokers=127.0.0.1:1")...)
		p.Want(r, shell.ExitUsage, "does not use --brokers")
	}
	p.Want(p.Run("help", "topic", "ls"), shell.ExitOK, "tidings topic ls [flags]", "--all")
	p.Want(p.Run("help", "topic", "remove"), shell.ExitUsage, `"topic remove"`)
	p.Want(p.Run("help", "tali"), shell.ExitUsage, `"tali"`)
}

// Case: flags that a command uses, but not with others that were given, or not with its arguments.
func TestFlagsThatDoNotGoTogether(t *testing.T) {
	dir := t.TempDir()
	p := program(t).On(clitest.Broker(t))
	alone := program(t)
	p.Want(p.Run("topic", "create", "doors"), shell.ExitOK)
	for _, c := range []struct {
		got  clitest.Result
		text string
	}{
		{alone.Run("backup", dir, "--data", dir, "--to", dir), "--data"},
		{alone.Run("doctor", dir, "--data", dir), "--data"},
		{alone.Run("repair", dir, "--data", dir), "--data"},
		{alone.Run("restore", dir, "--list", "--data", dir), "--data"},
		{alone.Run("restore", dir, "--list", "--at", "one"), "--at"},
		{alone.Run("demo", "--brokers", "127.0.0.1:1", "--listen", "127.0.0.1:0"), "--listen"},
		{alone.Run("demo", "--brokers", "127.0.0.1:1", "--insecure"), "--insecure"},
		{p.Run("tail", "doors", "-n", "2", "--follow"), "--follow"},
		{p.Run("tail", "doors", "--from", "earliest", "--since", "1h"), "--since"},
		{p.Run("emit", "home.door.opened", "{}", "--topic", "doors", "--from-line", "2"), "--from-line"},
		{p.Pipe("{}", "emit", "home.door.opened", "--topic", "doors", "--id", "\"one\""), "cannot begin the ids"},
	} {
		alone.Want(c.got, shell.ExitUsage, c.text)
	}
	// Case: the same by the environment, which is for all commands.
	t.Setenv("TIDINGS_FOLLOW", "true")
	p.Want(p.Run("tail", "doors", "-n", "2"), shell.ExitOK)
}

// Case: the help of each command has an example, which the command takes: its flags exist.
func TestHelpHasAnExample(t *testing.T) {
	p := program(t)
	for name, uses := range sharedFlags {
		help := p.Want(p.Run(append(strings.Fields(name), "--help")...), shell.ExitOK).Stdout
		if _, members, ok := strings.Cut(help, "Available Commands:"); ok && members != "" {
			continue // its members have examples
		}
		_, example, ok := strings.Cut(help, "\nExamples:\n")
		example, _, _ = strings.Cut(example, "\n\n")
		if !ok || !strings.Contains(example, "tidings "+name) {
			t.Errorf("%s has no example:\n%s", name, help)
		}
		for _, flag := range regexp.MustCompile(` (--[a-z-]+)`).FindAllString(example, -1) {
			if !strings.Contains(help[strings.Index(help, "Flags:"):], strings.TrimSpace(flag)) {
				t.Errorf("%s (which uses %s) has an example with %s:\n%s", name, uses, flag, example)
			}
		}
	}
}

// Case: a script gives a flag the value of a variable that is not set. Each command refuses each flag so, but for those of tail that
// select the records without a subject, a type or a reaction.
func TestEmptyValuesAreRefused(t *testing.T) {
	t.Chdir(t.TempDir())                            // a command that does not refuse it makes its directory there
	over, cancel := context.WithCancel(t.Context()) // and ends at once
	cancel()
	p := program(t)
	tried := 0
	var walk func(cs []*cobra.Command, above []string)
	walk = func(cs []*cobra.Command, above []string) {
		for _, c := range cs {
			name := append(slices.Clone(above), c.Name())
			walk(c.Commands(), name)
			args := slices.Clone(name)
			for c.Args != nil && c.Args(c, args[len(name):]) != nil && len(args) < 10 {
				args = append(args, "x")
			}
			c.Flags().VisitAll(func(f *pflag.Flag) {
				if _, list := f.Value.(pflag.SliceValue); c.Hidden || f.Value.Type() != "string" && !list || strings.HasPrefix(f.Value.Type(), "int") {
					return
				}
				tried++
				r := p.RunUntil(over, "", append(args, "--"+f.Name, "")...)
				refused := r.Code == shell.ExitUsage && strings.Contains(r.Stderr, "--"+f.Name+" is empty")
				takes := c.Name() == "tail" && slices.Contains([]string{"type", "subject", "reaction"}, f.Name)
				if refused == takes {
					t.Errorf("%s --%s '': exit code %d, %s", strings.Join(name, " "), f.Name, r.Code, r.Stderr)
				}
			})
			for _, shared := range strings.Fields(sharedFlags[strings.Join(name, " ")]) {
				if shared == shell.FlagBrokers || shared == shell.FlagData {
					tried++
					p.Want(p.RunUntil(over, "", append(args, "--"+shared+"=")...), shell.ExitUsage, "--"+shared+" is empty")
				}
			}
		}
	}
	walk(commands(&shell.Session{}), nil)
	if tried < 50 {
		t.Errorf("only %d flags were tried", tried)
	}
	// A list with an empty one among others.
	p.Want(p.RunUntil(over, "", "group", "seek", "x", "--topic", "t", "--event", "a", "--event", ""), shell.ExitUsage, "--event is empty")
	// A variable of the environment that is empty is one that is not set.
	t.Setenv("TIDINGS_ID", "")
	if r := p.RunUntil(over, "", "emit", "a.b", "{}"); r.Code == shell.ExitUsage {
		t.Error(r.Stderr)
	}
}
