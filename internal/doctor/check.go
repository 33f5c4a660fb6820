// Package doctor says what is wrong with a data directory, and where, and puts it right. It reads what the engine's
// formats say and has none of its own, but for the record of a repair under way (commit.go).
package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// Severity says what a finding means to those who use the log.
type Severity string

const (
	Damage  Severity = "damage"  // something acknowledged can't be read, or no broker opens the directory
	Warning Severity = "warning" // nothing acknowledged is lost, but something isn't as a broker leaves it
	Note    Severity = "note"    // as it should be, and worth knowing
)

// Finding is one thing that is wrong, and where.
type Finding struct {
	Severity Severity `json:"severity"`
	Kind     string   `json:"kind"` // for programs: journal, checkpoint, segment, index, …
	File     string   `json:"file,omitempty"`
	Position *int64   `json:"position,omitempty"` // in bytes from the start of the file
	Bytes    int64    `json:"bytes,omitempty"`    // how many from there
	Topic    string   `json:"topic,omitempty"`
	// Partition and the offsets are there with Topic.
	Partition   *int32 `json:"partition,omitempty"`
	FirstOffset *int64 `json:"first_offset,omitempty"`
	LastOffset  *int64 `json:"last_offset,omitempty"`
	What        string `json:"what"`
	Repair      string `json:"repair,omitempty"` // what Repair does about it; empty: nothing
}

// Report is what Check found.
type Report struct {
	Directory  string    `json:"directory"`
	Format     string    `json:"format"`
	ClusterID  string    `json:"cluster_id,omitempty"`
	Opens      bool      `json:"opens"` // a broker opens it as it is
	Checkpoint string    `json:"checkpoint,omitempty"`
	Replay     int       `json:"replay_entries"` // of the journal, at the next start
	Topics     int       `json:"topics"`
	Partitions int       `json:"partitions"`
	Segments   int       `json:"segments"`
	Batches    int64     `json:"batches"` // in segments, all of them read
	Records    int64     `json:"records"`
	SizeBytes  int64     `json:"size_bytes"`
	Findings   []Finding `json:"findings"`

	plan      plan
	modes     []modeChange
	roomBytes int64 // what the journal needs on the disk to take everything
	keptBack  int   // of the journal's files for when the disk is full
}

// Clean says whether there is nothing but notes.
func (r *Report) Clean() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity != Note })
}

// ErrNewer matches the errors that refuse what a newer program wrote.
var ErrNewer = errors.New("it was written by a newer version")

// ErrNotADirectory says that a directory is no data directory.
var ErrNotADirectory = errors.New("this is no data directory")

// plan is what Repair is to do.
type plan struct {
	format  bool          // FORMAT is to be written
	resume  string        // the record of a repair that was cut off
	renames []engine.Move // of files under wrong names
	asides  []string      // to be moved out of the way
	makes   []string      // directories that are missing
	mend    bool          // the engine has something to write anew
	options engine.MendOptions
}

// known are the names that may stand in a data directory beside checkpoints.
var known = []string{
	engine.FormatFile, engine.JournalDir, engine.TopicsDir, "LOCK", "tidings.sock", "control.sock", "lost+found", LostDir,
}

// checking is a Check under way.
type checking struct {
	fs     vfs.FS
	report *Report
	in     engine.Inspection
}

