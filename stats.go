package tidings

// ReactionStats count what this process has done for one reaction since it started.
type ReactionStats struct {
	Handled    int64 `json:"handled"`    // events whose handler succeeded
	Retried    int64 `json:"retried"`    // attempts that failed and were, or will be, repeated
	Skipped    int64 `json:"skipped"`    // events that a handler skipped
	Duplicates int64 `json:"duplicates"` // copies that were dropped
	Unhandled  int64 `json:"unhandled"`  // events of types that the reaction does not handle
	Emitted    int64 `json:"emitted"`    // events that its handlers emitted

	Waiting  int `json:"waiting"`  // events received and not finished, those running included
	Retrying int `json:"retrying"` // of these, how many wait for another attempt
}

// Rootless counts emissions that were made while a handler ran, on its goroutine, but without its context: they begin
// stories of their own and are sent even if the handler fails. Each is logged, too.
func (a *App) Rootless() int64 { return a.rootless.Load() }

// Stats gives the numbers of each reaction of the app, by its name.
func (a *App) Stats() map[string]ReactionStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string]ReactionStats, len(a.reactions))
	for name, r := range a.reactions {
		all[name] = r.stats()
	}
	return all
}
