package vfs

import (
	"math/rand"
	"sort"
)

// CrashClone returns a copy of the tree as a power cut at this moment could leave it. m does not change. The copy
// contains everything that was synced. For everything else it contains one of the possible outcomes, chosen by rng:
//   - Each 512-byte sector has its durable content, its last content, or a content that it had in between.
//   - The length of a file is the durable one, the last one, or one between these.
//   - A prefix of the changes to each directory is kept. A rename within a directory is one change. A rename across
//     directories is kept or lost as a whole, unless one of the two directories was synced.
//
// The same tree and the same state of rng give the same copy. The copy has no limit, and its power is on.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := NewMem()
	crash := &crash{rng: rng, to: clone, kept: map[*memDir]int{}, clones: map[*memNode]*memNode{}}
	crash.choosePrefixes(m.root)
	clone.root = crash.node(m.root)
	return clone
}

// crash is the state of one call of CrashClone, which holds tree.mu.
type crash struct {
	rng    *rand.Rand
	to     *Mem
	kept   map[*memDir]int       // number of pending changes that each directory keeps
	clones map[*memNode]*memNode // the copies of nodes, so that a node with two names is copied once
}

// choosePrefixes chooses, for every directory that can be reached through durable, current or pending entries, how many
// of its pending changes it keeps.
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
		// A directory that was created, filled and removed since the last sync can only be reached through pending
		// changes.
		for _, o := range n.dir.pending {
			if o.node != nil {
				walk(o.node)
			}
		}
	}
	walk(root)
	c.joinRenames(dirs)
}

// joinRenames shortens prefixes until each rename across directories is kept or lost as a whole. Renames of which one
// half was synced are not considered.
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

// prefix returns a random number in [0, n]. 0 and n have a probability of at least one third each.
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

// node returns the copy of n after the power cut. It copies each node once.
func (c *crash) node(n *memNode) *memNode {
	if done, ok := c.clones[n]; ok {
		return done
	}
	if n.file != nil {
		clone := &memNode{file: c.content(n.file)}
		c.clones[n] = clone
		return clone
	}
	clone := newMemDir(c.to)
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

// content returns the content of a file after the power cut. Everything in the result is durable.
func (c *crash) content(f *memContent) *memContent {
	f.mu.RLock()
	defer f.mu.RUnlock()
	left := newMemContent(c.to)
	left.modified = f.modified
	left.sizeBytes = c.size(f.durableBytes, f.sizeBytes)
	left.pages = make([]*memPage, (left.sizeBytes+memPageBytes-1)/memPageBytes)
	copy(left.pages, f.durable)

	// In one power cut most unsynced sectors of a file may have reached the disk, in another one none. The probability
	// is drawn per file, so that both extremes occur often.
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
	// Bytes after the end of the file must be zeros, even if the last page had others.
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

// size returns a random length between durable and last, inclusive.
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

// page returns a page in which each sector has a randomly chosen state: that of durable, last or between. between may
// be nil. The result must not be changed.
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

// pageAt returns pages[i], or nil if i is beyond the end.
func pageAt(pages []*memPage, i int) *memPage {
	if i < len(pages) {
		return pages[i]
	}
	return nil
}

// zeroPage is used in the place of pages that are nil. It must not be changed.
var zeroPage memPage
