// Package doctor finds out what is wrong with a data directory that no broker has open, and repairs it. Check and
// CheckDir report what they find and change nothing. Repair and RepairDir do what such a report proposes. The package
// reads the formats of the storage packages with their own code. Its only format of its own is the record of a repair
// under way (repairlog.go).
package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// Severity is what a finding means for the users of the data directory.
type Severity string

const (
	Damage  Severity = "damage"  // acknowledged data cannot be read, or no broker can open the directory
	Warning Severity = "warning" // no acknowledged data is lost, but something is not as a broker leaves it
	Note    Severity = "note"    // nothing is wrong, but the fact is worth knowing
)

// Finding describes something that is wrong in a data directory, or worth knowing, and where it is. A field that does
// not apply is nil, zero or "".
type Finding struct {
	Severity Severity `json:"severity"`
	Kind     string   `json:"kind"` // for programs, for example journal, checkpoint, segment or index
	File     string   `json:"file,omitempty"`
	Position *int64   `json:"position,omitempty"` // byte position in File
	Bytes    int64    `json:"bytes,omitempty"`    // number of bytes concerned, from Position on
	Topic    string   `json:"topic,omitempty"`
	// Partition is set if Topic is set. FirstOffset and LastOffset, which is inclusive, are set if records are
	// concerned.
	Partition   *int32 `json:"partition,omitempty"`
	FirstOffset *int64 `json:"first_offset,omitempty"`
	LastOffset  *int64 `json:"last_offset,omitempty"`
	What        string `json:"what"`
	Repair      string `json:"repair,omitempty"` // what Repair will do about the finding; "" if it does nothing
}

// Report is the result of Check. `tidings doctor` prints it as JSON.
type Report struct {
	Directory  string    `json:"directory"`
	Format     string    `json:"format"`
	ClusterID  string    `json:"cluster_id,omitempty"`
	Opens      bool      `json:"opens"` // whether a broker can open the directory in its present state
	Checkpoint string    `json:"checkpoint,omitempty"`
	Replay     int       `json:"replay_entries"` // number of journal entries that the next start replays
	Topics     int       `json:"topics"`
	Partitions int       `json:"partitions"`
	Segments   int       `json:"segments"`
	Batches    int64     `json:"batches"` // number of batches in segments, all of which were read
	Records    int64     `json:"records"`
	SizeBytes  int64     `json:"size_bytes"`
	Findings   []Finding `json:"findings"`

	needs     repairNeeds
	modes     []modeChange
	roomBytes int64 // how many bytes the journal must still allocate on the disk before a broker accepts appends
	keptBack  int   // number of files in the journal's reserve for a full disk
}

// Clean reports whether all findings have the severity Note.
func (r *Report) Clean() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity != Note })
}

// ErrNewer is matched by the error for data that a newer version of the program has written.
var ErrNewer = errors.New("it was written by a newer version")

// ErrNotADirectory is matched by the error of a Check of a directory that is not a data directory.
var ErrNotADirectory = errors.New("this is no data directory")

// known are the names that a data directory may contain, except those of checkpoints.
var known = []string{
	datadir.FormatFile, datadir.JournalDir, datadir.TopicsDir, "LOCK", "tidings.sock", "control.sock", "lost+found", LostDir,
}

// checking is the state of one call of Check. Its methods are the steps of Check and add findings to report.
type checking struct {
	fs     vfs.FS
	report *Report
	in     inspection
}

