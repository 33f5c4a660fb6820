package conformance

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// reactions are the names of the shop's services, which are also the names of their programs and reactions.
var reactions = []string{"payment", "cancellation", "email", "inventory", "warehouse", "loyalty", "analytics"}

// TestServicesKilledAndUpgraded runs each service of the shop as a process of its own, with one broker. While orders
// are announced, the test kills each service in turn, and after up to 2.5 s starts it again from a build whose facts
// have an additional field. The facts in the log must be those that follow from the orders.
func TestServicesKilledAndUpgraded(t *testing.T) {
	orders, address := input(t), freeAddress(t)
	books, err := ReadBooks(orders, declineAbovePence)
	if err != nil {
		t.Fatal(err)
	}
	upgraded := buildUpgraded(t)
	random := seeded(t)
	serve(t, t.TempDir(), address)
	running := map[string]*program{}
	for _, name := range reactions {
		running[name] = start(t, name, "--brokers", address)
	}
	waitForSubscriptions(t, address)

	// At this rate, orders are announced for about as long as the kills take.
	importer := start(t, "orders", "--brokers", address, "--input", orders, "--rate", "150")
	for _, i := range random.Perm(len(reactions)) {
		name := reactions[i]
		time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
		running[name].kill()
		time.Sleep(500*time.Millisecond + time.Duration(random.Int64N(int64(2*time.Second)))) // the service is down
		running[name] = startFrom(t, upgraded, name, "--brokers", address)
	}
	if importer.ended() {
		t.Error("the orders had all been placed before the last service was killed: the test proves little")
	}
	if code := importer.wait(t, 2*time.Minute); code != 0 {
		t.Fatalf("orders: exit %d\n%s", code, tail(importer.err.Bytes()))
	}
	waitForSettled(t, address, len(books.Placed)+len(books.Refused)+len(books.Returned))
	for name, p := range running {
		if code := p.stop(t); code != 0 {
			t.Errorf("%s ended with %d after SIGTERM", name, code)
		}
	}

	events := dump(t, address, "orders")
	kept := distinct(t, events)
	kept.compare(t, books)
	before, after := 0, 0
	for _, e := range events {
		var fact map[string]any
		if err := json.Unmarshal(e.payload, &fact); err != nil {
			t.Fatal(err)
		}
		if _, ok := fact["upgraded"]; ok {
			after++
		} else {
			before++
		}
	}
	t.Logf("%d events of the old build, %d of the upgraded one, %d records repeat an id", before, after, kept.repeats)
	if before == 0 || after == 0 {
		t.Error("the log does not hold facts of both builds")
	}
}

// buildUpgraded builds the services with an additional field in each fact, and returns the directory of the programs.
func buildUpgraded(t *testing.T) string {
	t.Helper()
	facts, err := filepath.Glob("../examples/shop/facts/*.go")
	if err != nil || len(facts) == 0 {
		t.Fatalf("no facts: %v", err)
	}
	dir := t.TempDir()
	structs := regexp.MustCompile(`(?m)^type ([A-Z]\w*) struct \{\n`)
	replace := map[string]string{}
	widened := 0
	for _, name := range facts {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		changed := structs.ReplaceAllFunc(source, func(head []byte) []byte {
			if bytes.HasPrefix(head, []byte("type Line ")) { // Line is part of a fact
				return head
			}
			widened++
			return append(slices.Clone(head), "\tUpgraded bool `json:\"upgraded\"`\n"...)
		})
		full, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		replace[full] = filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(replace[full], changed, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if widened == 0 {
		t.Fatal("no fact was widened: the upgrade would be the old build")
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-overlay", overlayFile, "-o", out+"/", "./examples/shop/cmd/...")
	build.Dir = ".."
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build of the upgraded services: %v\n%s", err, said)
	}
	return out
}

// waitForSubscriptions waits until every service has recorded its subscription. Before the first subscription the topic
// does not exist, so errors of kcat are ignored.
func waitForSubscriptions(t *testing.T, address string) {
	t.Helper()
	missing, said := reactions, []byte(nil)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		said, _ = exec.Command("kcat", "-b", address, "-C", "-t", "tidings.subscriptions", "-o", "beginning", "-e", "-q", "-f", "%k\n").CombinedOutput()
		missing = slices.DeleteFunc(slices.Clone(reactions), func(name string) bool {
			return regexp.MustCompile(`(?m)^` + name + `/orders$`).Match(said)
		})
		if len(missing) == 0 {
			return
		}
	}
	t.Fatalf("never subscribed: %v; kcat said:\n%s", missing, said)
}

// waitForSettled waits until the topic tidings.story says that exactly want stories are settled and none is reopened.
func waitForSettled(t *testing.T, address string, want int) {
	t.Helper()
	open := map[string]bool{}
	settledCount := 0
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		state := map[string]bool{}
		for _, e := range dump(t, address, "tidings.story") {
			state[e.subject] = e.kind == "story.settled"
		}
		settledCount, open = 0, map[string]bool{}
		for correlation, settled := range state {
			if settled {
				settledCount++
			} else {
				open[correlation] = true
			}
		}
		if settledCount == want && len(open) == 0 {
			return
		}
	}
	t.Fatalf("%d stories settled and %d reopened, want %d settled", settledCount, len(open), want)
}
