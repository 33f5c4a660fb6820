package arch

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const architecture = "docs/architecture.md"

// Case: a room was added, moved or removed, and docs/architecture.md still describes the old house.
func TestArchitectureDocumentNamesEachRoom(t *testing.T) {
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| ((?:`[^`]+`[^|`]*)+)\\|").FindAllStringSubmatch(readDocument(t, architecture), -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[1], -1) {
			documented[name[1]] = true
		}
	}
	documented["."] = documented["tidings"]
	delete(documented, "tidings")
	for _, r := range house {
		if !isCovered(r.name, documented) && r.name != "cmd/tidings" { // cmd/tidings is in the picture
			t.Errorf("room %s has no row in %s", r.name, architecture)
		}
	}
	root := moduleRoot(t)
	for name := range documented {
		if !exists(filepath.Join(root, filepath.FromSlash(name))) {
			t.Errorf("%s has a row for %s, and there is no such directory", architecture, name)
		}
	}
}

// isCovered reports whether names has room or a directory above it.
func isCovered(room string, names map[string]bool) bool {
	for dir := room; dir != "." && dir != "/"; dir = filepath.ToSlash(filepath.Dir(dir)) {
		if names[dir] {
			return true
		}
	}
	return names[room]
}

// A place is where the picture has a room.
type place struct {
	line   int // from the top; 0 is not a place
	column column
}

type column string

const (
	bothHalves column = "" // above the wall or below it
	leftHalf   column = "left"
	rightHalf  column = "right"
)

// Case: the picture lacks a room, or draws one that is gone.
func TestPictureHasEachRoom(t *testing.T) {
	drawn, _ := readPicture(t)
	names := map[string]bool{}
	for name := range drawn {
		names[name] = true
		if !slices.ContainsFunc(house, func(r room) bool { return isCovered(r.name, map[string]bool{name: true}) }) && name != "internal/arch" {
			t.Errorf("the picture in %s has %s, which is no room", architecture, name)
		}
	}
	for _, r := range house {
		if !isCovered(r.name, names) {
			t.Errorf("room %s is not in the picture in %s", r.name, architecture)
		}
	}
}

// Case: a room imports one that the picture has beside it, above it, or beyond the wall.
func TestPictureHasImportsBelow(t *testing.T) {
	drawn, testsOnly := readPicture(t)
	placeOf := func(pkg string) (name string, p place) {
		for dir := pkg; ; dir = filepath.ToSlash(filepath.Dir(dir)) {
			if p := drawn[dir]; p.line > 0 {
				return dir, p
			}
			if dir == "." || dir == "/" {
				return "", place{}
			}
		}
	}
	imports := readImports(t, moduleRoot(t))
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		from, here := placeOf(pkg)
		for _, target := range imports[pkg] {
			to, there := placeOf(target)
			switch {
			case from == to || here.line == 0 || there.line == 0: // one room in the picture, or TestPictureHasEachRoom fails
			case testsOnly[to]:
				t.Errorf("%s imports %s, which is for tests only by the picture in %s", pkg, target, architecture)
			case testsOnly[from]: // it lends to the tests of all rooms, and is below them for that
			case there.line <= here.line:
				t.Errorf("%s imports %s, which is not below it in the picture in %s", pkg, target, architecture)
			case here.column != bothHalves && there.column != bothHalves && here.column != there.column:
				t.Errorf("%s imports %s, which is beyond the wall in the picture in %s", pkg, target, architecture)
			}
		}
	}
}

// readPicture returns the places of the rooms in the picture of docs/architecture.md, and which of them are for tests only.
// Lines without a room's name are headings.
func readPicture(t *testing.T) (drawn map[string]place, testsOnly map[string]bool) {
	t.Helper()
	_, text, _ := strings.Cut(readDocument(t, architecture), "```\n")
	text, _, ok := strings.Cut(text, "```\n")
	if !ok {
		t.Fatalf("%s has no picture", architecture)
	}
	drawn, testsOnly = map[string]place{}, map[string]bool{}
	root := moduleRoot(t)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, only := strings.CutPrefix(strings.TrimSpace(line), "only tests:")
		left, right, parted := strings.Cut(line, "│")
		for at, half := range []string{left, right} {
			names := strings.Fields(half)
			if len(names) == 0 || !isDirectory(root, names[0]) {
				continue // a heading
			}
			for _, name := range names {
				p := place{line: number}
				if parted {
					p.column = []column{leftHalf, rightHalf}[at]
				}
				room := directoryOf(root, name)
				if room == "" {
					t.Errorf("the picture in %s has %q, which is no directory", architecture, name)
				} else if drawn[room].line > 0 {
					t.Errorf("the picture in %s has %s twice", architecture, name)
				}
				drawn[room], testsOnly[room] = p, only
			}
		}
	}
	return drawn, testsOnly
}

func isDirectory(root, name string) bool { return directoryOf(root, name) != "" }

// directoryOf returns the directory that the picture means by a name, or "" if there is none.
func directoryOf(root, name string) string {
	if name == "tidings" {
		return "."
	}
	for _, dir := range []string{name, "internal/" + name} {
		if regexp.MustCompile(`^[a-z/]+$`).MatchString(dir) && exists(filepath.Join(root, filepath.FromSlash(dir))) {
			return dir
		}
	}
	return ""
}
