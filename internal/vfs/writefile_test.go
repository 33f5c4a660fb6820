package vfs

import (
	"errors"
	"math/rand"
	"slices"
	"syscall"
	"testing"
)

// Case: the power fails at each step of replacing a file: it has its old content or its new one, whole. After WriteFile
// has returned it has the new one.
func TestWriteFileIsAtomic(t *testing.T) {
	seen := map[string]bool{}
	for step := range 8 {
		disk := NewMem()
		if err := WriteFile(disk, "a", []byte("old")); err != nil {
			t.Fatal(err)
		}
		var cuts []*Mem
		n := 0
		err := WriteFile(NewFaulty(disk, func(Op) error {
			if n++; n == step {
				for seed := range int64(8) {
					cuts = append(cuts, disk.CrashClone(rand.New(rand.NewSource(seed))))
				}
			}
			return nil
		}), "a", []byte("new content"))
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range cuts {
			got, err := ReadFile(cut, "a")
			if err != nil || !slices.Contains([]string{"old", "new content"}, string(got)) {
				t.Errorf("cut at step %d: %q, %v", step, got, err)
			}
			seen[string(got)] = true
		}
		if got, err := ReadFile(disk.CrashClone(rand.New(rand.NewSource(1))), "a"); err != nil || string(got) != "new content" {
			t.Errorf("after WriteFile: %q, %v", got, err)
		}
	}
	if !seen["old"] || !seen["new content"] {
		t.Errorf("the cuts left only %v", seen)
	}
}

// Case: each step fails. What failed before the rename leaves the file as it was and no temporary one; a failed sync of
// the directory is told apart.
func TestWriteFileFails(t *testing.T) {
	for _, kind := range []OpKind{OpCreate, OpWriteAt, OpSync, OpRename, OpSyncDir} {
		disk := NewMem()
		if err := WriteFile(disk, "a", []byte("old")); err != nil {
			t.Fatal(err)
		}
		err := WriteFile(NewFaulty(disk, func(op Op) error {
			if op.Kind == kind {
				return syscall.ENOSPC
			}
			return nil
		}), "a", []byte("new"))
		if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrSyncDir) != (kind == OpSyncDir) {
			t.Errorf("%v fails: %v", kind, err)
		}
		if got, err := ReadFile(disk, "a"); err != nil || (string(got) == "old") == (kind == OpSyncDir) {
			t.Errorf("%v fails: the file holds %q, %v", kind, got, err)
		}
		if _, err := disk.Stat("a" + TemporarySuffix); err == nil && kind != OpRename {
			t.Errorf("%v fails: the temporary file is left", kind)
		}
	}
}
