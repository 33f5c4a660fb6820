package vfs

import (
	"math/rand"
	"sort"
)

// CrashClone returns the disk after a power cut at this moment; m itself goes on unaffected. What was synced is there.
// Of what was not:
//   - each 512-byte sector has its durable content, its last content, or one it had between;
//   - a file's length is the durable one, the last one, or one between;
//   - of the changes to each directory a prefix is kept, renames within it as a whole. A rename across directories is
//     kept or lost as a whole, unless one of the two was synced.
//
// The same tree and the same state of rng give the same clone. It has no limit and its power is on.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := NewMem()
	crash := &crash{rng: rng, to: clone, kept: map[*memDir]int{}, clones: map[*memNode]*memNode{}}
	crash.choosePrefixes(m.root)
	clone.root = crash.node(m.root)
	return clone
}

// crash is one power cut being decided.
type crash struct {
	rng    *rand.Rand
	to     *Mem
	kept   map[*memDir]int       // how many of its pending operations each directory keeps
	clones map[*memNode]*memNode // a node that two names lead to stays one
}

// choosePrefixes decides for every directory that can be reached, durably or not, how much it keeps.
func (c *crash) choosePrefixes(root *memNode) {
	var dirs []*memDir
	var walk func(n *memNode)
	walk = func(n *memNode) {
		if n.dir == nil {
			return
		}
		if _, seen := c.kept[n.dir]; seen {
			return
		}
		c.kept[n.dir] = c.prefix(len(n.dir.pending))
		dirs = append(dirs, n.dir)
		for _, entries := range []map[string]*memNode{n.dir.durable, n.dir.entries} {
			for _, name := range sortedNames(entries) {
				walk(entries[name])
			}
		}
		// A directory that was made, filled and removed since the last sync stands in the operations alone.
		for _, o := range n.dir.pending {
			if o.node != nil {
				walk(o.node)
			}
		}
	}
	walk(root)
	c.joinRenames(dirs)
}

// joinRenames shortens prefixes until no rename across directories of which both halves are unsynced is kept by half.
func (c *crash) joinRenames(dirs []*memDir) {
	pending, lost := map[uint64]int{}, map[uint64]bool{}
	for _, d := range dirs {
		for _, o := range d.pending {
			if o.rename != 0 {
				pending[o.rename]++
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for _, d := range dirs {
			for i, o := range d.pending {
				if pending[o.rename] != 2 {
					continue
				}
				if i >= c.kept[d] && !lost[o.rename] {
					lost[o.rename], changed = true, true
				}
				if i < c.kept[d] && lost[o.rename] {
					c.kept[d], changed = i, true
				}
			}
		}
	}
}

// prefix returns how many of n things are kept; all and none are as likely as everything between.
func (c *crash) prefix(n int) int {
	if n == 0 {
		return 0
	}
	switch c.rng.Intn(3) {
	case 0:
		return 0
	case 1:
		return n
	}
	return c.rng.Intn(n + 1)
}

func (c *crash) node(n *memNode) *memNode {
	if done, ok := c.clones[n]; ok {
		return done
	}
	if n.file != nil {
		clone := &memNode{file: c.content(n.file)}
		c.clones[n] = clone
		return clone
	}
	clone := newMemDir()
	c.clones[n] = clone
	left := make(map[string]*memNode, len(n.dir.durable))
	for name, child := range n.dir.durable {
		left[name] = child
	}
	for _, o := range n.dir.pending[:c.kept[n.dir]] {
		o.apply(left)
	}
	for _, name := range sortedNames(left) {
		child := c.node(left[name])
		clone.dir.entries[name] = child
		clone.dir.durable[name] = child
	}
	return clone
}

// content decides what is left of a file. The clone's content is durable: it is what the disk holds.
func (c *crash) content(f *memContent) *memContent {
	f.mu.RLock()
	defer f.mu.RUnlock()
	left := newMemContent(c.to)
	left.modified = f.modified
	left.sizeBytes = c.size(f.durableBytes, f.sizeBytes)
	left.pages = make([]*memPage, (left.sizeBytes+memPageBytes-1)/memPageBytes)
	copy(left.pages, f.durable)

	// In one cut most of a file's unsynced sectors may have been on their way, in another none: the chance is drawn
	// per file, so that both ends are met often.
	chance := [...]float64{0, 1, 0.5, c.rng.Float64()}[c.rng.Intn(4)]
	dirty := make([]int, 0, len(f.dirty))
	for i := range f.dirty {
		dirty = append(dirty, i)
	}
	sort.Ints(dirty)
	for _, i := range dirty {
		if i < len(left.pages) {
			left.pages[i] = c.page(pageAt(f.durable, i), pageAt(f.pages, i), f.dirty[i].between, chance)
		}
	}
	// Past the length there is nothing, whatever the last page had there.
	if within := left.sizeBytes % memPageBytes; within != 0 {
		if last := left.pages[len(left.pages)-1]; last != nil {
			cut := *last
			clear(cut[within:])
			left.pages[len(left.pages)-1] = &cut
		}
	}
	left.durableBytes = left.sizeBytes
	left.durable = append([]*memPage(nil), left.pages...)
	left.counted = left.sizeBytes
	c.to.usedBytes.Add(left.sizeBytes)
	return left
}

// size chooses a length from durable to last.
func (c *crash) size(durable, last int64) int64 {
	if durable == last {
		return last
	}
	switch c.rng.Intn(3) {
	case 0:
		return durable
	case 1:
		return last
	}
	return min(durable, last) + c.rng.Int63n(max(durable, last)-min(durable, last)+1)
}

// page chooses each sector's state. The result is never changed again.
func (c *crash) page(durable, last, between *memPage, chance float64) *memPage {
	if durable == nil {
		durable = &zeroPage
	}
	if last == nil {
		last = &zeroPage
	}
	left := *durable
	for s := range sectorsPerPage {
		from := last
		if between != nil && c.rng.Intn(4) == 0 {
			from = between
		}
		if c.rng.Float64() < chance {
			copy(left[s*sectorBytes:(s+1)*sectorBytes], from[s*sectorBytes:])
		}
	}
	return &left
}

func pageAt(pages []*memPage, i int) *memPage {
	if i < len(pages) {
		return pages[i]
	}
	return nil
}

// zeroPage stands in for pages that are nil; nobody changes it.
var zeroPage memPage
