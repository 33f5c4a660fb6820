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
	// why says what a further arrow out of this room would break.
	why string
}

var house = []room{
	// The broker, from the ground up.
	{"internal/vfs", nil, "the file seam is the ground: it knows bytes and names only"},
	{"internal/batch", nil, "batch bytes mean the same in memory, on disk and on the wire, so they depend on none of these"},
	{"internal/journal", []string{"internal/vfs"}, "the journal carries opaque entries: what they mean is the engine's"},
	{"internal/partition", []string{"internal/vfs", "internal/batch"}, "a partition holds durable batches: who made them durable is not its business"},
	{"internal/meta", nil, "a coordinator is pure: state in, effects out, so that it can be tested without a disk or a clock"},
	{"internal/group", nil, "a coordinator is pure: state in, effects out, so that it can be tested without a disk or a clock"},
	{"internal/txn", []string{"internal/batch"}, "a coordinator is pure: state in, effects out, so that it can be tested without a disk or a clock"},
	{"internal/engine", []string{"internal/vfs", "internal/batch", "internal/journal", "internal/partition", "internal/meta", "internal/group", "internal/txn"},
		"the engine speaks no protocol: another front end must be able to stand beside internal/kafka"},
	{"internal/kafka", []string{"internal/engine", "internal/batch", "internal/meta", "internal/group", "internal/txn", "internal/partition"},
		"the front end reaches files only through the engine"},
	{"internal/pipe", nil, "an in-memory connection is a connection and nothing else"},
	{"broker", []string{"internal/kafka", "internal/engine", "internal/pipe", "internal/vfs"}, "the public face joins the rooms below; it never sees the framework"},

	// The framework: Kafka clients, always.
	{"internal/obligation", nil, "wire formats shared by framework and story depend on neither"},
	{"internal/delivery", []string{"internal/obligation"}, "delivery is pure and sees no broker room"},
	{".", []string{"internal/obligation", "internal/delivery"}, "the framework sees the wire and never a broker room, or what works embedded would not work on a cluster"},
	{"story", []string{".", "internal/obligation"}, "the story is a consumer like any other, so that it works on any Kafka cluster"},
	{"embedded", []string{".", "broker"}, "the one bridge between the two halves"},

	{"internal/bench", []string{"internal/vfs", "internal/pipe"}, "what measures brokers sees them as any client does, or its figures would be of something else"},

	{"internal/faults", nil, "what breaks brokers is tests; what it lends to the fuzz targets of other rooms knows none of them"},

	{"internal/sabotage", nil, "what runs tests on mutants knows files, and nothing of what is in them"},

	// The programs.
	{"internal/backup", []string{"internal/engine", "internal/vfs"}, "a backup is of files: it needs no protocol, and a broker only to have a snapshot made"},
	{"internal/doctor", []string{"internal/engine", "internal/journal", "internal/partition", "internal/vfs"}, "the doctor reads what the storage rooms wrote, by their own eyes: it has no format but that of its repairs"},
	{"internal/cli", []string{".", "internal/bench", "internal/backup", "internal/doctor", "broker", "embedded", "story", "internal/obligation", "internal/vfs", "examples/shop/..."},
		"commands use the public faces, as any program would"},
	{"cmd/tidings", []string{"internal/cli"}, "main only hands over to the commands"},

	// The shop: services know the facts, never each other.
	{"examples/shop/facts", []string{"."}, "what is shared is facts, and facts depend on nobody"},
	{"examples/shop/service", []string{"."}, "how a service runs as a program of its own is the same for all and knows none of them"},
	{"examples/shop/input", nil, "reading the input knows no service"},
	{"examples/shop/orders", []string{".", "examples/shop/facts", "examples/shop/input"}, noCalls},
	{"examples/shop/payment", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/cancellation", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/email", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/inventory", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/warehouse", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/loyalty", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/analytics", []string{".", "examples/shop/facts"}, noCalls},
	{"examples/shop/fraud", []string{".", "examples/shop/facts"}, noCalls},
}

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
