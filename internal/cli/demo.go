package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/orders"
	"tidings.dev/examples/shop/payment"
	"tidings.dev/story"
)

// livePerSecond is how many orders a second the demo plays where somebody watches.
const livePerSecond = 8

func (s *session) demoCommand() *cobra.Command {
	d := demo{session: s, declineAbove: payment.DefaultDeclineAbovePence}
	c := &cobra.Command{
		Use: "demo", Short: "Run an online store on its own broker, over real orders",
		Long: "Runs an online store, its broker and its stories in one process over real orders, and keeps their data: a second run\n" +
			"on the same directory goes on where the first stopped. With --brokers the log is another's. Orders: " + input.Attribution + ".",
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkServices(d.without); err != nil {
				return err
			}
			if d.rate < 0 || math.IsNaN(d.rate) {
				return usagef("0 is as fast as the log takes them", "--rate cannot be below zero")
			}
			if !cmd.Flags().Changed("rate") && !d.settle {
				d.rate = livePerSecond
			}
			return d.run(cmd.Context())
		},
	}
	c.Flags().StringVar(&d.address, "listen", defaultListen, "where to listen; a taken port gives way to the next free one")
	c.Flags().StringVar(&d.input, "input", "", "CSV `FILE` of invoice lines, plain or .gz (default: the day that the program carries)")
	c.Flags().Var(&d.declineAbove, "decline-above", "payment declines totals above so many pounds")
	c.Flags().BoolVar(&d.settle, "settle", false, "end when all orders are in and all stories have settled, and print the books")
	c.Flags().Float64Var(&d.rate, "rate", 0, fmt.Sprintf("orders a second, 0 for as fast as the log takes them (default %d, with --settle 0)", livePerSecond))
	c.Flags().StringSliceVar(&d.without, "without", nil, "leave out services, for example email; they catch up when they join later")
	c.Flags().BoolVar(&d.insecure, "insecure", false, "allow to listen on addresses that others can reach")
	return c
}

// A demo is one run of the store.
type demo struct {
	*session
	address      string
	input        string
	declineAbove input.Pounds
	settle       bool
	rate         float64
	without      []string
	insecure     bool

	dir     string // "" with --brokers
	batch   *input.Batch
	broker  *broker.Broker // nil with --brokers
	target  target
	adm     *kadm.Client
	indexer *story.Indexer
	ledger  *ledger
	shop    *shop

	failed chan error     // gets why the demo cannot go on
	fenced chan struct{}  // closed when the broker cannot write any more
	down   []func() error // what takes it down, the last first
}

// run sets the store up from the ground, plays, and takes it down from the top, so that nothing is asked of a room
// that is gone already. Once the broker cannot write any more, nothing can be finished either: then it leaves soon, and
// what still waits ends with the process.
func (d *demo) run(ctx context.Context) error {
	d.failed = make(chan error, 8)
	d.fenced = make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		err := d.setUp(ctx)
		if err == nil {
			err = d.play(ctx)
		} else {
			err = d.why(err)
		}
		for i := len(d.down) - 1; i >= 0; i-- {
			err = errors.Join(err, d.down[i]())
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-d.fenced:
	}
	select {
	case <-ended:
	case <-time.After(leaveAfter):
	}
	return storageFault(cannotWrite(d.broker))
}

// leaveAfter is how long a demo whose broker has failed may take to end.
const leaveAfter = time.Second