// Check reads a data directory that nobody has open, all of it, and changes nothing. The error says that it could not be
// checked: ErrNotADirectory, ErrNewer, or one of reading.
func Check(fsys vfs.FS, dir string) (*Report, error) {
	c := checking{fs: fsys, report: &Report{Directory: dir, Findings: []Finding{}}}
	for _, step := range []func() error{c.format, c.inspect, c.checkpoints, c.journal, c.names, c.partitions, c.rehearse} {
		if err := step(); err != nil {
			if v, ok := errors.AsType[*journal.VersionError](err); ok {
				return nil, fmt.Errorf("%s: %w: %w", dir, ErrNewer, v)
			}
			return nil, err
		}
	}
	order := []Severity{Damage, Warning, Note}
	slices.SortStableFunc(c.report.Findings, func(a, b Finding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
	return c.report, nil
}

func (c *checking) find(f Finding) { c.report.Findings = append(c.report.Findings, f) }

func at[T any](v T) *T { return &v }

// format looks at FORMAT, by which an older program knows a newer directory.
func (c *checking) format() error {
	infos, err := c.fs.List(".")
	if err != nil {
		return err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(infos, func(i vfs.Info) bool { return i.Name == name })
	}
	if record, err := pendingRepair(c.fs); err != nil || record != "" {
		if err == nil {
			c.report.plan.resume = record
			c.find(Finding{Severity: Damage, Kind: "repair", File: record, What: "a repair was cut off in the middle: no broker opens the directory until it has ended",
				Repair: "go on with it"})
		}
		return err
	}
	line, err := readSmall(c.fs, engine.FormatFile)
	isLog := has(engine.JournalDir) || has(engine.TopicsDir) || slices.ContainsFunc(infos, func(i vfs.Info) bool { return strings.HasPrefix(i.Name, "checkpoint-") })
	switch got := strings.TrimSpace(line); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil && !isLog:
		return fmt.Errorf("%s: %w: it has no %s", c.report.Directory, ErrNotADirectory, engine.FormatFile)
	case got == engine.FormatLine:
		c.report.Format = got
		return nil
	case err == nil && isVersion(got):
		return fmt.Errorf("%s: %w: its format is %q, and this program knows %q", c.report.Directory, ErrNewer, got, engine.FormatLine)
	case err != nil:
		c.find(Finding{Severity: Damage, Kind: "format", File: engine.FormatFile, What: "the file is missing; the rest is of this version",
			Repair: "write it again"})
	default:
		c.find(Finding{Severity: Damage, Kind: "format", File: engine.FormatFile, Position: at(int64(0)), What: fmt.Sprintf("it says %q and not %q", got, engine.FormatLine),
			Repair: "write it again"})
	}
	c.report.Format = engine.FormatLine
	c.report.plan.format = true
	return nil
}

// isVersion tells the line of another version from a damaged one.
func isVersion(line string) bool {
	name, version, ok := strings.Cut(line, " ")
	mine, _, _ := strings.Cut(engine.FormatLine, " ")
	return ok && name == mine && version != "" && strings.Trim(version, "0123456789.") == ""
}

// inspect reads checkpoints, journal and the directories of topics.
func (c *checking) inspect() (err error) {
	if c.in, err = engine.Inspect(c.fs); err != nil {
		return err
	}
	r := c.report
	r.ClusterID, r.Topics, r.Partitions, r.Replay = c.in.ClusterID, len(c.in.Topics), len(c.in.Partitions), c.in.Replay
	if c.in.Used >= 0 {
		r.Checkpoint = c.in.Checkpoints[c.in.Used].File
	}
	return nil
}

func (c *checking) checkpoints() error {
	for i, found := range c.in.Checkpoints {
		switch {
		case found.Newer:
			return fmt.Errorf("%s: %w: %w", c.report.Directory, ErrNewer, found.Err)
		case found.Err != nil:
			f := Finding{Severity: Warning, Kind: "checkpoint", File: found.File, Position: at(int64(0)), Bytes: found.SizeBytes, What: reasonOf(found.Err),
				Repair: "keep it aside; the one before is used, with a longer replay"}
			if i > c.in.Used && c.in.Used >= 0 {
				f.Repair = "keep it aside; a newer one is whole"
			}
			if c.in.Used < 0 {
				f.Severity = Damage
				f.Repair = "keep it aside, and put a new one together from journal and segments"
			}
			c.report.plan.asides = append(c.report.plan.asides, found.File)
			c.find(f)
		case found.Misnamed:
			right := fmt.Sprintf("checkpoint-%016d", found.Sequence)
			c.find(Finding{Severity: Warning, Kind: "checkpoint", File: found.File, What: fmt.Sprintf("it is %s under another name", right),
				Repair: "give it its name"})
			c.report.plan.renames = append(c.report.plan.renames, engine.Move{From: found.File, To: right})
		}
	}
	if c.in.Used >= 0 {
		return nil
	}
	// A directory that was only just begun has none; anything else has lost them.
	if c.in.Salvaged.First != 1 && (len(c.in.Checkpoints) > 0 || c.in.Salvaged.Entries > 0 || len(c.in.Orphans) > 0) {
		c.find(Finding{Severity: Damage, Kind: "checkpoint", What: "no checkpoint is whole: what topics are called, and where groups stand, is not known for sure",
			Repair: "put one together from journal and segments"})
	}
	if len(c.in.Checkpoints) > 0 || c.in.Salvaged.First > 1 || c.in.Salvaged.Entries == 0 && len(c.in.Orphans) > 0 {
		c.report.plan.mend = true
	}
	return nil
}

// reasonOf is what an error of the engine says, without the room and the file: those stand beside it.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*engine.CheckpointError](err); ok {
		if e.Err != nil {
			return e.Reason + ": " + e.Err.Error()
		}
		return e.Reason
	}
	return err.Error()
}

