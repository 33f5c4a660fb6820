package framework

import (
	"context"
	"log/slog"

	"tidings.dev"
	"tidings.dev/internal/bench"
)

// link is the connection of an app to the broker at an endpoint.
type link bench.Endpoint

// Connect implements tidings.Connection.
func (l link) Connect(context.Context) (*tidings.Link, error) {
	return &tidings.Link{Addresses: l.Seeds, Dial: l.Dial}, nil
}

// runApp runs the app while script runs, which is called once the app is ready, and then drains it. It returns the
// error of script or, if the app has failed, that of the app.
func runApp(ctx context.Context, app *tidings.App, script func(context.Context) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	ended := make(chan error, 1)
	go func() {
		err := app.Run(context.WithoutCancel(ctx)) // Close ends it
		fail(err)
		ended <- err
	}()
	err := script(ctx)
	if closeErr := app.Close(); err == nil {
		err = closeErr
	}
	if runErr := <-ended; runErr != nil {
		return runErr
	}
	return err
}

// open opens an app on the broker at an endpoint.
func open(name string, e bench.Endpoint, log *slog.Logger) (*tidings.App, error) {
	return tidings.Open(name, link(e), tidings.WithLogger(log))
}
