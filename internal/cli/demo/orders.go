package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"tidings.dev"
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/orders"
	"tidings.dev/internal/cli/shell"
)

// readOrders reads the input. It prints a note for each invalid row, which it leaves out, and for each assumption
// that it has made about the format of the file, such as the order of day and month.
func (d *demo) readOrders() (*input.Batch, error) {
	name := d.input
	var in io.Reader = bytes.NewReader(input.CarriedDay)
	if name != "" {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, shell.NotFoundf("give a CSV of invoice lines, plain or .gz", "there is no file %s", name)
		} else if err != nil {
			return nil, shell.Failedf("bad_input", "", "cannot read %s: %s", name, shell.RootCause(err))
		}
		defer f.Close()
		in = f
	}
	batch, err := d.options.Read(in, func(row input.BadRow) { d.Note("%s: %v", name, row) })
	if err != nil {
		fault := &shell.Fault{Code: "bad_input", Message: fmt.Sprintf("%s: %v", name, err), Exit: shell.ExitFailed, Err: err}
		if _, ok := errors.AsType[*input.HeaderError](err); ok {
			fault.Hint = "it must be a CSV, plain or .gz, with a header that names InvoiceNo, Quantity, UnitPrice and so on"
		}
		return nil, fault
	}
	for _, note := range batch.Format.Notes() {
		d.Note("%s: %s", name, note)
	}
	return batch, nil
}

// firstOrder returns the first invoice that is an order with lines, or nil if there is none. The demo shows the story
// of this order.
func (d *demo) firstOrder() *input.Invoice {
	for _, i := range d.batch.Invoices {
		if !i.Return() && len(i.Lines) > 0 {
			return i
		}
	}
	return nil
}

// importOrders emits the orders that are not yet in the log, and returns when all of them are durable.
func (d *demo) importOrders(ctx context.Context) error {
	app, err := tidings.Open("orders", d.target, tidings.WithLogger(d.Logger()))
	if err != nil {
		return err
	}
	result, err := orders.Import(ctx, app, d.target, d.batch.Invoices, d.rate)
	if result.Known > 0 && err == nil {
		d.announce("%d of %s were in already", result.Known, shell.Plural(len(d.batch.Invoices), "invoice"))
	}
	return errors.Join(err, app.Close())
}