func (c *checking) journal() error {
	if _, err := c.fs.Stat(engine.JournalDir); errors.Is(err, fs.ErrNotExist) {
		if c.in.Used >= 0 && c.in.Boundary > 0 {
			c.find(Finding{Severity: Damage, Kind: "journal", File: engine.JournalDir, What: "the directory is missing",
				Repair: fmt.Sprintf("begin a new journal; what was acknowledged after entry %d is lost", c.in.Boundary)})
			c.report.plan.mend, c.report.plan.options.Journal = true, true
		}
		return nil
	}
	found, err := journal.Inspect(c.fs, engine.JournalDir, c.in.Boundary)
	if err != nil {
		return err
	}
	if c.in.Used < 0 && c.report.plan.mend {
		found.Damage = slices.DeleteFunc(found.Damage, func(d *journal.CorruptError) bool { return d.LSN <= 1 }) // that it doesn't begin with 1 is known
	}
	for _, d := range found.Damage {
		c.find(Finding{Severity: Damage, Kind: "journal", File: d.File, Position: at(d.PositionBytes), What: fmt.Sprintf("%s; entry %d can't be read", d.Reason, d.LSN),
			Repair: "write a new journal of all entries that can be read; what is missing becomes gaps"})
		c.report.plan.mend, c.report.plan.options.Journal = true, true
	}
	c.report.roomBytes, c.report.keptBack = found.RoomBytes(), found.KeptBack
	if n := found.KeptBack; n > 0 && n < journal.ReserveFiles {
		c.find(Finding{Severity: Note, Kind: "room", File: engine.JournalDir, What: fmt.Sprintf(
			"%d of %d files are left that are kept back for when the disk is full: it was full. The next start makes them again, if there is room", n, journal.ReserveFiles)})
	}
	if t := found.Torn; t != nil {
		c.find(Finding{Severity: Warning, Kind: "torn", File: t.File, Position: at(t.PositionBytes), Bytes: t.Bytes,
			What: "the journal ends in a write that was begun and not ended. After a crash that is as it should be: nobody was told that it ended. After a clean stop it is damage. " +
				"The next start keeps it aside"})
	}
	for _, kept := range found.KeptTorn {
		c.find(Finding{Severity: Note, Kind: "kept", File: kept, What: "a torn tail that an earlier start kept aside"})
	}
	for _, name := range found.Foreign {
		c.foreign(name, "it is no file of the journal")
	}
	return nil
}

func (c *checking) foreign(name, what string) {
	c.find(Finding{Severity: Warning, Kind: "foreign", File: name, What: what, Repair: "move it to " + LostDir})
	c.report.plan.asides = append(c.report.plan.asides, name)
}

// names looks for what doesn't belong there, and for what is missing.
func (c *checking) names() error {
	infos, err := c.fs.List(".")
	if err != nil {
		return err
	}
	for _, i := range infos {
		switch {
		case slices.Contains(known, i.Name), strings.HasPrefix(i.Name, "story.db"), c.isCheckpoint(i.Name):
		case strings.HasPrefix(i.Name, "damaged-checkpoint-"):
			c.find(Finding{Severity: Note, Kind: "kept", File: i.Name, What: "a damaged checkpoint that an earlier start kept aside"})
		case i.Name == engine.SnapshotDir:
			c.find(Finding{Severity: Note, Kind: "left", File: i.Name, What: "what is left of a backup that was cut off; the next start removes it"})
		case strings.HasSuffix(i.Name, ".new"), i.Name == "RESTORING":
			c.find(Finding{Severity: Note, Kind: "left", File: i.Name, What: "a file that was on its way to another name; it means nothing"})
		default:
			c.foreign(i.Name, "a broker doesn't make such a file; it leaves it alone")
		}
	}
	for _, name := range c.in.Foreign {
		c.foreign(name, "it is no topic's and no partition's")
	}
	if c.in.Used >= 0 {
		for _, name := range c.in.Orphans {
			c.find(Finding{Severity: Note, Kind: "orphan", File: name, What: "a directory of no topic: what a creation or a deletion left that was cut off. The next start removes it"})
		}
	}
	c.report.plan.makes = append(c.report.plan.makes, c.in.Missing...)
	return nil
}

