// Package arch holds the house to its plan: which room may import which. The same table stands, drawn, in
// docs/architecture.md; change both together.
package arch

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "tidings.dev"

// A room is a package, or with "/..." a package and all below it, and the rooms of this module it may import. Test files
// are free: a test may join any rooms it needs.
type room struct {
	name string
	may  []string
	// why is what a further arrow out of this room would break.
	why string
}

var house = []room{
	// The broker, from the ground up.
	{"internal/vfs", nil, "the file seam is the ground: it knows bytes and names only"},
	{"internal/batch", nil, "batch bytes mean the same in memory, on disk and on the wire, so they depend on none of these"},
	{"internal/fields", nil, "reading fields knows nothing of the records that they are of"},
	{"internal/journal", []string{"internal/vfs"}, "the journal carries opaque entries: what they mean is the engine's"},
	{"internal/partition", []string{"internal/vfs", "internal/batch", "internal/fields"}, "a partition holds durable batches: who made them durable is not its business"},
	{"internal/meta", []string{"internal/fields"}, "a coordinator is pure: state in, effects out, so that it can be tested without a disk or a clock"},
	{"internal/group", []string{"internal/fields"}, "a coordinator is pure: state in, effects out, so that it can be tested without a disk or a clock"},
	{"internal/txn", []string{"internal/batch", "internal/fields"}, "a coordinator is pure: state in, effects out, so that it can be tested without a disk or a clock"},
	{"internal/datadir", []string{"internal/vfs", "internal/batch", "internal/fields", "internal/journal", "internal/partition", "internal/meta", "internal/txn"},
		"the bytes of a data directory are read by the engine and by those who look at it at rest: they run nothing"},
	{"internal/engine", []string{"internal/datadir", "internal/vfs", "internal/batch", "internal/journal", "internal/partition", "internal/meta", "internal/group", "internal/txn"},
		"the engine speaks no protocol: another front end must be able to stand beside internal/kafka"},
	{"internal/kafka", []string{"internal/engine", "internal/batch", "internal/meta", "internal/group", "internal/txn", "internal/partition"},
		"the front end reaches files only through the engine"},
	{"internal/pipe", nil, "an in-memory connection is a connection and nothing else"},
	{"broker", []string{"internal/kafka", "internal/engine", "internal/datadir", "internal/pipe", "internal/quietlog", "internal/vfs"}, "the public face joins the rooms below; it never sees the framework"},

	// The framework: Kafka clients, always.
	{"internal/cloudevent", nil, "the event format is read and written in one place, which knows nothing of who emits or reacts"},
	{"internal/display", nil, "what a terminal can show of a text knows nothing of what it is about"},
	{"internal/quietlog", nil, "how often a warning is written knows nothing of what it is about"},
	{"internal/offsets", nil, "a set of numbers knows nothing of what they count"},
	{"internal/jsonfields", nil, "the fields of an object are read without knowing what they mean"},
	{"internal/obligation", []string{"internal/offsets"}, "wire formats shared by framework and story depend on neither"},
	{"internal/logclient", nil, "how the log is reached knows nothing of events, reactions or stories"},
	{"internal/settled", []string{"internal/logclient", "internal/obligation"}, "waiting for stories needs their facts and the log, and nothing of who emits"},
	{"internal/reactor", []string{"internal/cloudevent", "internal/fields", "internal/logclient", "internal/obligation", "internal/offsets"}, "a reaction runs on records, events and outcomes: which Go types handlers take is the root's"},
	{".", []string{"internal/cloudevent", "internal/jsonfields", "internal/logclient", "internal/obligation", "internal/quietlog", "internal/reactor", "internal/settled"}, "the framework sees the wire and never a broker room, or what works embedded would not work on a cluster"},
	{"kgolink", []string{".", "internal/logclient"}, "for programs that want a bare Kafka client: a link in, its options out"},
	{"story", []string{".", "internal/cloudevent", "internal/display", "internal/fields", "internal/logclient", "internal/offsets", "internal/obligation", "internal/quietlog"}, "the story is a consumer like any other, so that it works on any Kafka cluster"},
	{"tidingshttp", []string{"."}, "what joins net/http to the framework is for programs that import both"},
	{"embedded", []string{".", "broker", "story"}, "the one bridge between the two halves"},

	{"internal/bench", []string{"internal/vfs", "internal/pipe"}, "what measures brokers sees them as any client does, or its figures would be of something else"},

	{"internal/bench/testbed", []string{"internal/bench"}, "benchmarks start brokers by the path of a program, of any release, and link none"},

	{"internal/bench/framework", []string{".", "internal/bench"}, "what measures the framework uses what an application can import, or its figures would be of something else"},

	{"internal/bench/stories", []string{".", "story", "internal/bench"}, "what measures the story uses what an application can import, or its figures would be of something else"},

	{"internal/oldlog", []string{"internal/engine", "internal/vfs", "internal/batch", "internal/meta"}, "what makes old logs for tests knows how logs are stored, and nobody who reads them"},

	{"internal/faults", nil, "what breaks brokers is tests; what it lends to the fuzz targets of other rooms knows none of them"},

	{"internal/sabotage", nil, "what runs tests on mutants knows files, and nothing of what is in them"},

	// The programs.
	{"internal/backup", []string{"internal/engine", "internal/datadir", "internal/vfs"}, "a backup is of files: it needs no protocol, and a broker only to have a snapshot made"},
	{"internal/doctor", []string{"internal/engine", "internal/datadir", "internal/vfs", "internal/batch", "internal/journal", "internal/partition", "internal/meta", "internal/group", "internal/txn"},
		"the doctor reads what the storage rooms wrote, by their own eyes: it has no format but that of its repairs"},
	{"internal/cli/shell", []string{".", "broker", "embedded", "story", "internal/display", "internal/logclient"}, "what all commands share knows none of them"},
	{"internal/cli/serve", []string{"internal/cli/shell", "broker", "story"}, "what runs a broker in this process needs its public face"},
	{"internal/cli/bench", []string{"internal/cli/serve", "internal/cli/shell", "internal/bench", "internal/bench/framework", "internal/bench/stories", "internal/bench/testbed", "broker", "story"}, "what measures brokers is a command like the others: it knows none of them"},
	{"internal/cli/clitest", []string{"internal/cli/shell", "broker"}, "what tests commands knows none of them"},
	{"internal/cli/client", []string{".", "internal/cli/shell", "internal/cloudevent", "internal/display", "internal/jsonfields", "internal/logclient", "internal/obligation", "internal/offsets", "story"},
		"these commands work on any Kafka cluster, and run no broker"},
	{"internal/cli/files", []string{"internal/cli/shell", "internal/backup", "internal/doctor", "internal/vfs", "broker"}, "these commands work on files, and speak no protocol"},
	{"internal/cli/demo", []string{".", "internal/cli/serve", "internal/cli/shell", "internal/cloudevent", "internal/logclient", "internal/obligation", "broker", "story", "examples/shop/..."},
		"the demo is the one command that knows the shop"},
	{"internal/cli", []string{"internal/cli/bench", "internal/cli/client", "internal/cli/demo", "internal/cli/files", "internal/cli/serve", "internal/cli/shell"},
		"it assembles the commands, and does nothing by itself"},
	{"cmd/tidings", []string{"internal/cli", "internal/cli/shell"}, "main only hands over to the commands"},

	// Programs for those who work on Tidings.
	{"tools/presets", []string{"internal/bench", "internal/bench/testbed", "broker"}, "the broker that it measures is a program in another process; of the package it takes only the request for a checkpoint"},
	{"tools/checkpointbet", nil, "it measures a disk, without a broker"},

	// The small examples: programs as a user would write them.
	{"examples/hello", []string{".", "embedded"}, asUsers},
	{"examples/view", []string{".", "embedded"}, asUsers},
	{"examples/http", []string{".", "embedded", "tidingshttp"}, asUsers},

	// The shop: services know the facts, never each other.
	{"examples/shop/facts", []string{"."}, "what is shared is facts, and facts depend on nobody"},
	{"examples/shop/service", []string{"."}, "how a service runs as a program of its own is the same for all and knows none of them"},
	{"examples/shop/input", nil, "reading the input knows no service"},
	{"examples/shop/orders", []string{".", "kgolink", "examples/shop/facts", "examples/shop/input"}, noCalls},
	{"examples/shop/payment", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/cancellation", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/email", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/inventory", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/warehouse", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/loyalty", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/analytics", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/fraud", []string{".", "examples/shop/facts"}, noCalls},
}

const asUsers = "an example can import only what a user's program can"

const noCalls = "no service calls another: that is what the shop shows"

func TestEachRoomImportsOnlyWhatItMay(t *testing.T) {
	imports := readImports(t, moduleRoot(t))
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		room, ok := roomOf(pkg)
		if !ok {
			t.Errorf("%s is in no room: give it one in internal/arch and docs/architecture.md", pkg)
			continue
		}
		for _, target := range imports[pkg] {
			if target == pkg || slices.ContainsFunc(room.may, func(m string) bool { return covers(m, target) }) {
				continue
			}
			t.Errorf("%s imports %s, which it may not: %s", pkg, target, room.why)
		}
	}
}