// Check reads a whole data directory, which no broker may have open, and changes nothing. dir is the name of the
// directory in the report. Damage in the directory is reported as findings. An error means that the directory could not
// be checked: it matches ErrNotADirectory or ErrNewer, or is one of I/O.
func Check(fsys vfs.FS, dir string) (*Report, error) {
	c := checking{fs: fsys, report: &Report{Directory: dir, Findings: []Finding{}}}
	for _, step := range []func() error{c.format, c.inspect, c.checkpoints, c.journal, c.names, c.partitions, c.open} {
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

// find adds a finding to the report.
func (c *checking) find(f Finding) { c.report.Findings = append(c.report.Findings, f) }

// at returns a pointer to a copy of v, for optional fields of a Finding.
func at[T any](v T) *T { return &v }

// format checks the file FORMAT, from which an older program recognizes the directory of a newer one, and looks for the
// record of an interrupted repair.
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
			c.report.needs.resume = record
			c.find(Finding{Severity: Damage, Kind: "repair", File: record, What: "a repair was cut off in the middle: no broker opens the directory until it has ended",
				Repair: "go on with it"})
		}
		return err
	}
	line, err := readSmall(c.fs, datadir.FormatFile)
	isLog := has(datadir.JournalDir) || has(datadir.TopicsDir) || slices.ContainsFunc(infos, func(i vfs.Info) bool { return strings.HasPrefix(i.Name, "checkpoint-") })
	switch got := strings.TrimSpace(line); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil && !isLog:
		return fmt.Errorf("%s: %w: it has no %s", c.report.Directory, ErrNotADirectory, datadir.FormatFile)
	case got == datadir.FormatLine:
		c.report.Format = got
		return nil
	case err == nil && isVersion(got):
		return fmt.Errorf("%s: %w: its format is %q, and this program knows %q", c.report.Directory, ErrNewer, got, datadir.FormatLine)
	case err != nil:
		c.find(Finding{Severity: Damage, Kind: "format", File: datadir.FormatFile, What: "the file is missing; the rest is of this version",
			Repair: "write it again"})
	default:
		c.find(Finding{Severity: Damage, Kind: "format", File: datadir.FormatFile, Position: at(int64(0)), What: fmt.Sprintf("it says %q and not %q", got, datadir.FormatLine),
			Repair: "write it again"})
	}
	c.report.Format = datadir.FormatLine
	c.report.needs.format = true
	return nil
}

// isVersion reports whether line is the content of FORMAT in some version of the format.
func isVersion(line string) bool {
	name, version, ok := strings.Cut(line, " ")
	mine, _, _ := strings.Cut(datadir.FormatLine, " ")
	return ok && name == mine && version != "" && strings.Trim(version, "0123456789.") == ""
}

// inspect reads checkpoints, journal and the directories of topics for the following steps.
func (c *checking) inspect() (err error) {
	if c.in, err = inspect(c.fs); err != nil {
		return err
	}
	r := c.report
	r.ClusterID, r.Topics, r.Partitions, r.Replay = c.in.clusterID, len(c.in.topics), len(c.in.partitions), c.in.replay
	if c.in.used >= 0 {
		r.Checkpoint = c.in.checkpoints[c.in.used].file
	}
	return nil
}

// checkpoints adds findings for checkpoints that cannot be used, and decides whether a checkpoint must be
// reconstructed.
func (c *checking) checkpoints() error {
	for i, found := range c.in.checkpoints {
		switch {
		case found.newer:
			return fmt.Errorf("%s: %w: %w", c.report.Directory, ErrNewer, found.err)
		case found.err != nil:
			f := Finding{Severity: Warning, Kind: "checkpoint", File: found.file, Position: at(int64(0)), Bytes: found.sizeBytes, What: reasonOf(found.err),
				Repair: "keep it aside; the one before is used, with a longer replay"}
			if i > c.in.used && c.in.used >= 0 {
				f.Repair = "keep it aside; a newer one is whole"
			}
			if c.in.used < 0 {
				f.Severity = Damage
				f.Repair = "keep it aside, and put a new one together from journal and segments"
			}
			c.report.needs.asides = append(c.report.needs.asides, found.file)
			c.find(f)
		case found.misnamed:
			right := datadir.CheckpointName(found.sequence)
			c.find(Finding{Severity: Warning, Kind: "checkpoint", File: found.file, What: fmt.Sprintf("it is %s under another name", right),
				Repair: "give it its name"})
			c.report.needs.renames = append(c.report.needs.renames, move{from: found.file, to: right})
		}
	}
	if c.in.used >= 0 {
		return nil
	}
	// A directory that was just created has no checkpoint yet. Any other directory without one has lost it.
	if c.in.salvaged.First != 1 && (len(c.in.checkpoints) > 0 || c.in.salvaged.Entries > 0 || len(c.in.orphans) > 0) {
		c.find(Finding{Severity: Damage, Kind: "checkpoint", What: "no checkpoint is whole: what topics are called, and where groups stand, is not known for sure",
			Repair: "put one together from journal and segments"})
	}
	if len(c.in.checkpoints) > 0 || c.in.salvaged.First > 1 || c.in.salvaged.Entries == 0 && len(c.in.orphans) > 0 {
		c.report.needs.rewrite = true
	}
	return nil
}

