package doctor

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// Repaired is the result of Repair.
type Repaired struct {
	Kept string   `json:"kept,omitempty"` // directory below LostDir with the files that were moved away; "" if none were
	Done []string `json:"done"`           // what was done, in one sentence each
	Lost []string `json:"lost"`           // what is lost, in one sentence each
	// Restored is the number of offsets whose records were damaged in a segment and were restored from elsewhere.
	Restored int64   `json:"restored"`
	After    *Report `json:"after"` // report of a Check after the repair
}

// ErrNothing means that there is nothing to repair.
var ErrNothing = errors.New("there is nothing to repair")

// Repair does what the findings of a Check of the same directory propose. If a rehearsal shows that a broker could not
// open the result, it changes nothing. Repair deletes no files: it moves them to a directory below LostDir that is
// named after the time at. The caller must make sure that no other process has the directory open, as RepairDir does.
// If Repair is interrupted, no broker can open the directory until another call of Repair has finished the work.
//
// The error is ErrNothing, or one of I/O.
func Repair(fsys vfs.FS, report *Report, at time.Time) (*Repaired, error) {
	out := &Repaired{Done: []string{}, Lost: []string{}}
	if record := report.needs.resume; record != "" {
		if err := resume(fsys, record); err != nil {
			return nil, err
		}
		out.Kept = path.Dir(record)
		out.Done = append(out.Done, "ended the repair that was cut off")
		after, err := Check(fsys, report.Directory)
		if err != nil {
			return nil, err
		}
		if after.needs.none() {
			out.After = after
			return out, nil
		}
		report = after
	}
	if report.needs.none() {
		return nil, ErrNothing
	}
	if err := report.needs.repair(fsys, at, out); err != nil {
		return nil, err
	}
	var err error
	out.After, err = Check(fsys, report.Directory)
	return out, err
}

// repairNeeds lists what Repair must do according to Check.
type repairNeeds struct {
	format  bool         // the file FORMAT must be written
	resume  string       // name of the record of an interrupted repair; "" if there is none
	renames []move       // renames of files with wrong names
	asides  []string     // names of files to be moved away
	makes   []string     // directories that are missing and must be created
	rewrite bool         // some files must be written again
	scope   rewriteScope // the parts to write again; if no checkpoint can be used, planRepair adds to them
}

// none reports whether there is nothing to do.
func (n repairNeeds) none() bool {
	return !n.format && n.resume == "" && !n.rewrite && len(n.renames) == 0 && len(n.asides) == 0 && len(n.makes) == 0
}

func (n repairNeeds) repair(fsys vfs.FS, at time.Time, out *Repaired) error {
	kept, err := makeRepairDir(fsys, at)
	if err != nil {
		return err
	}
	r, err := n.prepare(fsys, kept, out)
	if err == nil {
		err = rehearseRepair(fsys, kept, r)
	}
	if err != nil && n.rewrite && !n.scope.journal {
		// The journal is undamaged but may still not fit the other files, so a second attempt rebuilds it too.
		n.scope.journal, out.Lost = true, []string{}
		if err = fsys.RemoveAll(path.Join(kept, stagingDir)); err == nil {
			if r, err = n.prepare(fsys, kept, out); err == nil {
				err = rehearseRepair(fsys, kept, r)
			}
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("nothing was changed: %w", err), fsys.RemoveAll(kept))
	}
	if err := syncTree(fsys, kept); err != nil {
		return err
	}
	if err := carryOut(fsys, kept, r); err != nil {
		return fmt.Errorf("the repair was cut off; repair again to go on with it: %w", err)
	}
	out.Kept = kept
	for _, name := range r.Aside {
		out.Done = append(out.Done, "moved "+name+" to "+path.Join(kept, name))
	}
	for _, name := range r.Place {
		out.Done = append(out.Done, "wrote "+name)
	}
	for _, name := range r.Make {
		out.Done = append(out.Done, "made "+name)
	}
	if n.format {
		out.Done = append(out.Done, "wrote "+datadir.FormatFile)
	}
	return nil
}

// makeRepairDir creates the directory of this repair below LostDir, with its staging directory.
func makeRepairDir(fsys vfs.FS, at time.Time) (string, error) {
	for n := 0; ; n++ {
		name := path.Join(LostDir, at.UTC().Format("20060102T150405Z"))
		if n > 0 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
		if !exists(fsys, name) {
			return name, fsys.MkdirAll(path.Join(name, stagingDir))
		}
	}
}

// prepare writes the new files to the staging directory and returns the record of the moves that must be made.
func (n repairNeeds) prepare(fsys vfs.FS, kept string, out *Repaired) (repairRecord, error) {
	staging := path.Join(kept, stagingDir)
	if err := fsys.MkdirAll(staging); err != nil {
		return repairRecord{}, err
	}
	r := repairRecord{Aside: slices.Clone(n.asides), Make: n.makes}
	for _, mv := range n.renames {
		b, err := vfs.ReadFile(fsys, mv.from)
		if err == nil {
			err = vfs.WriteFile(fsys, path.Join(staging, mv.to), b)
		}
		if err != nil {
			return r, err
		}
		r.Aside, r.Place = append(r.Aside, mv.from), append(r.Place, mv.to)
	}
	if !n.rewrite {
		return r, nil
	}
	in, err := inspect(fsys)
	if err != nil {
		return r, err
	}
	plan, err := planRepair(fsys, staging, in, n.scope)
	if err != nil {
		return r, err
	}
	for _, mv := range plan.moves {
		if mv.to != "" {
			r.Place = append(r.Place, mv.to)
		} else if exists(fsys, mv.from) {
			r.Aside = append(r.Aside, mv.from)
		}
	}
	// A file in a directory that is moved as a whole is moved with the directory.
	slices.Sort(r.Aside)
	r.Aside = slices.Compact(r.Aside)
	r.Aside = slices.DeleteFunc(r.Aside, func(name string) bool {
		return slices.ContainsFunc(r.Aside, func(other string) bool { return strings.HasPrefix(name, other+"/") })
	})
	out.Lost = append(out.Lost, plan.lost...)
	out.Restored = plan.restored
	return r, nil
}

// rehearseRepair carries out a record over an overlay. It returns nil if a broker could open the result without finding
// damage, and the reason if it could not.
func rehearseRepair(fsys vfs.FS, kept string, r repairRecord) error {
	overlay := vfs.NewOverlay(fsys)
	if err := carryOut(overlay, kept, r); err != nil {
		return err
	}
	damage, err := rehearseOpen(overlay)
	if err != nil {
		return fmt.Errorf("no broker would open the outcome: %w", err)
	}
	if len(damage) > 0 {
		return fmt.Errorf("the outcome would still be damaged: %w", damage[0])
	}
	return nil
}

// rehearseOpen opens a data directory over an overlay, as a broker would, and closes it. Nothing is written to fsys. It
// returns the damage that the broker would report, or the error with which the directory does not open. The replayed
// entries of the journal are kept in memory.
func rehearseOpen(fsys vfs.FS) (damage []error, err error) {
	e, err := engine.Open(engine.Config{FS: vfs.NewOverlay(fsys), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	damage = e.Damage()
	return damage, e.Close()
}

// syncTree syncs a directory and all directories below it, so that their entries are durable.
func syncTree(fsys vfs.FS, dir string) error {
	infos, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, i := range infos {
		if i.Dir {
			if err := syncTree(fsys, path.Join(dir, i.Name)); err != nil {
				return err
			}
		}
	}
	return fsys.SyncDir(dir)
}
