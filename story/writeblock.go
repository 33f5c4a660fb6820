package story

// writingBlock is the block of a partition that events were added to last in a transaction.
type writingBlock struct {
	at location // any in the block
	*eventBlock
}

// sameBlock reports whether two offsets of a partition are in one block.
func sameBlock(a, b int64) bool { return a>>blockBits == b>>blockBits }

// appendEvent adds an event, which is the last of its partition. s is its story.
func (tx *writeTx) appendEvent(at location, e *eventRow, s *storyRow) {
	w := tx.blocks[at.partition]
	if w == nil {
		w = new(writingBlock)
		tx.blocks[at.partition] = w
	}
	if w.eventBlock == nil || !sameBlock(w.at.offset, at.offset) {
		tx.writeBlock(w)
		b, err := openBlock(tx.events.Get(blockKey(at)))
		tx.fail(err)
		w.at, w.eventBlock = at, b
	}
	w.append(at.offset, e, s)
}

// writeBlock writes a block if it has changed.
func (tx *writeTx) writeBlock(w *writingBlock) {
	if w.eventBlock != nil && w.dirty {
		// The row may be extended later, beyond what bbolt has of it.
		tx.put(tx.events, blockKey(w.at), w.row[:len(w.row):len(w.row)])
		w.dirty = false
	}
}

// blockRow returns the row of the block that has a location; nil if there is none.
func (tx *writeTx) blockRow(at location) []byte {
	if w := tx.blocks[at.partition]; w != nil && w.eventBlock != nil && sameBlock(w.at.offset, at.offset) {
		return w.row
	}
	return tx.events.Get(blockKey(at))
}

// event returns the row of the event at a location, which must exist.
func (tx *writeTx) event(at location) eventRow {
	r := newBlockReader(tx.blockRow(at))
	if !r.seek(at.offset) {
		tx.fail(errRow)
		return eventRow{}
	}
	row, err := r.event(tx.storyRead(r.head.story))
	tx.fail(err)
	return row
}

// markCopy changes the copyKind of the event at a location.
func (tx *writeTx) markCopy(at location, kind copyKind) {
	w := tx.blocks[at.partition]
	if w == nil || w.eventBlock == nil || !sameBlock(w.at.offset, at.offset) {
		w = &writingBlock{at, &eventBlock{row: tx.events.Get(blockKey(at))}}
	}
	if !w.mark(at.offset, kind) {
		tx.fail(errRow)
	}
	if tx.blocks[at.partition] != w {
		tx.writeBlock(w)
	}
}