// reasonOf returns the text of an error without the file's name, since the finding names the file itself.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*datadir.CheckpointError](err); ok {
		if e.Err != nil {
			return e.Reason + ": " + e.Err.Error()
		}
		return e.Reason
	}
	return err.Error()
}

// journal adds findings for damage of the journal, and for what crashes and full disks have left in it.
func (c *checking) journal() error {
	if _, err := c.fs.Stat(datadir.JournalDir); errors.Is(err, fs.ErrNotExist) {
		if c.in.used >= 0 && c.in.boundary > 0 {
			c.find(Finding{Severity: Damage, Kind: "journal", File: datadir.JournalDir, What: "the directory is missing",
				Repair: fmt.Sprintf("begin a new journal; what was acknowledged after entry %d is lost", c.in.boundary)})
			c.report.needs.rewrite, c.report.needs.scope.journal = true, true
		}
		return nil
	}
	found, err := journal.Inspect(c.fs, datadir.JournalDir, c.in.boundary)
	if err != nil {
		return err
	}
	if c.in.used < 0 && c.report.needs.rewrite {
		// Without a checkpoint it is known that the journal does not begin with LSN 1.
		found.Damage = slices.DeleteFunc(found.Damage, func(d *journal.CorruptError) bool { return d.LSN <= 1 })
	}
	for _, d := range found.Damage {
		c.find(Finding{Severity: Damage, Kind: "journal", File: d.File, Position: at(d.PositionBytes), What: fmt.Sprintf("%s; entry %d can't be read", d.Reason, d.LSN),
			Repair: "write a new journal of all entries that can be read; what is missing becomes gaps"})
		c.report.needs.rewrite, c.report.needs.scope.journal = true, true
	}
	c.report.roomBytes, c.report.keptBack = found.RoomBytes(), found.Reserves
	if n := found.Reserves; n > 0 && n < journal.ReserveFiles {
		c.find(Finding{Severity: Note, Kind: "room", File: datadir.JournalDir, What: fmt.Sprintf(
			"%d of %d files are left that are kept back for when the disk is full: it was full. The next start makes them again, if there is room", n, journal.ReserveFiles)})
	}
	if t := found.Torn; t != nil {
		c.find(Finding{Severity: Warning, Kind: "torn", File: t.File, Position: at(t.PositionBytes), Bytes: t.Bytes,
			What: "the journal ends in a write that was begun and not ended. After a crash that is as it should be: nobody was told that it ended. After a clean stop it is damage. " +
				"The next start keeps it aside"})
	}
	for _, kept := range found.TornFiles {
		c.find(Finding{Severity: Note, Kind: "kept", File: kept, What: "a torn tail that an earlier start kept aside"})
	}
	for _, name := range found.Foreign {
		c.foreign(name, "it is no file of the journal")
	}
	return nil
}

// foreign adds a finding for a file that does not belong in the data directory, and makes the repair move it away.
func (c *checking) foreign(name, what string) {
	c.find(Finding{Severity: Warning, Kind: "foreign", File: name, What: what, Repair: "move it to " + LostDir})
	c.report.needs.asides = append(c.report.needs.asides, name)
}

// names looks for files that do not belong in the data directory, and for missing directories.
func (c *checking) names() error {
	infos, err := c.fs.List(".")
	if err != nil {
		return err
	}
	for _, i := range infos {
		switch {
		case slices.Contains(known, i.Name), strings.HasPrefix(i.Name, "story.db"), c.isCheckpoint(i.Name):
		case datadir.IsDamagedCheckpoint(i.Name):
			c.find(Finding{Severity: Note, Kind: "kept", File: i.Name, What: "a damaged checkpoint that an earlier start kept aside"})
		case i.Name == datadir.SnapshotDir:
			c.find(Finding{Severity: Note, Kind: "left", File: i.Name, What: "what is left of a backup that was cut off; the next start removes it"})
		case strings.HasSuffix(i.Name, vfs.TemporarySuffix), i.Name == "RESTORING":
			c.find(Finding{Severity: Note, Kind: "left", File: i.Name, What: "a file that was on its way to another name; it means nothing"})
		default:
			c.foreign(i.Name, "a broker doesn't make such a file; it leaves it alone")
		}
	}
	for _, name := range c.in.foreign {
		c.foreign(name, "it is no topic's and no partition's")
	}
	if c.in.used >= 0 {
		for _, name := range c.in.orphans {
			c.find(Finding{Severity: Note, Kind: "orphan", File: name, What: "a directory of no topic: what a creation or a deletion left that was cut off. The next start removes it"})
		}
	}
	c.report.needs.makes = append(c.report.needs.makes, c.in.missing...)
	return nil
}

