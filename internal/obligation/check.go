package obligation

import (
	"errors"
	"fmt"
	"slices"

	"tidings.dev/internal/offsets"
)

// maxOffset is above the end of every partition: one that takes in a million records a second reaches it after nine
// years. Nobody has given an offset above it.
const maxOffset = 1 << 48

// check returns an error for a fact that no writer has written: one without the names that all facts of its kind have,
// or with an offset that no partition has. The offsets of a subscription are not checked here, see
// [Subscription.Possible].
func check(f Fact) error {
	switch f := f.(type) {
	case *Subscription:
		return checkNames(f.Reaction, f.Topic)
	case *Emission:
		return checkNames(f.App, f.Type, f.Topic)
	case *Mismatch:
		return checkNames(f.Reaction, f.Type, f.Topic)
	case *NotUnderstood:
		return errors.Join(checkNames(f.Reaction, f.Topic), checkOffsets(f.First.Offset, f.Last.Offset))
	case *Derivation:
		return errors.Join(checkNames(f.Reaction, f.Topic), checkOffsets(f.From))
	case *Marks:
		for _, c := range f.Copies {
			if err := checkOffsets(c.Offset, c.Of); err != nil {
				return err
			}
		}
		return errors.Join(checkNames(f.Reaction, f.Topic), checkOffsets(f.Position),
			checkRanges(f.Done), checkRanges(f.Unhandled), checkRanges(f.Emitted))
	case *Retrying:
		return errors.Join(checkNames(f.Reaction, f.Topic), checkOffsets(f.Offset))
	case *Running:
		return errors.Join(checkNames(f.Reaction, f.Topic), checkOffsets(f.Offset))
	case *Seek:
		return errors.Join(checkNames(f.Reaction, f.Topic), checkOffsets(f.From, f.To))
	case *Settled:
		return checkPositions(f.Through)
	case *Question:
		return checkOffsets(f.StoryEnd)
	case *Answer:
		return errors.Join(checkOffsets(f.StoryEnd), checkPositions(f.Through))
	case *Command:
		return errors.Join(checkNames(f.Reaction, f.Topic), checkAscending(f.Again), checkAscending(f.Jump))
	}
	return nil
}

// checkNames returns an error if a name is empty.
func checkNames(names ...string) error {
	if slices.Contains(names, "") {
		return errors.New("a name is missing")
	}
	return nil
}

// checkOffsets returns an error if an offset is negative or above maxOffset.
func checkOffsets(all ...int64) error {
	for _, o := range all {
		if o < 0 || o > maxOffset {
			return fmt.Errorf("offset %d", o)
		}
	}
	return nil
}

// checkRanges returns an error if a range is not one of a partition.
func checkRanges(ranges []offsets.Range) error {
	for _, r := range ranges {
		if r.Lo < 0 || r.Hi < r.Lo || r.Hi > maxOffset {
			return fmt.Errorf("range [%d,%d)", r.Lo, r.Hi)
		}
	}
	return nil
}

// checkAscending returns an error if a range is not one of a partition, or is empty, or if the ranges are not in order.
func checkAscending(ranges []offsets.Range) error {
	at := int64(0)
	for _, r := range ranges {
		if r.Lo < at || r.Hi <= r.Lo {
			return fmt.Errorf("range [%d,%d)", r.Lo, r.Hi)
		}
		at = r.Hi
	}
	return checkRanges(ranges)
}

// checkPositions returns an error if an offset is negative or above maxOffset.
func checkPositions(through []Position) error {
	for _, p := range through {
		if err := checkOffsets(p.Offset); err != nil {
			return err
		}
	}
	return nil
}
