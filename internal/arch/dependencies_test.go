package arch

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Case: a module is imported without a reason, or the reason outlives the import.
func TestDependenciesDocumentNamesEachModule(t *testing.T) {
	product, checks, ok := strings.Cut(readDocument(t, "docs/dependencies.md"), "## Tests and checks")
	if !ok {
		t.Fatal("docs/dependencies.md has no section “Tests and checks”")
	}
	direct := map[string][]string{} // by the directory of the go.mod
	var all []string
	walkFiles(t, func(name string) bool { return path.Base(name) == "go.mod" }, func(name, text string) {
		direct[path.Dir(name)] = directModules(text)
		all = append(all, direct[path.Dir(name)]...)
	})
	if len(direct) < 3 || len(direct["."]) < 5 {
		t.Fatalf("only these modules were found: %v", direct)
	}

	given := append(modulesNamed(product), modulesNamed(checks)...)
	for dir, modules := range direct {
		for _, m := range modules {
			if !slices.Contains(given, m) {
				t.Errorf("%s/go.mod requires %s, and docs/dependencies.md gives no reason for it", dir, m)
			}
		}
	}
	for _, m := range modulesNamed(product) {
		if !slices.Contains(direct["."], m) {
			t.Errorf("docs/dependencies.md gives a reason for %s in the product, and go.mod does not require it", m)
		}
	}
	for _, m := range modulesNamed(checks) {
		if !slices.Contains(all, m) {
			t.Errorf("docs/dependencies.md gives a reason for %s, and no go.mod of the repository requires it", m)
		}
	}
}

var modulePattern = regexp.MustCompile("`([a-z0-9.]+\\.[a-z]+/[^`]+)`")

// modulesNamed returns the paths of modules in a text.
func modulesNamed(text string) (modules []string) {
	for _, m := range modulePattern.FindAllStringSubmatch(text, -1) {
		modules = append(modules, m[1])
	}
	return modules
}

// directModules returns the modules of others that a go.mod requires for itself: those not marked as indirect, and those
// of its tools, whose mark does not count. Modules of this repository are left out.
func directModules(gomod string) (modules []string) {
	var required, tools []string
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if fields[0] == "require" || fields[0] == "tool" {
			if len(fields) == 2 && fields[0] == "tool" && fields[1] != "(" {
				tools = append(tools, fields[1])
				continue
			}
			fields = fields[1:]
		}
		switch {
		case len(fields) == 1 && strings.Contains(fields[0], "/"):
			tools = append(tools, fields[0]) // a line of a block of tools
		case len(fields) >= 2 && strings.HasPrefix(fields[1], "v") && strings.Contains(fields[0], "."):
			required = append(required, fields[0])
			if len(fields) == 2 && fields[0] != module && !strings.HasPrefix(fields[0], module+"/") {
				modules = append(modules, fields[0])
			}
		}
	}
	for _, tool := range tools {
		of := ""
		for _, m := range required {
			if len(m) > len(of) && (tool == m || strings.HasPrefix(tool, m+"/")) {
				of = m
			}
		}
		if of != "" && !slices.Contains(modules, of) {
			modules = append(modules, of)
		}
	}
	return modules
}