func (c *checking) isCheckpoint(name string) bool {
	return slices.ContainsFunc(c.in.checkpoints, func(found inspectedCheckpoint) bool { return found.file == name })
}

// partitions reads every batch of every segment and every index, and adds findings for their damage.
func (c *checking) partitions() error {
	for _, p := range c.in.partitions {
		v, err := partition.Verify(c.fs, p.dir, p.state)
		if err != nil {
			return err
		}
		r := c.report
		r.Segments += len(p.state.Segments)
		r.Batches += v.Batches
		r.Records += v.Records
		r.SizeBytes += v.SizeBytes
		if v.NoDirectory {
			c.find(Finding{Severity: Damage, Kind: "directory", File: p.dir, Topic: p.topic, Partition: at(p.id.Index),
				What: "the partition's directory is missing: nothing could be written to it", Repair: "make it"})
		}
		lost := false
		for _, d := range v.Damage {
			if d.Last < p.start {
				continue // the topic was deleted after the checkpoint
			}
			lost = true
			f := Finding{Severity: Damage, Kind: "segment", File: d.File, Position: at(d.From), Bytes: d.To - d.From, Topic: p.topic, Partition: at(p.id.Index),
				What: d.Reason, Repair: "write the segment anew, with these records if they still stand somewhere, or a gap in their place"}
			if d.Last >= d.First {
				f.FirstOffset, f.LastOffset = at(max(d.First, p.start)), at(d.Last)
			}
			c.find(f)
		}
		if lost {
			r.needs.rewrite = true
			r.needs.scope.partitions = append(r.needs.scope.partitions, p.id)
		}
		for _, bad := range v.BadIndexes {
			c.find(Finding{Severity: Warning, Kind: "index", File: bad.File, Topic: p.topic, Partition: at(p.id.Index), What: bad.Reason + ". No reader believes it: it is made anew when one needs it",
				Repair: "make it anew"})
			r.needs.rewrite = true
			r.needs.scope.indexes = append(r.needs.scope.indexes, bad.File)
		}
		for _, name := range v.Foreign {
			c.foreign(name, "it is no segment and no index")
		}
		if n := len(v.Unknown); n > 0 {
			c.find(Finding{Severity: Note, Kind: "unsynced", File: p.dir, Topic: p.topic, Partition: at(p.id.Index),
				What: fmt.Sprintf("%d of its files were written after the checkpoint: the next start writes them again from the journal", n)})
		}
	}
	return nil
}

// open opens the directory over an overlay, as a broker would. It finds damage that no other step looks for.
func (c *checking) open() error {
	if c.report.needs.resume != "" || c.report.needs.format {
		return nil
	}
	damage, err := rehearseOpen(c.fs)
	c.report.Opens = err == nil
	if err == nil && len(damage) == 0 {
		return nil
	}
	if slices.ContainsFunc(c.report.Findings, func(f Finding) bool { return f.Severity == Damage }) {
		return nil // the findings contain the reason already
	}
	if err != nil {
		c.find(Finding{Severity: Damage, Kind: "open", What: "no broker opens it: " + err.Error(),
			Repair: "write a new journal of all entries that can be applied"})
		c.report.needs.rewrite, c.report.needs.scope.journal = true, true
	}
	for _, d := range damage {
		c.find(Finding{Severity: Damage, Kind: "open", What: "a broker would report: " + d.Error()})
	}
	return nil
}

// readSmall returns the first 4 KiB of a file, or the whole file if it is shorter.
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
