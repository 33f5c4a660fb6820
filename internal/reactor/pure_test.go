package reactor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// pure are the files of the scheduler. They must not use anything that would make its decisions depend on more than its
// events: no I/O, no goroutines, no clock and no randomness.
var pure = []string{"events.go", "scheduler.go", "partition.go", "item.go", "intake.go", "attempts.go", "gather.go", "summary.go",
	"lanes.go", "lanetable.go", "budget.go", "backlog.go", "tracker.go", "window.go", "metadata.go"}

func TestTheSchedulerIsPure(t *testing.T) {
	forbidden := []string{"context", "sync", "sync/atomic", "math/rand/v2", "log/slog", "github.com/twmb/franz-go/pkg/kgo", "tidings.dev/internal/logclient"}
	for _, name := range pure {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); slices.Contains(forbidden, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt:
				t.Errorf("%s has a goroutine or a channel", name)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && n.Sel.Name != "Time" && n.Sel.Name != "Duration" {
					t.Errorf("%s uses time.%s", name, n.Sel.Name)
				}
			}
			return true
		})
	}
}
