package bench

import "sync"

// Progress is the progress of a run. Another goroutine may read it with Now. The zero value can be used. A nil
// *Progress is valid for Stage, which then does nothing.
type Progress struct {
	mu    sync.Mutex // protects the fields below
	stage string
	count func() int64 // nil if the stage counts nothing
}

// Stage begins a stage of the run. A new stage counts nothing.
func (p *Progress) Stage(name string) { p.set(name, nil) }

// Counts sets the function that returns how much the current stage has done. count must be safe for concurrent use.
func (p *Progress) Counts(count func() int64) { p.set("", count) }

func (p *Progress) set(stage string, count func() int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if stage != "" {
		p.stage = stage
	}
	p.count = count
}

// Now returns the name of the current stage, and how many records it has handled, or bytes if the stage counts bytes.
func (p *Progress) Now() (stage string, done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count != nil {
		done = p.count()
	}
	return p.stage, done
}
