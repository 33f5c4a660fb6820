package arch

import (
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// withPrograms are the packages whose overview has a program that a reader may copy.
var withPrograms = []string{"broker", "embedded", "story"}

// Case: the program in a package's overview does not compile, or the overview has none.
func TestProgramsInPackageDocsCompile(t *testing.T) {
	root := moduleRoot(t)
	for _, pkg := range withPrograms {
		found := 0
		for _, program := range docPrograms(t, filepath.Join(root, pkg)) {
			found++
			file := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
			vet := exec.CommandContext(t.Context(), "go", "vet", file)
			vet.Dir = root
			if out, err := vet.CombinedOutput(); err != nil {
				t.Errorf("the program in the overview of %s: %v\n%s", pkg, err, out)
			}
		}
		if found == 0 {
			t.Errorf("the overview of %s has no program", pkg)
		}
	}
}

// docPrograms returns the code blocks of a package's doc comments that begin with "package main".
func docPrograms(t *testing.T, dir string) (programs []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range new(comment.Parser).Parse(parsed.Doc.Text()).Content {
			if code, ok := block.(*comment.Code); ok && strings.HasPrefix(code.Text, "package main\n") {
				programs = append(programs, code.Text)
			}
		}
	}
	return programs
}