// watchStorage tells run when the broker cannot write any more.
func (d *demo) watchStorage(ctx context.Context) error {
	check := time.NewTicker(fenceCheck)
	defer check.Stop()
	for {
		select {
		case <-check.C:
			if cannotWrite(d.broker) != nil {
				close(d.fenced)
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *demo) setUp(ctx context.Context) (err error) {
	if d.batch, err = d.readInput(); err != nil {
		return err
	}
	where, err := d.findLog(ctx)
	if err != nil {
		return err
	}
	if d.adm, err = d.adminOf(ctx, d.target); err != nil {
		return err
	}
	d.down = append(d.down, func() error { d.adm.Close(); return nil })
	if err := orders.MakeTopic(ctx, d.target); err != nil {
		return err
	}
	if err := d.openStory(ctx); err != nil {
		return err
	}
	if err := awaitTopics(ctx, d.adm, ledgerTopics...); err != nil {
		return err
	}
	d.inBackground(d.indexer.Run)
	d.ledger = newLedger()
	d.inBackground(func(ctx context.Context) error { return d.ledger.follow(ctx, d.target, d.adm) })
	if err := d.ledger.catchUp(ctx, d.adm); err != nil {
		return err
	}
	if d.shop, err = startShop(ctx, d.target, int64(d.declineAbove), d.without, tidings.WithLogger(d.logger())); err != nil {
		return err
	}
	d.down = append(d.down, d.shop.stop)
	d.banner(where)
	return nil
}

// findLog opens the demo's own broker, or with --brokers finds another log, and says where it is.
func (d *demo) findLog(ctx context.Context) (where string, err error) {
	if d.brokers != "" {
		d.target, err = d.session.target(ctx)
		return d.brokers, err
	}
	d.dir = d.dataDir()
	if d.broker, err = openBroker(broker.Config{Dir: d.dir, Logger: d.logger()}); err != nil {
		return "", err
	}
	d.down = append(d.down, d.broker.Close)
	d.inBackground(d.watchStorage)
	listener, moved, err := listenNear(d.address, d.insecure)
	if err != nil {
		return "", err
	}
	go d.broker.Serve(listener) // ends with the broker
	d.target = inProcess(d.broker)
	where = listener.Addr().String()
	if moved != "" {
		where += "   (" + moved + ")"
	}
	return where, nil
}

// openStory opens the index: in the data directory, or where `tidings story` has it.
func (d *demo) openStory(ctx context.Context) (err error) {
	options := story.Options{Emit: true, Logger: d.logger()}
	discard := func() {}
	if d.broker != nil {
		d.indexer, err = story.Open(ctx, d.target, filepath.Join(d.dir, indexName), options)
	} else {
		d.indexer, discard, err = d.openIndex(ctx, d.target, options)
	}
	if err != nil {
		return err
	}
	d.down = append(d.down, func() error {
		defer discard()
		return d.indexer.Close()
	})
	return nil
}

// inBackground runs part of the demo until it is taken down.
func (d *demo) inBackground(work func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			d.failed <- err
		}
	})
	d.down = append(d.down, func() error {
		cancel()
		done.Wait()
		return nil
	})
}

// readInput reads the orders; a bad row is told and left out.
func (d *demo) readInput() (*input.Batch, error) {
	name := d.input
	var in io.Reader = bytes.NewReader(input.CarriedDay)
	if name != "" {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, notFoundf("give a CSV of invoice lines, plain or .gz", "there is no file %s", name)
		} else if err != nil {
			return nil, failedf("bad_input", "", "cannot read %s: %s", name, rootCause(err))
		}
		defer f.Close()
		in = f
	}
	batch, err := input.Read(in, func(row input.BadRow) { d.note("%s: %v", name, row) })
	if err != nil {
		return nil, &Fault{Code: "bad_input", Message: fmt.Sprintf("%s: %v", name, err), Exit: ExitFailed, Err: err,
			Hint: "it must be a CSV, plain or .gz, with a header that names InvoiceNo, Quantity, UnitPrice and so on"}
	}
	return batch, nil
}

// banner tells where everything is, in at most 8 lines.
func (d *demo) banner(where string) {
	if d.format.machine() {
		return
	}
	what := "one day of a real store's orders"
	if d.input != "" {
		what = d.input
	}
	d.note("Tidings demo: an online store over %s (%s)", what, plural(len(d.batch.Invoices), "invoice"))
	d.note("  Kafka     %s", where)
	flags := ""
	switch {
	case d.broker == nil:
		flags = " --brokers " + d.brokers
	case d.dir != defaultDataDir:
		flags = " --data " + d.dir
	}
	if d.broker != nil {
		d.note("  data      %s", absolute(d.dir))
	}
	d.note("  services  %s", strings.Join(d.shop.names(), ", "))
	if first := d.firstOrder(); first != nil {
		d.note("  next      tidings story order/%s%s   (in another terminal)", first.No, flags)
	}
	if d.input == "" {
		d.note("  orders    %s", input.Attribution)
	}
	d.note("  ctrl-C    stops; the data is kept")
}

// firstOrder is the one whose story is told; nil if the input has none.
func (d *demo) firstOrder() *input.Invoice {
	for _, i := range d.batch.Invoices {
		if !i.Return() && len(i.Lines) > 0 {
			return i
		}
	}
	return nil
}
