package doctor

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

var errNotDir = syscall.ENOTDIR

// Repaired is what Repair did.
type Repaired struct {
	Kept     string   `json:"kept,omitempty"` // where what was taken out of the way is now, in the data directory
	Done     []string `json:"done"`
	Lost     []string `json:"lost"`     // what can't be brought back
	Restored int64    `json:"restored"` // offsets whose records were damaged in a segment and whole in the journal
	After    *Report  `json:"after"`
}

// ErrNothing says that there is nothing to repair.
var ErrNothing = errors.New("there is nothing to repair")

// Repair does what the findings of a Check of the same directory say, and nothing if a rehearsal shows that no broker
// would open the outcome. Nothing that was there is thrown away: it is moved below LostDir, by a directory that at names.
// Nobody else may have the directory open. When it is cut off, the next one goes on with it; until then no broker opens
// the directory. The error ErrNothing says that there is nothing to do.
func Repair(fsys vfs.FS, report *Report, at time.Time) (*Repaired, error) {
	out := &Repaired{Done: []string{}, Lost: []string{}}
	if record := report.plan.resume; record != "" {
		if err := resume(fsys, record); err != nil {
			return nil, err
		}
		out.Kept = path.Dir(record)
		out.Done = append(out.Done, "ended the repair that was cut off")
		after, err := Check(fsys, report.Directory)
		if err != nil {
			return nil, err
		}
		if after.plan.empty() {
			out.After = after
			return out, nil
		}
		report = after
	}
	p := report.plan
	if p.empty() {
		return nil, ErrNothing
	}
	if err := p.carryOut(fsys, at, out); err != nil {
		return nil, err
	}
	var err error
	out.After, err = Check(fsys, report.Directory)
	return out, err
}

func (p plan) empty() bool {
	return !p.format && p.resume == "" && !p.mend && len(p.renames) == 0 && len(p.asides) == 0 && len(p.makes) == 0
}

func (p plan) carryOut(fsys vfs.FS, at time.Time, out *Repaired) error {
	kept, err := freshDir(fsys, at)
	if err != nil {
		return err
	}
	r, err := p.prepare(fsys, kept, out)
	if err == nil {
		err = rehearse(fsys, kept, r)
	}
	if err != nil && p.mend && !p.options.Journal {
		// A journal that is sound may still not fit the rest.
		p.options.Journal, out.Lost = true, []string{}
		if err = fsys.RemoveAll(path.Join(kept, stagingDir)); err == nil {
			if r, err = p.prepare(fsys, kept, out); err == nil {
				err = rehearse(fsys, kept, r)
			}
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("nothing was changed: %w", err), fsys.RemoveAll(kept))
	}
	if err := settleTree(fsys, kept); err != nil {
		return err
	}
	if err := commit(fsys, kept, r); err != nil {
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
	if p.format {
		out.Done = append(out.Done, "wrote "+engine.FormatFile)
	}
	return nil
}

// freshDir makes the directory of this repair.
func freshDir(fsys vfs.FS, at time.Time) (string, error) {
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

// prepare writes what is new to the staging directory and returns what is to be done.
func (p plan) prepare(fsys vfs.FS, kept string, out *Repaired) (record, error) {
	staging := path.Join(kept, stagingDir)
	if err := fsys.MkdirAll(staging); err != nil {
		return record{}, err
	}
	r := record{Aside: slices.Clone(p.asides), Make: p.makes}
	for _, mv := range p.renames {
		b, err := vfs.ReadFile(fsys, mv.From)
		if err == nil {
			err = writeDurably(fsys, path.Join(staging, mv.To), b)
		}
		if err != nil {
			return r, err
		}
		r.Aside, r.Place = append(r.Aside, mv.From), append(r.Place, mv.To)
	}
	if !p.mend {
		return r, nil
	}
	in, err := engine.Inspect(fsys)
	if err != nil {
		return r, err
	}
	mended, err := engine.Mend(fsys, staging, in, p.options)
	if err != nil {
		return r, err
	}
	for _, mv := range mended.Moves {
		if mv.To != "" {
			r.Place = append(r.Place, mv.To)
		} else if exists(fsys, mv.From) {
			r.Aside = append(r.Aside, mv.From)
		}
	}
	// What stands in a directory that is moved as a whole goes with it.
	slices.Sort(r.Aside)
	r.Aside = slices.Compact(r.Aside)
	r.Aside = slices.DeleteFunc(r.Aside, func(name string) bool {
		return slices.ContainsFunc(r.Aside, func(other string) bool { return strings.HasPrefix(name, other+"/") })
	})
	out.Lost = append(out.Lost, mended.Lost...)
	out.Restored = mended.Restored
	return r, nil
}

// rehearse carries a record out over an overlay and opens what comes of it.
func rehearse(fsys vfs.FS, kept string, r record) error {
	overlay := vfs.NewOverlay(fsys)
	if err := commit(overlay, kept, r); err != nil {
		return err
	}
	out := engine.Rehearse(overlay)
	if out.Err != nil {
		return fmt.Errorf("no broker would open the outcome: %w", out.Err)
	}
	if len(out.Damage) > 0 {
		return fmt.Errorf("the outcome would still be damaged: %s", out.Damage[0])
	}
	return nil
}

// settleTree makes the names in a directory and below it durable.
func settleTree(fsys vfs.FS, dir string) error {
	infos, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, i := range infos {
		if i.Dir {
			if err := settleTree(fsys, path.Join(dir, i.Name)); err != nil {
				return err
			}
		}
	}
	return fsys.SyncDir(dir)
}
