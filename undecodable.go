package tidings

import (
	"context"
	"sync/atomic"
)

// OnUndecodable sets a function that is called in place of the handler for an event whose payload does not decode; err
// is then a [*PayloadError]. The result of h counts as that of the handler: after nil the event counts as handled,
// after an error of [Skip] it is passed over and its story shows the reason, and after any other error it is tried
// again. h may emit facts with ctx.
//
// By default such an event is tried again, without limit, until a program runs that can decode it; later events of its
// subject wait. [SkipUndecodable] is an h that passes over such events.
//
// With [ReactWith], an event counts as undecodable if fold called [Fact.From] for it and that failed. h is called
// after fold, and changes that fold has made to the state stay. OnUndecodable panics if h is nil.
func OnUndecodable(h func(ctx context.Context, e Any, err error) error) ReactOption {
	if h == nil {
		panic("tidings: OnUndecodable: the function is nil: leave it out to have such events tried again")
	}
	return func(o *reactOptions) { o.undecodable = h }
}

// SkipUndecodable returns an error of [Skip] with the text of err as the reason. Pass it to [OnUndecodable].
func SkipUndecodable(_ context.Context, _ Any, err error) error { return Skip(err.Error()) }

// retryUndecodable is the function that is used without OnUndecodable: it returns err, so that the event is tried
// again.
func retryUndecodable(_ context.Context, _ Any, err error) error { return err }

// unread records the first error with which Fact.From failed during one call of a fold. It may be used by several
// goroutines.
type unread struct{ failed atomic.Pointer[PayloadError] }

// note records failed, unless u has an error already. A nil u records nothing.
func (u *unread) note(failed *PayloadError) {
	if u != nil {
		u.failed.CompareAndSwap(nil, failed)
	}
}
