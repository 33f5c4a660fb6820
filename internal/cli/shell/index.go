package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tidings.dev/story"
)

// IndexName is the name of the file of a story's index, both in a data directory and in the user's cache directory.
const IndexName = "story.db"

// OpenIndex opens the user's index of the log at a target: a file in the user's cache directory, in a directory named
// after the cluster id. If another command has the file open, or if the file cannot be written, OpenIndex makes a
// temporary index instead; in the latter case it also prints a note to Stderr. The caller must close the indexer and
// then call discard, which removes a temporary index.
func (s *Session) OpenIndex(ctx context.Context, t Target, options story.Options) (x *story.Indexer, discard func(), err error) {
	x, why, err := openKept(ctx, t, options)
	if x != nil || err != nil {
		return x, func() {}, err
	}
	if !errors.Is(why, story.ErrInUse) {
		s.noteNotKept(why)
	}
	return openTemporary(ctx, t, options)
}

// AskIndex calls ask with an index as OpenIndex opens it, and closes the index. If the disk of the user's cache directory
// gets full meanwhile, it prints a note to Stderr, and calls ask again with a temporary index.
func (s *Session) AskIndex(ctx context.Context, t Target, options story.Options, ask func(*story.Indexer) error) error {
	x, why, err := openKept(ctx, t, options)
	if err != nil {
		return err
	}
	if x != nil {
		began := time.Now()
		err := ask(x)
		if err == nil {
			forgetFor(ctx, x, time.Since(began))
		}
		err = errors.Join(err, x.Close())
		if !diskFull(err) {
			return err
		}
		why = err
	}
	if !errors.Is(why, story.ErrInUse) {
		s.noteNotKept(why)
	}
	x, discard, err := openTemporary(ctx, t, options)
	if err == nil {
		defer discard()
		err = errors.Join(ask(x), x.Close())
	}
	if diskFull(err) {
		return &Fault{Code: "disk_full", Message: "no room for an index of the log: " + err.Error(), Exit: ExitFailed, Err: err,
			Hint: "make room, or name a directory on another disk with TMPDIR, or with XDG_CACHE_HOME to keep the index there"}
	}
	return err
}

// leastForgetting is how long a command may make its index forget what retention has removed from the log.
const leastForgetting = 200 * time.Millisecond

// forgetFor makes an index forget what retention has removed from the log, for as long as its command has taken so far, or
// leastForgetting: so the index forgets as much as it reads. What is left is for the next command.
func forgetFor(ctx context.Context, x *story.Indexer, took time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, max(took, leastForgetting))
	defer cancel()
	_ = x.Forget(ctx) // the command has its answer; the next one finds what is wrong with the index
}

// noteNotKept prints why the index is not kept.
func (s *Session) noteNotKept(why error) {
	s.Note("tidings: the story's index cannot be kept, so all of the log is read each time (%v)", why)
}

// openKept opens the index in the user's cache directory. It returns in why, with neither an index nor an error, that it
// cannot be used: another command has it open, or it cannot be written.
func openKept(ctx context.Context, t Target, options story.Options) (x *story.Indexer, why, err error) {
	log, err := t.Log(ctx)
	if err != nil {
		return nil, nil, err
	}
	listing, err := log.Topics(ctx, func(string) bool { return false }) // asks only for the cluster id
	log.Close()
	if err != nil {
		return nil, nil, err
	}
	cache, why := os.UserCacheDir()
	if why != nil {
		return nil, why, nil
	}
	x, err = story.Open(ctx, t, filepath.Join(cache, "tidings", fileName(listing.Cluster), IndexName), options)
	if errors.Is(err, story.ErrInUse) || unwritable(err) {
		return nil, err, nil
	}
	return x, nil, err
}

// openTemporary opens an index in a temporary directory, which discard removes.
func openTemporary(ctx context.Context, t Target, options story.Options) (x *story.Indexer, discard func(), err error) {
	dir, err := os.MkdirTemp("", "tidings-story-")
	if err != nil {
		return nil, nil, err
	}
	discard = func() { os.RemoveAll(dir) }
	if x, err = story.Open(ctx, t, filepath.Join(dir, IndexName), options); err != nil {
		discard()
		return nil, nil, err
	}
	return x, discard, nil
}

// unwritable reports whether an error of the file system means that a file cannot be created or changed: no
// permission, a read-only file system, a file in place of a directory, or a full disk.
func unwritable(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR) || diskFull(err)
}

// diskFull reports whether an error of the file system means that there is no room, or none for this user.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// fileName returns s with each character other than ASCII letters, digits, - and _ replaced by _, so that it is a
// valid file name everywhere.
func fileName(s string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
	if name == "" {
		return "unnamed"
	}
	return name
}

// WriteStory prints a story to o: encoded, or as text for the width and the colours of the terminal.
func WriteStory(o *Output, s *story.Story) error {
	return o.Value(s, func(w io.Writer) error { return s.Render(w, story.Format{Width: o.Width, Color: o.Color}) })
}
