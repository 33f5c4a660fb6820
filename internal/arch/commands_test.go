package arch

import (
	"bytes"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tidings.dev/internal/cli"
)

// A command is one of the program tidings, as its help shows it.
type command struct {
	members []string        // its subcommands
	flags   map[string]bool // with their dashes, those of all commands and the short ones included
}

// Case: a command or a flag was renamed or removed, and a document still advises it.
func TestCommandsInDocumentsExist(t *testing.T) {
	tree := readCommands(t)
	known := flagsOfTools(t)
	for _, c := range tree {
		maps.Copy(known, c.flags)
	}
	checked := 0
	for _, d := range readDocuments(t) {
		if d.isRecord() {
			continue
		}
		for _, line := range commandLines(d.text, tree) {
			checked++
			for _, fault := range checkCommandLine(line, tree) {
				t.Errorf("%s: `%s`: %s", d.name, strings.Join(line, " "), fault)
			}
		}
		for _, flag := range flagsAlone(d.text) {
			checked++
			if !known[flag] {
				t.Errorf("%s: no command has the flag %s", d.name, flag)
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d commands and flags were found in documents: do the patterns still match?", checked)
	}
}

// Case: a command was added, and docs/commands.md does not list it.
func TestCommandsDocumentHasEachCommand(t *testing.T) {
	tree := readCommands(t)
	listed := map[string]bool{"tidings help": true}
	for _, line := range commandLines(readDocument(t, "docs/commands.md"), tree) {
		for i, word := range line {
			for _, m := range strings.FieldsFunc(word, func(r rune) bool { return r == '|' || r == '\\' }) {
				listed[strings.Join(append(line[:i:i], m), " ")] = true
			}
		}
	}
	for name := range tree {
		if name != "tidings" && !listed[name] {
			t.Errorf("docs/commands.md does not list %s", name)
		}
	}
}

// Case: checkCommandLine passes everything.
func TestWrongCommandsAreFound(t *testing.T) {
	tree := readCommands(t)
	for text, want := range map[string]string{
		"`tidings tial`":                            "there is no command tidings tial",
		"`tidings topic ls\\|remove`":               "there is no command tidings topic remove",
		"`tidings story KEY --colour`":              "tidings story has no flag --colour",
		"`serve --port 9092`":                       "tidings serve has no flag --port",
		"```\ngo run ./cmd/tidings tail -q 10\n```": "tidings tail has no flag -q",
		"    tidings bench prodcue   how fast\n":    "there is no command tidings bench prodcue",
		"`tidings demo`, `tidings tail [TOPIC…]`":   "",
		"`bench --ceiling`, one of its commands'":   "",
	} {
		var faults []string
		for _, line := range commandLines(text, tree) {
			faults = append(faults, checkCommandLine(line, tree)...)
		}
		if got := strings.Join(faults, "; "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// Case: a document names a program to run, and its directory was moved.
func TestProgramsInDocumentsExist(t *testing.T) {
	run := regexp.MustCompile(`(?:cd (\S+) && )?go run (?:-C (\S+) )?(\.\S*)`)
	root := moduleRoot(t)
	found := 0
	for _, d := range readDocuments(t) {
		for _, m := range run.FindAllStringSubmatch(d.text, -1) {
			program := strings.TrimRight(m[3], "`,;:)")
			program, _, _ = strings.Cut(program, "$") // a variable of the shell
			found++
			if dir := filepath.Join(root, m[1], m[2], filepath.FromSlash(program)); !exists(dir) {
				t.Errorf("%s runs %q, and there is no %s", d.name, m[0], dir)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d programs were found: does the pattern still match?", found)
	}
}

// readCommands returns the commands of the program by their full name, "tidings" for the program itself.
func readCommands(t *testing.T) map[string]command {
	t.Helper()
	member := regexp.MustCompile(`(?m)^  ([a-z][a-z0-9-]*) `)
	flag := regexp.MustCompile(`(?m)^ +(?:(-[a-zA-Z]), )?(--[a-z][a-z0-9-]*)`)
	tree := map[string]command{}
	var read func(words []string)
	read = func(words []string) {
		var stdout, stderr bytes.Buffer
		if code := cli.Run(t.Context(), append(slices.Clone(words), "--help"), strings.NewReader(""), &stdout, &stderr); code != 0 {
			t.Fatalf("tidings %s --help exits with %d: %s", strings.Join(words, " "), code, &stderr)
		}
		_, usage, _ := strings.Cut(stdout.String(), "\nUsage:\n")
		c := command{flags: map[string]bool{}}
		if _, members, ok := strings.Cut(usage, "\nAvailable Commands:\n"); ok {
			members, _, _ = strings.Cut(members, "\n\n")
			for _, m := range member.FindAllStringSubmatch(members+"\n", -1) {
				c.members = append(c.members, m[1])
			}
		}
		_, flags, _ := strings.Cut(usage, "Flags:\n")
		for _, m := range flag.FindAllStringSubmatch(flags, -1) {
			c.flags[m[1]], c.flags[m[2]] = true, true
		}
		tree[strings.Join(append([]string{"tidings"}, words...), " ")] = c
		for _, m := range c.members {
			read(append(slices.Clone(words), m))
		}
	}
	read(nil)
	if len(tree) < 20 || !tree["tidings"].flags["--brokers"] || !tree["tidings serve"].flags["--listen"] {
		t.Fatalf("only these commands were found: %v", tree)
	}
	return tree
}

// commandLines returns the command lines in a document, as words that begin with "tidings": code in a paragraph, and lines of
// blocks of code. Code that begins with the name of a command and has a flag is one, too: `bench --check`.
func commandLines(text string, tree map[string]command) (lines [][]string) {
	for _, code := range codeOf(text) {
		for line := range strings.Lines(code) {
			line, _, _ = strings.Cut(line, " # ")
			line = strings.ReplaceAll(line, "./cmd/tidings ", "tidings ")
			words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "go run "))
			switch {
			case len(words) > 1 && words[0] == "tidings":
				lines = append(lines, words)
			case len(words) > 1 && slices.Contains(tree["tidings"].members, words[0]) && strings.HasPrefix(words[1], "-"):
				lines = append(lines, append([]string{"tidings"}, words...))
			}
		}
	}
	return lines
}

var (
	fencedBlock   = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```")
	indentedBlock = regexp.MustCompile(`(?m)^    (\S.*)$`)
	inlineCode    = regexp.MustCompile("`([^`]+)`")
)

// codeOf returns what a document has between backticks and in blocks of code. In a paragraph a line's end is a blank.
func codeOf(text string) (code []string) {
	for _, m := range fencedBlock.FindAllStringSubmatch(text, -1) {
		code = append(code, m[1])
	}
	text = fencedBlock.ReplaceAllString(text, "")
	for _, m := range indentedBlock.FindAllStringSubmatch(text, -1) {
		code = append(code, m[1])
	}
	for _, m := range inlineCode.FindAllStringSubmatch(text, -1) {
		code = append(code, strings.ReplaceAll(m[1], "\n", " "))
	}
	return code
}

// checkCommandLine returns what is wrong with a command line.
func checkCommandLine(words []string, tree map[string]command) (faults []string) {
	name := "tidings"
	for _, word := range words[1:] {
		c := tree[name]
		if flag, _, _ := strings.Cut(word, "="); strings.HasPrefix(flag, "-") && regexp.MustCompile(`^--?[a-z]`).MatchString(flag) {
			if !c.flags[flag] && !slices.ContainsFunc(c.members, func(m string) bool { return tree[name+" "+m].flags[flag] }) {
				faults = append(faults, name+" has no flag "+flag)
			}
			continue
		}
		if len(c.members) == 0 || !regexp.MustCompile(`^[a-z]`).MatchString(word) {
			continue // an argument, or a value
		}
		alternatives := strings.FieldsFunc(word, func(r rune) bool { return r == '|' || r == '\\' })
		for _, m := range alternatives {
			if !slices.Contains(c.members, m) {
				faults = append(faults, "there is no command "+name+" "+m)
			}
		}
		name += " " + alternatives[0]
	}
	return faults
}

// flagsAlone returns the flags that a document names without a command before them: `--yes`.
func flagsAlone(text string) (flags []string) {
	alone := regexp.MustCompile("^(--[a-z][a-z0-9-]*)")
	for _, m := range inlineCode.FindAllStringSubmatch(fencedBlock.ReplaceAllString(text, ""), -1) {
		if m := alone.FindStringSubmatch(m[1]); m != nil {
			flags = append(flags, m[1])
		}
	}
	return flags
}

// flagsOfTools returns the flags of the programs below tools, which have packages of flags of their own.
func flagsOfTools(t *testing.T) map[string]bool {
	flags := map[string]bool{}
	definition := regexp.MustCompile(`(?i)\.(?:\w*(?:bool|int|float64|string|duration|var)\w*)\([^"\n]*"([a-z][a-z0-9-]*)", `)
	walkFiles(t, func(name string) bool { return strings.HasPrefix(name, "tools/") && strings.HasSuffix(name, ".go") }, func(_, text string) {
		for _, m := range definition.FindAllStringSubmatch(text, -1) {
			flags["--"+m[1]] = true
		}
	})
	return flags
}