// Case: a table that names rooms nobody built would pass for ever.
func TestEachRoomOfTheTableExists(t *testing.T) {
	imports := readImports(t, moduleRoot(t))
	for _, r := range house {
		if _, ok := imports[r.name]; !ok {
			t.Errorf("the table names %s, and there is no such package", r.name)
		}
	}
}

func roomOf(pkg string) (room, bool) {
	for _, r := range house {
		if r.name == pkg {
			return r, true
		}
	}
	if strings.HasPrefix(pkg, "examples/shop/cmd/") {
		// A service's main knows its own service and how services run.
		service := "examples/shop/" + path.Base(pkg)
		return room{pkg, []string{".", service, "examples/shop/service", "examples/shop/input"}, noCalls}, true
	}
	return room{}, false
}

func covers(allowed, pkg string) bool {
	tree, ok := strings.CutSuffix(allowed, "/...")
	return allowed == pkg || ok && (pkg == tree || strings.HasPrefix(pkg, tree+"/"))
}

// readImports returns, for each package of the module (by its path below the module, "." for the root), the packages of
// the module that its non-test files import. Modules inside the tree (a go.mod of their own) are left out.
func readImports(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if file != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" || exists(filepath.Join(file, "go.mod"))) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("parse %s: %w", file, err)
		}
		found[pkg] = slices.Clip(found[pkg]) // present, even without imports
		for _, spec := range parsed.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if target == module {
				target = "."
			} else if rest, ok := strings.CutPrefix(target, module+"/"); ok {
				target = rest
			} else {
				continue
			}
			if !slices.Contains(found[pkg], target) {
				found[pkg] = append(found[pkg], target)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
	return dir
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