func (c *checking) isCheckpoint(name string) bool {
	return slices.ContainsFunc(c.in.Checkpoints, func(found engine.InspectedCheckpoint) bool { return found.File == name })
}

// partitions reads every batch of every segment, and every index.
func (c *checking) partitions() error {
	for _, p := range c.in.Partitions {
		v, err := partition.Verify(c.fs, p.Dir, p.State)
		if err != nil {
			return err
		}
		r := c.report
		r.Segments += len(p.State.Segments)
		r.Batches += v.Batches
		r.Records += v.Records
		r.SizeBytes += v.SizeBytes
		if v.NoDirectory {
			c.find(Finding{Severity: Damage, Kind: "directory", File: p.Dir, Topic: p.Topic, Partition: at(p.ID.Index),
				What: "the partition's directory is missing: nothing could be written to it", Repair: "make it"})
		}
		lost := false
		for _, d := range v.Damage {
			if d.Last < p.Start {
				continue // deleted, and the checkpoint didn't know yet
			}
			lost = true
			f := Finding{Severity: Damage, Kind: "segment", File: d.File, Position: at(d.From), Bytes: d.To - d.From, Topic: p.Topic, Partition: at(p.ID.Index),
				What: d.Reason, Repair: "write the segment anew, with these records if they still stand somewhere, or a gap in their place"}
			if d.Last >= d.First {
				f.FirstOffset, f.LastOffset = at(max(d.First, p.Start)), at(d.Last)
			}
			c.find(f)
		}
		if lost {
			r.plan.mend = true
			r.plan.options.Partitions = append(r.plan.options.Partitions, p.ID)
		}
		for _, bad := range v.BadIndexes {
			c.find(Finding{Severity: Warning, Kind: "index", File: bad.File, Topic: p.Topic, Partition: at(p.ID.Index), What: bad.Reason + ". No reader believes it: it is made anew when one needs it",
				Repair: "make it anew"})
			r.plan.mend = true
			r.plan.options.Indexes = append(r.plan.options.Indexes, bad.File)
		}
		for _, name := range v.Foreign {
			c.foreign(name, "it is no segment and no index")
		}
		if n := len(v.Unknown); n > 0 {
			c.find(Finding{Severity: Note, Kind: "unsynced", File: p.Dir, Topic: p.Topic, Partition: at(p.ID.Index),
				What: fmt.Sprintf("%d of its files were written after the checkpoint: the next start writes them again from the journal", n)})
		}
	}
	return nil
}

// rehearse tries what a broker would do. It finds what nobody has thought of.
func (c *checking) rehearse() error {
	if c.report.plan.resume != "" || c.report.plan.format {
		return nil
	}
	r := engine.Rehearse(c.fs)
	c.report.Opens = r.Err == nil
	if r.Err == nil && len(r.Damage) == 0 {
		return nil
	}
	if slices.ContainsFunc(c.report.Findings, func(f Finding) bool { return f.Severity == Damage }) {
		return nil // that is why
	}
	if r.Err != nil {
		c.find(Finding{Severity: Damage, Kind: "open", What: "no broker opens it: " + r.Err.Error(),
			Repair: "write a new journal of all entries that can be applied"})
		c.report.plan.mend, c.report.plan.options.Journal = true, true
	}
	for _, d := range r.Damage {
		c.find(Finding{Severity: Damage, Kind: "open", What: "a broker would report: " + d})
	}
	return nil
}

// readSmall reads the beginning of a small file.
func readSmall(fsys vfs.FS, name string) (string, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, 4096)
	n, err := f.ReadAt(b, 0)
	if n == 0 && err != nil {
		if size, sizeErr := f.Size(); sizeErr == nil && size == 0 {
			return "", nil
		}
		return "", err
	}
	return string(b[:n]), nil
}
