package bench

import "sync"

// Progress tells a watcher how far a run is. A nil *Progress is told and forgets.
type Progress struct {
	mu    sync.Mutex
	stage string
	count func() int64
}

// Stage names what goes on now.
func (p *Progress) Stage(name string) { p.set(name, nil) }

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

// counts says by what to count the stage that goes on.
func (p *Progress) counts(count func() int64) { p.set("", count) }

// Now returns the stage and how many records, or bytes where nothing is decoded, it has done.
func (p *Progress) Now() (stage string, done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count != nil {
		done = p.count()
	}
	return p.stage, done
}
