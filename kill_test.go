package tidings_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/cloudevent"
)

const killEnv = "TIDINGS_TEST_KILL_DIR"

// payment makes the app of this story: it captures what is placed.
func payment(where tidings.Connection) (*tidings.App, error) {
	app, err := tidings.Open("payment", where, quiet())
	if err != nil {
		return nil, err
	}
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		_, err := captured.Emit(ctx, e.Data)
		return err
	}, tidings.FromBeginning())
	return app, nil
}

// beKilled emits orders and captures them until somebody kills the process.
func beKilled(dir string) {
	app, err := payment(embedded.File(dir))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go app.Run(context.Background())
	<-app.Ready()
	fmt.Println("ready")
	ctx := app.Context(context.Background())
	for i := 0; ; i++ {
		if _, err := placed.Emit(ctx, order{ID: fmt.Sprint(i % 50)}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("placed")
	}
}

// A process with its broker is killed again and again, each time after it was told that some orders are placed. In the end
// all of these are there, and each order has been captured, by one id, however often its handler has run.
func TestAKilledProcessGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := 0
	for round := range 4 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), killEnv+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "ready" {
			t.Errorf("round %d: %q", round, lines.Text())
		}
		for range 10 + 7*round {
			if !lines.Scan() || lines.Text() != "placed" {
				t.Fatalf("round %d: %q", round, lines.Text())
			}
			acknowledged++
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait()
	}

	where := embedded.File(dir)
	link, err := where.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	app, err := payment(where)
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	run := start(t, app)
	run.emit(placed, order{ID: "last"})
	var orders map[string]bool
	var captures map[string]string
	var records int
	eventually(t, "every order is captured", func() bool {
		orders, captures, records = map[string]bool{}, map[string]string{}, 0
		for _, r := range dump(t, where, "orders") {
			switch id := header(r, cloudevent.HeaderID); header(r, cloudevent.HeaderType) {
			case placed.Name():
				orders[id] = true
			case captured.Name():
				records++
				cause := header(r, cloudevent.HeaderCausation)
				if have, ok := captures[cause]; ok && have != id {
					t.Fatalf("order event %s was captured as %s and as %s", cause, have, id)
				}
				captures[cause] = id
			}
		}
		for id := range orders {
			if captures[id] == "" {
				return false
			}
		}
		return true
	})
	run.stop()
	if len(orders) < acknowledged || len(captures) != len(orders) {
		t.Errorf("%d orders, at least %d are acknowledged; %d captures", len(orders), acknowledged, len(captures))
	}
	t.Logf("%d orders, %d captures in %d records", len(orders), len(captures), records)
}
